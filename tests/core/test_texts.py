"""What others wrote means the same in every format: no formula in a table, no markup in Markdown or HTML, no code
on a terminal, and no password in what others read."""

import csv
import io
import re
import unicodedata
from html.parser import HTMLParser

import pandas as pd
import pytest

from birdsort.cleaning.decisions import Choice, apply, read_decisions, write_issues
from birdsort.cleaning.issues import Issue
from birdsort.core.inventory import (
    csv_cell,
    csv_text,
    markdown_text,
    sync,
    terminal_text,
    write_attribution,
)
from birdsort.core.scaffold import asset, new_project
from birdsort.results.formatting import explain, format_result

FORMULAS = [
    '=1+1',
    '+1+1',
    '-1+1',
    '@SUM(A1)',
    ' =1',
    '\t=1',
    '\r=1',
    '\n=1',
    'owl\r=1',
    'owl\n@x',
    'owl\t=1',
    'owl;=1',
    'owl; +1',
    ';;=1',
    '"=1',
    '";=1',
    'owl;"=cmd|\'/c calc\'!A1"',
    '\ufeff=1',
    '\u200b=1',
    '\uff1d1+1',
    '\x00=1',
    '\x85=1',
    '\u2028=1',
    '\xa0=1',
    ' \x0b\x0c-1',
]


def cells_of(text):
    "Every cell that any spreadsheet may see: rows end at any line end, and cells at commas, semicolons or tabs."
    for delimiter in ',;\t':
        for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_NONE):
            rows = csv.reader(io.StringIO(text, newline=''), delimiter=delimiter, quoting=quoting)
            yield from (cell for row in rows for cell in row)


def begins_a_formula(cell):
    seen = (
        ''.join(c for c in cell if unicodedata.category(c) not in ('Cc', 'Cf'))
        .strip()
        .strip('"')
        .strip()
    )
    return unicodedata.normalize('NFKC', seen[:1]) in ('=', '+', '-', '@')


@pytest.fixture(scope='module')
def named_by_others(tmp_path_factory):
    "A project whose images are called what others call them."
    project = new_project(
        tmp_path_factory.mktemp('texts') / 'birds', labels={'owl': ['owl'], 'heron': ['heron']}
    )
    address = 'https://ada:secret@photos.example/{}.jpg'
    rows = [
        dict(
            label='owl',
            state='kept',
            name=f'{i}.jpg',
            title=f,
            author=f,
            licence=f,
            page=f,
            address=address.format(i),
        )
        for i, f in enumerate(FORMULAS)
    ]
    project.catalogue.add(rows)
    return project


def test_no_cell_of_a_table_is_a_formula(named_by_others):
    attribution = write_attribution(named_by_others).read_text()
    issues = pd.DataFrame([('owl', f, 'blurred', 0.5, f) for f in FORMULAS], columns=Issue._fields)
    predictions = [dict(file=f, label=f, probability=0.5, error=f) for f in FORMULAS]
    tables = [
        attribution,
        write_issues(named_by_others, issues).read_text(),
        format_result('predict', dict(predictions=predictions, csv=True)),
        csv_text(FORMULAS, [FORMULAS]),
    ]
    for text in tables:
        found = [cell for cell in cells_of(text) if begins_a_formula(cell)]
        assert found == []
    assert 'secret' not in attribution and 'photos.example/0.jpg' in attribution


def test_numbers_and_plain_texts_stay_as_they_are():
    plain = [
        -1,
        -0.5,
        None,
        'Ada',
        "d'Orsay",
        'a-b',
        'a = b',
        "'quoted'",
        'größer',
        'a,b',
        '1;2',
        '',
    ]
    assert list(map(csv_cell, plain)) == plain
    assert list(map(csv_cell, map(csv_cell, FORMULAS))) == list(map(csv_cell, FORMULAS)), (
        'once is enough'
    )


def test_decisions_come_back_from_a_spreadsheet(tmp_path):
    project = new_project(tmp_path / 'birds', labels={'owl': ['owl'], 'heron': ['heron']})
    names = [
        '-rf.jpg',
        '=1.jpg',
        '@home.jpg',
        'a;-b.jpg',
        "'=x.jpg",
        '+.jpg',
        'plain.jpg',
        ' -.jpg',
    ]
    for name in names:
        (project.images / 'owl').mkdir(parents=True, exist_ok=True)
        (project.images / 'owl' / name).write_bytes(name.encode())
    sync(project)
    issues = pd.DataFrame(
        [('owl', name, 'blurred', 0.5, '') for name in names], columns=Issue._fields
    )
    table = list(csv.DictReader(write_issues(project, issues).open(newline='')))
    for row in table:
        row['decision'] = 'remove'
    file = tmp_path / 'decisions.csv'
    file.write_text(csv_text(list(table[0]), (row.values() for row in table)))
    assert {choice for _, choice in read_decisions(project, file)} == {Choice('remove')}
    assert len({image for image, _ in read_decisions(project, file)}) == len(names)
    apply(project, dict(read_decisions(project, file)))
    assert read_decisions(project, file) == []


def test_a_name_in_a_table_that_may_be_two_images_is_refused(tmp_path):
    project = new_project(tmp_path / 'birds', labels={'owl': ['owl'], 'heron': ['heron']})
    (project.images / 'owl').mkdir(parents=True)
    for name in ('-.jpg', ' -.jpg'):
        (project.images / 'owl' / name).write_bytes(name.encode())
    sync(project)
    file = tmp_path / 'decisions.csv'
    file.write_text("label,name,decision\nowl,'-.jpg,remove\n")
    with pytest.raises(ValueError, match='line 2: several images may be owl'):
        read_decisions(project, file)


def test_the_page_writes_tables_by_the_same_rule():
    page = asset('clean_sheet.js')
    (pattern,) = re.findall(r'text\(t\)\.replace\(/(.+)/g, "\$1\$2\'"\)', page)
    by_page = [
        re.sub(pattern, r"\1\2'", re.sub('[\x00-\x1f\x7f-\x9f\u2028\u2029]+', ' ', f))
        for f in FORMULAS
    ]
    assert [cell for cell in by_page if begins_a_formula(cell.replace('\u200b', ''))] == []


MARKUP = [
    '[owl](http://spy/)',
    '![](http://spy/1.gif)',
    '<img src=x onerror=alert(1)>',
    '<script>alert(1)</script>',
    '`code`',
    '**bold**',
    '_stressed_',
    'a | b',
    'line\n# heading',
    'line\r\n- item',
    '~~gone~~',
    '&lt;b&gt;',
    '$x^2$',
    'a\\',
    '[ref]: http://spy/',
    '<http://spy/>',
    '\u2028# x',
]


@pytest.mark.parametrize('text', MARKUP)
def test_markdown_shows_what_was_written(text):
    markdown_it = pytest.importorskip('markdown_it')
    html = markdown_it.MarkdownIt('gfm-like', dict(linkify=False)).render(
        f'| owl |\n| --- |\n| {markdown_text(text)} |\n'
    )
    seen = Seen()
    seen.feed(html)
    assert set(seen.tags) <= {'table', 'thead', 'tbody', 'tr', 'th', 'td'}
    assert seen.tags.count('td') == 1
    assert ' '.join(seen.text.split()) == 'owl ' + ' '.join(
        re.sub('[\u2028\r\n]+', ' ', text).split()
    )


class Seen(HTMLParser):
    "The elements and the text of a page."

    def __init__(self):
        super().__init__()
        self.tags, self.text = [], ''

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text += data


CODES = [
    '\x1b[2J',
    '\x1b]0;title\x07',
    '\x1b]8;;http://spy/\x1b\\owl\x1b]8;;\x1b\\',
    '\x9b31m',
    '\r',
    '\b\b\b',
    '\x7f',
    '\x0b',
    '\x00',
    '\x1bc',
    '\u202egpj.owl',
    '\u2066',
    '\x85',
]


@pytest.mark.parametrize('code', CODES)
def test_a_terminal_obeys_nobody(code):
    rows = [dict(file=f'owl{code}.jpg', label=code, probability=0.5)]
    for text in (
        terminal_text(f'owl{code}'),
        explain(ValueError(f'no file owl{code}.jpg')),
        format_result('predict', dict(predictions=rows)),
        format_result('predict', dict(predictions=rows, csv=True)),
    ):
        assert not [c for c in text if unicodedata.category(c) == 'Cc' and c != '\n']
        assert not re.search('[\u202a-\u202e\u2066-\u2069]', text)


@pytest.mark.parametrize(
    'proxy',
    [
        'http://ada:secret@proxy:3128',
        'http://ada:secret@[bad',
        'ada:secret@proxy:99999999',
        'socks5://ada:secret@proxy',
        'HTTPS://ada:secret@proxy',
        'http://secret@proxy',
        'http://ada:se:cret@proxy/a@b',
        'http://ada:secret@proxy?x=@',
        'ada:p@secret@[x',
        'http://:secret@proxy',
    ],
)
def test_no_password_stands_in_a_reason(proxy, monkeypatch):
    from yarl import URL

    from birdsort.sources.http import Refused, proxy_for

    assert 'cret' not in explain(ValueError(f'{proxy} does not answer')) or '://' not in proxy
    monkeypatch.setenv('http_proxy', proxy)
    monkeypatch.setenv('no_proxy', '')
    try:
        proxy_for(URL('http://photos.example/1.jpg'))
    except Refused as e:
        assert 'cret' not in str(e).replace('cret@[x', '') and 'ada' not in str(e)


def test_the_cleaner_shows_a_name_as_a_name(tmp_path):
    from types import SimpleNamespace

    from birdsort.cleaning.cleaner import MOST_WRONG, _summary

    for text in MARKUP:
        view = SimpleNamespace(
            label=text,
            message=text,
            issues=SimpleNamespace(attrs=dict(note=text)),
            shown=MOST_WRONG,
            losses=SimpleNamespace(run=text),
            pages=[0],
            tiles=[],
        )
        seen = Seen()
        seen.feed(_summary(view, dict(kept=1, shown=1, decided=0, pending=0, proposed=0)))
        assert set(seen.tags) <= {'div', 'b', 'br', 'small'}


def test_a_card_shows_a_licence_as_a_text(named_by_others):
    from birdsort.deploy.model_card import model_card

    named_by_others.catalogue.execute(
        "update image set licence = '[cc0](http://spy/) <b>|' where name = '1.jpg'"
    )
    norm = dict(mean=[0, 0, 0], std=[1, 1, 1])
    config = dict(
        labels=['owl', '<img src=x>'], library='timm', architecture='a', size=64, crop=dict(resize=64),
        normalisation=norm, temperature=1.0, pretrained=False, hashes={}, versions={},
    )  # fmt: skip
    card = model_card(named_by_others, named_by_others.settings, config)
    assert r'\[cc0\](http://spy/) &lt;b&gt;\|' in card and '<img' not in card
