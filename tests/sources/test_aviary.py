"""What the aviary promises to those who try a scraper on it: in a real browser what scripts do, over plain HTTP the
rest."""

import json
import math
import re
import time
import urllib.request
from http.cookiejar import CookieJar
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlsplit

import pytest
from ddgs.engines.bing_images import BingImages

from birdsort.aviary.exhibits import photo_bytes
from birdsort.aviary.questions import LANGUAGES, LAYOUTS, phrases
from birdsort.aviary.site import Aviary
from birdsort.sources.browser import browser
from birdsort.sources.google import parse_scripts
from conftest import until

TILES = 'div[data-lpage][data-attrid="images universal"] h3 a'
HOVER = """const [target] = arguments, tiles = [...document.querySelectorAll(`div[data-lpage] h3 a${target}`)]
for (const tile of tiles) tile.dispatchEvent(new MouseEvent('mouseover', {bubbles: true}))
return [...document.querySelectorAll('div[data-lpage] h3 a')].map(a => a.getAttribute('href'))"""

IMAGES = 'return [...document.images].map(i => i.src)'


@pytest.fixture(scope='module')
def chromium():
    with browser() as driver:
        yield driver


@pytest.fixture
def driver(chromium):
    chromium.execute_cdp_cmd('Network.clearBrowserCookies', {})
    return chromium


def visitor():
    "Open an address as one who keeps cookies and runs no scripts."
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))

    def visit(address, data=None):
        with opener.open(address, data, timeout=20) as answer:
            return answer.read().decode()

    return visit


def rows(html):
    "Every result in the data of a page's scripts."
    found = re.findall(
        r'"[\w-]+":(\[1,\[0,.*?,null,0\],"2008":\[null,"(?:[^"\\]|\\.)*"\]\}\]\])', html
    )
    return [json.loads(text)[1] for text in found]


@pytest.mark.parametrize('layout', LAYOUTS)
def test_the_scripts_hold_photo_page_and_title_of_every_result(layout):
    with Aviary(per_query=120, layout=layout, consent=False, faults={'html': 0.1}) as site:
        plan = site.photos('owl')
        n = 100 if layout in (2024, 2026) else 24
        html = visitor()(f'{site.address}?q=owl&udm=2')
    known = [(r[3][0], r[3][2], r[3][1], r[-1]['2003'][2], r[-1]['2003'][3]) for r in rows(html)]
    assert known == [(p.address, p.width, p.height, p.page, p.title) for p in plan[:n]]
    assert [h.address for h in parse_scripts(html)] == [p.address for p in plan[:n]]
    assert {'"', '&', '[', '<', '鳥', 'é'} <= set(''.join(p.title for p in plan[:n]))
    assert '/images?q\\u003dtbn:' in html and not any(p.address in html for p in plan)


@pytest.mark.parametrize('layout', [2024, 2026])
@pytest.mark.parametrize('inner', [' img', ' [jsaction*="mouseover:"]'])
def test_only_an_element_inside_the_link_hears_the_mouse(driver, layout, inner):
    with Aviary(per_query=24, layout=layout, consent=False, linked=0.25) as site:
        driver.get(f'{site.address}?q=owl&udm=2')
        for target, links in (('', 6), (inner, 24)):
            found = [href for href in driver.execute_script(HOVER, target) if href]
            assert len(found) == links
        photos = [parse_qs(urlsplit(href).query) for href in found]
        plan = [([p.address], [p.page]) for p in site.photos('owl')]
        assert [(p['imgurl'], p['imgrefurl']) for p in photos] == plan


@pytest.mark.parametrize('layout', [2024, 2026])
@pytest.mark.parametrize('broken', [False, True])
def test_a_click_leaves_the_page_where_the_tile_has_its_link(driver, layout, broken):
    with Aviary(per_query=8, layout=layout, consent=False, linked=0.5, broken=broken) as site:
        results = f'{site.address}?q=owl&udm=2'
        driver.get(results)
        links = driver.find_elements('css selector', TILES)
        links[0].click()
        assert driver.current_url == results
        if not broken:  # The page opens its panel
            until(lambda: site.photos('owl')[0].address in driver.execute_script(IMAGES), 10)
            driver.get(results)
            links = driver.find_elements('css selector', TILES)
        driver.execute_script(
            "addEventListener('click', e => e.preventDefault(), {once: true, capture: true})"
        )
        links[1].click()
        assert driver.current_url == results
        links[1].click()
        until(lambda: '/imgres?imgurl=' in driver.current_url, 10)


@pytest.mark.parametrize('layout', LAYOUTS)
def test_nothing_handles_the_mouse_on_a_broken_page(driver, layout):
    with Aviary(per_query=30, layout=layout, consent=False, broken=True, linked=0.1) as site:
        driver.get(f'{site.address}?q=owl&udm=2')
        count = 'return document.querySelectorAll("main a:first-of-type img").length'
        until(
            lambda: driver.execute_script('scrollTo(0, 1e6);' + count) == 30, 10
        )  # More tiles still load
        linked = driver.execute_script("""const tiles = [...document.querySelectorAll('main a:first-of-type img')]
            for (const kind of ['mouseover', 'mousedown', 'click']) for (const img of tiles)
                if (!img.closest('a[href*=imgres]')) img.dispatchEvent(new MouseEvent(kind, {bubbles: true}))
            return tiles.filter(img => img.closest('a[href*=imgres]')).length""")
        assert linked == 3
        scripts = driver.execute_script(
            "return [...document.scripts].map(s => s.textContent).join('\\n')"
        )
        assert parse_scripts(scripts)[0].address == site.photos('owl')[0].address


def test_the_check_is_passed_by_waiting_and_started_over_by_asking(driver):
    with Aviary(per_query=5, consent=False, check=1.5) as site:
        address = f'{site.address}?q=owl&udm=2'
        for _ in range(4):  # More than a check's time in all
            driver.get(address)
            time.sleep(0.5)
            assert 'sei=' not in driver.current_url
        assert driver.execute_script('return document.body.innerText') == ''
        until(
            lambda: 'sei=' in driver.current_url and driver.find_elements('css selector', TILES), 20
        )
        driver.get(address)
        assert driver.find_elements('css selector', TILES)


def test_a_client_without_scripts_never_gets_through_a_check():
    with Aviary(per_query=5, consent=False, check=0.05) as site:
        visit = visitor()
        html = visit(f'{site.address}?q=owl')
        time.sleep(0.1)
        assert 'data-lpage' not in visit(f'{site.address}?q=owl')
        refresh = re.search('<noscript>.*?url=(.*?)"', html)[1]
        assert refresh.startswith('/httpservice/retry/enablejs?sei=')
        assert 'Turn on JavaScript' in visit(site.address.replace('/search', refresh))


def test_a_check_that_never_ends(driver):
    with Aviary(per_query=5, consent=False, check=math.inf) as site:
        driver.get(f'{site.address}?q=owl')
        time.sleep(1)
        assert 'sei=' not in driver.current_url and not driver.find_elements('css selector', TILES)


@pytest.mark.parametrize('language', LANGUAGES)
@pytest.mark.parametrize('first', ['reject', 'accept'])
def test_consent_is_asked_in_every_language_and_the_answer_noted(language, first):
    with Aviary(per_query=3, language=language, first=first) as site:
        visit = visitor()
        forms = re.findall('<form action="(/consent.*?)".*?</form>', visit(f'{site.address}?q=owl'))
        html = visit(f'{site.address}?q=owl')
        words = [phrases(language).reject, phrases(language).accept]
        found = sorted(words, key=html.index)
        assert len(forms) == 2 and found[0] == (words[0] if first == 'reject' else words[1])
        for eom in ('true', 'false'):
            data = f'continue=/search?q=owl&set_eom={eom}'.encode()
            assert 'data-lpage' in visit(site.address.replace('/search', '/consent/save'), data)
        assert site.choices == ['reject', 'accept']


@pytest.mark.parametrize('consent', ['page', 'overlay'])
@pytest.mark.parametrize(
    'signs,button',
    [
        (('id', 'set_eom', 'words'), 'input'),
        (('words',), 'button'),
        (('set_eom',), 'input'),
        (('id',), 'button'),
        ((), 'input'),
    ],
)
def test_the_buttons_of_consent_work_whatever_tells_them_apart(driver, consent, button, signs):
    with Aviary(per_query=3, consent=consent, button=button, signs=signs, first='accept') as site:
        for n in (0, 1):
            driver.execute_cdp_cmd('Network.clearBrowserCookies', {})
            driver.get(f'{site.address}?q=owl&udm=2')
            html = driver.page_source
            assert ('W0wltc' in html, 'Reject all' in html) == ('id' in signs, 'words' in signs)
            assert ('set_eom' in html) == (consent == 'page' and 'set_eom' in signs)
            buttons = f':is([role=dialog], form[method=post]) :is({button}):not([type=hidden])'
            driver.find_elements('css selector', buttons)[n].click()
            until(lambda n=n: len(site.choices) == n + 1, 10)
            until(lambda: driver.find_elements('css selector', TILES), 10)
        assert site.choices == ['accept', 'reject']


def test_a_captcha_that_somebody_solves_lets_the_visitor_in(driver):
    with Aviary(per_query=3, consent=False) as site:
        site.blocked = 'captcha'
        driver.get(f'{site.address}?q=owl&udm=2')
        time.sleep(1)
        assert driver.find_elements('css selector', 'iframe[src*=recaptcha]')
        site.blocked = False
        until(lambda: driver.find_elements('css selector', TILES), 10)


def test_any_name_of_a_project_has_a_bird_and_no_other():
    names = ('Red/Kite 100%', 'журавль', 'stork')
    with Aviary(per_query=2, names=names, consent=False) as site:
        assert [len(site.photos(name)) for name in (*names, 'unicorn')] == [2, 2, 2, 0]
        for name in names:
            photo = site.photos(name)[0]
            with urllib.request.urlopen(photo.address, timeout=20) as answer:
                assert answer.read() == photo_bytes(photo)[1]


def test_bing_is_read_by_an_engine_of_another_project():
    with Aviary(per_query=120) as site:
        visit, plan = visitor(), {p.address: p for p in site.photos('white stork')}
        pieces = site.bing_address.replace('/search', '/async')
        found, first = [], 1
        while html := visit(
            f'{pieces}?q=white+stork&first={first}&count=35&adlt=strict&qft=filterui:license-L2'
        ):
            found += BingImages().extract_results(html)
            first += 35
        for hit in found:
            photo = plan[hit.image]
            title = photo.title.replace('<my> ', '')  # It takes what looks like markup away
            assert (hit.url, hit.title, int(hit.width)) == (photo.page, title, photo.width)
        assert {h.image for h in found} == set(plan)
        assert len(found) == 120 + 85 // 5 and len({h.image for h in found[:35]}) == 35
        asked = site.requests[-1]
        assert (asked['path'], asked['adlt']) == ('/images/async', 'strict')
        assert asked['qft'] == 'filterui:license-L2'
        with urllib.request.urlopen(
            site.bing_address.replace('/images/search', found[0].thumbnail)
        ) as small:
            assert small.headers['Content-Type'] == 'image/jpeg'


def test_bing_loads_more_while_somebody_scrolls(driver):
    with Aviary(per_query=60, bing_shell=True) as site:
        driver.get(f'{site.bing_address}?q=owl&adlt=moderate&qft=+filterui:license-L2')
        count = "scrollTo(0, 1e6); return document.querySelectorAll('div.imgpt a.iusc[m]').length"
        until(lambda: driver.execute_script(count) == 60 + 25 // 5, 20)
        asked = [r for r in site.requests if r['path'] == '/images/async']
        assert {(r['q'], r['adlt'], r['qft'].strip()) for r in asked} == {
            ('owl', 'moderate', 'filterui:license-L2')
        }


def test_bing_gives_a_client_without_scripts_a_shell_and_says_when_there_is_nothing():
    visit = visitor()
    with Aviary(per_query=5, bing_shell=True) as site:
        for address in (site.bing_address, site.bing_address.replace('/search', '/async')):
            shell = visit(f'{address}?q=owl')
            assert '<script>' in shell and 'murl' not in shell
    with Aviary(per_query=5) as site:
        assert 'There are no results for' in visit(f'{site.bing_address}?q=unicorn')
        site.bing_empty = True
        assert 'There are no results for' in visit(f'{site.bing_address}?q=owl')
        with pytest.raises(HTTPError, match='404'):
            visit(site.bing_address.replace('/images/search', '/th?id=OIP.nothing'))
