"The front door: every stage as a method, each result shows itself, and nothing is loaded before it is needed."

import json
import subprocess
import sys
from inspect import signature

from birdsort import Project
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
