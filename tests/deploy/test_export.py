"An export in other hands: every format answers alike, and what was changed on its way is refused."

import hashlib
import json
import shutil
import subprocess
import sys

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image
from torch import nn

from birdsort.aviary.sample_project import lesson_project
from birdsort.core.settings import change
from birdsort.deploy.inference import prepare, read_config
from birdsort.deploy.onnx import to_onnx
from birdsort.deploy.weights import Sampled, describe_network, from_safetensors, to_safetensors
from birdsort.export import _eight_bits, bare, export
from birdsort.predict import Predictor
from birdsort.split import split
from birdsort.train import train
from birdsort.training.learner import make_learner
from birdsort.training.runs import load_run, open_run
from conftest import as_json, birdsort, files, one_line

FILES = {
    'learner.pkl',
    'model.safetensors',
    'model.onnx',
    'model.int8.onnx',
    'config.json',
    'labels.txt',
    'README.md',
    'SHA256SUMS',
}


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    "A project that was trained, judged and exported -> the project, what export said."
    project = lesson_project(20, tmp_path_factory.mktemp('export') / 'birds')
    split(project), train(project, quiet=True)
    as_json('evaluate', '--project', project.path)
    said = as_json('export', '--project', project.path)
    shutil.copytree(project.export, project.path / 'whole')  # Tests below export again
    return project, said


@pytest.fixture
def own(exported, tmp_path):
    "A copy of the export folder, to be spoilt."
    return shutil.copytree(exported[0].path / 'whole', tmp_path / 'model')


def image(project):
    return next((project.images / 'garza').glob('*.jpg'))


def test_what_is_there_and_what_it_says(exported):
    project, said = exported
    assert {f.name for f in project.export.iterdir()} == FILES - ({'model.int8.onnx'} if said['left_out'] else set())
    assert max(said['apart'].values()) < 1e-3 and {'pickle', 'torch', 'onnx'} == set(said['apart'])
    config, judged = read_config(project.export), as_json('evaluate', '--project', project.path)
    assert config['labels'] == said['labels'] == (project.export / 'labels.txt').read_text().split()
    assert config['temperature'] == pytest.approx(judged['temperature']) and config['threshold'][
        'confidence'
    ] == pytest.approx(judged['threshold']['confidence'])
    done = subprocess.run(['sha256sum', '-c', 'SHA256SUMS'], cwd=project.export, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.count('OK') == len(FILES) - 1 - bool(said['left_out']), done.stdout
    for name, sha in config['hashes'].items():
        assert hashlib.sha256((project.export / name).read_bytes()).hexdigest() == sha
    assert str(project.path) not in ''.join(
        (project.export / n).read_text() for n in ('config.json', 'README.md', 'labels.txt')
    )


def test_the_card_is_the_hubs_and_tells_the_numbers(exported):
    from huggingface_hub import ModelCard

    project, judged = exported[0], as_json('evaluate', '--project', exported[0].path)
    card = ModelCard.load(project.export / 'README.md')
    assert card.data.pipeline_tag == 'image-classification' and [r.metric_value for r in card.data.eval_results] == [
        round(judged['accuracy'], 4),
        round(judged['f1_macro'], 4),
    ]
    low, high = judged['intervals']['accuracy']
    assert (
        f"{100 * judged['accuracy']:.1f} % of {judged['n']} test images" in card.text
        and f'{100 * low:.1f} % to {100 * high:.1f} %' in card.text
    )
    assert all(
        w in card.text
        for w in (
            'cc0',
            *judged['per_label'],
            'birdsort predict',
            'from birdsort.predict import Predictor',
            'onnxruntime-web',
            '## Limits',
            'none of these',
        )
    )


def test_a_second_export_is_free(exported):
    project, before = exported[0], files(exported[0].export)
    assert as_json('export', '--project', project.path) == exported[1] and files(project.export) == before


def test_chosen_formats_nothing_stale_and_a_new_card_for_a_new_evaluation(exported):
    project, p = exported[0], ('--project', exported[0].path)
    said = as_json('export', '--formats', 'safetensors', *p)
    assert {f.name for f in project.export.iterdir()} == {
        'model.safetensors',
        'config.json',
        'labels.txt',
        'README.md',
        'SHA256SUMS',
    } and said['learner'] is None
    assert list(read_config(project.export)['hashes']) == ['model.safetensors']
    as_json('evaluate', '--precision', '0.6', *p)
    as_json('export', '--formats', 'pickle,safetensors', *p)
    assert read_config(project.export)['threshold']['precision'] == 0.6
    assert 'export' in as_json('status', *p)['done']
    (project.export / 'learner.pkl').unlink()  # Somebody tidied up
    assert 'export' not in as_json('status', *p)['done']
    as_json('export', '--formats', 'pickle,safetensors', *p)
    assert (project.export / 'learner.pkl').is_file()
    one_line(birdsort('export', '--formats', 'onnx,tflite', *p), "'tflite'", 'safetensors')
    one_line(birdsort('export', '--to', 'moon', 'me/birds', *p), 'moon', 'hub')


@pytest.mark.parametrize(
    'arch,size,kw',
    [
        ('test_vit', 160, {}),
        ('test_efficientnet', 96, dict(head=())),
        ('mobilenet_v3_small', 64, dict(dropout=0.1)),
        ('squeezenet1_1', 64, dict(augmentation='none')),
        ('vit_b_32', 224, {}),
    ],
)
def test_networks_go_and_come_back(birds, arch, size, kw):
    split(birds)
    s = change(birds.settings, architecture=arch, image_size=size, **kw)
    learn = bare(make_learner(birds, settings=s))
    torch.manual_seed(0)
    for p in learn.model.parameters():  # Random weights answer evenly: make them differ
        if p.ndim > 1:
            nn.init.normal_(p, std=0.05)
    config = json.loads(json.dumps(describe_network(learn, s))) | dict(temperature=1.0, hashes={})
    back = from_safetensors(to_safetensors(learn.model), config)
    session = onnxruntime.InferenceSession(to_onnx(back, config))
    side, shown = config['crop']['resize'], [Image.open(f) for f in list(birds.images.glob('*/*.jpg'))[:5]]
    x = np.stack([prepare(im, config) for im in shown])
    assert x.shape == (5, 3, side, side) and (side == size) == ('augmentation' in kw)
    with learn.no_bar(), learn.no_logging():
        wanted = learn.get_preds(dl=learn.dls.test_dl(shown, num_workers=0))[0]
    with torch.no_grad():
        assert torch.allclose(back(torch.from_numpy(x)).softmax(1), wanted, atol=1e-3)
    for n in (1, 5):
        assert np.allclose(torch.from_numpy(session.run(None, {'images': x[:n]})[0]).softmax(1), wanted[:n], atol=1e-3)
    meta = session.get_modelmeta().custom_metadata_map
    assert (
        json.loads(meta['labels']) == config['labels']
        and int(meta['input_size']) == side
        and json.loads(meta['mean']) == config['normalisation']['mean']
    )


class Mine(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)
        )


def test_a_network_of_ones_own(birds):
    split(birds)
    train(birds, model=Mine(), quiet=True)
    said = export(birds, model=Mine(), quiet=True)
    assert set(said['apart']) == {'pickle', 'onnx'} and read_config(birds.export)['architecture'] == 'Mine'
    assert (
        Predictor(birds)(image(birds))['label'] in said['labels']
        and Predictor(birds).gradcam_image(image(birds)) is None
    )
    (birds.export / 'model.onnx').unlink(), (birds.export / 'learner.pkl').unlink()
    with pytest.raises(ValueError, match='Mine'):
        Predictor(birds, 'torch')


def test_eight_bits_only_where_the_validation_accuracy_does_not_suffer(exported, tmp_path, monkeypatch):
    from birdsort.evaluation.predictions import predictions

    project = exported[0]
    learn, config, val = bare(load_run(open_run(project))), read_config(project.export), predictions(project)
    data = to_onnx(Sampled(learn.model, 64), config)
    assert (
        _eight_bits(data, tmp_path, config, learn, val._replace(targets=(val.predicted + 1) % 3))[1] is None
    )  # Nothing to lose
    for p in (upset := from_safetensors(to_safetensors(learn.model), config)).parameters():
        nn.init.zeros_(p)  # Says the same of everything
    monkeypatch.setattr('birdsort.export.to_int8', lambda data, batches: to_onnx(upset, config))
    ones = np.ones(len(val.targets), dtype='int64')  # A validation split on which the network is always right
    right = val._replace(probs=np.eye(3, dtype='float32')[ones], targets=ones)
    small, why = _eight_bits(data, tmp_path, config, learn, right)
    assert small is None and 'points fewer' in why


def test_files_that_disagree_are_not_exported(birds, monkeypatch):
    split(birds), train(birds, quiet=True)
    right = to_onnx

    def wrong(network, config):
        with torch.no_grad():
            network.network[1][-1].weight[0] += 3
        return right(network, config)

    monkeypatch.setattr('birdsort.export.to_onnx', wrong)
    with pytest.raises(RuntimeError, match='model.onnx gives other probabilities'):
        export(birds, formats=('pickle', 'onnx'), quiet=True)
    assert not birds.export.is_dir() and not (birds.path / '.export.part').exists()
    monkeypatch.undo()
    assert export(birds, formats=('pickle', 'onnx'), quiet=True)['apart']['onnx'] < 1e-3


def test_killed_and_run_again(birds):
    split(birds), train(birds, quiet=True)
    code = """
import os, signal, sys, birdsort.export as e
from birdsort.core.project import Project
def die(*a): os.kill(os.getpid(), signal.SIGKILL)
setattr(e, sys.argv[2], die)
e.export(Project(sys.argv[1]), formats=('pickle', 'safetensors'), quiet=True)"""
    for where in ('check_parity', '_explain_files'):
        assert (
            subprocess.run([sys.executable, '-c', code, str(birds.path), where], capture_output=True).returncode == -9
        )
        assert not birds.export.is_dir()
    as_json('export', '--formats', 'pickle,safetensors', '--project', birds.path)
    assert not (birds.path / '.export.part').exists() and (birds.export / 'learner.pkl').is_file()


# What was changed on its way


class Bomb:
    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return open, (str(self.file), 'w')


def test_a_pickle_that_would_create_a_file(tmp_path, exported):
    folder, trap = tmp_path / 'model', tmp_path / 'trap'
    folder.mkdir()
    torch.save(Bomb(trap), folder / 'learner.pkl')
    for model in (folder, folder / 'learner.pkl'):
        one_line(
            birdsort('predict', image(exported[0]), '--model', model), 'pickle', 'runs whatever code', '--trust-pickle'
        )
        one_line(birdsort('serve', '--model', model), 'pickle', '--trust-pickle')
    assert not trap.exists()
    birdsort('predict', image(exported[0]), '--model', folder, '--trust-pickle')
    assert trap.exists(), 'the trap is none'


def test_an_export_with_everything_never_opens_its_pickle(own, exported):
    trap = own / 'trap'
    torch.save(Bomb(trap), own / 'learner.pkl')
    assert as_json('predict', image(exported[0]), '--model', own)['predictions'][0]['label'] and not trap.exists()


def test_changed_files_are_refused(own, exported):
    shown, config = image(exported[0]), json.loads((own / 'config.json').read_text())

    def refused(*words, engine='auto'):
        one_line(birdsort('predict', shown, '--model', own, '--engine', engine), *words)

    data = (own / 'model.safetensors').read_bytes()
    (own / 'model.safetensors').write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    refused('model.safetensors', 'SHA-256', engine='torch')
    (own / 'model.onnx').write_bytes((whole := (own / 'model.onnx').read_bytes())[: len(whole) // 2])
    refused('model.onnx', 'SHA-256')
    cut = config | dict(
        hashes=config['hashes'] | {'model.onnx': hashlib.sha256((own / 'model.onnx').read_bytes()).hexdigest()}
    )
    (own / 'config.json').write_text(json.dumps(cut))  # Whoever cut it has set the hash, too
    refused('model.onnx', 'not a model')
    (own / 'model.onnx').write_bytes(whole), (own / 'model.safetensors').write_bytes(data)
    for labels in (config['labels'][:-1], [*config['labels'], 'owl']):
        (own / 'config.json').write_text(json.dumps(config | dict(labels=labels)))
        refused(f'{len(labels)} labels')
        refused(f'{len(labels)} labels', engine='torch')
    for spoilt in (
        '{"labels": [',
        '[]',
        '{}',
        json.dumps(config | dict(size='large')),
        json.dumps(config | dict(temperature=0)),
    ):
        (own / 'config.json').write_text(spoilt)
        refused('config.json')
    (own / 'config.json').unlink()
    refused('no config.json')


def test_a_label_is_no_way_out_of_the_folder(own, exported, tmp_path):
    config = json.loads((own / 'config.json').read_text())
    (own / 'config.json').write_text(json.dumps(config | dict(labels=['..', '../out', '/out'])))
    one_line(
        birdsort('predict', image(exported[0]), '--model', own, '--sort-into', tmp_path / 'in'),
        'cannot be the name of a folder',
    )
    assert not (tmp_path / 'out').exists()
