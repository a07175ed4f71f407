"The run-time check: birdsort with today's newest fastai, in an environment without the development pins."
import importlib, pkgutil

import fastai, fastcore
from conftest import ROOT, as_json

import birdsort
from birdsort.lesson import lesson_project


def version(package): return tuple(int(n) for n in package.__version__.split('.')[:2])


def test_this_is_the_newest_stack():
    assert version(fastcore) >= (2, 0), f'fastcore {fastcore.__version__} is the development pin'
    assert ROOT in __import__('pathlib').Path(birdsort.__file__).parents


def test_every_module_imports():
    for m in pkgutil.walk_packages(birdsort.__path__, 'birdsort.'): importlib.import_module(m.name)


def test_from_names_to_learner(tmp_path):
    project = lesson_project(0, tmp_path/'birds', n=14)
    result = as_json('run', '--project', project.path)
    assert result['evaluate']['n'] == 9 and len(result['predict']['predictions']) == 3
    assert [s['name'] for s in result['train']['stages']] == ['one-cycle', 'fine-tune']
    print(f'fastai {fastai.__version__}, fastcore {fastcore.__version__}')
