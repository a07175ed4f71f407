"""Google's page in a real headless Chromium: three generations of layout, three ways to the photo, consent,
blocks, one browser."""

import math
import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial

import pytest

from birdsort.aviary.questions import LANGUAGES, SIGNS
from birdsort.aviary.sample_project import lesson_project
from birdsort.aviary.site import Aviary
from birdsort.scrape import scrape
from birdsort.sources import base as hit
from birdsort.sources import browser as browsers
from birdsort.sources import google as page
from birdsort.sources.base import Blocked, SourceContext
from birdsort.sources.google import google
from birdsort.sources.http import Web
from conftest import CLI, ENV, birdsort
from helpers.hostile import Hostile, good, stall


@pytest.fixture(scope='module')
def kit():
    with Web() as web, SourceContext(web) as kit:
        yield kit


def visit(kit, site, query='white stork', n=30):
    "The hits, and what was planned; as a visitor who has never been there."
    with kit.driver() as driver:
        driver.execute_cdp_cmd('Network.clearBrowserCookies', {})
    return list(google(query, n, kit, site.address)), {p.address: p for p in site.photos(query)}


@pytest.mark.parametrize(
    'consent,language', [(False, 'en'), ('page', 'de'), ('overlay', 'fr'), ('overlay', 'es')]
)
@pytest.mark.parametrize('layout', [2019, 2022, 2025])
def test_every_layout_by_its_links(kit, layout, consent, language):
    with Aviary(per_query=100, layout=layout, consent=consent, language=language) as site:
        hits, plan = visit(kit, site, n=100)  # Beyond the first "more results"
        assert [h.address for h in hits] == list(plan)
        assert all((h.page, h.title) == (plan[h.address].page, plan[h.address].title) for h in hits)


def no_hits(driver):
    return []


@pytest.mark.parametrize('layout', [2019, 2022, 2025])
@pytest.mark.parametrize('reveal', ['panel', 'script'])
def test_every_layout_by_the_other_ways(kit, layout, reveal, monkeypatch):
    used = []

    def note(read, name, *args):
        found = read(*args)
        used.append((name, len(found)))
        return found

    if reveal == 'panel':
        monkeypatch.setattr(page, 'read_scripts', no_hits)
    for way in ('read_panel', 'read_scripts'):
        monkeypatch.setattr(
            page,
            way,
            partial(note, getattr(page, way), way),
        )
    with Aviary(
        per_query=12, layout=layout, reveal=reveal, consent='overlay', language='nl'
    ) as site:
        hits, plan = visit(kit, site, n=12)
        assert {h.address for h in hits} == set(plan)
        assert used == (
            [('read_scripts', 0)] * 2 + [('read_panel', 12)]
            if reveal == 'panel'
            else [('read_scripts', 12)]
        )
        if reveal == 'panel':
            assert all(h.page == plan[h.address].page for h in hits)


def as_planned(hits, plan):
    "Whether all photos were found in the order of the page, each with its page and title."
    found = [(hit.address, hit.page, hit.title) for hit in hits]
    return found == [(photo.address, photo.page, photo.title) for photo in plan.values()]


@pytest.mark.parametrize(
    ('layout', 'linked', 'broken'),
    [
        (2024, 0, False),
        (2024, 0.15, True),
        (2024, 1, False),
        (2026, 0, True),
        (2026, 0.15, False),
        (2026, 1, True),
    ],
)
def test_a_hundred_results_of_the_newest_layouts(kit, layout, linked, broken):
    "With and without links, and where clicks are not handled, so that one on a link would lead away."
    with Aviary(per_query=100, layout=layout, linked=linked, broken=broken, consent=False) as site:
        assert as_planned(*visit(kit, site, n=100))


@pytest.mark.parametrize('layout', [2024, 2026])
def test_links_appear_where_an_element_inside_hears_the_mouse(kit, layout, monkeypatch):
    monkeypatch.setattr(page, 'read_scripts', no_hits)
    with Aviary(per_query=30, layout=layout, linked=0.2, consent=False) as site:
        hits, plan = visit(kit, site, n=30)
        assert {hit.address for hit in hits} == set(plan)


def test_a_click_leads_nowhere(kit, monkeypatch):
    "Where no script handles it, and where the page's own script leads away; what was read is kept."
    monkeypatch.setattr(page, 'read_scripts', no_hits)
    with Aviary(per_query=30, layout=2026, linked=0.2, broken=True, consent=False) as site:
        hits, plan = visit(kit, site, n=30)
        assert 0 < len(hits) < 15
        assert {hit.address for hit in hits} < set(plan)
        with kit.driver() as driver:
            assert driver.current_url.startswith(site.address)
            driver.execute_script(
                "addEventListener('click', () => { location = '/imgres?imgurl=x' })"
            )
            assert page.read_panel(driver, 3) == []
            assert driver.current_url.startswith(site.address), 'the browser did not go back'


@pytest.mark.parametrize('seconds', [0.5, 4])
def test_a_check_of_the_browser_is_waited_for(kit, seconds):
    with Aviary(per_query=30, layout=2026, check=seconds) as site:
        assert as_planned(*visit(kit, site, n=30))


def test_a_check_without_end_is_a_block(kit, monkeypatch):
    monkeypatch.setattr(page, '_CHECK_SECONDS', 2)
    with Aviary(per_query=5, layout=2026, check=math.inf) as site, pytest.raises(Blocked) as error:
        visit(kit, site)
    assert "the search site's check of the browser did not finish" in str(error.value)


@pytest.mark.parametrize('language', LANGUAGES)
def test_consent_is_declined_in_every_language(kit, language):
    for first, consent in (
        ('accept', 'page'),
        ('reject', 'page'),
        ('accept', 'overlay'),
        ('reject', 'overlay'),
    ):
        with Aviary(
            per_query=4, layout=2026, consent=consent, language=language, first=first
        ) as site:
            assert as_planned(*visit(kit, site, n=4))
            assert site.choices == ['reject']


@pytest.mark.parametrize('sign', SIGNS)
@pytest.mark.parametrize('button', ['button', 'input'])
def test_consent_is_declined_by_any_sign(kit, sign, button):
    with Aviary(per_query=4, consent='page', first='accept', signs=(sign,), button=button) as site:
        assert len(visit(kit, site, n=4)[0]) == 4
        assert site.choices == ['reject']


@pytest.fixture
def display(monkeypatch):
    "A screen that nobody sees, or the real one of a Mac."
    if sys.platform == 'darwin':
        yield
        return
    read, write = os.pipe()
    command = ['Xvfb', '-displayfd', str(write), '-screen', '0', '1280x1600x24', '-nolisten', 'tcp']
    server = subprocess.Popen(command, pass_fds=[write], stderr=subprocess.DEVNULL)
    with os.fdopen(read) as number:
        monkeypatch.setenv('DISPLAY', f':{number.readline().strip()}')
    os.close(write)
    yield
    server.terminate()
    server.wait()


def test_a_puzzle_is_waited_for_in_a_window_and_remembered(display, tmp_path):
    told, profile = [], tmp_path / 'profile'
    with Aviary(per_query=6, layout=2026) as site, Web() as web:
        site.blocked = 'captcha'
        person = threading.Timer(1, setattr, [site, 'blocked', False])

        def tell(words):
            told.append(words)
            person.start()

        with SourceContext(web, headed=True, profile=profile, tell=tell) as context:
            hits = list(google('white stork', 6, context, site.address))
        assert [hit.address for hit in hits] == [
            photo.address for photo in site.photos('white stork')
        ]
        assert len(told) == 1
        assert 'answer what it asks in the window' in told[0]
        assert site.choices == ['reject']
        with SourceContext(web, profile=profile) as context:
            assert len(list(google('white stork', 6, context, site.address))) == 6
        assert site.choices == ['reject'], 'the profile has forgotten the answer'
    assert not {'owner', 'driver'} & {file.name for file in profile.iterdir()}


def test_a_puzzle_may_give_way_to_consent_at_any_moment(display, tmp_path, monkeypatch):
    asked, is_blocked = [], page.is_blocked

    def solved_meanwhile(driver):
        asked.append(driver.current_url)
        if len(asked) == 2:
            site.blocked = False
            driver.refresh()
        return is_blocked(driver)

    monkeypatch.setattr(page, 'is_blocked', solved_meanwhile)
    with Aviary(per_query=6, layout=2026, consent='page') as site, Web() as web:
        site.blocked = 'captcha'
        with SourceContext(web, headed=True, profile=tmp_path / 'profile', tell=print) as context:
            assert len(list(google('white stork', 6, context, site.address))) == 6
        assert len(asked) > 2
        assert site.choices == ['reject']


def test_class_names_are_others_at_each_start(kit):
    found = []
    for _ in range(2):
        with Aviary(per_query=5, layout=2022, consent=False) as site, kit.driver() as driver:
            driver.get(f'{site.address}?q=white+stork')
            found.append(
                set(
                    driver.execute_script(
                        "return [...document.querySelectorAll('[class]')].flatMap(e => [...e.classList])"
                    )
                )
            )
    assert found[0] and found[1] and not found[0] & found[1]


def test_a_page_without_end(kit):
    with Aviary(per_query=30, consent=False) as site:
        site.endless = True
        hits, plan = visit(kit, site, n=100)
        assert {h.address for h in hits} == set(plan)


@pytest.mark.parametrize('blocked', [True, 'captcha'])
def test_a_block_is_no_empty_answer(kit, blocked):
    with Aviary(per_query=5, language='it') as site:
        assert visit(kit, site, 'unicorn')[0] == []
        site.blocked = blocked
        with pytest.raises(Blocked, match='blocks automatic searches'):
            visit(kit, site)


def test_blocked_halfway_keeps_what_was_collected_and_says_so(tmp_path):
    """The third search is blocked: two labels are full, the third gets what the other source has, and the block is
    named."""
    card = lesson_project(2, tmp_path / 'card')
    project = lesson_project(0, tmp_path / 'birds', images_per_label=6)
    with Aviary(per_query=10) as site:
        site.block_after = 2
        result = scrape(
            project,
            source=[f'google={site.address}', f'folder={card.images}'],
            allow=site.hosts,
            quiet=True,
        )
        force = birdsort('scrape', '--project', project.path, '--source', f'google={site.address}')
    kept = {l: t['kept'] for l, t in result['labels'].items()}
    assert (
        'blocks automatic searches' in result['resting']['google']
        and sum(result['short'].values()) == sum(6 - k for k in kept.values()) > 0
        and all(k >= 2 for k in kept.values())
    )
    assert (
        force.returncode == 3
        and 'blocks automatic searches' in force.stdout
        and 'fell short: ' + ', '.join(f'{l} by {6 - k}' for l, k in kept.items() if k < 6)
        in force.stdout
    )


def test_one_browser_for_a_whole_run(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(
        hit,
        'browser',
        lambda headed, profile: started.append(headed) or browsers.browser(headed, profile),
    )
    project = lesson_project(0, tmp_path / 'birds', images_per_label=4)
    with Aviary(per_query=8) as site:
        assert 'short' not in scrape(
            project, source=[f'google={site.address}'], allow=site.hosts, quiet=True
        )
    assert started == [False]


def test_a_browser_that_dies_is_replaced(tmp_path, monkeypatch):
    project, real, visits = (
        lesson_project(0, tmp_path / 'birds', images_per_label=4),
        page._open,
        [],
    )

    def deadly(driver, *args):
        visits.append(args)
        if len(visits) == 1:
            driver.service.process.kill() or driver.service.process.wait()
        return real(driver, *args)

    monkeypatch.setattr(page, '_open', deadly)
    with Aviary(per_query=8) as site:
        result = scrape(project, source=[f'google={site.address}'], allow=site.hosts, quiet=True)
    assert not result.keys() & {'short', 'problems'} and len(visits) == 5


def test_ctrl_c_while_the_page_never_ends(tmp_path):
    project = lesson_project(0, tmp_path / 'birds', images_per_label=4)
    with Hostile({'search': good(stall)}) as server:
        process = subprocess.Popen(
            [
                *CLI,
                'scrape',
                '--project',
                str(project.path),
                '--source',
                f"google={server.address('search')}",
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=ENV,
        )
        while not server.open:
            time.sleep(0.02)
        start = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and 'stopped' in err and time.monotonic() - start < 25, (
        'it waited for the page'
    )


def test_the_next_browser_ends_what_a_kill_left_behind(tmp_path, short):
    def running():
        return subprocess.run(['ps', '-eww', '-o', 'args='], capture_output=True, text=True).stdout

    with Hostile({'search': good(stall)}) as server:
        project = lesson_project(0, tmp_path / 'birds', images_per_label=4)
        process = subprocess.Popen(
            [
                *CLI,
                'scrape',
                '--project',
                str(project.path),
                '--source',
                f"google={server.address('search')}",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=ENV | {'TMPDIR': str(short)},
        )
        while not server.open:
            time.sleep(0.02)
        process.kill()
        process.wait()
        (left,) = short.glob('birdsort-browser-*')
        assert str(left) in running()
        subprocess.run(
            [
                *CLI[:2],
                'from birdsort.sources.browser import browser\nwith browser() as driver: pass',
            ],
            env=ENV | {'TMPDIR': str(short)},
            check=True,
        )
    assert not left.exists() and str(left) not in running()


def test_a_photo_whose_address_opens_nothing_is_only_a_reason(tmp_path):
    "The page at the given address is no image search."
    project = lesson_project(
        0,
        tmp_path / 'birds',
        images_per_label=4,
        labels={'garza': ['grey heron'], 'loro': ['parrot']},
    )
    with Aviary() as site:
        result = scrape(
            project, source=[f"google={site.photos('owl')[0].page}"], allow=site.hosts, quiet=True
        )
    assert all('no image search' in why[0] for why in result['problems'].values()) and result[
        'short'
    ] == {
        'garza': 4,
        'loro': 4,
    }


def test_a_page_of_results_does_not_ask_for_consent(kit):
    "Though it holds a hidden form, and a title in the words of the buttons."
    results = (
        '<a><img width=90 height=90></a>' * 5
        + '<div jsaction="x"><span>Reject all plastic</span></div>'
    )
    form = '<form style="display:none"><input name=set_eom value=true><button>Send</button></form>'
    with kit.driver() as driver:
        driver.get(f'data:text/html,<script></script>{results}{form}')
        assert page.pass_consent(driver) == ''
        assert page.settle(driver, 1)


def test_data_of_every_shape_is_read():
    def entry(k, about, photo='https://photos.example/{}.jpg'):
        return f'[0,"ID{k}",["https://encrypted-tbn0.gstatic.com/images?q=tbn:{k}",9,9],["{photo.format(k)}",9,9],{about}]'

    found = page.parse_scripts(
        ','.join(
            [
                entry(1, '{"2003":[null,null,"https://pages.example/1","One"]}'),
                entry(2, '{"2008":[null,"Two"]}', 'https://photos.example/{}.jpg?from=gstatic.com'),
                entry(3, 'null'),
                entry(
                    4, '{"2003":[null,"x","https://pages.example/4","Four"]}', 'x-raw-image:///{}'
                ),
                entry(3, '{"2003":[7,"x","https://pages.example/3","Three"]}'),
            ]
        )
    )
    assert [(hit.page[-1:], hit.title) for hit in found] == [
        ('1', 'One'),
        ('', 'Two'),
        ('3', 'Three'),
    ]
