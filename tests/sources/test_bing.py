"Bing: its pages by requests and in a real headless Chromium, what it is asked, and the ways in which it has nothing."

import html
import json

import pytest

from birdsort.aviary.sample_project import lesson_project
from birdsort.scrape import scrape
from birdsort.sources.base import Blocked, SourceContext
from birdsort.sources.bing import bing
from birdsort.sources.browser import NoBrowser
from birdsort.sources.http import Web
from birdsort.sources.registry import search_source
from helpers.hostile import Hostile, good, jpeg, whole
from helpers.search_site import search_site

SEARCH = '/images/search'
MORE = """<script>
let first = 36;
addEventListener('scroll', async () => {
  const asked = first;
  first = Infinity;
  if (asked === Infinity) return;
  const page = await fetch('async?q=heron&first=' + asked);
  document.body.insertAdjacentHTML('beforeend', await page.text());
  first = asked + 35;
});
</script>"""


@pytest.fixture(scope='module')
def context():
    with Web() as web, SourceContext(web, every=0) as context:
        yield context


@pytest.fixture
def new_visitor(context):
    "The same, as a visitor without a cookie."
    with context.driver() as driver:
        driver.execute_cdp_cmd('Network.clearBrowserCookies', {})
    return context


def shell(seconds):
    "A page that is only a script, which works for a while and then loads the page again."
    return f"<script>setTimeout(() => {{document.cookie = 'sure=1'; location.reload();}}, {1000 * seconds});</script>"


def photo(i):
    return f'https://photos.example/{i}.jpg'


def tile(m, classes=('imgpt', 'iusc', 'infopt')):
    "One result as the site draws it; `m` is a dict, or a text that is not quite JSON."
    text = html.escape(m if isinstance(m, str) else json.dumps(m))
    box, link, info = classes
    return (
        f'<li><div><div class="{box}"><a class="{link}" href="/view" m="{text}"><img width=200 height=300></a></div>'
        f'<div class="{info}"><a href="https://pages.example/">pages.example</a></div></div></li>'
    )


def tiles(numbers, **kw):
    return ''.join(
        tile(dict(murl=photo(i), purl=f'https://pages.example/{i}', turl='t', t=f'Heron {i}'), **kw)
        for i in numbers
    )


def page(visit, n):
    "35 of `n` results, from the one that is asked for."
    first = int(visit.query.get('first', 1)) - 1
    return tiles(range(first, min(first + 35, n)))


def is_browser(visit):
    return 'HeadlessChrome' in visit.agent


def paths(visits):
    return [visit.path for visit in visits]


def test_pages_follow_each_other_with_the_adult_filter_on(context):
    with search_site(lambda visit: page(visit, n=100)) as (site, visits):
        hits = list(bing('grey heron', 80, context, site + SEARCH))
    assert [h.address for h in hits] == [
        photo(i) for i in range(100)
    ]  # The third page was asked for, and is read
    assert (hits[7].page, hits[7].title, hits[7].licence) == (
        'https://pages.example/7',
        'Heron 7',
        '',
    )
    assert [v.query['first'] for v in visits] == ['1', '36', '71'] and set(paths(visits)) == {
        '/images/async'
    }
    assert all(v.query['adlt'] == 'strict' and v.query['q'] == 'grey heron' for v in visits)
    assert not any('qft' in v.query for v in visits)


@pytest.mark.parametrize(
    'licences, wanted',
    [
        (('cc0', 'pd'), '+filterui:license-L1'),
        (('cc-by', 'cc-by-nc'), '+filterui:license-L2_L3_L4_L5_L6_L7'),
        (('cc0', 'cc-by'), '+filterui:licenseType-Any'),
    ],
)
def test_licences_are_a_filter_of_the_site(licences, wanted):
    answers = search_site(lambda visit: page(visit, n=70))
    with (
        Web() as web,
        SourceContext(web, every=0, licences=licences) as context,
        answers as (site, visits),
    ):
        assert len(list(bing('heron', 70, context, site + SEARCH))) == 70
    assert [v.query['qft'] for v in visits] == [wanted, wanted]


def test_a_later_page_full_of_repeats_is_the_end(context):
    def answer(visit):
        return tiles(range(35)) if int(visit.query['first']) > 35 else page(visit, n=35)

    with search_site(answer) as (site, visits):
        hits = list(bing('heron', 500, context, site + SEARCH))
    assert [h.address for h in hits] == [photo(i) for i in range(35)] and len(visits) == 2


def test_a_site_without_end_is_left_after_twenty_pages(context):
    with search_site(lambda visit: page(visit, n=10_000)) as (site, visits):
        assert len(list(bing('heron', 5000, context, site + SEARCH))) == 700 and len(visits) == 20


def test_one_broken_result_and_other_class_names(context):
    odd = [
        tile('{"murl": "https://photos.example/cut'),
        tile('["murl"]'),
        tile(dict(murl='data:image/png;base64,x')),
        tile(dict(murl=None, purl=7)),
        tile(
            dict(
                murl='https://photos.example/a%20%C3%A9.jpg?w=8&amp;h="6"',
                purl=7,
                t='\ue000Heron\ue001 & <b>"co"</b>',
            )
        ),
    ]
    with search_site(lambda visit: ''.join(odd) + tiles([1], classes=('x1', 'x2 x3', 'x4'))) as (
        site,
        _,
    ):
        hits = list(bing('heron', 2, context, site + SEARCH))
    assert [h.address for h in hits] == [
        'https://photos.example/a%20%C3%A9.jpg?w=8&h="6"',
        photo(1),
    ]
    assert (hits[0].page, hits[0].title) == ('', 'Heron & <b>"co"</b>')


@pytest.mark.parametrize('seconds', [0.5, 4])
def test_a_script_before_the_page_is_left_to_the_browser(new_visitor, seconds):
    def answer(visit):
        if 'sure=1' not in visit.cookies:
            return shell(seconds)
        return page(visit, n=90) + (MORE if visit.path == SEARCH else '')

    with search_site(answer) as (site, visits):
        hits = list(bing('grey heron', 80, new_visitor, site + SEARCH))
    assert [h.address for h in hits[:80]] == [photo(i) for i in range(80)]
    assert all(h.title and h.page for h in hits)
    assert paths(visits)[:3] == ['/images/async', SEARCH, SEARCH] and not is_browser(visits[0])
    assert all(is_browser(v) for v in visits[1:]) and visits[2].query['adlt'] == 'strict'


def test_refused_requests_are_left_to_the_browser(context):
    def answer(visit):
        return page(visit, n=30) if is_browser(visit) else (403, '')

    with search_site(answer) as (site, _):
        assert len(list(bing('heron', 30, context, site + SEARCH))) == 30


@pytest.mark.parametrize(
    'said',
    [
        (403, ''),
        (403, '<p>Forbidden</p>'),
        (429, '<p>Too many requests</p>'),
        '<a href="/">Bing</a> <p>One last step</p> <p>Please solve the challenge below to continue</p>',
        '<iframe src="about:blank"></iframe><p>Solve this CAPTCHA to go on</p>',
    ],
)
def test_a_block_says_what_it_means_and_what_to_do(context, said):
    with search_site(lambda visit: said) as (site, visits):
        hits, failure = search_source('bing', 'heron', 30, context, site + SEARCH)
    assert hits == [] and isinstance(failure, Blocked)
    words = (
        'bing at ',
        site,
        'blocks automatic searches',
        'other sources go on',
        'an hour',
        '--headed',
    )
    assert all(w in str(failure) for w in words) and '\n' not in str(failure)
    assert paths(visits) == ['/images/async', SEARCH], (
        'a site that refuses is asked once in each way'
    )


def test_blocked_in_the_middle_keeps_what_was_collected(context):
    def answer(visit):
        return (
            (429, 'No')
            if visit.path == SEARCH or visit.query['first'] != '1'
            else page(visit, n=90)
        )

    with search_site(answer) as (site, _):
        hits, failure = search_source('bing', 'heron', 80, context, site + SEARCH)
    assert len(hits) == 35 and isinstance(failure, Blocked) and 'http 429' in str(failure)


def test_nothing_found_is_said_in_words(context):
    said = '<a href="/">Bing</a><p>There are no results for <b>captcha unicorn</b></p>'
    with search_site(lambda visit: said) as (site, visits):
        assert search_source('bing', 'captcha unicorn', 30, context, site + SEARCH) == ([], None)
    assert len(visits) == 1, 'no browser is needed for that'


def test_nothing_found_behind_the_script(new_visitor):
    with search_site(
        lambda visit: 'No results found' if 'sure=1' in visit.cookies else shell(0.5)
    ) as (site, visits):
        assert search_source('bing', 'unicorn', 30, new_visitor, site + SEARCH) == ([], None)
    assert paths(visits) == ['/images/async', SEARCH, SEARCH]


@pytest.mark.parametrize('status', [200, 404])
def test_a_layout_that_cannot_be_read_names_the_address(context, status):
    with search_site(lambda visit: (status, '<a href="/">Home</a><p>All about herons.</p>')) as (
        site,
        _,
    ):
        hits, failure = search_source('bing', 'heron', 30, context, site + SEARCH)
    assert hits == [] and isinstance(failure, RuntimeError) and not isinstance(failure, Blocked)
    assert site in str(failure) and 'layout may have changed' in str(failure)
    assert ('http 404' in str(failure)) == (status == 404)


def test_nobody_answers(context):
    with search_site(lambda visit: '') as (site, _):
        pass
    hits, failure = search_source('bing', 'heron', 30, context, site + SEARCH)
    assert (
        hits == []
        and 'no answer' in str(failure)
        and site in str(failure)
        and not isinstance(failure, Blocked)
    )


@pytest.mark.parametrize('said, kind', [(shell(0.5), NoBrowser), ((403, ''), Blocked)])
def test_without_a_browser(monkeypatch, said, kind):
    monkeypatch.setenv('BIRDSORT_BROWSER', '/nowhere/chromium')
    with (
        Web() as web,
        SourceContext(web, every=0) as context,
        search_site(lambda visit: said) as (site, _),
    ):
        hits, failure = search_source('bing', 'heron', 30, context, site + SEARCH)
    assert hits == [] and type(failure) is kind


def test_the_proxy_of_the_environment(context, monkeypatch):
    with search_site(lambda visit: page(visit, n=35)) as (site, visits):
        for name in ('http_proxy', 'HTTP_PROXY'):
            monkeypatch.setenv(name, site)
        for name in ('no_proxy', 'NO_PROXY'):
            monkeypatch.delenv(name, raising=False)
        assert len(list(bing('heron', 35, context, 'http://bing.invalid' + SEARCH))) == 35
    assert len(visits) == 1


def test_images_arrive_with_page_and_title(tmp_path):
    project = lesson_project(
        0,
        tmp_path / 'birds',
        images_per_label=3,
        labels={'garza': ['grey heron'], 'loro': ['parrot']},
    )
    with Hostile({f'{i}.jpg': good(whole(jpeg(i))) for i in range(6)}) as photos:
        ms = [
            dict(murl=photos.address(f'{i}.jpg'), purl=f'https://birds.example/{i}', t=f'Heron {i}')
            for i in range(6)
        ]
        with search_site(lambda visit: ''.join(map(tile, ms))) as (site, _):
            result = scrape(
                project,
                source=[f'bing={site}{SEARCH}'],
                label='garza',
                licence=('cc-by',),
                allow=[photos.host],
                quiet=True,
            )
    rows = project.catalogue.rows(label='garza', state='kept')
    assert 'short' not in result and len(rows) == 3
    assert {(r['source'], r['licence'], r['title'][:5], r['page'][:22]) for r in rows} == {
        ('bing', '', 'Heron', 'https://birds.example/')
    }
