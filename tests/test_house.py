"The three laws of the house, and that what is committed was made from what is written."
import ast, json, re, shutil, subprocess, sys
from pathlib import Path

import pytest
from conftest import ROOT

FOLDERS = {'aviary': 5, 'sources': 9, 'cleaning': 19, 'words': 91, 'dcgan': 91, 'commands': 2000} # The floor of each folder of notebooks
NOTEBOOKS = sorted((ROOT/'nbs').rglob('*.ipynb'))


def exports(notebook):
    text = ''.join(''.join(c['source']) + '\n' for c in json.loads(notebook.read_text())['cells'])
    found = re.search(r'^#\|\s*default_exp\s+(\S+)', text, re.M)
    return found and found[1]


def floor(notebook):
    "Where a notebook stands: by its number; a folder's notebooks side by side on its floor; their parts and the recipes above every stage, the command line above all."
    number = int((re.match(r'\d+', notebook.name) or ['1000'])[0])
    if exports(notebook) == 'cli': return 10_000
    return FOLDERS[notebook.parent.name]+number/100 if notebook.parent.name in FOLDERS else number


FLOORS = {exports(n): floor(n) for n in NOTEBOOKS if exports(n)}
MODULES = {'.'.join(f.relative_to(ROOT/'birdsort').with_suffix('').parts): f for f in (ROOT/'birdsort').rglob('*.py') if f.name not in ('__init__.py', '_modidx.py')}


def test_every_module_has_a_notebook():
    assert set(MODULES) == set(FLOORS)


def imported(file):
    "The modules of birdsort that a module imports, at its top or inside a function."
    home = ['birdsort', *file.relative_to(ROOT/'birdsort').parent.parts]
    for node in ast.walk(ast.parse(file.read_text())):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            base = home[:len(home)+1-node.level] if node.level else []
            module = '.'.join([*base, *filter(None, [node.module])])
            names = [f'{module}.{a.name}' for a in node.names] if f'{module}.'.removeprefix('birdsort.').rstrip('.') not in MODULES else [module]
        yield from (n.removeprefix('birdsort.') for n in names if n.startswith('birdsort.') and not n.endswith('.__version__'))


def test_arrows_point_down():
    up = [f'{m} -> {i}' for m,f in MODULES.items() for i in imported(f) if FLOORS[i] >= FLOORS[m]]
    assert FLOORS['scrape'] > FLOORS['project'] and list(imported(MODULES['train'])), 'the test sees no arrows at all'
    assert not up, f'imports that point up: {up}'


def test_modules_are_exported_from_the_notebooks(tmp_path):
    copy = tmp_path/'birdsort'
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns('.venv*', 'node_modules', 'data', '.git', '*.egg-info', '__pycache__'))
    for f in (copy/'birdsort').rglob('*.py'):
        if f.name != '__init__.py': f.unlink()
    subprocess.run([Path(sys.executable).parent/'nbdev_export'], cwd=copy, check=True, capture_output=True)
    made, here = ({str(f.relative_to(r)): f.read_text() for f in (r/'birdsort').rglob('*.py')} for r in (copy, ROOT))
    assert made.keys() == here.keys()
    assert [n for n in made if made[n] != here[n]] == [], 'run nbdev_export'


def test_notebooks_are_clean_and_small(tmp_path):
    for n in NOTEBOOKS:
        assert n.stat().st_size <= 200_000, f'{n.name} is heavy'
        copy = tmp_path/n.name
        shutil.copy(n, copy)
        subprocess.run([Path(sys.executable).parent/'nbdev_clean', '--fname', copy], check=True, capture_output=True, cwd=ROOT)
        assert json.loads(copy.read_text()) == json.loads(n.read_text()), f'run nbdev_clean on {n.name}'


def test_readme_is_written_from_index():
    sys.path.insert(0, str(ROOT/'.ci'))
    from readme import readme
    assert readme(ROOT/'nbs/index.ipynb') == (ROOT/'README.md').read_text(), 'run make readme'


@pytest.mark.parametrize('module', sorted(MODULES))
def test_modules_are_short(module):
    lines = [l for l in MODULES[module].read_text().splitlines() if l.strip() and not l.startswith('#')]
    assert len(lines) <= 250


@pytest.mark.parametrize('notebook', [n for n in NOTEBOOKS if exports(n) not in (None, 'cli')], ids=exports)
def test_every_public_name_has_a_lesson(notebook):
    cells = [''.join(c['source']) for c in json.loads(notebook.read_text())['cells'] if c['cell_type'] == 'code']
    public = [d.name for c in cells if c.startswith('#| export') for d in ast.parse(c).body if isinstance(d, (ast.FunctionDef, ast.ClassDef)) and d.name[0] != '_']
    lessons = ' '.join(c for c in cells if not c.startswith('#| export'))
    assert [n for n in public if not re.search(rf'\b{n}\b', lessons)] == []
