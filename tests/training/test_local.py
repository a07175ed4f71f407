"A local head is an ordinary model: it is trained, exported in every format, opened without birdsort, and explained."

import numpy as np
import pytest
from PIL import Image

import birdsort.training.frozen_features as ff
from birdsort.aviary.sample_project import lesson_project
from birdsort.choose import choose_architecture, choose_head
from birdsort.core.images import decode
from birdsort.core.scaffold import new_project
from birdsort.core.settings import Training, change
from birdsort.datasets.splits import load_splits
from birdsort.export import export
from birdsort.predict import Predictor
from birdsort.split import split
from birdsort.train import train
from conftest import forked, predict_without_birdsort
from deploy.test_javascript import assert_alike, by_birdsort, in_javascript


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
    assert [stage['name'] for stage in result['stages']] == ['probe']
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


def test_small_evidence_is_seen_by_a_local_head_only(tmp_path, monkeypatch):
    "A training reaches what the comparison has found, and one that was interrupted computes no map twice."
    project = scratched(tmp_path / 'large', 128)
    auto, seen, images = change(project.settings, head='auto', epochs=(1, 0)), [], ff._images

    def until_killed(ex, dl, ids, view):
        if len(ids) > 1:  # The first image is tried alone
            seen.extend((ex.settings.image_size, view, i) for i in ids)
        return images(ex, dl, ids, view)

    def killed(ex, dl, ids, view):
        if (128, 0, 0) in seen and ids[0]:
            raise KeyboardInterrupt
        return until_killed(ex, dl, ids, view)

    monkeypatch.setattr(ff, '_images', killed)
    with pytest.raises(KeyboardInterrupt):
        choose_architecture(project, auto, quiet=True)
    monkeypatch.setattr(ff, '_images', until_killed)
    trained = choose_architecture(project, auto, quiet=True)
    assert len(seen) == len(set(seen)) and {size for size, *_ in seen} == {64, 128}
    assert trained.train.head.startswith('local-') and trained.image_size == 128
    found = choose_head(project, auto)
    assert found['comparison']['local'] > 0.85 and found['comparison']['pooled'] < 0.8, (
        'kept, and told'
    )
    result = train(project, settings=auto, quiet=True)
    assert result['head'] == found and result['stages'][0]['accuracy'] > 0.8


def test_images_without_more_pixels_are_pooled_at_no_cost(tmp_path):
    project = scratched(tmp_path / 'small', 64)
    trained = choose_architecture(project, change(project.settings, head='auto'), quiet=True)
    assert (trained.train.head, trained.image_size) == ('linear', 64)
    assert 'no more pixels' in choose_head(project, change(project.settings, head='auto'))['words']
    assert not list((project.path / '.cache').glob('features-*'))


def test_evidence_that_is_everywhere_is_pooled(tmp_path):
    project = scratched(tmp_path / 'all', 96)
    for file in project.split.glob('*/scratched/*'):
        red = Image.open(file).getchannel(0)
        Image.merge('RGB', (red, *[red.point(lambda v: v // 4)] * 2)).save(file)
    words = choose_head(project, change(project.settings, head='auto'), quiet=True)['words']
    assert words.startswith('pooled features are taken: they label ')


@pytest.mark.parametrize('size, mode', [((5, 4), 'RGB'), ((1500, 20), 'RGB'), ((90, 120), 'L')])
def test_tiny_long_and_grey_images_are_labelled_and_explained(exported, size, mode):
    predictor = Predictor(exported[0])
    image = Image.effect_noise(size, 90).convert(mode)
    assert predictor(image)['label'] in exported[0].settings.labels
    assert predictor.gradcam_image(image).width / predictor.gradcam_image(image).height > 0.5


def test_javascript_gives_the_same(exported, tmp_path):
    project, _ = exported
    for i, (file, _) in enumerate(load_splits(project).val[:4]):
        decode(file).save(tmp_path / f'{i}.jpg')
    images = sorted(tmp_path.glob('*.jpg'))
    model = project.export / 'model.onnx'
    assert_alike(by_birdsort(project, images), in_javascript(model, images), images, 0.001)
