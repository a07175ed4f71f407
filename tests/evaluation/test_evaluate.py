"Numbers against scikit-learn and by hand, the test split untouched by choices, and the report in a real browser."

import ast
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn import metrics
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from birdsort.aviary.pencil import draw_bird
from birdsort.aviary.sample_project import lesson_project
from birdsort.compare import compare
from birdsort.core.project import Project, record_stage
from birdsort.core.settings import Training
from birdsort.evaluate import evaluate
from birdsort.evaluation.calibration import apply_temperature, choose_threshold, fit_temperature
from birdsort.evaluation.gradcam import grad_cam
from birdsort.evaluation.metrics import bootstrap, calibration_error, score, wilson
from birdsort.evaluation.predictions import Predictions, predictions
from birdsort.report import report
from birdsort.sources.browser import browser
from birdsort.split import split
from birdsort.train import train
from birdsort.training.runs import load_run, open_run
from conftest import ROOT, as_json, birdsort, one_line


def planted(n=140, c=7, seed=0):
    "Predictions that are right about three times in four."
    rng = np.random.default_rng(seed)
    truth = np.arange(n) % c
    p = rng.dirichlet(np.ones(c) * 0.5, n) + 0.6 * np.eye(c)[truth]
    return Predictions(
        [f'{i}.jpg' for i in range(n)],
        (p / p.sum(1, keepdims=True)).astype('float32'),
        truth,
        [f'label {i}' for i in range(c)],
    )


def test_every_number_is_scikit_learns_or_by_hand():
    a = planted()
    targets, predicted, found = a.targets, a.probs.argmax(1), score(a, times=100)
    p = a.probs.astype('float64')
    p /= p.sum(1, keepdims=True)
    top_3 = np.argsort(-p, 1)[:, :3]
    areas = [metrics.roc_auc_score(targets == i, p[:, i]) for i in range(7)]
    expected = dict(
        loss=-np.log(p[np.arange(140), targets]).mean(),
        accuracy=(predicted == targets).mean(),
        top_3=np.mean([target in row for target, row in zip(targets, top_3, strict=True)]),
        f1_macro=metrics.f1_score(targets, predicted, average='macro'),
        f1_weighted=metrics.f1_score(targets, predicted, average='weighted'),
        kappa=metrics.cohen_kappa_score(targets, predicted),
        roc_auc=np.mean(areas),
    )
    for k, v in expected.items():
        assert found[k] == pytest.approx(v, abs=1e-6), k
    bins = np.clip(np.ceil(a.confidence * 15) - 1, 0, 14)
    by_hand = 0
    for b in np.unique(bins):
        in_bin = bins == b
        gap = a.correct[in_bin].mean() - a.confidence[in_bin].mean()
        by_hand += abs(gap) * in_bin.mean()
    assert found['calibration_error'] == pytest.approx(by_hand, abs=1e-5)
    json.dumps(found, allow_nan=False)


def test_the_scores_of_each_label_are_scikit_learns():
    a = planted()
    predicted, found = a.probs.argmax(1), score(a, times=100)
    for i, label in enumerate(a.vocab):
        row = found['per_label'][label]
        true, positive = a.targets == i, predicted == i
        assert row['precision'] == pytest.approx(metrics.precision_score(true, positive))
        assert row['recall'] == pytest.approx(metrics.recall_score(true, positive))
        low, high = row['intervals']['recall']
        assert low <= row['recall'] <= high


def test_intervals_by_hand():
    p, n, z = 0.87, 100, 1.959964
    scale = 1 + z * z / n
    middle = (p + z * z / 2 / n) / scale
    half = z / scale * (p * (1 - p) / n + z * z / 4 / n / n) ** 0.5
    assert wilson(87, 100) == pytest.approx((middle - half, middle + half), abs=1e-6)
    a = planted(700)
    low, high = bootstrap(a, 300)['accuracy']
    p, n = a.correct.mean(), 700
    half = 1.96 * (p * (1 - p) / n) ** 0.5
    assert (low, high) == pytest.approx((p - half, p + half), abs=0.012)


def test_calibration_error_is_measured_and_corrected():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(4), 6000)
    targets = np.array([rng.choice(4, p=row) for row in p])
    calibrated = Predictions(list(range(6000)), p, targets, list('abcd'), 'val')
    assert calibration_error(calibrated) < 0.025
    overconfident = apply_temperature(calibrated, 1 / 3)
    # The calibrated confidence is how often the overconfident predictions are correct
    planted = np.abs(calibrated.confidence - overconfident.confidence).mean()
    assert planted > 0.15
    assert calibration_error(overconfident) == pytest.approx(planted, abs=0.02)
    t = fit_temperature(overconfident)
    assert t == pytest.approx(3, rel=0.1)
    corrected = apply_temperature(overconfident, t)
    assert calibration_error(corrected) < 0.03
    assert (corrected.predicted == overconfident.predicted).all()


@pytest.fixture(scope='module')
def judged(tmp_path_factory):
    "A project of drawn birds, trained until it knows them, with drawn owls in `unknown/`."
    labels = {
        'garza': ['grey heron'],
        'buitre': ['griffon vulture'],
        'loro': ['parrot'],
        'periquito': ['budgerigar'],
    }
    project = lesson_project(
        50,
        tmp_path_factory.mktemp('judged') / 'birds',
        labels=labels,
        architecture='pip:efficientnet_lite0',
        pretrained=True,
        image_size=96,
        batch_size=16,
        epochs=(4, 0),
        train=Training(precision='fp32'),
    )
    split(project, quiet=True)
    train(project, quiet=True)
    (project.path / 'unknown').mkdir()
    for i in range(30):
        draw_bird('owl', i).save(project.path / 'unknown' / f'{i}.jpg')
    return project, evaluate(project)


def test_no_choice_depends_on_the_test_split(judged):
    project, result = judged

    def chosen():
        return (
            fit_temperature(predictions(project)),
            choose_threshold(predictions(project)),
            [
                p['words']
                for p in compare(project, [result['run'], f"{result['run']}/stage_one"])['pairs']
            ],
        )

    before = chosen()
    kept = {f: f.read_bytes() for f in project.split.glob('test/*/*')}
    try:
        for f in kept:
            f.write_bytes(b'no image')
        for f in (project.models / result['run'] / 'predictions').iterdir():
            f.unlink()
        assert chosen() == before
        with pytest.raises(ValueError, match='evaluate'):
            predictions(project, split='test')
    finally:
        for f, data in kept.items():
            f.write_bytes(data)
    lower = evaluate(project, target_precision=0.8, quiet=True)['threshold']
    higher = evaluate(project, target_precision=0.95, quiet=True)['threshold']
    assert lower['confidence'] <= higher['confidence']
    for choose in (fit_temperature, choose_threshold):
        with pytest.raises(ValueError, match='never by those for test'):
            choose(predictions(project)._replace(split='test'))


def test_few_modules_name_the_test_split():
    "Of all modules, those that name the test split, or the functions that ask about it, are known."
    asks = {}
    for file in (ROOT / 'birdsort').rglob('*.py'):
        for node in ast.walk(ast.parse(file.read_text())):
            word = getattr(node, 'attr', getattr(node, 'id', getattr(node, 'value', None)))
            if isinstance(node, (ast.Attribute, ast.Name, ast.Constant)) and word in (
                'test',
                'cached_predictions',
                'predict_all_splits',
            ):
                asks.setdefault(file.stem, set()).add(word)
    # They assign images to it, read it from folders or tables, or tell a file's place in it; the model card names the
    # split that its metrics are of, an outcome its counts, and `keep` refuses a learner
    # that was trained on it; `status` advises to try a model on it
    readers = (
        'split',
        'splits',
        'given_splits',
        'folders',
        'project',
        'model_card',
        'cross_validation',
        'outcome',
        'keep',
        'status',
    )
    assigning = {name: {'test'} for name in readers}
    judging = dict(
        evaluate={'cached_predictions', 'predict_all_splits', 'test'},
        report={'predict_all_splits', 'test'},
        study={
            'predict_all_splits',
            'test',
        },  # It shows every split of each trial, and chooses nothing
        predictions={'cached_predictions'},  # `predictions` refuses the test split
    )
    assert asks == assigning | judging


def test_compare_tells_a_difference_from_luck(judged):
    project, result = judged
    run = result['run']
    same = as_json('compare', run, run, '--project', project.path)['pairs'][0]
    assert same['p'] == 1
    assert same['words'].startswith('no difference')
    better = as_json('compare', f'{run}/random', run, '--project', project.path)['pairs'][0]
    assert better['p'] < 0.05
    assert f'{run} is better' in better['words']
    assert 'p = ' in better['words']
    one_line(birdsort('compare', run, '--project', project.path), 'two runs')
    one_line(
        birdsort('evaluate', '--run', run, '--folds', 3, '--project', project.path), '--run', code=2
    )


def test_unknown_birds_are_refused(judged):
    project, threshold, noticed = judged[0], judged[1]['threshold'], judged[1]['unknown']
    one_line(
        birdsort(
            'predict', project.path / 'unknown', '--threshold', 'auto', '--project', project.path
        ),
        'birdsort export',
    )
    as_json('export', '--formats', 'onnx', '--project', project.path)
    unknown = project.path / 'unknown'
    found = as_json('predict', unknown, '--threshold', 'auto', '--project', project.path)
    refused = [p['label'] == 'none of these' for p in found['predictions']]
    assert np.mean(refused) == pytest.approx(noticed['refused'], abs=0.1)
    assert judged[1]['accuracy'] > 0.75
    assert noticed['refused'] >= 0.5, noticed
    assert noticed['left_out'].keys() == judged[1]['per_label'].keys()
    assert threshold['accuracy'] > 0.85, threshold


LOADED_IMAGES = (
    '[...document.images].every(i => i.complete && i.naturalWidth > 0) && document.images.length'
)
REQUESTS = (
    "performance.getEntriesByType('resource').filter(e => !e.name.startsWith('data:')).length"
)


def test_the_report_in_a_browser(judged, tmp_path):
    project, result = judged
    page = Path(report(project)['report'])
    assert page.stat().st_size < 5e6
    with browser() as driver:
        for width in (1280, 375):
            driver.execute_cdp_cmd(
                'Emulation.setDeviceMetricsOverride',
                dict(width=width, height=800, deviceScaleFactor=1, mobile=width < 500),
            )
            driver.get(page.as_uri())
            assert driver.execute_script('return document.documentElement.scrollWidth') <= width
            assert driver.execute_script(f'return {LOADED_IMAGES}') >= 6
            assert driver.execute_script(f'return {REQUESTS}') == 0
            assert [l for l in driver.get_log('browser') if l['level'] == 'SEVERE'] == []
    (opener := tmp_path / 'opener').write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/opened\n')
    opener.chmod(0o755)
    assert birdsort(
        'report', '--open', '--project', project.path, env=dict(BROWSER=f'{opener} %s')
    ).stdout.splitlines()[0] == str(page)
    assert (tmp_path / 'opened').read_text().strip() == page.resolve().as_uri()
    text = (project.reports / 'report.md').read_text()
    assert all(
        (project.reports / line.split('](')[1].rstrip(')')).is_file()
        for line in text.splitlines()
        if line.startswith('![')
    )
    assert f"it refuses {100 * result['unknown']['refused']:.0f} %" in text
    assert result['unknown']['words'] in text
    assert f"{100 * result['accuracy']:.1f} % of {result['n']} test images" in text


def test_the_report_tells_of_sources_licences_and_another_run(judged, tmp_path):
    project = Project(shutil.copytree(judged[0].path, tmp_path / 'birds'))
    p = ('--project', project.path)
    run, n = judged[1]['run'], judged[1]['n']
    some = [row['id'] for row in project.catalogue.rows(state='kept')][::2]
    project.catalogue.update(some, source='openverse', licence='by')
    text = Path(as_json('report', '--against', f'{run}/random', *p)['markdown']).read_text()
    assert f'Beside {run}/random' in text
    assert f'{run} is better than {run}/random by' in text and '95 % interval' in text
    rows = [[cell.strip() for cell in line.split('|')] for line in text.splitlines()]
    for first, second in (('openverse', 'pencil'), ('by', 'cc0')):
        [counts] = [
            {row[1]: int(row[2]) for row in block}
            for block in zip(rows, rows[1:], strict=False)
            if {row[1] for row in block if len(row) > 5} == {first, second}
        ]
        assert sum(counts.values()) == n
    assert 'Beside' not in Path(as_json('report', *p)['markdown']).read_text()
    one_line(birdsort('report', '--against', run, *p), run, 'the run itself')
    one_line(birdsort('report', '--against', '009_x', *p), '009_x')


def empty(i, side=192):
    return Image.new('RGB', (side, side), (255 - i % 64,) * 3)


def corner(i, k, side=192):
    "A bird in corner k of an empty image."
    image = empty(i)
    image.paste(
        draw_bird(('cockatoo', 'grey heron')[i % 2], i).resize((side // 2, side // 2)),
        (k % 2 * side // 2, k // 2 * side // 2),
    )
    return image


def block(channels, filters):
    return [nn.Conv2d(channels, filters, 3, 2, 1), nn.GroupNorm(4, filters), nn.ReLU()]


@pytest.mark.parametrize('network', ['cnn', 'vit'])
def test_gradcam_is_highest_where_the_bird_is(network, tmp_path):
    project = lesson_project(
        0,
        tmp_path / 'birds',
        labels={'bird': ['bird'], 'nothing': ['nothing']},
        image_size=96,
        epochs=(20, 8),
    )
    for label in project.settings.labels:
        (project.images / label).mkdir(parents=True)
    for i in range(60):
        corner(i, i // 2 % 4).save(project.images / 'bird' / f'{i}.jpg')
        empty(i).save(project.images / 'nothing' / f'{i}.jpg')
    split(project, quiet=True)
    torch.manual_seed(0)
    net = (
        nn.Sequential(
            *block(3, 16),
            *block(16, 32),
            *block(32, 64),
            nn.Conv2d(64, 64, 3, 1, 1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(64, 2),
        )
        if network == 'cnn'
        else VisionTransformer(
            img_size=96, patch_size=12, embed_dim=96, depth=3, num_heads=4, num_classes=2
        )
    )
    how = Training(
        lr=5e-3 if network == 'cnn' else 1e-3, augmentation='none', precision='fp32', patience=30
    )
    trained = train(project, quiet=True, model=net, settings=replace(project.settings, train=how))
    assert trained['stages'][1]['accuracy'] == 1, trained
    assert evaluate(project, model=net, quiet=True)['n'] == 18
    assert Path(report(project, model=net)['report']).is_file()
    for k, v in torch.load(project.models / trained['run'] / 'best.pth', weights_only=True).items():
        assert torch.equal(net.state_dict()[k], v), k  # And not those of stage one
    learn, shares = load_run(open_run(project), model=net), []
    for k in range(8):
        corner(1000 + k // 4, k % 4).save(tmp_path / 'new.png')
        (x,) = learn.dls.test_dl([tmp_path / 'new.png']).one_batch()
        label = torch.tensor([learn.dls.vocab.o2i['bird']])
        cam = grad_cam(learn.model, x.as_subclass(torch.Tensor), label)[0]
        quarter = cam.view(2, 48, 2, 48)[k % 4 // 2, :, k % 2]
        assert quarter.max() == cam.max() > 0
        shares.append((quarter.sum() / cam.sum()).item())
    assert min(shares) > 0.4 and np.mean(shares) > 0.5, shares  # By chance, a quarter


def test_folds_and_seeds(split_birds):
    folds = as_json('evaluate', '--folds', 3, '--project', split_birds.path)
    assert [r['fold'] for r in folds['rows']] == [1, 2, 3]
    assert sum(r['n'] for r in folds['rows']) == 60
    assert folds['accuracy']['mean'] == pytest.approx(
        np.mean([r['accuracy'] for r in folds['rows']])
    )
    stage = split_birds.catalogue.execute("select signature from stage where name = 'folds'")[0]
    stopped = folds | dict(rows=folds['rows'][:2])
    record_stage(split_birds, 'folds', stage['signature'], stopped)
    resumed = as_json('evaluate', '--folds', 3, '--project', split_birds.path)
    del resumed['seconds'], folds['seconds']
    assert resumed == folds
    one_line(birdsort('evaluate', '--folds', 2, '--project', split_birds.path), 'folds = 2')
    one_line(
        birdsort('evaluate', '--seeds', 3, '--folds', 3, '--project', split_birds.path), 'choose'
    )
    seeds = as_json('evaluate', '--seeds', 2, '--project', split_birds.path)
    assert [(r['seed'], r['n']) for r in seeds['rows']] == [(42, 9), (43, 9)]
