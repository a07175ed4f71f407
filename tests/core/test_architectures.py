"Pretrained weights that come as a package: checked, converted once, trained and opened like any others."

import shutil

import pytest
import torch

from birdsort.aviary.sample_project import lesson_project
from birdsort.core import architectures
from birdsort.core.architectures import PIP_WEIGHTS, NoWeights, architecture, pip_weights
from birdsort.split import split
from birdsort.training.learner import make_learner
from birdsort.training.runs import load_run, open_run
from conftest import as_json, birdsort, one_line

NAME = 'pip:efficientnet_lite0'


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    "Where PyTorch keeps downloaded weights."
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))
    return tmp_path / 'cache'


def test_a_learner_starts_from_the_weights_of_the_package(tmp_path):
    project = lesson_project(20, tmp_path / 'birds', architecture=NAME, pretrained=True)
    split(project, quiet=True)
    values = torch.load(PIP_WEIGHTS['efficientnet_lite0'].path, weights_only=True)
    stem = make_learner(project).model[0].model.conv_stem.weight
    assert torch.equal(stem.cpu(), values['_conv_stem.weight'])
    trained = as_json('train', '--project', project.path)
    assert trained['run'] == '001_efficientnet_lite0'
    assert trained['stages'][-1]['accuracy'] > 0.6
    assert load_run(open_run(project)).dls.vocab == ['buitre', 'cacatua', 'garza']


def test_it_is_converted_once(cache):
    folder = pip_weights(NAME)
    assert folder.is_relative_to(cache)
    assert sorted(file.name for file in folder.iterdir()) == ['config.json', 'model.safetensors']
    before = (folder / 'model.safetensors').stat().st_mtime_ns
    assert pip_weights(NAME) == folder
    assert (folder / 'model.safetensors').stat().st_mtime_ns == before
    (folder / 'config.json').unlink()  # As if the conversion had been killed
    assert architecture(NAME) == (f'local-dir:{folder}', ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)))


def test_what_cannot_be_used_is_one_line(tmp_path, monkeypatch):
    project = lesson_project(14, tmp_path / 'birds')
    split(project, quiet=True)

    def train(name):
        return birdsort('train', '--project', project.path, '--arch', name, '--pretrained')

    one_line(train('pip:efficientnet_lite9'), "'pip:efficientnet_lite9'", 'pip:efficientnet_lite0')
    package = PIP_WEIGHTS['efficientnet_lite0']
    missing = package._replace(name='no-such-package')
    changed = shutil.copytree(package.path.parent, tmp_path / 'changed') / package.path.name
    changed.write_bytes(changed.read_bytes()[:-1] + b'?')
    elsewhere = package._replace(
        file=str(changed)
    )  # An absolute path takes the place of the package's folder
    for broken, words in (
        (missing, 'pip install no-such-package'),
        (elsewhere, 'is not the file that birdsort knows'),
    ):
        monkeypatch.setitem(architectures.PIP_WEIGHTS, 'efficientnet_lite0', broken)
        with pytest.raises(NoWeights, match=words):
            pip_weights(NAME)
