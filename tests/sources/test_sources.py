"Each catalogue against its recorded answers, and sources that are mixed, refuse, or have nothing."

import csv
import http.server
import json
import re
import threading
import time
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

import pytest

from birdsort.aviary.sample_project import lesson_project
from birdsort.core.settings import Catalogues
from birdsort.scrape import scrape
from birdsort.sources.base import Blocked, SourceContext
from birdsort.sources.http import Web
from birdsort.sources.registry import search_source
from conftest import ROOT, as_json, birdsort, files, one_line
from helpers.hostile import Hostile, good, jpeg, status, whole
from helpers.search_site import search_site

CC0_AUTHORS = dict(
    inaturalist='Ada Lovelace', gbif='', wikimedia='Anonymous', openverse=''
)  # Of photo 102
PATHS = dict(
    inaturalist='/v1/observations', gbif='/v1', wikimedia='/w/api.php', openverse='/v1/images/'
)


class Replay(http.server.ThreadingHTTPServer):
    """Answers with the first recorded exchange that fits; one that is marked `once` is used up by that.

    `always` is the answer to everything, or to everything after the first `good` requests; or a function of the query.
    """

    def __init__(self, name, always=None, good=0):
        super().__init__(('127.0.0.1', 0), Play)
        self.host, self.always, self.asked, self.times = (
            f'127.0.0.1:{self.server_port}',
            always,
            [],
            [],
        )
        self.good = good
        self.exchanges = (
            json.loads(
                (ROOT / f'tests/sources/recorded/{name}.json')
                .read_text()
                .replace('{host}', self.host)
            )
            if good or not always
            else []
        )
        if good:
            self.exchanges = [e for e in self.exchanges if 'once' not in e]

    def answer(self, path, query):
        fits = [
            e
            for e in self.exchanges
            if path.startswith(e.get('path', '/v1/observations'))
            and all(query.get(k) == v for k, v in e.get('query', {}).items())
            and not set(e.get('without', ())) & set(query)
        ]
        if fits and 'once' in fits[0]:
            self.exchanges.remove(fits[0])
        is_image = fits and 'image' in fits[0]
        if self.always and len(self.asked) >= self.good and not is_image:
            return self.always(query) if callable(self.always) else self.always
        return fits[0] if fits else dict(status=404)


class Play(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        at, agent = urlsplit(self.path), self.headers['User-Agent']
        query = {k: v[0] for k, v in parse_qs(at.query).items()}
        assert agent.startswith('birdsort/') and '+https://' in agent
        e = self.server.answer(at.path, query)
        if query:
            self.server.asked.append(query), self.server.times.append(time.monotonic())
        body = (
            jpeg(e['image'])
            if 'image' in e
            else e.get('raw', json.dumps(e.get('body', {}))).encode()
        )
        self.send_response(e.get('status', 200))
        place = {'Location': f'/hop?n={len(self.server.asked)}'} if 'hops' in e else {}
        for k, v in {'Content-Length': len(body), **place, **e.get('headers', {})}.items():
            self.send_header(k, str(v))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@contextmanager
def replaying(name, **kw):
    server = Replay(name, **kw)
    threading.Thread(
        target=server.serve_forever, kwargs=dict(poll_interval=0.05), daemon=True
    ).start()
    try:
        yield server, f'{name}=http://{server.host}{PATHS[name]}'
    finally:
        server.shutdown()
        server.server_close()


def heron(tmp_path, images_per_label=4, query='Ardea cinerea', **kw):
    return lesson_project(
        0,
        tmp_path / 'birds',
        images_per_label=images_per_label,
        labels={'garza': [query], 'nada': ['Nulla avis']},
        **kw,
    )


def by_photo(project):
    return {
        r['address'].split('/')[-2]
        if r['source'] == 'inaturalist'
        else r['address'].split('/')[-1][:3]: r
        for r in project.catalogue.rows(label='garza')
    }


@pytest.mark.parametrize('name', PATHS)
def test_a_catalogue_from_its_first_page_to_its_last(tmp_path, name):
    project = heron(tmp_path)
    with replaying(name) as (server, source):
        result = scrape(project, source=[source], label='garza', quiet=True)
    rows, table = by_photo(project), result['labels']['garza']
    assert set(rows) == {'101', '102', '201', '401', '402'}, (
        'a hidden photo, a sound, a drawing or a missing page came through'
    )
    assert [rows[p]['state'] for p in ('101', '102', '201', '401', '402')] == [
        'kept',
        'kept',
        'kept',
        'rejected',
        'kept',
    ] and 'short' not in result
    assert table['rejected'] in (
        {'http 404': 1},
        {'http 410': 1},
    )  # The photo that was removed since
    versions = '' if name == 'inaturalist' else '-2.0' if name == 'openverse' else '-4.0'
    assert [rows[p]['licence'] for p in ('101', '102', '201', '402')] == [
        'cc-by' + ('' if name == 'inaturalist' else '-4.0'),
        'cc0',
        'all rights reserved' if name == 'inaturalist' else '',
        'cc-by-nc' + versions,
    ]
    assert (rows['101']['author'], rows['402']['author']) == ('Ada Lovelace', 'C. Crane')
    assert rows['102']['author'] == CC0_AUTHORS[name]
    assert all(rows[p]['page'].startswith('https://') and rows[p]['title'] for p in rows)
    assert server.times[1] - server.times[0] >= 1, (
        'asked again before the second that the 429 asked for'
    )
    assert all(b - a >= 0.9 for a, b in zip(server.times, server.times[1:], strict=False)), (
        'faster than one request a second'
    )


@pytest.mark.parametrize('name', PATHS)
def test_only_the_licences_that_are_wanted(tmp_path, name):
    project = heron(tmp_path)
    with replaying(name) as (server, source):
        result = scrape(
            project, source=[source], licence=('cc0', 'cc-by'), label='garza', quiet=True
        )
    assert {p for p, r in by_photo(project).items() if r['state'] == 'kept'} == {
        '101',
        '102',
    } and result['short'] == {'garza': 2}
    assert result['labels']['garza']['rejected'].pop('licence') == 2 and 'unlicensed' not in result
    if name in ('inaturalist', 'openverse'):
        asked = server.asked[-1]  # Perhaps after the taxon was looked up
        assert asked.get('photo_license', asked.get('license')) in ('cc0,cc-by', 'cc0,by')
    with open(project.path / 'attribution.csv', newline='') as f:
        credits = list(csv.DictReader(f))
    assert (
        len(credits) == 2
        and {c['licence'].removesuffix('-4.0') for c in credits} == {'cc0', 'cc-by'}
        and all(c['page'] and (project.images / c['label'] / c['file']).is_file() for c in credits)
    )


@pytest.mark.parametrize('name', PATHS)
def test_an_empty_answer_is_no_error(tmp_path, name):
    project = heron(tmp_path)
    with replaying(name) as (_, source):
        result = scrape(project, source=[source], label='nada', quiet=True)
    assert result['short'] == {'nada': 4} and result['labels']['nada']['found'] == 0
    if name in ('wikimedia', 'openverse'):
        assert 'problems' not in result
    else:
        (problem,) = result['problems']['nada']
        assert "'Nulla avis' is no species or group that" in problem


@pytest.mark.parametrize('name', PATHS)
@pytest.mark.parametrize(
    'code,words', [(403, 'refuses to answer for now (http 403)'), (200, 'answers may have changed')]
)
def test_a_catalogue_that_refuses_or_talks_nonsense(tmp_path, name, code, words):
    project, card = (
        heron(tmp_path),
        lesson_project(4, tmp_path / 'card', labels={'garza': ['grey heron'], 'nada': ['owl']}),
    )
    with replaying(name, always=dict(status=code, body=['what?'])) as (server, source):
        done = birdsort(
            'scrape', '--project', project.path, '--source', f'{source},folder={card.images}'
        )
    assert done.returncode == 0, done.stdout  # The folder has enough for both labels
    assert (
        words in done.stdout
        and len([l for l in done.stdout.splitlines() if words in l]) == 1
        and len(files(project.images)) == 8
    )
    if code == 403:
        assert len(server.asked) <= 2, 'a source that refuses was asked again and again'


def test_hits_that_no_database_would_take(tmp_path):
    project = heron(tmp_path)
    odd = dict(
        results=[
            dict(
                url='http://127.0.0.1:1/a.jpg',
                title='half a smile \ud83d',
                creator={'name': 'Ada'},
                license='by',
                license_version='4.0',
            )
        ],
        page_count=1,
    )
    with replaying('openverse', always=dict(body=odd)) as (_, source):
        result = scrape(project, source=[source], label='garza', quiet=True)
    assert (
        result['labels']['garza']['found'] == 1
        and project.catalogue.rows(label='garza')[0]['title'] == 'half a smile ?'
    )


def test_one_photo_in_two_catalogues(tmp_path):
    "GBIF shows iNaturalist's photos in another size, Openverse those of Commons."
    one = dict(
        results=[
            dict(
                uri='https://inat.example/7',
                photos=[
                    dict(
                        url='https://inaturalist-open-data.s3.amazonaws.invalid/photos/7/square.jpg',
                        license_code='cc-by',
                        attribution='',
                    )
                ],
            )
        ],
        total_results=1,
    )
    two = dict(
        results=[
            dict(
                key=1,
                media=[
                    dict(
                        type='StillImage',
                        identifier='https://inaturalist-open-data.s3.amazonaws.invalid/photos/7/original.jpg',
                    )
                ],
            )
        ],
        endOfRecords=True,
    )
    project = heron(tmp_path)
    with (
        replaying('inaturalist', always=dict(body=one), good=1) as (_, a),
        replaying('gbif', always=dict(body=two), good=1) as (gbif, b),
    ):
        assert (
            scrape(project, source=[a, b], label='garza', quiet=True)['labels']['garza']['found']
            == 1
        )
        gbif.good = len(gbif.asked) + 1  # The new run looks the taxon up again
        assert (
            scrape(project, source=[b], label='garza', quiet=True)['labels']['garza']['found'] == 1
        )


def test_kept_before_under_another_licence_is_said(tmp_path):
    project = heron(tmp_path, images_per_label=1)
    with replaying('gbif') as (_, source):
        scrape(project, source=[source], label='garza', quiet=True)
        done = birdsort(
            'scrape',
            '--project',
            project.path,
            '--label',
            'garza',
            '--source',
            source,
            '--licence',
            'cc0, pd',
        )
    assert done.returncode == 0 and 'kept before, under other licences: 1 cc-by-4.0' in done.stdout


def test_commons_asks_to_slow_down_in_its_own_way(tmp_path):
    project = heron(tmp_path)
    with replaying(
        'wikimedia', always=dict(body={'error': {'code': 'ratelimited', 'info': 'slow down'}})
    ) as (
        _,
        source,
    ):
        result = scrape(project, source=[source], label='garza', quiet=True)
    assert (
        'does not answer for now (ratelimited)' in result['resting']['wikimedia']
        and 'problems' not in result
    )


def test_many_bad_hits_before_the_good_ones(tmp_path):
    project = heron(tmp_path, images_per_label=20)
    table = {
        f'{i}.jpg': good(whole(jpeg(i))) if i % 6 == 5 else good(status(404)) for i in range(130)
    }
    with Hostile(table) as server:
        (project.path / 'garza.txt').write_text('\n'.join(map(server.address, table)))
        assert 'short' not in scrape(
            project,
            source=[f"urls={project.path / 'garza.txt'}"],
            label='garza',
            allow=[server.host],
            quiet=True,
        )


def test_a_list_without_this_label(tmp_path):
    project = heron(tmp_path)
    (project.path / 'owl.txt').write_text('https://a.example/1.jpg')
    done = birdsort(
        'scrape', '--project', project.path, '--source', f"urls={project.path / 'owl.txt'}"
    )
    assert done.returncode == 3 and "has no address for 'garza': its labels are owl" in done.stdout


def test_a_common_name_for_gbif(tmp_path):
    project = heron(tmp_path, query='grey heron')
    with replaying('gbif') as (_, source):
        assert (
            scrape(project, source=[source], label='garza', quiet=True)['labels']['garza']['kept']
            == 4
        )


@pytest.mark.parametrize('token', ['vqd=3-12345&', 'vqd="4-12345"'])
def test_duckduckgo_with_the_old_token_and_the_new(tmp_path, token):
    project, asked = heron(tmp_path, images_per_label=3), []
    with Hostile({f'{i}.jpg': good(whole(jpeg(i))) for i in range(6)}) as photos:
        results = [
            dict(
                image=photos.address(f'{i}.jpg'),
                thumbnail='t',
                title=f'Heron {i}',
                url='https://birds.example/',
                height=9,
                width=9,
                source='Bing',
            )
            for i in range(6)
        ]

        def page(body, **kw):
            return good(
                lambda sock, nth: asked.append(body[:5]) or whole(body.encode(), **kw)(sock, nth)
            )

        with Hostile(
            {
                '': page(f'<script>{token}</script>', kind='text/html'),
                'i.js': page(json.dumps(dict(results=results)), kind='application/json'),
            }
        ) as site:
            result = scrape(
                project,
                source=[f'duckduckgo={site.address("")}'],
                label='garza',
                allow=[photos.host],
                quiet=True,
            )
    rows = project.catalogue.rows(label='garza', state='kept')
    assert (
        len(rows) == 3
        and 'short' not in result
        and rows[0]['page'] == 'https://birds.example/'
        and rows[0]['title'] == 'Heron 0'
        and len(asked) >= 2
    )


def duckduckgo_pages(visit, n_pages=3):
    "The site's answers to a visitor whom it likes."
    if visit.path != '/i.js':
        return '<script>vqd=3-12345&vqd="4-12345"</script>'
    k = int(visit.query.get('s', 0)) // 100
    results = [
        dict(
            image=f'https://photos.example/{k}%20{i}.jpg',
            thumbnail='t',
            url='https://birds.example/',
            title='Heron',
        )
        for i in range(100)
    ]
    more = {'next': f'i.js?s={100 * k + 100}'} if k + 1 < n_pages else {}
    return json.dumps(dict(results=results if k < n_pages else []) | more)


def search_duckduckgo(answer, n=250):
    "The hits, the failure, and the visits of a search."
    with Web() as web, SourceContext(web) as context, search_site(answer) as (site, visits):
        return *search_source('duckduckgo', 'heron', n, context, site + '/'), visits


@pytest.mark.parametrize('code', [202, 403, 418, 429])
@pytest.mark.parametrize('where', ['token', 'first page', 'second page'])
def test_duckduckgo_refuses_an_old_agent(code, where):
    def answer(visit):
        is_old = 'Chrome/80' in visit.agent or 'python-requests' in visit.agent
        now = (
            'token'
            if visit.path != '/i.js'
            else 'second page'
            if 's' in visit.query
            else 'first page'
        )
        return (code, 'Ratelimit') if is_old and now == where else duckduckgo_pages(visit)

    hits, failure, visits = search_duckduckgo(answer)
    planned = [f'https://photos.example/{k}%20{i}.jpg' for k in range(3) for i in range(100)][:250]
    assert failure is None and [h.address for h in hits] == planned
    new = [
        v.query.get('s', '0') for v in visits if v.path == '/i.js' and 'Chrome/80' not in v.agent
    ]
    assert new == (['100', '200'] if where == 'second page' else ['0', '100', '200'])


def test_duckduckgo_refuses_both_ways():
    def answer(visit):
        return (403, '') if 's' in visit.query else duckduckgo_pages(visit)

    hits, failure, visits = search_duckduckgo(answer)
    assert len(hits) == 100 and isinstance(failure, Blocked)
    assert len([v for v in visits if 's' in v.query]) == 2, 'each way asks once'
    words = ('duckduckgo', 'http 403', 'kept', 'other sources go on', 'an hour')
    assert all(w in str(failure) for w in words)


def test_duckduckgo_repeats_itself_for_ever():
    def answer(visit):
        return duckduckgo_pages(visit._replace(query={}))

    hits, failure, visits = search_duckduckgo(answer)
    assert (len(hits), failure, len(visits)) == (100, None, 3)


def test_sources_follow_each_other_and_share_no_image(tmp_path):
    project = heron(tmp_path, images_per_label=6)
    with replaying('gbif') as (_, a), replaying('openverse') as (_, b):
        result = scrape(project, source=[a, b], label='garza', quiet=True)
    got = result['labels']['garza']
    assert {s: c['found'] for s, c in got['sources'].items()} == dict(gbif=5, openverse=5) and got[
        'kept'
    ] == 4
    assert got['rejected']['exact duplicate'] == 4  # The same four photos on two sites
    assert [r['source'] for r in project.catalogue.rows(label='garza')] == 5 * ['gbif'] + 5 * [
        'openverse'
    ]
    assert got['sources']['gbif']['kept'] == 4 and result['found'] == dict(gbif=5, openverse=5)


def test_the_queries_of_a_label_take_turns(tmp_path):
    "So that both plumages, or both species, of a label have their share."
    project = lesson_project(
        0, tmp_path / 'birds', images_per_label=4, labels={'buitre': ['a', 'b'], 'loro': ['c']}
    )
    with Hostile(
        {f'{q}{i}.jpg': good(whole(jpeg(10 * 'ab'.index(q) + i))) for q in 'ab' for i in range(4)}
    ) as photos:

        def answer(visit):
            found = [
                dict(url=photos.address(f"{visit.query['q']}{i}.jpg"), license='by')
                for i in range(4)
            ]
            return json.dumps(dict(results=found, page_count=1))

        with search_site(answer) as (site, _):
            source = f'openverse={site}/v1/images/'
            scrape(project, source=[source], label='buitre', allow=[photos.host], quiet=True)
    assert [r['query'] for r in project.catalogue.rows(label='buitre', state='kept')] == [
        'a',
        'b',
        'a',
        'b',
    ]


def test_status_shows_sources_and_reasons_as_a_table(tmp_path):
    project = heron(tmp_path)
    with replaying('openverse') as (_, source):
        scrape(project, source=[source], label='garza', quiet=True)
    done = birdsort('status', '--project', project.path)
    assert [l.split() for l in done.stdout.splitlines() if l.startswith(('label', 'garza'))] == [
        ['label', 'source', 'asked', 'found', 'kept', 'waiting', 'removed', 'rejected'],
        ['garza', 'openverse', '4', '5', '4', '0', '0', '1', 'http', '404'],
    ]
    assert (
        as_json('status', '--project', project.path)['labels']['garza']['sources']['openverse'][
            'kept'
        ]
        == 4
    )


def test_licences_of_a_source_that_knows_none(tmp_path):
    project, card = heron(tmp_path, images_per_label=1), lesson_project(1, tmp_path / 'card')
    (project.path / 'list.csv').write_text(
        'label,address,licence\ngarza,http://127.0.0.1:1/a.jpg,\n'
    )
    result = scrape(
        project,
        source=[f"urls={project.path / 'list.csv'}", f'folder={card.images}'],
        licence=['cc-by'],
        label='garza',
        quiet=True,
    )
    assert (
        result['labels']['garza']['rejected'] == {'licence': 1}
        and result['labels']['garza']['kept'] == 1
    )


def test_top_up_to_more(tmp_path):
    project = heron(tmp_path, images_per_label=2)
    table = {f'{i}.jpg': good(whole(jpeg(i))) for i in range(5)} | {'gone.jpg': good(status(404))}
    with Hostile(table) as server:
        (project.path / 'garza.txt').write_text(
            '\n'.join(
                map(server.address, ['0.jpg', 'gone.jpg', '1.jpg', '2.jpg', '3.jpg', '4.jpg'])
            )
        )
        args = dict(
            source=[f"urls={project.path / 'garza.txt'}"],
            label='garza',
            allow=[server.host],
            quiet=True,
        )
        first = scrape(project, **args)['labels']['garza']
        assert (first['kept'], first['waiting'], sum(server.asked.values())) == (2, 3, 3), (
            'more was downloaded than was wanted'
        )
        more = scrape(project, images_per_label=5, **args)['labels']['garza']
        assert (more['kept'], more['rejected']) == (5, {'http 404': 1}) and set(
            server.asked.values()
        ) == {1}


def test_licences_change_between_two_runs(tmp_path):
    project = heron(tmp_path, images_per_label=9)
    with replaying('gbif') as (_, source):
        assert (
            scrape(project, source=[source], licence=('cc0',), label='garza', quiet=True)['labels'][
                'garza'
            ]['kept']
            == 1
        )
        assert (
            scrape(
                project, source=[source], licence=('cc0', 'cc-by-nc'), label='garza', quiet=True
            )['labels']['garza']['kept']
            == 2
        )
        everything = scrape(project, source=[source], label='garza', quiet=True)['labels']['garza']
        assert everything['kept'] == 4 and 'licence' not in everything['rejected']


def asking(name, query='Ardea cinerea', n=9, catalogues=None, **kw):
    "Search a catalogue at full speed -> hits, what ended the search, the queries it was asked, what was looked up."
    with replaying(name, **kw) as (server, source), Web(allow=[server.host], pause=0.01) as web:
        context = SourceContext(web, every=0, catalogues=catalogues)
        hits, failure = search_source(name, query, n, context, source.partition('=')[2])
        return hits, failure, server.asked, context.taxa


# What a server may send instead of an answer -> the answer
NONSENSE = {
    'a login page': dict(raw='<!doctype html><form action="/login"><input name="password"></form>'),
    'nothing': dict(raw=''),
    'an empty object': dict(body={}),
    'a list': dict(body=['what?']),
    'a text': dict(body='what?'),
    'null': dict(body=None),
    'a thousand redirects': dict(status=302, hops=True),
    'half an object': dict(raw='{"results": [{'),
}
# Fields of another kind than expected
ODD = dict(
    inaturalist=[
        dict(results=None),
        dict(results={}),
        dict(results=[dict(photos=dict(url='x'))], total_results=1),
        dict(results=[dict(photos=[dict(url='x')], user='ada')], total_results=1),
        dict(results=[dict(id=1)], total_results='many'),
    ],
    gbif=[
        dict(results=None),
        dict(results='none'),
        dict(results=[dict(key=1, media=dict(identifier='x'))]),
    ],
    wikimedia=[
        dict(query=None),
        dict(query=dict(pages=[1])),
        dict(query=dict(pages={'1': dict(imageinfo=dict(url='x'))})),
        dict(batchcomplete='', **{'continue': 'more'}),
    ],
    openverse=[
        dict(results=None),
        dict(results=dict(url='x')),
        dict(results=[], page_count=dict(n=1)),
    ],
)
BAD = [(name, dict(body=body)) for name in PATHS for body in ODD[name]]
BAD += [(name, answer) for name in PATHS for answer in NONSENSE.values()]
BEFORE = dict(
    inaturalist=2, gbif=2, wikimedia=1, openverse=1
)  # Requests until the first page has come


@pytest.mark.parametrize('name,answer', BAD)
def test_a_page_of_nonsense_is_one_line_and_what_came_before_is_kept(name, answer):
    hits, failure, asked, _ = asking(name, always=answer, good=BEFORE[name])
    assert len(hits) == 3
    assert isinstance(failure, RuntimeError) and not isinstance(failure, Blocked)
    assert re.fullmatch(rf'{name}.*(its address or its answers may have changed)', str(failure))
    assert 'cannot be read' not in str(failure) and len(asked) <= BEFORE[name] + 6


@pytest.mark.parametrize('name', ['inaturalist', 'gbif'])
@pytest.mark.parametrize('answer', NONSENSE.values(), ids=NONSENSE)
def test_nonsense_instead_of_a_taxon(name, answer):
    hits, failure, _, taxa = asking(name, always=answer)
    assert not hits and not taxa  # What failed is looked up again later
    assert re.fullmatch(rf'{name}.*(its address or its answers may have changed)', str(failure))


def test_nonsense_on_the_command_line_is_one_line(tmp_path):
    project = heron(tmp_path)
    with replaying('gbif', always=dict(body=dict(results=None)), good=2) as (_, source):
        done = birdsort('scrape', '--project', project.path, '--label', 'garza', '--source', source)
    assert "gbif: 'results' is null, not a list, in its answer" in done.stdout
    assert 'Traceback' not in done.stdout + done.stderr and len(files(project.images)) == 3


MEANINGS = {
    'grey heron': ('Ardea cinerea', 'species'),
    'Ardea cinerea': ('Ardea cinerea', 'species'),
    'heron': ('Ardeidae', 'family'),
}


@pytest.mark.parametrize('name', ['inaturalist', 'gbif'])
@pytest.mark.parametrize('query', MEANINGS)
def test_what_a_name_stands_for(name, query):
    taxon = asking(name, query)[3][name, query]
    assert (taxon.scientific_name, taxon.rank) == MEANINGS[query]
    assert taxon.group in ('Aves', 'Animalia') and taxon.scientific_name in str(taxon)


@pytest.mark.parametrize('name,printed', [('inaturalist', 'iNaturalist'), ('gbif', 'GBIF')])
def test_a_query_that_is_no_taxon(name, printed):
    hits, failure, asked, taxa = asking(name, 'office chair')
    assert not hits and taxa == {(name, 'office chair'): None}
    assert str(failure) == (
        f"'office chair' is no species or group that {printed} knows: name another source for it, "
        'or write the scientific name in birdsort.toml'
    )
    assert not any('taxon_id' in query or 'taxonKey' in query for query in asked)


def test_a_name_that_is_too_short_gets_a_hint():
    vultures = [
        dict(id=k, preferred_common_name=name)
        for k, name in enumerate(['Turkey Vulture', 'Vulture Bee'])
    ]
    _, failure, _, _ = asking('inaturalist', 'vulture', always=dict(body=dict(results=vultures)))
    assert (
        "'vulture' is no species or group that iNaturalist knows (did you mean Turkey Vulture?)"
        in str(failure)
    )


def test_a_misspelt_scientific_name_is_no_guess():
    assert asking('gbif', 'Ardea cinera')[3] == {('gbif', 'Ardea cinera'): None}


def test_a_taxon_is_looked_up_once_for_all_labels(tmp_path):
    labels = {label: ['Ardea cinerea'] for label in ('a', 'b', 'c', 'd')}
    project = lesson_project(0, tmp_path / 'birds', images_per_label=2, labels=labels)
    with replaying('inaturalist') as (server, source):
        scrape(project, source=[source], quiet=True)
    assert (
        len([query for query in server.asked if 'q' in query]) == 2
    )  # The first of them was told to wait


def test_what_the_settings_ask_of_the_catalogues(tmp_path):
    wanted = Catalogues(
        quality_grade='needs_id', place=6774, captive=True, basis_of_record=('LIVING_SPECIMEN',)
    )
    project = heron(tmp_path, catalogues=wanted)
    empty = dict(body=dict(results=[], total_results=0, endOfRecords=True))
    with (
        replaying('inaturalist', always=empty, good=1) as (inaturalist, a),
        replaying('gbif', always=empty, good=1) as (gbif, b),
    ):
        scrape(project, source=[a, b], label='garza', quiet=True)
    asked = inaturalist.asked[1]
    assert (asked['quality_grade'], asked['place_id'], 'captive' in asked) == (
        'needs_id',
        '6774',
        False,
    )
    assert gbif.asked[1]['basisOfRecord'] == 'LIVING_SPECIMEN'


def test_settings_of_the_catalogues_in_the_file(tmp_path):
    project = heron(tmp_path)
    text = (project.path / 'birdsort.toml').read_text()
    assert '[catalogues]' in text and 'quality_grade = "research"' in text
    (project.path / 'birdsort.toml').write_text(text.replace('#place = 0', 'place = "Spain"'))
    done = birdsort('scrape', '--project', project.path)
    assert done.returncode == 1 and "place = 'Spain': must be a place's number" in one_line(done)


def openverse_page(page):
    results = [
        dict(url=f'https://photos.example/{page}.{i}.jpg', license='by', license_version='2.0')
        for i in range(20)
    ]
    return dict(body=dict(results=results, page_count=10_000, result_count=200_000))


def test_openverse_ends_quietly_where_its_depth_ends():
    hits, failure, asked, _ = asking(
        'openverse', n=400, always=lambda query: openverse_page(query['page'])
    )
    assert (len(hits), failure) == (240, None)
    assert {query['page_size'] for query in asked} == {'20'} and len(asked) == 12


def test_a_catalogue_that_repeats_itself_is_left_after_three_pages():
    hits, failure, asked, _ = asking('openverse', n=400, always=openverse_page(1))
    assert (len(hits), failure, len(asked)) == (20, None, 4)
