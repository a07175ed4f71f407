"Sets of labels with a promise: kept on drawn birds, asked for on the command line, and refused in one line."

import json
import shutil

import numpy as np
import pytest

from birdsort.datasets.splits import load_splits
from birdsort.evaluation.calibration import apply_temperature, fit_temperature
from birdsort.evaluation.prediction_sets import judge_sets, true_label_scores
from birdsort.evaluation.predictions import Predictions
from birdsort.predict import Predictor
from conftest import as_json, birdsort, one_line


def part(table, rows, split):
    files = [table.files[i] for i in rows]
    return Predictions(files, table.probs[rows], table.targets[rows], table.vocab, split)


def coverages(table, seed):
    "Of two promises, after a division of the images into two halves."
    first, second = np.array_split(np.random.default_rng(seed).permutation(len(table.files)), 2)
    for a, b in ((first, second), (second, first)):
        val, test = part(table, a, 'val'), part(table, b, 'test')
        temperature = fit_temperature(val)
        scores = true_label_scores(apply_temperature(val, temperature))
        test = apply_temperature(test, temperature)
        yield [judge_sets(test, scores, promise)['coverage'] for promise in (0.9, 0.95)]


@pytest.fixture(scope='module')
def judged(tmp_path_factory):
    "Predictions for 120 drawn birds by a probe that has seen 60 others, and often errs."
    from birdsort.aviary.sample_project import lesson_project
    from birdsort.choose import candidate_features
    from birdsort.core.settings import change
    from birdsort.deploy.inference import probabilities
    from birdsort.split import split
    from birdsort.training.learner import make_learner
    from birdsort.training.probe import ProbeData, fit_probe

    project = lesson_project(60, tmp_path_factory.mktemp('sets') / 'birds')
    split(project, quiet=True)
    settings = change(project.settings, architecture='pip:efficientnet_lite0', image_size=64)
    learn = make_learner(project, settings=settings)
    pairs = [pair for pairs in load_splits(project) for pair in pairs]
    data = candidate_features(project, learn, settings, pairs, 'fp32', n_views=1, quiet=True)
    order = np.random.default_rng(0).permutation(len(pairs))
    train, rest = order[:60], order[60:]
    names = list(learn.dls.vocab)
    probe = fit_probe(ProbeData(data.x[train], data.y[train], data.groups[train]), names)
    probs = probabilities(data.x[rest] @ probe.weight.T + probe.bias)
    return Predictions([pairs[i][0] for i in rest], probs, data.y[rest], names)


def test_the_promise_is_kept_on_drawn_birds(judged):
    assert judged.correct.mean() < 0.98, 'too easy to tell anything'
    found = np.mean([c for seed in range(30) for c in coverages(judged, seed)], 0)
    assert np.allclose(found, [0.9, 0.95], atol=0.01)


def test_sets_are_named_everywhere(exported_birds):
    files = sorted(exported_birds.split.glob('val/*/*'))
    here = ['--project', exported_birds.path]
    rows = as_json('predict', *files, '--sets', '0.8', *here)['predictions']
    torch = Predictor(exported_birds, 'torch', sets=0.8)(files)
    assert [row['set'] for row in rows] == [row['set'] for row in torch]
    covered = [file.parent.name in row['set'] for file, row in zip(files, rows, strict=True)]
    assert np.mean(covered) >= 0.8  # These images have chosen the bound
    for row in rows:
        assert row['set'] == list(row['best'])[: len(row['set'])]
    header, *lines = birdsort('predict', files[0], '--sets', '0.8', '--csv', *here).stdout.split()
    assert header == 'file,label,probability,set,error'
    assert lines
    assert 'set' not in as_json('predict', files[0], *here)['predictions'][0]


@pytest.mark.parametrize(
    'promise, words',
    [('0.3', ['from 0.5 to 0.999']), ('0.999', ['needs 999 validation images', 'ask for'])],
)
def test_a_promise_that_cannot_be_given_is_one_line(exported_birds, promise, words):
    file = next(exported_birds.split.glob('val/*/*'))
    asked = birdsort('predict', file, '--sets', promise, '--project', exported_birds.path)
    one_line(asked, *words)


def test_an_old_export_is_exported_again(exported_birds, tmp_path):
    copied = shutil.copytree(exported_birds.export, tmp_path / 'model')
    config = json.loads((copied / 'config.json').read_text())
    del config['conformal']
    (copied / 'config.json').write_text(json.dumps(config))
    with pytest.raises(ValueError, match='run `birdsort export` again'):
        Predictor(copied, sets=0.9)
