"The site: every public name is in its reference, and what leads nowhere is found. `make docs` builds the whole."

import re
import sys

import pytest

from conftest import ROOT

sys.path.insert(0, str(ROOT / 'docs'))
import build_site
import reference


@pytest.fixture(scope='module')
def pages():
    "The pages of the reference, as one text."
    return '\n'.join(reference.reference_pages().values())


def test_every_public_name_has_an_entry(pages):
    entries = set(re.findall(r'\{py:\w+\} ([\w.]+).*\n:module: ([\w.]+)', pages))
    public = {
        (name, module)
        for module in reference.notebooks()
        for name in reference.public_names(sys.modules[module])
    }
    assert len(public) > 900 and public - entries == set()


def test_docments_are_the_rows_of_an_entry(pages):
    entry = pages.partition('{py:function} split(')[2].partition('```')[0]
    assert '| `force` | `bool` | `False` | Replace a split that was made from other' in entry
    assert '| *returns* | `dict[str, dict[str, int]]` |' in entry


def test_a_stage_of_the_project_leads_to_its_function(pages):
    entry = pages.partition('{py:method} Project.train(')[2].partition('```')[0]
    assert (
        'keeps the weights with the lowest validation loss' in entry
        and '<birdsort.train.train>' in entry
    )


def test_hidden_cells_are_gone_and_code_is_folded_under_what_it_defines():
    cells = [
        {
            'cell_type': 'markdown',
            'id': 'a',
            'metadata': {},
            'source': 'See `split`, not ``split``.',
        },
        {
            'cell_type': 'code',
            'id': 'b',
            'metadata': {},
            'outputs': [],
            'source': '#| default_exp split',
        },
        {
            'cell_type': 'code',
            'id': 'c',
            'metadata': {},
            'outputs': [],
            'source': '#| hide\nsecret = 1',
        },
        {
            'cell_type': 'code',
            'id': 'd',
            'metadata': {},
            'outputs': [],
            'source': '#| export\ndef split(project): ...',
        },
        {'cell_type': 'code', 'id': 'e', 'metadata': {}, 'outputs': [], 'source': 'split(project)'},
    ]
    page = build_site.staged_notebook({'cells': cells})['cells']
    assert [cell['id'] for cell in page] == ['a', 'd-docs', 'd', 'e']
    assert page[0]['source'] == 'See {py:obj}`split <birdsort.split.split>`, not ``split``.'
    assert '`force`' in page[1]['source'] and page[2]['metadata']['tags'] == ['hide-input']
    assert page[2]['source'] == 'def split(project): ...'


def test_words_of_nbdev_inside_a_cell_hide_nothing():
    source = "kinds = '#| hide', '#| export'"
    cell = {'cell_type': 'code', 'id': 'a', 'metadata': {}, 'outputs': [], 'source': source}
    assert build_site.staged_notebook({'cells': [cell]})['cells'] == [cell]


def test_names_are_links_and_words_are_not():
    assert reference.linked('`train` begins, with `find_copies`.') == (
        '{py:obj}`train <birdsort.train.train>` begins, with '
        '{py:obj}`find_copies <birdsort.split.find_copies>`.'
    )
    plain = 'The splits are `train`, `val` and `test`, in a `folder`.\n\n```\n`train`\n```'
    assert reference.linked(plain) == plain


def test_values_show_what_stands_beside_them(pages):
    entry = pages.partition('{py:data} NOTE\n:module: birdsort.split')[2].partition('```')[0]
    assert 'In `split/`: the signature and the counts' in entry and '%%' not in entry


def test_dead_links_are_found(tmp_path):
    (tmp_path / 'a.html').write_text(
        '<a id="top" href="b.html#here">b</a> <a href="https://x.org/no">x</a>'
    )
    (tmp_path / 'b.html').write_text(
        '<a href="a.html#top"></a> <a href="a.html#no"></a> <img src="no.png">'
    )
    (tmp_path / 'c.html').write_text('<a href="../outside.html">there, but not in the site</a>')
    (tmp_path.parent / 'outside.html').touch()
    assert sorted(build_site.dead_links(tmp_path)) == [
        'a.html -> b.html#here',
        'b.html -> a.html#no',
        'b.html -> no.png',
        'c.html -> ../outside.html',
    ]
