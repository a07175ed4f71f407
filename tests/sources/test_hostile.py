"Downloads from a server that does its worst: every good image is there, every reason is right, and no file is bad."

import csv
import os
import random
import signal
import subprocess
import time
import tracemalloc

import pytest
from PIL import Image

from birdsort.aviary.sample_project import lesson_project
from birdsort.core.images import decode, fingerprint
from birdsort.core.project import Project
from birdsort.scrape import scrape
from birdsort.sources.http import Web
from conftest import CLI, ENV, files, started
from helpers.hostile import Hostile, encode, faults, good, image, jpeg, status, whole

NOWHERE = {
    'ftp://a.example/1.jpg': 'not http',
    'file:///etc/passwd': 'not http',
    'photos/1.jpg': 'not an address',
    'http://[broken': 'not an address',
    'http://127.0.0.1:9/x.jpg': 'private address',
    'http://2130706433/x.jpg': 'not an address',
    'http://localhost:9/x.jpg': 'private address',
    'http://nowhere.invalid/x.jpg': 'no such host',
}


def listed(project, server, paths, name='list.csv', label='garza', more=()):
    "A CSV of addresses on the server -> a `source`."
    with open(project.path / name, 'w', newline='') as f:
        csv.writer(f).writerows(
            [
                ['label', 'address'],
                *([label, server.address(p)] for p in paths),
                *([label, a] for a in more),
            ]
        )
    return f'urls={project.path / name}'


@pytest.fixture(scope='module')
def survived(tmp_path_factory):
    project, table = (
        lesson_project(0, tmp_path_factory.mktemp('hostile') / 'birds', images_per_label=500),
        faults(),
    )
    with Hostile(table) as server:
        result = scrape(
            project,
            source=[listed(project, server, table, more=NOWHERE)],
            label='garza',
            allow=[server.host],
            timeout=3,
            quiet=True,
        )
        return project, {server.address(p): f for p, f in table.items()}, result, server.asked


def test_there_are_faults_enough():
    assert len([f for p, f in faults().items() if not p.startswith(('good', 'same'))]) >= 50


def test_every_file_decodes_and_is_a_plain_jpeg(survived):
    project = survived[0]
    kept = sorted((project.images / 'garza').iterdir())
    for f in kept:
        data = f.read_bytes()
        im = Image.open(f)
        assert (
            f.name == f'{fingerprint(data)[:16]}.jpg'
            and decode(data).size == im.size
            and im.format == 'JPEG'
            and im.mode in ('RGB', 'L')
        )
        assert not im.getexif() and b'at home' not in data
    assert len(kept) == len(project.catalogue.rows(label='garza', state='kept'))


def test_every_reason_is_right(survived):
    project, table, _, _ = survived
    rows = {r['address']: r for r in project.catalogue.rows(label='garza')}
    wrong = {
        a: (rows[a]['state'], rows[a]['reason'])
        for a, f in table.items()
        if not f.kept
        and (rows[a]['state'] != 'rejected' or rows[a]['reason'].split(':')[0] not in f.reason)
    }
    assert not wrong
    assert {a: rows[a]['reason'] for a in NOWHERE} == NOWHERE


def test_every_good_image_is_there(survived):
    project, table, result, _ = survived
    rows = {r['address']: r for r in project.catalogue.rows(label='garza')}
    assert not {
        a: rows[a]['reason'] for a, f in table.items() if f.kept and rows[a]['state'] != 'kept'
    }
    assert (
        result['labels']['garza']['kept'] == sum(f.kept for f in table.values())
        and result['labels']['garza']['waiting'] == 0
    )


def test_what_a_decoder_has_to_turn_and_convert(survived):
    project, table, _, _ = survived
    of = {
        a.rsplit('/', 1)[-1]: decode(project.images / 'garza' / r['name'])
        for a in table
        for r in project.catalogue.rows(address=a, state='kept')
    }
    assert of['upright.jpg'].size == (64, 96) and of['film.gif'].size == (96, 64)
    for name, seed in {
        'cmyk.jpg': 16,
        'palette.png': 17,
        'film.gif': 19,
        'image.webp': 22,
        'image.bmp': 23,
        'walked.jpg': 25,
    }.items():
        a, b = (im.convert('L').resize((1, 1)).getpixel((0, 0)) for im in (of[name], image(seed)))
        assert abs(a - b) < 12, name


def test_no_name_from_outside_touches_the_disk(survived):
    project = survived[0]
    assert all(
        len(f.stem) == 16 and f.suffix == '.jpg' for f in (project.images / 'garza').iterdir()
    )
    assert not [
        f
        for f in project.path.rglob('*')
        if 'escape' in f.name or 'passwd' in f.name or f.name.endswith('.part')
    ]


def test_waits_as_it_is_asked_to(survived):
    asked = survived[3]
    assert (
        asked['429-then-fine.jpg'],
        asked['429-for-a-day.jpg'],
        asked['500-then-fine.jpg'],
        asked['503.jpg'],
        asked['404.jpg'],
    ) == (2, 1, 3, 4, 1)


def test_a_host_is_not_flooded(tmp_path):
    with (
        Hostile({f'{i}.jpg': good(whole(jpeg(i))) for i in range(60)}, delay=0.05) as server,
        Web(allow=[server.host], per_host=5) as web,
    ):
        done = [web.submit(server.address(f'{i}.jpg')) for i in range(60)]
        assert all(d.result().body for d in done)
        assert 2 <= server.most_unanswered <= 5


def too_large_after_all(sock, nth):
    head = b'HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nConnection: close\r\n\r\n'
    sock.sendall(head + bytes(2_100_000))


FAILING = {
    'it cannot be read': (whole(bytes(2_000_000)), 'no image'),
    'it is too large': (too_large_after_all, 'too large'),
    'a file of one’s own': (None, 'no image'),
}


@pytest.mark.parametrize('send, reason', FAILING.values(), ids=FAILING)
def test_a_failure_does_not_hold_what_was_downloaded(send, reason):
    "Failures wait for their turn in the catalogue, 48 of them, with 32 MB each."

    def read(body):
        raise ValueError('no image')

    table = {f'{i}.jpg': good(send) for i in range(12)}
    with Hostile(table) as server, Web(allow=[server.host], most=2_050_000) as web:
        tracemalloc.start()
        if send:
            addresses = [server.address(name) for name in table]
            done = [web.submit(address, lambda answer: read(answer.body)) for address in addresses]
        else:
            done = [web.do(lambda: read(bytes(2_000_000))) for _ in table]
        assert {str(d.exception()) for d in done} == {reason}
        held = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
    assert held < 8_000_000


def test_the_owner_of_a_private_network_can_allow_it(tmp_path):
    project = lesson_project(0, tmp_path / 'birds', images_per_label=2)
    with Hostile({'a.jpg': good(whole(jpeg(1))), 'b.jpg': good(whole(jpeg(2)))}) as server:
        source = listed(project, server, ['a.jpg', 'b.jpg'])
        refused = scrape(project, source=[source], label='garza', quiet=True)
        assert (
            refused['labels']['garza']['rejected'] == {'private address': 2}
            and refused['short'] == {'garza': 2}
            and not server.asked
        )
        assert 'short' not in scrape(
            project, source=[source], label='garza', allow=[server.host], quiet=True
        )


def test_what_other_settings_let_through_is_asked_for_again(tmp_path):
    project = lesson_project(0, tmp_path / 'birds', images_per_label=2, min_side=90)
    with Hostile(
        {'a.jpg': good(whole(jpeg(1), X_Robots_Tag='noai')), 'b.jpg': good(whole(jpeg(2)))}
    ) as server:
        args = dict(
            source=[listed(project, server, ['a.jpg', 'b.jpg'])],
            label='garza',
            allow=[server.host],
            quiet=True,
        )
        for _ in range(2):
            assert scrape(project, **args)['labels']['garza']['rejected'] == {
                'opted out': 1,
                'too small': 1,
            }
        assert server.asked['b.jpg'] == 1
        toml = (project.path / 'birdsort.toml').read_text()
        (project.path / 'birdsort.toml').write_text(
            toml.replace('#respect_noai = true', 'respect_noai = false').replace(
                'min_side = 90', 'min_side = 32'
            )
        )
        assert scrape(project, **args)['labels']['garza']['kept'] == 2


def test_a_card_with_new_images_under_old_names(tmp_path):
    project, card = (
        lesson_project(0, tmp_path / 'birds', images_per_label=2),
        tmp_path / 'card/garza',
    )
    card.mkdir(parents=True)
    for seed in (1, 2):
        (card / 'IMG_0001.JPG').write_bytes(jpeg(seed))
        (card / 'IMG_0002.NEF').write_bytes(b'from a camera')
        os.utime(card / 'IMG_0001.JPG', ns=(seed, seed * 10**9))
        result = scrape(project, source=[f'folder={card.parent}'], label='garza', quiet=True)[
            'labels'
        ]['garza']
        assert (
            result['kept'] == seed
            and result['rejected']['format not read'] >= 1
            and (card / 'IMG_0001.JPG').is_file()
        )


def test_neither_proxy_nor_netrc_opens_a_way_in(tmp_path, monkeypatch):
    "A proxy is asked for the web alone, not for what is inside; and no password leaves the machine."
    (tmp_path / '.netrc').write_text('default login me password secret')
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.setenv('NETRC', str(tmp_path / '.netrc'))
    seen = []
    with (
        Hostile({}) as proxy,
        Hostile(
            {'a.jpg': good(lambda sock, nth: seen.append(1) or whole(jpeg(1))(sock, nth))}
        ) as inside,
    ):
        monkeypatch.setenv('https_proxy', f'http://{proxy.host}')
        with Web(pause=0.01) as web, pytest.raises(ValueError, match='private address'):
            web.get(inside.address('a.jpg'))
        monkeypatch.setenv('http_proxy', f'http://{proxy.host}')
        with Web(pause=0.01) as web:
            for name in ('localhost:22', '127.0.0.1:22', 'metadata.google.internal', 'printer'):
                with pytest.raises(ValueError, match='private address'):
                    web.get(f'http://{name}/x.jpg')
            with pytest.raises(ValueError, match='http 404'):
                web.get(
                    'http://photos.example.invalid/x.jpg'
                )  # Through the proxy, which answers 404
        monkeypatch.setenv('http_proxy', 'http://proxy:port')
        with Web() as web, pytest.raises(ValueError, match='is not an address'):
            web.get('http://photos.example.invalid/x.jpg')
    assert not seen and len(proxy.asked) == 1


def test_a_host_that_says_wait_to_everything_does_not_hold_the_run_up(tmp_path):
    with (
        Hostile({f'{i}.jpg': good(status(429, Retry_After='1')) for i in range(40)}) as server,
        Web(allow=[server.host], timeout=20) as web,
    ):
        start, done = time.monotonic(), [web.submit(server.address(f'{i}.jpg')) for i in range(40)]
        assert {str(d.exception()) for d in done} == {'http 429'} and time.monotonic() - start < 60
        assert sum(server.asked.values()) < 40 * 4


def test_small_and_large_images(tmp_path):
    project = lesson_project(0, tmp_path / 'birds', images_per_label=9, min_side=100, max_side=200)
    table = {f'{s}.jpg': good(whole(encode(image(s, s)))) for s in (120, 180, 900)}
    with Hostile(table) as server:
        result = scrape(
            project,
            source=[listed(project, server, table)],
            label='garza',
            allow=[server.host],
            quiet=True,
        )['labels']['garza']
    assert result['rejected'] == {'too small': 1} and sorted(
        r['width'] for r in project.catalogue.rows(state='kept')
    ) == [180, 200]


def test_what_failed_for_the_time_being_is_tried_again_by_the_next_run(tmp_path):
    project = lesson_project(0, tmp_path / 'birds', images_per_label=2)
    table = {'a.jpg': good(whole(jpeg(1))), 'b.jpg': good(status(503)), 'c.jpg': good(status(404))}
    with Hostile(table) as server:
        args = dict(
            source=[listed(project, server, table)],
            label='garza',
            allow=[server.host],
            timeout=20,
            quiet=True,
        )
        assert scrape(project, **args)['labels']['garza']['rejected'] == {
            'http 503': 1,
            'http 404': 1,
        }
        server.table['b.jpg'] = good(whole(jpeg(2)))
        assert scrape(project, **args)['labels']['garza']['kept'] == 2
        assert server.asked['a.jpg'] == server.asked['c.jpg'] == 1
        scrape(project, **args)
        assert server.asked['a.jpg'] == 1


def as_it_should_be(project, whole_one):
    "The same files as the undisturbed run, each known by one row, with the same origin."
    assert files(project.images) == files(whole_one.images) and len(files(project.images)) == 40
    kept, rows = (
        Project(p.path).catalogue.rows(label='garza', state='kept') for p in (whole_one, project)
    )
    assert [(r['name'], r['address'], r['sha256']) for r in rows] == [
        (r['name'], r['address'], r['sha256']) for r in kept
    ]


@pytest.mark.timeout(600)
def test_killed_thirty_times_ends_in_the_same_files(tmp_path, capsys):
    """SIGKILL at random moments, each time run again to its end or to the next kill; says how many hit a download
    in flight."""
    table = (
        {f'{i}.jpg': good(whole(jpeg(i % 45))) for i in range(60)}
        | {f'no-{i}.jpg': good(status(404)) for i in range(6)}
        | {'half.jpg': good(whole(jpeg(3)[:500]))}
    )
    order, rng, kills, in_flight, rounds = list(table), random.Random(1), 0, 0, 0
    rng.shuffle(order)
    said = tmp_path / 'out', tmp_path / 'err'
    with Hostile(table, delay=0.15) as server:

        def run(project):
            where = ['--project', project.path, '--label', 'garza', '--allow', server.host]
            return started(['scrape', *where, '--source', listed(project, server, order)], said)

        def ended(process):
            process.join()
            return process.exitcode

        whole_one = lesson_project(0, tmp_path / 'whole', images_per_label=40)
        assert ended(run(whole_one)) == 0
        while kills < 30:
            killed, rounds = (
                lesson_project(0, tmp_path / f'killed-{rounds}', images_per_label=40),
                rounds + 1,
            )
            while (process := run(killed)).is_alive():
                before, moment = sum(server.asked.values()), rng.random() * 0.4
                while process.is_alive() and sum(server.asked.values()) == before:
                    time.sleep(0.002)
                time.sleep(moment)
                if kills < 30 and process.is_alive():
                    in_flight, kills = in_flight + (server.open > 0), kills + 1
                    process.kill()
                if ended(process) == 0:
                    break
            as_it_should_be(killed, whole_one)
    with capsys.disabled():
        print(f'\n{kills} kills in {rounds} rounds, {in_flight} of them with a download in flight')
    assert in_flight >= 10


def test_ctrl_c_does_not_wait_for_a_server_that_stalls(tmp_path):
    from helpers.hostile import stall

    project, table = (
        lesson_project(0, tmp_path / 'birds', images_per_label=9),
        {f'{i}.jpg': good(stall) for i in range(9)} | {'a.jpg': good(whole(jpeg(1)))},
    )
    with Hostile(table) as server:
        command = [
            'scrape',
            '--project',
            project.path,
            '--label',
            'garza',
            '--source',
            listed(project, server, ['a.jpg', *table]),
            '--allow',
            server.host,
            '--timeout',
            '600',
        ]
        process = subprocess.Popen(
            [*CLI, *map(str, command)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=ENV,
        )
        while server.open < 5:
            time.sleep(0.01)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)  # The server may take ten minutes
        assert process.returncode == 130 and 'stopped' in err and 'Traceback' not in err
    assert (
        len(project.catalogue.rows(state='kept')) == 1
        and len(project.catalogue.rows(state='asked')) == 9
    ), 'what was under way was given up for good'
