"Sources are a chain: what one site refuses, fails to give or does not have, the next one gives."

import json
import socket
import time
from functools import partial

import pytest

from birdsort import cli
from birdsort import scrape as stage
from birdsort.aviary.sample_project import lesson_project
from birdsort.aviary.site import Aviary
from birdsort.core.project import Project
from birdsort.core.scaffold import new_project
from birdsort.core.settings import DEFAULT_SOURCES, STUDY
from birdsort.scrape import scrape
from birdsort.sources.base import Blocked, Hit, Source, SourceContext
from birdsort.sources.registry import SOURCES
from conftest import as_json, birdsort, files, one_line
from helpers.catalogues import catalogues
from helpers.hostile import Hostile, good, jpeg, moved, stall, whole
from helpers.search_site import search_site

NOTHING = '<html><body>There are no results for this search.</body></html>'
LOGIN = '<body><h1>Please sign in</h1><form action="/login"><input name="password"></form><a href="/help">Help</a></body>'
PATHS = dict(
    google='search',
    bing='images/search',
    duckduckgo='',
    inaturalist='v1/observations',
    gbif='v1',
    wikimedia='w/api.php',
    openverse='v1/images/',
)


@pytest.fixture
def quick(monkeypatch):
    "Catalogues are asked without a second between two requests."
    monkeypatch.setattr(stage, 'SourceContext', partial(SourceContext, every=0))


def told(capsys, *argv):
    "A verb in this process -> (exit code, the lines that it printed)."
    code = cli.main(list(map(str, argv)))
    said = capsys.readouterr()
    assert 'Traceback' not in said.out + said.err
    return code, said.out.splitlines()


def closed():
    "An address where nobody listens."
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return f'http://127.0.0.1:{s.getsockname()[1]}'


def card(tmp_path, n=1):
    return lesson_project(n, tmp_path / 'card').images


def test_seven_names_whatever_one_site_does_that_day(tmp_path, capsys, quick):
    "Google blocks, Bing has nothing, DuckDuckGo answers 403: the catalogues fill every label."
    with (
        Aviary() as google,
        search_site(lambda visit: NOTHING) as (bing, _),
        search_site(lambda visit: (403, 'Forbidden')) as (duckduckgo, refusals),
        catalogues() as (host, asked),
    ):
        google.blocked = True
        project = new_project(
            tmp_path / 'birds',
            labels=STUDY,
            images_per_label=4,
            source=(
                f'google={google.address}',
                f'bing={bing}/images/search',
                f'duckduckgo={duckduckgo}/',
                f'inaturalist=http://{host}/v1/observations',
                f'wikimedia=http://{host}/w/api.php',
            ),
        )
        code, lines = told(capsys, 'scrape', '--project', project.path)
    assert code == 0, lines
    assert {
        label: len(list((project.images / label).iterdir())) for label in STUDY
    } == dict.fromkeys(STUDY, 4)
    said = '\n'.join(lines)
    assert said.count('google rested: ') == said.count('duckduckgo rested: ') == 1
    assert 'nothing new from bing' in said
    # Two photos of each query: two of six labels, four of the one with two queries; the rest comes from Commons
    assert 'the other sources took over: inaturalist 16, wikimedia 12' in said
    assert 'garza: grey heron (Ardea cinerea, species)' in said
    assert asked.count('/v1/taxa') == 8 and asked.count('/v1/observations') <= 16
    assert len(refusals) <= 4, 'a source that refuses was asked for each label'
    assert not any(line.startswith('fell short') for line in lines)


def test_the_first_source_is_preferred_and_the_next_one_not_asked(tmp_path):
    project = lesson_project(0, tmp_path / 'birds', images_per_label=3)
    result = scrape(project, source=[f'folder={card(tmp_path, 3)}', f'gbif={closed()}'], quiet=True)
    assert result['found'] == dict(folder=9) and result['kept'] == dict(folder=9)
    assert not result.keys() & {'short', 'problems', 'resting', 'failed'}


def counting(calls, hits, failure=None):
    "A search function that counts its calls."

    def search(query, n, context, address=None):
        calls.append(query)
        yield from hits(query)
        if failure:
            raise failure

    return search


def test_a_source_that_blocks_is_asked_once_and_one_with_nothing_once_for_each_label(
    tmp_path, monkeypatch
):
    blocked, empty = [], []
    project = lesson_project(0, tmp_path / 'birds', images_per_label=1)
    monkeypatch.setitem(
        SOURCES,
        'openverse',
        Source('openverse', counting(blocked, lambda query: [], Blocked('not today')), ''),
    )
    monkeypatch.setitem(
        SOURCES, 'wikimedia', Source('wikimedia', counting(empty, lambda query: []), '')
    )
    result = scrape(
        project, source=['openverse', 'wikimedia', f'folder={card(tmp_path)}'], quiet=True
    )
    assert len(blocked) == 1 and sorted(empty) == sorted(
        q for qs in project.settings.labels.values() for q in qs
    )
    assert result['resting'] == dict(openverse='not today') and result['found'] == dict(
        wikimedia=0, folder=3
    )
    assert not result.keys() & {'short', 'problems', 'failed'}


def test_what_a_source_gave_before_it_failed_is_kept_and_the_next_one_gives_the_rest(
    tmp_path, monkeypatch
):
    calls, labels = [], dict(garza=['a'], buitre=['b'])
    project = lesson_project(0, tmp_path / 'birds', images_per_label=3, labels=labels)
    with Hostile({'a.jpg': good(whole(jpeg(1))), 'b.jpg': good(whole(jpeg(2)))}) as server:
        search = counting(
            calls, lambda query: [Hit(server.address(f'{query}.jpg'))], RuntimeError('half a page')
        )
        monkeypatch.setitem(SOURCES, 'openverse', Source('openverse', search, ''))
        sources = ['openverse', f'folder={card(tmp_path, 3)}']
        result = scrape(project, source=sources, allow=[server.host], quiet=True)
    assert sorted(calls) == ['a', 'b'] and not result.keys() & {'short', 'problems', 'resting'}
    assert result['failed'] == dict(openverse='half a page') and result['kept'] == dict(
        openverse=2, folder=4
    )


def test_what_is_no_species_is_left_to_the_other_sources_unless_the_user_named_one(tmp_path, quick):
    labels = dict(garza=['grey heron'], coche=['red car'])
    project = lesson_project(0, tmp_path / 'birds', images_per_label=2, labels=labels)
    with catalogues() as (host, _), search_site(lambda visit: NOTHING) as (none, _), Aviary() as g:
        species, commons = (
            f'inaturalist=http://{host}/v1/observations',
            f'wikimedia=http://{host}/w/api.php',
        )
        engines = [f'google={g.address}', f'bing={none}/images/search', f'duckduckgo={none}/']
        g.blocked = True
        chain = scrape(project, images_per_label=1, source=[*engines, species, commons], quiet=True)
        named = scrape(project, source=[species], quiet=True)
    needs = "'red car' is no species or group that inaturalist knows"
    assert chain['short'] == dict(coche=1) and not any(
        needs in why for why in chain.get('problems', {}).get('coche', [])
    )
    assert named['short'] == dict(coche=2) and len(named['problems']['coche']) == 1
    assert named['problems']['coche'][0].startswith(needs)
    assert chain['taxa'] == dict(garza={'grey heron': 'grey heron (Ardea cinerea, species)'})
    assert tuple(DEFAULT_SOURCES) == ('google', 'bing', 'duckduckgo', 'inaturalist', 'wikimedia')


def redirects(sock, nth):
    moved(f'/{nth}/next')(sock, nth)


class Everywhere(dict):
    "The same answer at every path."

    def get(self, path, default=None):
        return self['']


ODD = dict(
    login=whole(LOGIN.encode(), kind='text/html'),
    empty=whole(b'{}', kind='application/json'),
    redirects=redirects,
)


@pytest.mark.parametrize('kind', ODD)
def test_an_odd_answer_of_every_source_is_one_clear_line(tmp_path, capsys, quick, kind):
    project = lesson_project(
        0, tmp_path / 'birds', images_per_label=3, labels=dict(garza=['grey heron'], loro=['x'])
    )
    with Hostile({'': good(ODD[kind])}) as server:
        server.table = Everywhere(server.table)
        asked = [
            name for name in PATHS if kind != 'empty' or name not in ('google', 'bing')
        ]  # Those have no JSON
        odd = [f'{name}={server.address(PATHS[name])}' for name in asked]
        sources = ','.join([f'folder={card(tmp_path)}', *odd])
        code, lines = told(
            capsys, 'scrape', '--project', project.path, '--label', 'garza', '--source', sources
        )
    assert code == 3 and len(files(project.images)) == 1, lines
    assert [line for line in lines if line.startswith('fell short: garza by 2;')]
    reasons = [
        line
        for line in lines
        if not line.startswith(('label ', 'garza  ', 'fell short', 'the other sources'))
    ]
    assert len(reasons) == len(asked) and max(map(len, reasons)) < 300, lines
    for name in asked:
        where = server.address(PATHS[name]) if name == 'google' else name
        assert len([line for line in reasons if where in line]) == 1 or kind == 'redirects', (
            name,
            lines,
        )


def test_every_source_blocks(tmp_path, capsys, quick):
    project = lesson_project(1, tmp_path / 'birds', images_per_label=3)
    with Aviary() as google, search_site(lambda visit: (403, 'Forbidden')) as (site, visits):
        google.blocked = 'captcha'
        others = {name: path for name, path in PATHS.items() if name != 'google'}
        sources = [
            f'google={google.address}',
            *(f'{name}={site}/{path}' for name, path in others.items()),
        ]
        argv = ('scrape', '--project', project.path, '--source', ','.join(sources))
        code, lines = told(capsys, *argv)
        result = json.loads(told(capsys, *argv, '--json')[1][0])['result']
    assert code == 3 and len(files(project.images)) == 3
    for name in PATHS:
        assert len([line for line in lines if line.startswith(f'{name} rested: ')]) == 1, lines
    assert list(result['resting']) == list(PATHS) and result['short'] == dict(
        cacatua=2, garza=2, buitre=2
    )
    assert 'problems' not in result


def test_a_site_that_is_not_there_rests_too(tmp_path, quick):
    project = lesson_project(0, tmp_path / 'birds', images_per_label=1)
    sources = [
        f'wikimedia={closed()}/w/api.php',
        f'duckduckgo={closed()}/',
        f'folder={card(tmp_path)}',
    ]
    start = time.monotonic()
    result = scrape(project, source=sources, quiet=True)
    assert list(result['resting']) == ['wikimedia', 'duckduckgo'] and time.monotonic() - start < 30
    assert all('no connection' in why for why in result['resting'].values())
    assert not result.keys() & {'short', 'problems', 'failed'}


def test_a_chain_that_was_stopped_resumes_where_it_was(tmp_path, quick, monkeypatch):
    "What the catalogue knows comes first; a source that gave all it had is only asked for what is missing."
    with catalogues(inaturalist=3, wikimedia=3) as (host, asked):
        sources = [
            f'inaturalist=http://{host}/v1/observations',
            f'wikimedia=http://{host}/w/api.php',
        ]
        labels = dict(garza=['grey heron'], loro=['parrot'])
        whole_one, stopped = (
            lesson_project(0, tmp_path / name, images_per_label=5, labels=labels)
            for name in ('whole', 'stopped')
        )
        scrape(whole_one, source=sources, quiet=True)
        for n in (1, 2, 4, 5):
            result = scrape(stopped, images_per_label=n, source=sources, quiet=True)
        assert 'short' not in result and files(stopped.images) == files(whole_one.images)
        before = len(asked)
        assert (
            scrape(stopped, source=sources, quiet=True) == dict(labels=result['labels'])
            and len(asked) == before
        )


def test_sources_tells_who_answers(tmp_path):
    "Outside a project, with stand-ins for every way to answer, in one table of at most 100 columns."
    with (
        Aviary(per_query=3) as google,
        search_site(lambda visit: NOTHING) as (bing, _),
        search_site(lambda visit: (403, 'Forbidden')) as (duckduckgo, _),
        search_site(lambda visit: LOGIN) as (openverse, _),
        catalogues() as (host, _),
        Hostile({'w/api.php': good(stall)}) as slow,
    ):
        named = [
            f'google={google.address}',
            f'bing={bing}/images/search',
            f'duckduckgo={duckduckgo}/',
            f'inaturalist=http://{host}/v1/observations',
            f'gbif={closed()}',
            f'wikimedia={slow.address("w/api.php")}',
            f'openverse={openverse}/v1/images/',
            f'urls={tmp_path}/list.csv',
            'aviary',
        ]
        start = time.monotonic()
        done = birdsort('sources', '--source', ','.join(named), '--timeout', '8', cwd=tmp_path)
        seconds = time.monotonic() - start
    assert done.returncode == 0 and 'Traceback' not in done.stderr, done.stderr
    lines = done.stdout.splitlines()
    table = [line.split()[:2] for line in lines[1:10]]
    assert table == [
        ['google', 'answers'],
        ['bing', 'nothing'],
        ['duckduckgo', 'blocked'],
        ['inaturalist', 'answers'],
        ['gbif', 'no'],
        ['wikimedia', 'no'],
        ['openverse', 'failed'],
        ['urls', 'not'],
        ['aviary', 'always'],
    ]
    assert lines[0].split() == ['source', 'now', 'licences', 'limits', 'a', 'block']
    assert max(map(len, lines[:10])) <= 100 and seconds < 30
    for name in ('duckduckgo', 'gbif', 'wikimedia', 'openverse', 'urls'):
        assert len([line for line in lines if line.startswith(f'{name}: ')]) == 1


def test_sources_of_a_project_at_its_own_addresses(tmp_path):
    with catalogues() as (host, asked):
        sources = (
            f'inaturalist=http://{host}/v1/observations',
            f'wikimedia=http://{host}/w/api.php',
        )
        project = lesson_project(0, tmp_path / 'birds', source=sources)
        named = ['--source', ','.join(sources)]
        rows = as_json('sources', '--project', project.path, *named)['sources']
        nowhere = ('google', 'bing', 'duckduckgo', 'gbif', 'openverse')
        (tmp_path / 'all').mkdir()
        everything = lesson_project(
            0,
            tmp_path / 'all' / 'birds',
            source=(*sources, *(f'{name}={closed()}' for name in nowhere)),
        )
        states = {r['source']: r['now'] for r in as_json('sources', cwd=everything.path)['sources']}
    assert [row['now'] for row in rows] == ['answers', 'answers'] and rows[0]['licences'] == 'known'
    assert list(states) == list(SOURCES)
    assert (states['urls'], states['folder']) == ('needs a FILE', 'needs a FOLDER')
    assert {states[name] for name in nowhere} == {'no connection'} and states[
        'inaturalist'
    ] == 'answers'
    one_line(birdsort('sources', '--source', 'gogle'), "did you mean 'google'")
    one_line(birdsort('sources', '--project', tmp_path / 'nowhere'), 'birdsort new')


def test_a_dry_run_asks_nobody_and_writes_nothing(tmp_path):
    project = lesson_project(2, tmp_path / 'birds', images_per_label=5)
    with catalogues() as (host, asked):
        sources = f'inaturalist=http://{host}/v1/observations,google'
        before = files(project.path)
        argv = (
            'scrape',
            '--dry-run',
            '--project',
            project.path,
            '--source',
            sources,
            '--licence',
            'cc0,cc-by',
        )
        done = birdsort(*argv)
        plan = as_json(*argv)
    assert done.returncode == 0 and not asked and files(project.path) == before
    assert plan['plan']['buitre'] == dict(
        asked=5, kept=2, missing=3, queries=['griffon vulture', 'Egyptian vulture']
    ) and plan['licence'] == ['cc0', 'cc-by']
    assert [row['source'] for row in plan['sources']] == sources.split(',')
    for words in (
        'griffon vulture, Egyptian vulture',
        'labels that are species',
        'cc0, cc-by',
        'nothing was asked',
    ):
        assert words in done.stdout
    fresh = new_project(tmp_path / 'fresh')
    before = files(fresh.path)
    done = birdsort('scrape', '--dry-run', '--project', fresh.path)
    assert (
        done.returncode == 0
        and files(fresh.path) == before
        and all(name in done.stdout for name in DEFAULT_SOURCES)
    )


def test_new_projects_get_the_chain_and_old_ones_keep_what_they_name(tmp_path):
    as_json('new', tmp_path / 'birds', 'stork', 'heron')
    toml = (tmp_path / 'birds' / 'birdsort.toml').read_text()
    assert 'source = ["google", "bing", "duckduckgo", "inaturalist", "wikimedia"]' in toml
    (tmp_path / 'birds' / 'birdsort.toml').write_text(
        'source = ["google"]\nlabels.a = "a"\nlabels.b = "b"\n'
    )
    assert Project(tmp_path / 'birds').settings.source == ('google',)


def test_a_profile_of_the_browser_is_kept(tmp_path):
    project, profile = (
        lesson_project(0, tmp_path / 'birds', images_per_label=2),
        tmp_path / 'profile',
    )
    with Aviary(per_query=6) as site:
        source = ['--source', f'google={site.address}', '--allow', ','.join(site.hosts)]
        as_json(
            'scrape', '--project', project.path, '--label', 'garza', '--profile', profile, *source
        )
    assert len(files(project.images)) == 2 and any(profile.rglob('Cookies'))


def test_a_source_is_asked_past_what_others_have_found(tmp_path, monkeypatch):
    "Two sites with the same first sixty photos."
    project = lesson_project(0, tmp_path / 'birds')
    photos = [Hit(f'https://photos.example/{i}.jpg') for i in range(500)]
    origin = dict(label='garza', source='bing', query='grey heron')
    project.catalogue.add([origin | hit._asdict() for hit in photos[:60]])
    asked = []

    def search(name, query, n, context, address):
        asked.append(n)
        return photos[:n], None

    monkeypatch.setattr(stage, 'search_source', search)
    run = stage._Run(project, project.settings, [('duckduckgo', None)], None, None)
    hits = stage._search(run, 'garza', ('duckduckgo', None), 'grey heron', 42)
    assert asked == [42, 84]
    assert len(hits) == 84
