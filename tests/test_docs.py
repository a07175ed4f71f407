"The site: every public name is in its reference, and what leads nowhere is found. `make docs` builds the whole."

import re
import sys

import pytest

from conftest import ROOT

sys.path.insert(0, str(ROOT / 'docs'))
import build
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
    page = build.staged_notebook({'cells': cells})['cells']
    assert [cell['id'] for cell in page] == ['a', 'd-docs', 'd', 'e']
    assert page[0]['source'] == 'See {py:obj}`split <birdsort.split.split>`, not ``split``.'
    assert '`force`' in page[1]['source'] and page[2]['metadata']['tags'] == ['hide-input']
    assert page[2]['source'] == 'def split(project): ...'


def test_dead_links_are_found(tmp_path):
    (tmp_path / 'a.html').write_text(
        '<a id="top" href="b.html#here">b</a> <a href="https://x.org/no">x</a>'
    )
    (tmp_path / 'b.html').write_text(
        '<a href="a.html#top"></a> <a href="a.html#no"></a> <img src="no.png">'
    )
    assert sorted(build.dead_links(tmp_path)) == [
        'a.html -> b.html#here',
        'b.html -> a.html#no',
        'b.html -> no.png',
    ]
