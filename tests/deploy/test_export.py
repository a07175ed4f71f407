"The exported files: every format gives the same predictions, and a changed file is refused."

import hashlib
import json
import os
import shutil
import signal
import subprocess

import numpy as np
import onnxruntime
import pytest
import torch
import torchvision
from PIL import Image
from torch import nn
from torchvision.models import VisionTransformer

from birdsort.aviary.sample_project import lesson_project
from birdsort.core.project import Project
from birdsort.core.settings import change
from birdsort.deploy.inference import ENGINES, open_model, prepare, read_config
from birdsort.deploy.onnx import to_int8, to_onnx
from birdsort.deploy.weights import Sampled, describe_network, from_safetensors, to_safetensors
from birdsort.export import _eight_bits, bare, export, to_pickle
from birdsort.predict import Predictor
from birdsort.split import split
from birdsort.train import train
from birdsort.training.learner import make_learner
from birdsort.training.runs import load_run, open_run
from conftest import as_json, birdsort, files, forked, one_line

FILES = {
    'learner.pkl',
    'model.safetensors',
    'model.onnx',
    'model.int8.onnx',
    'unknown.safetensors',
    'config.json',
    'labels.txt',
    'README.md',
    'SHA256SUMS',
}


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    "A project that was trained, evaluated and exported -> (the project, the result of export)."
    project = lesson_project(20, tmp_path_factory.mktemp('export') / 'birds')
    split(project)
    train(project, quiet=True)
    as_json('evaluate', '--project', project.path)
    result = as_json('export', '--project', project.path)
    shutil.copytree(project.export, project.path / 'whole')  # Tests below export again
    return project, result


@pytest.fixture
def copied(exported, tmp_path):
    "A copy of the export folder, for tests that damage it."
    return shutil.copytree(exported[0].path / 'whole', tmp_path / 'model')


def image(project):
    return next((project.images / 'garza').glob('*.jpg'))


def sha256(file):
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_all_files_are_written_and_described(exported):
    project, result = exported
    folder = project.export
    left_out = {'model.int8.onnx'} if result['left_out'] else set()
    assert {f.name for f in folder.iterdir()} == FILES - left_out
    assert set(result['apart']) == {'pickle', 'torch', 'onnx'}
    assert max(result['apart'].values()) < 1e-3
    config = read_config(folder)
    evaluated = as_json('evaluate', '--project', project.path)
    assert config['labels'] == result['labels'] == (folder / 'labels.txt').read_text().split()
    assert config['temperature'] == pytest.approx(evaluated['temperature'])
    assert config['threshold']['confidence'] == pytest.approx(evaluated['threshold']['confidence'])
    done = subprocess.run(
        ['sha256sum', '-c', 'SHA256SUMS'], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
    assert done.stdout.count('OK') == len(FILES - left_out) - 1
    assert {name: sha256(folder / name) for name in config['hashes']} == config['hashes']
    for name in ('config.json', 'README.md', 'labels.txt'):
        assert str(project.path) not in (folder / name).read_text()


def test_the_model_card_is_valid_and_contains_the_metrics(exported):
    from huggingface_hub import ModelCard

    project = exported[0]
    evaluated = as_json('evaluate', '--project', project.path)
    card = ModelCard.load(project.export / 'README.md')
    assert card.data.pipeline_tag == 'image-classification'
    metrics = [evaluated['accuracy'], evaluated['f1_macro']]
    assert [r.metric_value for r in card.data.eval_results] == [
        round(value, 4) for value in metrics
    ]
    low, high = evaluated['intervals']['accuracy']
    for words in (
        f"{100 * evaluated['accuracy']:.1f} % of {evaluated['n']} test images",
        f'{100 * low:.1f} % to {100 * high:.1f} %',
        'cc0',
        'birdsort predict',
        'from birdsort.predict import Predictor',
        'onnxruntime-web',
        '## Limits',
        'none of these',
        *evaluated['per_label'],
    ):
        assert words in card.text


def test_a_second_export_does_nothing(exported):
    project, result = exported
    before = files(project.export)
    assert as_json('export', '--project', project.path) == result
    assert files(project.export) == before


def test_only_the_requested_formats_remain(exported):
    project = exported[0]
    result = as_json('export', '--formats', 'safetensors', '--project', project.path)
    texts = {'config.json', 'labels.txt', 'README.md', 'SHA256SUMS'}
    models = {'model.safetensors', 'unknown.safetensors'}
    assert {f.name for f in project.export.iterdir()} == models | texts
    assert result['learner'] is None
    assert read_config(project.export)['hashes'].keys() == models


def test_a_new_evaluation_or_a_missing_file_leads_to_a_new_export(exported):
    project = exported[0]
    here, formats = ('--project', project.path), ('--formats', 'pickle,safetensors')
    as_json('evaluate', '--target-precision', '0.6', *here)
    as_json('export', *formats, *here)
    assert read_config(project.export)['threshold']['precision'] == 0.6
    assert 'export' in as_json('status', *here)['done']
    (project.export / 'learner.pkl').unlink()
    assert 'export' not in as_json('status', *here)['done']
    as_json('export', *formats, *here)
    assert (project.export / 'learner.pkl').is_file()


def test_unknown_formats_and_targets_are_one_line(exported):
    here = ('--project', exported[0].path)
    one_line(birdsort('export', '--formats', 'onnx,tflite', *here), "'tflite'", 'safetensors')
    one_line(birdsort('export', '--to', 'moon', 'me/birds', *here), 'moon', 'hub', code=2)


def write_formats(learn, config, images, folder):
    "Write a learner in all formats -> its description with their hashes."
    loaded = from_safetensors(to_safetensors(learn.model), config)
    graph = to_onnx(loaded, config)
    to_pickle(learn, folder / ENGINES['pickle'])
    (folder / ENGINES['torch']).write_bytes(to_safetensors(learn.model))
    (folder / ENGINES['onnx']).write_bytes(graph)
    (folder / ENGINES['int8']).write_bytes(
        to_int8(graph, [np.stack([prepare(im, config) for im in images])])
    )
    return config | dict(hashes={name: sha256(folder / name) for name in ENGINES.values()})


def small_transformer(**given):
    "torchvision's transformer as `vit_b_32` builds it, with two layers for twelve, for smaller images."
    return VisionTransformer(
        image_size=96, patch_size=32, num_layers=2, num_heads=12, hidden_dim=768, mlp_dim=3072
    )


@pytest.mark.parametrize(
    'arch,size,kw',
    [
        ('test_resnet', 64, dict(head=())),
        ('test_convnext', 96, dict(head=())),
        ('test_vit', 160, dict(head=())),
        ('test_vit', 160, {}),
        ('test_efficientnet', 96, dict(head=())),
        ('tf_mobilenetv3_small_minimal_100', 64, dict(head=())),  # Pads by the size of its input
        ('mobilenet_v3_small', 64, dict(dropout=0.1)),
        ('squeezenet1_1', 64, dict(augmentation='none')),
        ('mnasnet0_5', 64, dict(head=())),  # Its own head, which fastai cannot replace
        ('vit_b_32', 96, {}),  # Another
    ],
)
def test_networks_are_the_same_in_all_formats(split_birds, tmp_path, arch, size, kw, monkeypatch):
    monkeypatch.setattr(torchvision.models, 'vit_b_32', small_transformer)
    settings = change(split_birds.settings, architecture=arch, image_size=size, **kw)
    learn = bare(make_learner(split_birds, settings=settings))
    torch.manual_seed(0)
    for (
        p
    ) in learn.model.parameters():  # New weights give almost equal probabilities: make them differ
        if p.ndim > 1:
            nn.init.normal_(p, std=0.05)
    config = json.loads(json.dumps(describe_network(learn, settings))) | dict(temperature=1.0)
    side = config['crop']['resize']
    assert side == size
    images = [Image.open(f).convert('RGB') for f in list(split_birds.images.glob('*/*.jpg'))[:5]]
    config = write_formats(learn, config, images, tmp_path)
    with learn.no_bar(), learn.no_logging():
        expected = learn.get_preds(dl=learn.dls.test_dl(images, num_workers=0))[0].numpy()
    for engine, tolerance in dict(pickle=1e-5, torch=1e-3, onnx=1e-3, int8=0.1).items():
        model = open_model(tmp_path, engine, trust_pickle=True, config=config)
        prepared = [model.prepare(im) for im in images]
        for n in (1, 5):
            assert np.allclose(model(prepared[:n]), expected[:n], atol=tolerance), engine
    metadata = (
        onnxruntime.InferenceSession(tmp_path / ENGINES['onnx']).get_modelmeta().custom_metadata_map
    )
    assert json.loads(metadata['labels']) == config['labels']
    assert int(metadata['input_size']) == side
    assert json.loads(metadata['mean']) == config['normalisation']['mean']


class Mine(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Conv2d(3, 8, 3, stride=2),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(8, 3),
        )


def test_a_network_of_your_own(split_birds):
    train(split_birds, model=Mine(), quiet=True)
    result = export(split_birds, model=Mine(), quiet=True)
    assert set(result['apart']) == {'pickle', 'onnx'}
    assert read_config(split_birds.export)['architecture'] == 'Mine'
    predictor = Predictor(split_birds)
    assert predictor(image(split_birds))['label'] in result['labels']
    assert predictor.gradcam_image(image(split_birds)) is None
    (split_birds.export / 'model.onnx').unlink()
    (split_birds.export / 'learner.pkl').unlink()
    with pytest.raises(ValueError, match='Mine'):
        Predictor(split_birds, 'torch')


def test_8_bits_are_left_out_if_the_validation_accuracy_falls(exported, tmp_path, monkeypatch):
    from birdsort.evaluation.predictions import predictions

    project = exported[0]
    learn, config, val = (
        bare(load_run(open_run(project))),
        read_config(project.export),
        predictions(project),
    )
    data = to_onnx(Sampled(learn.model, 64), config)
    always_wrong = val._replace(targets=(val.predicted + 1) % 3)  # No accuracy to lose
    assert _eight_bits(data, tmp_path, config, learn, always_wrong)[1] is None
    constant = from_safetensors(to_safetensors(learn.model), config)
    for p in constant.parameters():
        nn.init.zeros_(p)
    monkeypatch.setattr('birdsort.export.to_int8', lambda data, batches: to_onnx(constant, config))
    ones = np.ones(
        len(val.targets), dtype='int64'
    )  # A validation split on which the network is always right
    always_right = val._replace(probs=np.eye(3, dtype='float32')[ones], targets=ones)
    small, why = _eight_bits(data, tmp_path, config, learn, always_right)
    assert small is None
    assert 'points fewer' in why


def test_files_that_disagree_are_not_exported(split_birds, monkeypatch):
    train(split_birds, quiet=True)

    def wrong_onnx(network, config):
        with torch.no_grad():
            network.network[1][-1].weight[0] += 3
        return to_onnx(network, config)

    monkeypatch.setattr('birdsort.export.to_onnx', wrong_onnx)
    with pytest.raises(RuntimeError, match='model.onnx gives other probabilities'):
        export(split_birds, formats=('pickle', 'onnx'), quiet=True)
    assert not split_birds.export.is_dir()
    assert not (split_birds.path / '.export.part').exists()
    monkeypatch.undo()
    assert export(split_birds, formats=('pickle', 'onnx'), quiet=True)['apart']['onnx'] < 1e-3


def export_until_killed(folder, step):
    import birdsort.export as module

    setattr(module, step, lambda *args: os.kill(os.getpid(), signal.SIGKILL))
    export(Project(folder), formats=('pickle', 'safetensors'), quiet=True)


def test_an_export_that_was_killed_runs_again(split_birds):
    train(split_birds, quiet=True)
    for step in ('check_parity', '_explain_files'):
        assert forked(export_until_killed, split_birds.path, step).returncode == -signal.SIGKILL
        assert not split_birds.export.is_dir()
    as_json('export', '--formats', 'pickle,safetensors', '--project', split_birds.path)
    assert not (split_birds.path / '.export.part').exists()
    assert (split_birds.export / 'learner.pkl').is_file()


# Files that somebody changed


class CreatesFile:
    "Creates a file when it is unpickled."

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return open, (str(self.file), 'w')


def test_a_pickle_is_opened_only_if_it_is_trusted(tmp_path, exported):
    folder, created = tmp_path / 'model', tmp_path / 'created'
    folder.mkdir()
    torch.save(CreatesFile(created), folder / 'learner.pkl')
    file = image(exported[0])
    for model in (folder, folder / 'learner.pkl'):
        refused = birdsort('predict', file, '--model', model)
        one_line(refused, 'pickle', 'runs whatever code', '--trust-pickle')
        one_line(birdsort('serve', '--model', model), 'pickle', '--trust-pickle')
    assert not created.exists()
    birdsort('predict', file, '--model', folder, '--trust-pickle')
    assert created.exists(), 'this pickle runs no code, so the test shows nothing'


def test_a_pickle_beside_other_files_is_never_opened(copied, exported):
    created = copied / 'created'
    torch.save(CreatesFile(created), copied / 'learner.pkl')
    assert as_json('predict', image(exported[0]), '--model', copied)['predictions'][0]['label']
    assert not created.exists()


@pytest.fixture
def refused(copied, exported):
    "A function that asserts that predict refuses the copied export, in one line with these words."

    def check(*words, engine='auto'):
        one_line(
            birdsort('predict', image(exported[0]), '--model', copied, '--engine', engine), *words
        )

    return check


def write_config(folder, **changes):
    config = json.loads((folder / 'config.json').read_text())
    (folder / 'config.json').write_text(json.dumps(config | changes))


def test_changed_weights_are_refused(copied, refused):
    weights, network = copied / 'model.safetensors', copied / 'model.onnx'
    data = weights.read_bytes()
    weights.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    refused('model.safetensors', 'SHA-256', engine='torch')
    data = network.read_bytes()
    network.write_bytes(data[: len(data) // 2])
    refused('model.onnx', 'SHA-256')
    write_config(copied, hashes=read_config(copied)['hashes'] | {'model.onnx': sha256(network)})
    refused('model.onnx', 'not a model')


def test_a_config_with_other_labels_is_refused(copied, refused):
    labels = read_config(copied)['labels']
    for others in (labels[:-1], [*labels, 'owl']):
        write_config(copied, labels=others)
        refused(f'{len(others)} labels')
        refused(f'{len(others)} labels', engine='torch')


def test_an_invalid_config_is_refused(copied, refused):
    config = read_config(copied)
    wrong_size, wrong_temperature = config | dict(size='large'), config | dict(temperature=0)
    for text in ('{"labels": [', '[]', '{}', json.dumps(wrong_size), json.dumps(wrong_temperature)):
        (copied / 'config.json').write_text(text)
        refused('config.json')
    (copied / 'config.json').unlink()
    refused('no config.json')


def test_a_label_cannot_lead_out_of_the_folder(copied, exported, tmp_path):
    write_config(copied, labels=['..', '../out', '/out'])
    done = birdsort(
        'predict', image(exported[0]), '--model', copied, '--sort-into', tmp_path / 'in'
    )
    assert done.returncode == 3 and 'cannot be used' in done.stdout, done
    assert not (tmp_path / 'out').exists()
