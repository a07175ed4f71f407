"What shows none of the labels: the bank of features of an export, whole, missing, foreign, and in old exports."

import hashlib
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from torch import nn

from birdsort.deploy.unknown import BANK, bank_bytes, bank_from_bytes
from birdsort.evaluation.unknown import network_outputs
from birdsort.export import export
from birdsort.files.names import NONE
from birdsort.predict import Predictor
from birdsort.training.runs import load_run, open_run


@pytest.fixture(scope='module')
def whole(exported_birds):
    return exported_birds.export


@pytest.fixture
def copied(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / 'model')


def write_config(folder, **changes):
    config = json.loads((folder / 'config.json').read_text())
    changes = {key: change(config) for key, change in changes.items()}
    (folder / 'config.json').write_text(json.dumps(config | changes))


def with_bank(folder, **changes):
    "Put another bank into an export, and its SHA-256 into the config."
    data = bank_bytes(replace(bank_from_bytes((folder / BANK).read_bytes()), **changes))
    (folder / BANK).write_bytes(data)
    write_config(folder, hashes=lambda c: c['hashes'] | {BANK: hashlib.sha256(data).hexdigest()})


def test_every_engine_refuses_the_same(exported_birds, whole):
    rng = np.random.default_rng(1)
    noise = [rng.integers(0, 256, (60, 80, 3), dtype='uint8') for _ in range(4)]
    asked = [*sorted(exported_birds.split.glob('val/*/*')), *noise]
    onnx, torch = (
        Predictor(whole, engine, threshold='auto')(asked) for engine in ('onnx', 'torch')
    )
    scores = [[row['unknown_score'] for row in rows] for rows in (onnx, torch)]
    assert np.allclose(*scores, atol=1e-3)
    assert [r['label'] for r in onnx] == [r['label'] for r in torch]
    assert [r['label'] for r in onnx[-4:]] == [NONE] * 4
    assert NONE not in [r['label'] for r in onnx[:-4]]  # Too few images to refuse one of twenty
    assert 'unknown_score' not in Predictor(whole)(asked[0])


def damage(folder, how):
    rows = bank_from_bytes((folder / BANK).read_bytes()).rows
    if how == 'missing':
        (folder / BANK).unlink()
    if how == 'cut off':
        (folder / BANK).write_bytes((folder / BANK).read_bytes()[:-1])
    if how == 'narrow':
        with_bank(folder, rows=rows[:, :-1])
    if how == 'of other weights':
        with_bank(folder, network='00')
    if how == 'no bank':
        (folder / BANK).write_bytes(b'{}')
        sha = hashlib.sha256(b'{}').hexdigest()
        write_config(folder, hashes=lambda c: c['hashes'] | {BANK: sha})
    if how == 'config':
        write_config(folder, unknown=lambda c: dict(features='many'))


@pytest.mark.parametrize(
    'how, words',
    [
        ('missing', 'which is not there'),
        ('cut off', 'SHA-256 differs'),
        ('narrow', 'compares 511 features, and the model gives 512'),
        ('of other weights', 'made for a network with other weights'),
        ('no bank', 'holds no bank of features'),
        ('config', 'unknown must be absent'),
    ],
)
def test_a_bank_that_does_not_fit_is_one_line(copied, how, words):
    damage(copied, how)
    with pytest.raises((ValueError, FileNotFoundError), match=words) as error:
        Predictor(copied, threshold='auto')
    assert '\n' not in str(error.value)
    if how != 'config':
        assert Predictor(copied, threshold=0.5).bank is None  # A probability needs none


def test_an_old_export_is_left_to_its_confidence(copied, exported_birds):
    (copied / BANK).unlink()
    config = json.loads((copied / 'config.json').read_text())
    del config['unknown'], config['hashes'][BANK]
    (copied / 'config.json').write_text(json.dumps(config))
    predictor = Predictor(copied, threshold='auto')
    assert predictor.threshold == config['threshold']['confidence']
    row = predictor(next(exported_birds.split.glob('val/*/*')))
    assert row['probability'] and 'unknown_score' not in row


class Convolutions(nn.Sequential):
    "A network whose last layer is not linear."

    def __init__(self):
        super().__init__(
            nn.Conv2d(3, 3, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )


def test_a_network_without_a_linear_layer_falls_back(split_birds):
    from birdsort.train import train

    train(split_birds, model=Convolutions(), quiet=True)
    run = open_run(split_birds)
    learn = load_run(run, model=Convolutions())
    assert network_outputs(run, learn, [learn.dls.splits.val[0][0]], quiet=True) is None
    result = export(split_birds, model=Convolutions(), formats=('onnx',), quiet=True)
    assert 'by probability alone' in result['unknown']
    assert not (split_birds.export / BANK).exists()
    assert Predictor(split_birds, threshold='auto').bank is None
