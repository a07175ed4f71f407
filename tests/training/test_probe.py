"The probe: a logistic regression in front of stage one, on real pretrained weights and drawn birds."

import numpy as np
import pytest
import torch
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from birdsort.aviary.sample_project import lesson_project
from birdsort.core.settings import Training, change
from birdsort.datasets.splits import load_splits
from birdsort.evaluate import evaluate
from birdsort.split import split
from birdsort.train import train
from birdsort.training.callbacks import KeepIfBetter, compare_losses, save_best
from birdsort.training.learner import make_learner
from birdsort.training.probe import (
    ProbeData,
    begins_with_probe,
    cross_validate_strengths,
    fit_probe,
)
from birdsort.training.runs import kept_stage, load_run, open_run
from conftest import as_json, birdsort, one_line


@pytest.fixture(scope='module')
def birds(tmp_path_factory):
    how = dict(
        architecture='pip:efficientnet_lite0',
        pretrained=True,
        image_size=128,
        batch_size=8,
        epochs=(2, 3),
    )
    how |= dict(train=Training(precision='fp32'))  # Numbers are compared, on any processor
    project = lesson_project(20, tmp_path_factory.mktemp('probe') / 'birds', **how)
    split(project, quiet=True)
    return project


@pytest.fixture(scope='module')
def trained(birds):
    return train(birds, quiet=True)


def blobs(counts, seed=0):
    "Features of labels around corners of a cube, and their mirror images."
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(len(counts)), counts)
    x = rng.normal(size=(len(y), max(12, len(counts)))) * 2 + 3
    x[np.arange(len(y)), y] += 4
    mirrored = x + rng.normal(size=x.shape) * 0.1
    groups = np.arange(len(y))
    return ProbeData(
        np.concatenate([x, mirrored]).astype(np.float32), np.tile(y, 2), np.tile(groups, 2)
    )


def softmax(logits):
    return torch.from_numpy(logits).softmax(1).numpy()


@pytest.mark.parametrize(
    'counts', [(20, 20, 20), (30, 30), (1, 20, 20), (3,) * 40], ids=['three', 'two', 'one', 'many']
)
@pytest.mark.parametrize('balanced', [False, True], ids=['plain', 'balanced'])
def test_a_probe_is_scikit_learns_regression_of_standardised_features(counts, balanced):
    data, names = blobs(counts), [f'label {i}' for i in range(len(counts))]
    probe = fit_probe(data, names, balanced=balanced)
    weight = 'balanced' if balanced else None
    regression = LogisticRegression(C=probe.strength, max_iter=500, class_weight=weight)
    expected = make_pipeline(StandardScaler(), regression).fit(data.x, data.y).predict_proba(data.x)
    assert np.abs(softmax(data.x @ probe.weight.T + probe.bias) - expected).max() < 2e-3


def test_the_penalty_is_the_strongest_within_a_standard_error_of_the_lowest_loss():
    data = blobs((15, 15, 15), seed=3)
    probe = fit_probe(data, ['a', 'b', 'c'])
    scaled = data._replace(x=(data.x - data.x.mean(0)) / data.x.std(0))
    found = {f.strength: f for f in cross_validate_strengths(scaled)}
    assert found[probe.strength].loss == pytest.approx(probe.loss, rel=1e-3)
    lowest = min(found.values(), key=lambda f: f.loss)
    assert probe.loss <= lowest.loss + lowest.error + 1e-3
    stronger = [f for f in found.values() if f.strength < probe.strength]
    assert all(f.loss > lowest.loss + lowest.error - 1e-3 for f in stronger)


def test_a_label_without_images_is_never_predicted():
    data = blobs((10, 10))
    probe = fit_probe(data, ['a', 'b', 'none'])
    assert set((data.x @ probe.weight.T + probe.bias).argmax(1)) == {0, 1}


def test_training_is_never_worse_than_its_probe(birds, trained):
    stages = {stage['name']: stage for stage in trained['stages']}
    assert [*stages][:3] == ['probe', 'one-cycle', 'trial'] and stages['probe']['accuracy'] >= 0.9
    learn = load_run(open_run(birds))
    with learn.no_bar(), learn.no_logging():
        assert learn.validate()[0] <= stages['probe']['valid_loss'] + 5e-3
    assert trained['trial']['accepted'] == ('fine-tune' in stages)
    assert trained['polish']['accepted'] or kept_stage(trained)['name'] != 'one-cycle'


def test_evaluation_runs_the_backbone_for_test_images_alone(birds, trained):
    "And all others find their features in the cache."
    train(
        birds, quiet=True, settings=change(birds.settings, fine_tune='never')
    )  # Whatever the trial has found
    (store,) = [f for f in (birds.path / '.cache').glob('features-*') if not f.suffix]
    train_images, val_images, test_images = map(len, load_splits(birds))
    before, rows = (
        store.stat().st_size,
        2 * train_images + val_images,
    )  # Validation images in one view
    evaluate(birds, quiet=True)
    assert (store.stat().st_size - before) * rows == (val_images + 2 * test_images) * before
    evaluated = store.stat().st_size
    as_json('evaluate', '--project', birds.path, '--folds', 3)
    assert store.stat().st_size == evaluated, 'the folds, too'


def test_predictions_are_those_of_the_whole_network(birds, trained):
    from birdsort.evaluation.predictions import predictions

    found = predictions(birds, split='val', quiet=True)
    learn = load_run(open_run(birds))
    with learn.no_bar(), learn.no_logging():
        probs = learn.get_preds(dl=learn.dls.test_dl(found.files))[0].numpy()
    assert np.abs(probs - found.probs).max() < 0.02


@pytest.mark.parametrize(
    'given, stages, head',
    [
        (dict(schedule='published'), ['one-cycle', 'fine-tune'], 9),
        (dict(fine_tune='never'), ['probe', 'one-cycle'], 3),
        (dict(fine_tune='always', epochs=(1, 1)), ['probe', 'one-cycle', 'fine-tune'], 3),
        (dict(head=(16,), epochs=(1, 1)), ['one-cycle', 'fine-tune'], 9),
        (dict(mixup=0.4, epochs=(1, 0), class_weights=True), ['probe', 'one-cycle'], 3),
    ],
    ids=['published', 'never', 'always', 'hidden layer', 'mixup'],
)
def test_which_fits_there_are(birds, given, stages, head):
    settings = change(birds.settings, **dict(epochs=(1, 1)) | given)
    result = train(birds, quiet=True, settings=settings)
    assert [stage['name'] for stage in result['stages']] == stages and result['trial'] is None
    assert len(load_run(open_run(birds, result['run'])).head) == head


@pytest.mark.parametrize(
    'arch', ['vit_b_32', 'test_convnext', 'test_vit', 'mnasnet0_5', 'resnet18']
)
def test_networks_with_other_heads_begin_with_a_probe(birds, arch):
    "Random weights that are taken for pretrained ones; torchvision's transformer keeps its own head."
    learn = make_learner(
        birds, settings=change(birds.settings, architecture=arch, image_size=224), pretrained=False
    )
    assert begins_with_probe(learn, birds.settings)
    assert not begins_with_probe(learn, change(birds.settings, head=(512,)))


def test_what_cannot_be_fitted_is_one_line(birds):
    data = blobs((5, 5))
    with pytest.raises(ValueError, match="all of the label 'a'"):
        fit_probe(data._replace(y=data.y * 0), ['a', 'b'])
    with pytest.raises(ValueError, match='NaN'):
        fit_probe(data._replace(x=data.x * np.nan), ['a', 'b'])
    one_line(
        birdsort('train', '--project', birds.path, '--fine-tune', 'maybe'), 'auto, always, never'
    )


def test_a_trial_is_accepted_for_more_than_chance_alone():
    torch.manual_seed(0)
    before, noise = torch.rand(100), torch.randn(100) * 0.3
    noise -= noise.mean()
    chance, better = (
        compare_losses(before, before - 0.02 + noise),
        compare_losses(before, before - 0.1 + noise),
    )
    assert (chance['accepted'], better['accepted']) == (False, True) and chance[
        'gain'
    ] == pytest.approx(0.02, abs=1e-3)
    assert not compare_losses(before[:1], before[:1] - 0.5)['accepted'], 'one image shows nothing'


@pytest.mark.parametrize('accepted', [False, True])
def test_weights_that_are_better_by_chance_take_no_place(tmp_path, accepted):
    "A linear layer that cannot be made better, and one that can; interrupted, the comparison is with the same losses."
    torch.manual_seed(0)
    x = torch.rand(60, 3)
    pairs = list(zip(x, x.argmax(1), strict=True))
    learn = Learner(
        DataLoaders.from_dsets(pairs, pairs, bs=20),
        nn.Linear(3, 3),
        loss_func=nn.CrossEntropyLoss(),
        path=tmp_path,
    )
    saver, found = save_best(), {}
    with torch.no_grad():
        learn.model.weight.copy_(torch.eye(3) * (1 if accepted else 1000)), learn.model.bias.zero_()
    with learn.no_bar(), learn.no_logging():
        learn.fit(1, 0.0, cbs=[saver])
        before = learn.model.weight.clone()
        learn.fit(3, 0.05, cbs=[KeepIfBetter(saver, found, 'polish'), saver])
    assert (
        found['polish']['accepted'] == accepted and [*found] == ['polish'] and saver.min_delta == 0
    )
    assert torch.equal(before, learn.model.weight) != accepted
