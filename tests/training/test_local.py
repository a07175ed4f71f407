"A local head is an ordinary model: it is trained, exported in every format, opened without birdsort, and explained."

import numpy as np
import pytest
from PIL import Image

from birdsort.aviary.sample_project import lesson_project
from birdsort.choose import choose_architecture, choose_head
from birdsort.core.scaffold import new_project
from birdsort.core.settings import Training, change
from birdsort.datasets.splits import load_splits
from birdsort.export import export
from birdsort.predict import Predictor
from birdsort.split import split
from birdsort.train import train
from conftest import forked, predict_without_birdsort


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    how = dict(
        architecture='pip:efficientnet_lite0',
        pretrained=True,
        image_size=96,
        batch_size=8,
        epochs=(2, 0),
    )
    how |= dict(train=Training(precision='fp32', head='local-5'))
    project = lesson_project(12, tmp_path_factory.mktemp('local') / 'birds', **how)
    split(project, quiet=True)
    result = train(project, quiet=True)
    assert [stage['name'] for stage in result['stages']] == ['probe', 'one-cycle']
    return project, export(project, quiet=True)


def test_every_format_gives_the_same(exported):
    project, result = exported
    assert (
        set(result['apart']) == {'pickle', 'torch', 'onnx'} and max(result['apart'].values()) < 1e-3
    )
    files = [file for file, _ in load_splits(project).val]
    engines = [e for e in ('onnx', 'int8', 'torch') if e not in result['left_out']]
    predicted = [
        [row['label'] for row in Predictor(project, engine=engine)(files)] for engine in engines
    ]
    assert len(engines) > 1 and all(labels == predicted[0] for labels in predicted)


def test_fastai_opens_the_learner_without_birdsort(exported):
    project, _ = exported
    file = load_splits(project).val[0][0]
    done = forked(predict_without_birdsort, project.export / 'learner.pkl', file)
    assert done.stdout.split()[-1:] == [Predictor(project, engine='torch')(file)['label']], (
        done.stderr
    )


def scratched(path, side):
    "Grey noise, half of it with a small chequered patch, which is grey where pixels are averaged."
    rng = np.random.default_rng(0)
    labels = dict(whole=['whole'], scratched=['scratched'])
    how = dict(architecture='pip:efficientnet_lite0', pretrained=True, image_size=64, epochs=(4, 0))
    project = new_project(path, labels=labels, **how)
    for n in range(140):
        label = ['whole', 'scratched'][n % 2]
        pixels = rng.normal(128, 30, (side, side, 3)).clip(0, 255).astype(np.uint8)
        if n % 2:
            x, y = rng.integers(0, side - 16, 2)
            pixels[y : y + 16, x : x + 16] = 255 * (np.indices((16, 16)).sum(0) // 2 % 2)[..., None]
        (project.images / label).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(project.images / label / f'{n}.png')
    split(project, quiet=True)
    return project


def test_small_evidence_is_seen_by_a_local_head_only(tmp_path):
    "And a training reaches what the comparison has found."
    project = scratched(tmp_path / 'large', 256)
    trained = choose_architecture(project, change(project.settings, head='auto'), quiet=True)
    assert trained.train.head.startswith('local-') and trained.image_size == 256
    found = choose_head(project, change(project.settings, head='auto'))
    assert found['comparison']['local'] > 0.9 and found['comparison']['pooled'] < 0.8, (
        'kept, and told'
    )
    result = train(
        project, settings=change(project.settings, head='auto', epochs=(1, 0)), quiet=True
    )
    assert result['head'] == found and result['stages'][0]['accuracy'] > 0.8


def test_images_without_more_pixels_are_pooled_at_no_cost(tmp_path):
    project = scratched(tmp_path / 'small', 64)
    trained = choose_architecture(project, change(project.settings, head='auto'), quiet=True)
    assert (trained.train.head, trained.image_size) == ('linear', 64)
    assert 'no more pixels' in choose_head(project, change(project.settings, head='auto'))['words']
    assert not list((project.path / '.cache').glob('features-*'))
