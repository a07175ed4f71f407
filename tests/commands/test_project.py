"The front door: every stage as a method, each result shows itself, and nothing is loaded before it is needed."

import json
import subprocess
import sys
from inspect import signature

import pytest
from fastai.vision.augment import Resize
from fastai.vision.data import ImageDataLoaders

from birdsort import Project
from birdsort.aviary.sample_project import lesson_project
from conftest import ENV, as_json
from helpers.runs import add_fixed_run

LIGHT = """
import sys, birdsort
assert not {'birdsort.commands', 'birdsort.core'} & sys.modules.keys()
birdsort.Project.train
assert not {'torch', 'pandas', 'numpy', 'fastai'} & sys.modules.keys()
"""


def test_importing_loads_nothing():
    subprocess.run([sys.executable, '-c', LIGHT], check=True, env=ENV)


def test_documentation_is_that_of_the_stage():
    from birdsort.train import train

    assert Project.train.__doc__.startswith(train.__doc__)
    assert 'Train again' in Project.train.__doc__
    assert [*signature(Project.train).parameters][0] == 'force'
    assert 'engine' in signature(Project.predict).parameters
    assert 'loss_func' in signature(Project.train).parameters
    assert 'fastai callbacks' in Project.train.__doc__


def test_every_stage_on_drawn_birds(split_birds):
    project = Project(add_fixed_run(split_birds).path)
    evaluated = project.evaluate(quiet=True)
    assert evaluated['run'] == '001_fixed' and 'garza' in str(evaluated)
    assert evaluated._repr_html_().startswith('<table>')
    assert evaluated.to_dict() == as_json('evaluate', '--project', split_birds.path)
    project.export(formats=('safetensors',), quiet=True)
    image = next((split_birds.split / 'test' / 'garza').iterdir())
    predicted = project.predict(image, engine='torch', quiet=True)
    assert predicted._repr_html_().count('<img') == len(predicted) == 1
    same = as_json('predict', image, '--engine', 'torch', '--project', split_birds.path)
    assert predicted.to_dict() == same
    assert project.learner().dls.vocab == sorted(split_birds.settings.labels)
    assert (
        project.split().to_dict()
        == json.loads((split_birds.split / '.split.json').read_text())['counts']
    )
    assert project.status().to_dict() == as_json('status', '--project', split_birds.path)
    assert 'next: birdsort' in repr(project) and '<table>' in project._repr_html_()


def test_hooks_of_a_user(tmp_path, capsys):
    made = lesson_project(8, tmp_path / 'birds', epochs=(1, 0))
    project = Project(made.path)
    project.split(quiet=True)
    for wrong in (dict(metrics=5), dict(item_tfms=['squish'])):
        with pytest.raises(TypeError, match=next(iter(wrong))):
            project.train(**wrong, quiet=True)
    loaders = ImageDataLoaders.from_folder(
        made.path / 'split', 'train', 'val', item_tfms=Resize(64), bs=4, num_workers=0
    )
    before = [str(loaders.train.after_batch), str(loaders.valid.after_item)]
    seen = []

    def look(x):
        seen.append(x)
        return x

    hooked = project.train(dls=loaders, batch_tfms=look, cbs=None, quiet=True)
    assert seen
    assert before == [str(loaders.train.after_batch), str(loaders.valid.after_item)]
    assert 'normalises images in another way' in capsys.readouterr().err
    assert 'train' in project.status()['done']
    plain = project.train(quiet=True, cbs=None, metrics=None)
    assert plain['run'] != hooked['run']
    assert project.train(quiet=True)['run'] == plain['run']
