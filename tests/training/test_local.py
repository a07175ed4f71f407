"A local head is an ordinary model: it is trained, exported in every format, opened without birdsort, and explained."

import subprocess
import sys

import pytest

from birdsort.aviary.sample_project import lesson_project
from birdsort.core.settings import Training
from birdsort.datasets.splits import load_splits
from birdsort.export import export
from birdsort.predict import Predictor
from birdsort.split import split
from birdsort.train import train


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    how = dict(architecture='pip:efficientnet_lite0', pretrained=True, image_size=96, batch_size=8, epochs=(2, 0))
    how |= dict(train=Training(precision='fp32', head='local-5'))
    project = lesson_project(12, tmp_path_factory.mktemp('local') / 'birds', **how)
    split(project, quiet=True)
    result = train(project, quiet=True)
    assert [stage['name'] for stage in result['stages']] == ['one-cycle']
    return project, export(project, quiet=True)


def test_every_format_gives_the_same(exported):
    project, result = exported
    assert set(result['apart']) == {'pickle', 'torch', 'onnx'} and max(result['apart'].values()) < 1e-3
    files = [file for file, _ in load_splits(project).val]
    engines = [e for e in ('onnx', 'int8', 'torch') if e not in result['left_out']]
    predicted = [[row['label'] for row in Predictor(project, engine=engine)(files)] for engine in engines]
    assert len(engines) > 1 and all(labels == predicted[0] for labels in predicted)


def test_fastai_opens_the_learner_without_birdsort(exported):
    project, _ = exported
    code = (
        'import sys, warnings\n'
        'warnings.simplefilter("ignore")\n'
        'sys.modules["birdsort"] = None\n'
        'from fastai.learner import load_learner\n'
        'print(load_learner(sys.argv[1]).predict(sys.argv[2])[0])'
    )
    file = load_splits(project).val[0][0]
    command = [sys.executable, '-c', code, project.export / 'learner.pkl', file]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout.split()[-1:] == [Predictor(project, engine='torch')(file)['label']], done.stderr
