"The laws of the house: who may import whom, and that what is committed was made from what is written."

import ast
import json
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from conftest import ROOT

# Who may import whom: a module imports from the levels before its own and, inside its package, from notebooks with a
# smaller number. `recipes/bow` and `recipes/gan` are parts of `recipes`.
LEVELS = [
    'progress',
    'network',
    'files',
    'core',
    'results',
    'aviary sources cleaning',
    'scrape clean split',
    'datasets pages',
    'data',
    'local',
    'training',
    'choose',
    'train',
    'keep',
    'deploy',
    'evaluation',
    'evaluate compare export predict next',
    'report serve study',
    'recipes pipeline',
    'commands',
    'cli',
]
LEVEL = {name: level for level, names in enumerate(LEVELS) for name in names.split()}
PACKAGES = {
    'progress',
    'network',
    'files',
    'core',
    'results',
    'local',
    'aviary',
    'sources',
    'cleaning',
    'datasets',
    'pages',
    'training',
    'evaluation',
    'deploy',
    'recipes',
    'commands',
}
STAGES = {
    'scrape',
    'clean',
    'split',
    'data',
    'choose',
    'train',
    'keep',
    'evaluate',
    'compare',
    'next',
    'report',
    'export',
    'predict',
    'serve',
    'pipeline',
    'study',
    'cli',
}
NOTEBOOKS = sorted((ROOT / 'nbs').rglob('*.ipynb'))


@cache
def cells(notebook):
    "The cells of a notebook as (type, source)."
    return [
        (c['cell_type'], ''.join(c['source'])) for c in json.loads(notebook.read_text())['cells']
    ]


def exports(notebook):
    "The module that a notebook is exported to, or None."
    text = '\n'.join(source for _, source in cells(notebook))
    found = re.search(r'^#\|\s*default_exp\s+(\S+)', text, re.M)
    return found and found[1]


MADE_FROM = {module: n for n in NOTEBOOKS if (module := exports(n))}
MODULES = {
    '.'.join(f.relative_to(ROOT / 'birdsort').with_suffix('').parts): f
    for f in (ROOT / 'birdsort').rglob('*.py')
    if f.name not in ('__init__.py', '_modidx.py')
}


def test_stages_in_front_and_packages_behind():
    names = {re.sub(r'^\d+_', '', n.stem) for n in (ROOT / 'nbs').glob('*.ipynb')}
    assert names == STAGES | {'index'}
    folders = {d.name for d in (ROOT / 'nbs').iterdir() if any(d.glob('*.ipynb'))}
    assert folders == PACKAGES | {'studies', 'howto'}


def test_every_module_has_a_notebook_of_its_name():
    assert set(MODULES) == set(MADE_FROM)
    for module, notebook in MADE_FROM.items():
        path = notebook.relative_to(ROOT / 'nbs').with_suffix('')
        assert module == '.'.join(re.sub(r'^\d+_', '', part) for part in path.parts)


def test_at_most_nine_notebooks_in_a_folder():
    folders = {n.parent for n in NOTEBOOKS if n.parent != ROOT / 'nbs'}
    assert len(folders) > 10
    assert {
        d.name: len(list(d.glob('*.ipynb'))) for d in folders if len(list(d.glob('*.ipynb'))) > 9
    } == {}


def named(node, home):
    "What an import statement names, as (module, name) pairs of dotted texts; `home` is the package it stands in."
    if isinstance(node, ast.Import):
        return [(a.name, '') for a in node.names]
    base = home[: len(home) + 1 - node.level] if node.level else []
    return [('.'.join([*base, *filter(None, [node.module])]), a.name) for a in node.names]


def called_imports(nodes):
    "Calls that import by a string: (line, the string, or None where it is put together at run time)."
    for node in nodes:
        if not isinstance(node, ast.Call):
            continue
        name = (
            node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, 'id', '')
        )
        if name not in ('import_module', '__import__', 'run_module', 'find_loader'):
            continue
        first = node.args[0] if node.args else None
        yield node.lineno, first.value if isinstance(first, ast.Constant) else None


@cache
def import_pairs(source, module):
    "What a module imports, at its top or inside a function, as `named` has it, and by calls, as `called_imports`."
    nodes, home = list(ast.walk(ast.parse(source))), ['birdsort', *module.split('.')[:-1]]
    statements = [n for n in nodes if isinstance(n, (ast.Import, ast.ImportFrom))]
    return [pair for n in statements for pair in named(n, home)], list(called_imports(nodes))


def imported(source, module, modules):
    "The modules of birdsort that a module imports, at its top, inside a function, or by a string."
    pairs, calls = import_pairs(source, module)
    for base, name in pairs + [(text, '') for _, text in calls if text]:
        candidates = (f'{base}.{name}'.removeprefix('birdsort.'), base.removeprefix('birdsort.'))
        if base.split('.')[0] == 'birdsort':
            yield from [c for c in candidates if c in modules][:1]


def place(module):
    "Where a module stands: its level, its package, and the numbers of its notebook inside the package."
    top, *rest = module.split('.')
    path = MADE_FROM[module].relative_to(ROOT / 'nbs').parts if module in MADE_FROM else ()
    return LEVEL[top], top if rest else None, path[1:]


def forbidden(module, other):
    "May this module not import that one?"
    (level, package, path), (other_level, other_package, other_path) = place(module), place(other)
    if package and package == other_package:
        if package == 'recipes' and len(path) != len(other_path):
            return len(path) < len(other_path)
        return path[:-1] != other_path[:-1] or path <= other_path
    return other_level >= level


def broken(sources):
    "Every import that breaks the list, and every import by a string that is put together at run time."
    for module, source in sources.items():
        for other in imported(source, module, sources):
            if module != other and forbidden(module, other):
                yield f'{module} -> {other}'
        for line, text in import_pairs(source, module)[1]:
            if text is None:
                yield f'{module}:{line} imports a name that is put together at run time'


SOURCES = {module: file.read_text() for module, file in MODULES.items()}


def test_arrows_point_one_way():
    assert len(list(imported(SOURCES['train'], 'train', SOURCES))) > 10, (
        'the test sees no arrows at all'
    )
    assert list(broken(SOURCES)) == []


@pytest.mark.parametrize(
    'module, planted',
    [
        ('core.project', 'from birdsort.scrape import scrape'),
        ('core.project', 'def f():\n    from .scaffold import new_project'),
        ('core.settings', 'from ..cleaning import issues'),
        ('cleaning.issues', 'from birdsort.sources.http import Web'),
        ('training.runs', 'import birdsort.recipes.bow.recipe'),
        (
            'training.runs',
            "from importlib import import_module\nimport_module('birdsort.recipes.bow.recipe')",
        ),
        ('training.runs', "__import__('birdsort.recipes.sweep')"),
        (
            'training.runs',
            "import importlib\nname = 'bow'\nimportlib.import_module(f'birdsort.recipes.{name}')",
        ),
    ],
)
def test_a_planted_import_is_found(module, planted):
    assert len(list(broken(SOURCES | {module: f'{SOURCES[module]}\n{planted}\n'}))) == 1


def test_no_private_name_is_used_by_another_module():
    used = [
        (module, name)
        for module, source in SOURCES.items()
        for base, name in import_pairs(source, module)[0]
        if base.startswith('birdsort') and name.startswith('_')
    ]
    assert [(module, name) for module, name in used if name != '__version__'] == []


def test_modules_are_exported_from_the_notebooks(tmp_path):
    copy = tmp_path / 'birdsort'
    left_out = ('.venv*', 'node_modules', 'data', '.git', '*.egg-info', '__pycache__')
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*left_out))
    for f in (copy / 'birdsort').rglob('*.py'):
        if f.name != '__init__.py':
            f.unlink()
    subprocess.run(
        [Path(sys.executable).parent / 'nbdev_export'], cwd=copy, check=True, capture_output=True
    )
    made, here = (
        {str(f.relative_to(r)): f.read_text() for f in (r / 'birdsort').rglob('*.py')}
        for r in (copy, ROOT)
    )
    assert made.keys() == here.keys()
    assert [n for n in made if made[n] != here[n]] == [], 'run nbdev_export'


def test_notebooks_are_clean_and_small(tmp_path):
    copy = tmp_path / 'nbs'
    shutil.copytree(ROOT / 'nbs', copy)
    clean = [Path(sys.executable).parent / 'nbdev_clean', '--fname', copy]
    subprocess.run(clean, check=True, capture_output=True, cwd=ROOT)
    for n in NOTEBOOKS:
        assert n.stat().st_size <= 200_000, f'{n.name} is heavy'
        cleaned = json.loads((copy / n.relative_to(ROOT / 'nbs')).read_text())
        assert cleaned == json.loads(n.read_text()), f'run nbdev_clean on {n.name}'


def test_readme_is_written_from_index():
    sys.path.insert(0, str(ROOT / '.ci'))
    from readme import readme

    assert readme(ROOT / 'nbs/index.ipynb') == (ROOT / 'README.md').read_text(), 'run make readme'


@pytest.mark.parametrize('module', sorted(MODULES))
def test_modules_are_short(module):
    assert (
        len(
            [
                line
                for line in SOURCES[module].splitlines()
                if line.strip() and not line.startswith('#')
            ]
        )
        <= 400
    )


def is_result_type(node):
    "A `TypedDict` or `NamedTuple` only names the parts of a result: the function that returns it has the lesson."
    if not isinstance(node, ast.ClassDef):
        return False
    return any(ast.unparse(base) in ('TypedDict', 'NamedTuple') for base in node.bases)


@pytest.mark.parametrize('module', sorted(set(MODULES) - {'cli'}))
def test_every_public_name_has_a_lesson(module):
    code = [source for kind, source in cells(MADE_FROM[module]) if kind == 'code']
    exported = [c for c in code if c.startswith('#| export')]
    defined = [
        d
        for c in exported
        for d in ast.parse(c).body
        if isinstance(d, (ast.FunctionDef, ast.ClassDef))
    ]
    public = [d.name for d in defined if not d.name.startswith('_') and not is_result_type(d)]
    lessons = ' '.join(c for c in code if not c.startswith('#| export'))
    assert [n for n in public if not re.search(rf'\b{n}\b', lessons)] == []
