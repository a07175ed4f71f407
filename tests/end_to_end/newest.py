"The run-time check: birdsort with today's newest fastai, in an environment without the development pins."

import importlib
import json
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import fastai
import fastcore
import torch

import birdsort
from birdsort.aviary.sample_project import lesson_project
from conftest import ROOT, as_json


def version(package):
    return tuple(int(n) for n in package.__version__.split('.')[:2])


def test_this_is_the_newest_stack():
    assert version(fastcore) >= (2, 0), f'fastcore {fastcore.__version__} is the development pin'
    assert ROOT in __import__('pathlib').Path(birdsort.__file__).parents


def test_every_module_imports():
    for m in pkgutil.walk_packages(birdsort.__path__, 'birdsort.'):
        importlib.import_module(m.name)


def test_from_names_to_learner(tmp_path):
    project = lesson_project(0, tmp_path / 'birds', images_per_label=14)
    result = as_json('run', '--project', project.path)
    assert result['evaluate']['n'] == 9 and len(result['predict']['predictions']) == 3
    assert [s['name'] for s in result['train']['stages']] == ['one-cycle', 'fine-tune']
    print(f'fastai {fastai.__version__}, fastcore {fastcore.__version__}')


MAKE = """
import sys
from birdsort.aviary.sample_project import lesson_project
from birdsort.export import export
from birdsort.split import split
from birdsort.train import train
project = lesson_project(20, sys.argv[1])
split(project)
train(project, quiet=True)
export(project, formats=('pickle',), quiet=True)"""
OPEN = """import sys; sys.modules['birdsort'] = None
import fastai, json; from fastai.learner import load_learner
learn = load_learner(sys.argv[1])
with learn.no_bar(), learn.no_logging():
    found = [(label, probs.tolist()) for label, _, probs in map(learn.predict, sys.argv[2:])]
print(json.dumps([fastai.__version__, found]))"""


def test_a_pickle_of_the_older_fastai(tmp_path):
    "Made in the first environment, opened without birdsort by both: the same labels and probabilities."
    older = str(Path(torch.__file__).parents[4] / 'bin/python')  # The first environment, whose torch this one sees
    env = {k: v for k, v in os.environ.items() if k != 'PYTHONPATH'}

    def run(python, code, *args):
        done = subprocess.run(
            [python, '-W', 'ignore', '-c', code, *map(str, args)],
            capture_output=True,
            text=True,
            env=env | (dict(PYTHONPATH=str(ROOT)) if code == MAKE else {}),
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run(older, MAKE, tmp_path / 'birds')
    shown = sorted((tmp_path / 'birds/images').glob('*/*.jpg'))[::7]
    (v1, first), (v2, second) = (
        json.loads(run(python, OPEN, tmp_path / 'birds/export/learner.pkl', *shown).splitlines()[-1])
        for python in (older, sys.executable)
    )
    assert v1 != v2 and [l for l, _ in first] == [l for l, _ in second]
    assert all(
        abs(a - b) < 1e-4 for (_, p), (_, q) in zip(first, second, strict=False) for a, b in zip(p, q, strict=False)
    )
