"Scraping with a real headless browser: what was planned is what is kept, and a kill loses nothing."

import os
import signal
import sqlite3
import time

import pytest

from birdsort.aviary.sample_project import lesson_project
from birdsort.aviary.site import Aviary
from birdsort.clean import clean
from birdsort.core.images import decode, fingerprint
from birdsort.scrape import scrape
from conftest import as_json, files, started

FAULTS = dict(
    exact_duplicate=0.2, near_duplicate=0.1, other_species=0.1, corrupt=0.1, truncated=0.2, html=0.1
)


@pytest.fixture(scope='module')
def scraped(tmp_path_factory):
    "A project scraped from an aviary in which much is wrong, and what the aviary had planned."
    project = lesson_project(0, tmp_path_factory.mktemp('scrape') / 'birds', images_per_label=500)
    with Aviary(per_query=14, faults=FAULTS, seed=3) as site:
        result = scrape(project, source=[f'google={site.address}'], allow=site.hosts, quiet=True)
        plan = {
            l: [p for q in qs for p in site.photos(q)] for l, qs in project.settings.labels.items()
        }
    return project, result['labels'], plan


def test_every_planned_photo_was_found(scraped):
    project, labels, plan = scraped
    for label in plan:
        found = {r['address'] for r in project.catalogue.rows(label=label)}
        assert found == {p.address for p in plan[label]} and labels[label]['found'] == len(
            plan[label]
        )


def test_what_became_of_each_kind(scraped):
    project, _, plan = scraped
    kinds = {p.address: p.kind for ps in plan.values() for p in ps}
    became = {}
    for r in project.catalogue.rows():
        became.setdefault(kinds[r['address']], set()).add(
            (r['state'], (r['reason'] or '').split(':')[0])
        )
    assert became['html'] == {('rejected', 'not an image')}
    assert became['truncated'] == {('rejected', 'broken image')}
    assert became['corrupt'] <= {('rejected', 'broken image'), ('rejected', 'not an image')}
    assert became['near_duplicate'] == became['other_species'] == {('kept', '')}
    assert became['good'] | became['exact_duplicate'] == {
        ('kept', ''),
        ('rejected', 'exact duplicate'),
    }


def test_of_each_image_exactly_one_copy_is_kept(scraped):
    project, labels, plan = scraped
    for label in plan:
        kept = files(project.images / label)
        assert len(kept) == labels[label]['kept'] == len(set(map(fingerprint, kept.values())))
        assert len(
            [p for p in plan[label] if p.kind in ('good', 'near_duplicate', 'other_species')]
        ) == len(kept)
        assert all(
            name == f'{fingerprint(data)[:16]}.jpg' and decode(data).size
            for name, data in kept.items()
        )


def test_the_catalogue_knows_the_way(scraped):
    project, _, plan = scraped
    by_address = {p.address: p for ps in plan.values() for p in ps}
    for r in project.catalogue.rows(state='kept'):
        p = by_address[r['address']]
        assert (r['page'], r['title']) == (p.page, p.title)
        assert (
            (r['width'], r['height']) == decode(project.images / r['label'] / r['name']).size
            and r['sha256']
            and r['query'] in project.settings.labels[r['label']]
        )


def test_a_gallery_is_served_and_kept_byte_for_byte(tmp_path):
    source = lesson_project(15, tmp_path / 'source')
    done = lesson_project(
        0,
        tmp_path / 'copy',
        images_per_label=15,
        source=(f'aviary={source.images}',),
        labels={l: [l] for l in source.settings.labels},
    )
    scrape(done, quiet=True)
    assert files(done.images) == files(source.images)


def test_what_was_removed_does_not_come_back(tmp_path):
    project = lesson_project(0, tmp_path / 'birds', images_per_label=6)
    from birdsort.clean import set_aside

    with Aviary(per_query=12) as site:
        scrape(project, source=[f'google={site.address}'], allow=site.hosts, quiet=True)
        gone = project.catalogue.rows(label='garza', state='kept')[0]['name']
        set_aside(project, 'garza', gone)
        scrape(project, source=[f'google={site.address}'], allow=site.hosts, quiet=True)
    assert len(files(project.images / 'garza')) == 6 and gone not in files(project.images / 'garza')
    assert (project.removed / 'garza' / gone).is_file()


def test_a_blocking_search_is_named_and_the_rest_is_kept(tmp_path):
    project = lesson_project(4, tmp_path / 'birds', images_per_label=6)
    with Aviary() as site:
        site.blocked = True
        result = scrape(project, source=[f'google={site.address}'], allow=site.hosts, quiet=True)
    assert 'blocks' in result['resting']['google'] and len(files(project.images)) == 12
    assert result['short'] == dict(cacatua=2, garza=2, buitre=2) and 'problems' not in result


def test_a_label_that_nothing_is_found_for(tmp_path):
    gallery = lesson_project(6, tmp_path / 'gallery').images
    project = lesson_project(
        0,
        tmp_path / 'birds',
        images_per_label=3,
        source=(f'aviary={gallery}',),
        labels={'unicorn': ['unicorn'], 'garza': ['garza']},
    )
    result = scrape(project, quiet=True)['labels']
    assert (result['unicorn']['found'], result['garza']['kept']) == (0, 3)


def test_a_search_that_is_not_there(tmp_path):
    project = lesson_project(0, tmp_path / 'birds', images_per_label=3)
    with Aviary() as site:
        address = site.address
    assert (
        'ERR_CONNECTION_REFUSED'
        in scrape(project, source=[f'google={address}'], quiet=True)['resting']['google']
    )


def test_killed_and_run_again_ends_in_the_same_files(tmp_path):
    whole, killed = (
        lesson_project(0, tmp_path / d, images_per_label=12) for d in ('whole', 'killed')
    )
    as_json('scrape', '--project', whole.path)
    kills, halves = 0, []
    for seconds in (0, 0.02, 0.05, 0.1, 0.15, 0.2):
        run = started(['scrape', '--project', killed.path], [tmp_path / 'out', tmp_path / 'err'])
        before = len(files(killed.images)) if killed.images.is_dir() else 0
        while run.is_alive() and (
            not killed.images.is_dir() or len(list(killed.images.rglob('*.jpg'))) <= before
        ):
            time.sleep(0.005)
        time.sleep(seconds)
        if run.is_alive():
            os.killpg(run.pid, signal.SIGKILL)
            kills += 1
        run.join()
        halves += [
            n for n, data in files(killed.images).items() if n.endswith('.jpg') and not decode(data)
        ]
    as_json('scrape', '--project', killed.path)
    assert kills >= 3 and not halves
    whole_files, killed_files = (files(p.images) for p in (whole, killed))
    assert killed_files == whole_files
    db = sqlite3.connect(killed.path / 'catalogue.sqlite')
    assert db.execute(
        "select count(*) from image where state = 'kept' and address is not null"
    ).fetchone()[0] == len(whole_files), 'an origin was lost'


def test_cleaning_finds_what_a_person_put_there(tmp_path):
    project = lesson_project(5, tmp_path / 'birds')
    first = sorted((project.images / 'garza').iterdir())[0]
    (project.images / 'garza' / 'mine.JPG').write_bytes(
        first.read_bytes()
    )  # a copy under its own label
    (project.images / 'buitre' / 'other.jpg').write_bytes(
        sorted((project.images / 'cacatua').iterdir())[0].read_bytes()
    )  # one under two labels
    (project.images / 'garza' / 'broken.jpg').write_bytes(first.read_bytes()[:2000])
    before = files(project.path / 'images') | files(project.path / 'removed')
    result = clean(project, apply=True, quiet=True)
    assert result['removed'] == {
        'garza': {'corrupt': 1, 'exact duplicate': 1},
        'buitre': {'exact duplicate': 1},
        'cacatua': {'exact duplicate': 1},
    }
    assert first.is_file() and not (project.images / 'garza' / 'mine.JPG').exists()
    assert files(project.path / 'images') | files(project.path / 'removed') == before, (
        'an image was lost'
    )
