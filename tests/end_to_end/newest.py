"The run-time check: birdsort with today's newest fastai, in an environment without the development pins."

import importlib
import inspect
import json
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import fastai
import fastcore
import pytest
import torch

import birdsort
from birdsort.aviary.sample_project import lesson_project
from birdsort.cli import main
from conftest import ROOT


def version(package):
    return tuple(int(n) for n in package.__version__.split('.')[:2])


def test_this_is_the_newest_stack():
    assert version(fastcore) >= (2, 0), f'fastcore {fastcore.__version__} is the development pin'
    assert ROOT in __import__('pathlib').Path(birdsort.__file__).parents


def test_every_module_imports():
    for m in pkgutil.walk_packages(birdsort.__path__, 'birdsort.'):
        importlib.import_module(m.name)


def test_from_names_to_learner(tmp_path, capsys):
    project = lesson_project(0, tmp_path / 'birds', images_per_label=14)
    assert not main(['run', '--project', str(project.path), '--json'])
    result = json.loads(capsys.readouterr().out)['result']
    assert result['evaluate']['n'] == 9 and len(result['predict']['predictions']) == 3
    assert [s['name'] for s in result['train']['stages']] == ['one-cycle', 'fine-tune']
    print(f'fastai {fastai.__version__}, fastcore {fastcore.__version__}')


MAKE = """
import json, sys
from pathlib import Path
import fastai
from birdsort.aviary.sample_project import lesson_project
from birdsort.export import export
from birdsort.split import split
from birdsort.train import train
project = lesson_project(20, sys.argv[1])
split(project)
train(project, quiet=True)
export(project, formats=('pickle',), quiet=True)
for name in [name for name in sys.modules if name.split('.')[0] == 'birdsort']:
    sys.modules[name] = None
print(json.dumps([fastai.__version__, predicted(sys.argv[1])]))"""


def predicted(folder):
    "The labels and probabilities of some images of a project, by its exported learner."
    from fastai.learner import load_learner

    learn = load_learner(Path(folder) / 'export' / 'learner.pkl')
    images = sorted((Path(folder) / 'images').glob('*/*.jpg'))[::7]
    with learn.no_bar(), learn.no_logging():
        return [(label, probs.tolist()) for label, _, probs in map(learn.predict, images)]


def test_a_pickle_of_the_older_fastai(tmp_path, monkeypatch):
    "Made in the first environment, opened without birdsort by both: the same labels and probabilities."
    older = str(
        Path(torch.__file__).parents[4] / 'bin/python'
    )  # The first environment, whose torch this one sees
    code = inspect.getsource(predicted) + MAKE
    done = subprocess.run(
        [older, '-W', 'ignore', '-c', code, str(tmp_path / 'birds')],
        capture_output=True,
        text=True,
        env=os.environ | dict(PYTHONPATH=str(ROOT)),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    version_there, there = json.loads(done.stdout.splitlines()[-1])
    for name in [name for name in sys.modules if name.split('.')[0] == 'birdsort']:
        monkeypatch.setitem(sys.modules, name, None)
    here = predicted(tmp_path / 'birds')
    assert version_there != fastai.__version__
    assert [label for label, _ in there] == [label for label, _ in here]
    for (_, p), (_, q) in zip(there, here, strict=True):
        assert p == pytest.approx(q, abs=1e-4)
