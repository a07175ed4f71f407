"How the house reads: lessons, prose, density, and the words of the field."

import ast
import re
from itertools import pairwise

import pytest

from conftest import ROOT
from test_architecture import NOTEBOOKS, cells


def exported_runs(notebook):
    "How many exported lines follow each other before the next lesson; imports are not counted."
    lines = 0
    for kind, source in cells(notebook):
        if kind != 'code' or source.startswith(('#| hide', '#| default_exp')):
            continue
        if not source.startswith('#| export'):
            lines = 0
            continue
        tree = ast.parse(source)
        imports = {
            n
            for d in tree.body
            if isinstance(d, (ast.Import, ast.ImportFrom, ast.Try))
            for n in range(d.lineno, d.end_lineno + 1)
        }
        code = [text for n, text in enumerate(source.splitlines(), 1) if n not in imports]
        lines += sum(bool(text.strip()) and not text.strip().startswith('#') for text in code)
        yield lines


def test_a_lesson_follows_after_thirty_exported_lines():
    longest = {n.stem: max(exported_runs(n), default=0) for n in NOTEBOOKS}
    assert {name: lines for name, lines in longest.items() if lines > 30} == {}


@pytest.mark.parametrize('notebook', NOTEBOOKS, ids=lambda n: n.stem)
def test_every_section_begins_with_prose(notebook):
    bare = [
        source.splitlines()[0]
        for (kind, source), (after, _) in pairwise(cells(notebook))
        if kind == 'markdown'
        and after == 'code'
        and re.fullmatch(r'## .*', source.strip().splitlines()[-1])
    ]
    assert bare == []


def code_lines(file):
    return [
        line
        for line in file.read_text().splitlines()
        if line.strip() and not line.strip().startswith('#')
    ]


def test_one_line_holds_one_thought():
    files = [
        f
        for folder in ('birdsort', 'tests', 'bench', 'docs')
        for f in (ROOT / folder).rglob('*.py')
        if f.name != '_modidx.py' and 'node_modules' not in f.parts
    ]
    lines = [line for f in files for line in code_lines(f)]
    nodes = sum(1 for f in files for _ in ast.walk(ast.parse(f.read_text())))
    assert max(map(len, lines)) <= 140
    assert sum(len(line) > 120 for line in lines) <= len(lines) / 100
    assert nodes / len(lines) <= 10.5


# What a name of birdsort 0.1 was replaced by stands in the table of moved names, and in the tests that ask for it.
OLD_NAMES = [
    'Sides',
    'read_sides',
    'sides_signature',
    'plot_sides',
    'compare_sides',
    'Answers',
    'keep_answers',
    'warmed',
    'strangers',
    'threshold_for',
    'find_mistakes',
    'show_mistakes',
    'body_looks_once',
    'SmallFirst',
    'rest_batch_norm',
    'deal_batches',
    'first_process',
    'watchers',
    'keep_best',
    'RowsDL',
    'rows_loader',
    'room_for',
    'kept_memory',
    'keep_memory',
    'Kit',
    'Judge',
    'Door',
    'Desk',
    'stock',
    'listing',
    'look_at',
    'open_memory',
    'find_points',
    'odd_ones',
    'take_turns',
    'tally',
    'list_pictures',
    'find_pictures',
    'move_pictures',
    'folder_for_now',
    'make_judge',
    'small_first',
    'lr_mult',
    'beheaded',
    'get_picture',
    'picture',
    'pictures',
    'Pictures',
]
MAY_NAME_THEM = {
    'settings.py',
    '00_settings.ipynb',
    'catalogue.py',
    '01_catalogue.ipynb',
    'options.py',
    '01_options.ipynb',
    'image_stats.py',
    '01_image_stats.ipynb',
    'runs.py',
    '09_runs.ipynb',
    'splits.py',
    '01_splits.ipynb',
    'folders.py',
    '02_folders.ipynb',
    'recipe.py',
    '06_recipe.ipynb',
    'test_style.py',
    'test_old_project.py',
    'old_catalogue.py',
    'test_catalogue.py',
    'test_moved.py',
    'test_cli.py',
    '_modidx.py',
}


def test_no_old_name_is_left():
    old = re.compile(rf"(?<![\w.'\"-])({'|'.join(OLD_NAMES)})\b")
    files = [
        f
        for folder in ('birdsort', 'nbs', 'tests', 'bench', 'docs')
        for f in (ROOT / folder).rglob('*')
        if f.suffix in ('.py', '.ipynb', '.md')
        and 'node_modules' not in f.parts
        and f.name not in MAY_NAME_THEM
    ]
    texts = {
        f: '\n'.join(s for _, s in cells(f)) if f.suffix == '.ipynb' else f.read_text()
        for f in files
    }
    assert {
        str(f.relative_to(ROOT)): set(found)
        for f, text in texts.items()
        if (found := old.findall(text))
    } == {}
