"Training as a whole: stopped and resumed, plain and fast, on several processes, and on data that makes no sense."

import csv
import json
import os
import shutil
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import timm
import torch
from fastai.callback.core import Callback
from safetensors.torch import save_file
from torch import nn

from birdsort.aviary.sample_project import lesson_project
from birdsort.core.architectures import IMAGENET
from birdsort.core.project import Project
from birdsort.core.settings import SHORTCUTS_OFF, change
from birdsort.split import split
from birdsort.train import train
from birdsort.training.runs import load_run, open_run
from conftest import (
    as_json,
    birdsort,
    birdsort_with,
    forked,
    one_line,
    one_object,
    predict_without_birdsort,
    verb,
)


@pytest.fixture(scope='module')
def with_weights(tmp_path_factory):
    "A project whose network has weights, random ones that are taken for pretrained; each test has a copy."
    home = tmp_path_factory.mktemp('pretrained')
    folder = home / 'weights'
    folder.mkdir()
    torch.manual_seed(0)
    save_file(
        timm.create_model('test_resnet', num_classes=10).state_dict(), folder / 'model.safetensors'
    )
    cfg = dict(
        num_classes=10,
        classifier='fc',
        input_size=[3, 64, 64],
        pool_size=[2, 2],
        mean=IMAGENET[0],
        std=IMAGENET[1],
    )
    (folder / 'config.json').write_text(
        json.dumps(dict(architecture='test_resnet', num_classes=10, pretrained_cfg=cfg))
    )
    project = lesson_project(
        20, home / 'birds', architecture=f'local-dir:{folder}', pretrained=True, batch_size=8
    )
    split(project, quiet=True)
    return project


@pytest.fixture
def pretrained(with_weights, tmp_path):
    return Project(shutil.copytree(with_weights.path, tmp_path / 'birds'))


def history(project, run=None):
    "The losses of a run."
    with open(open_run(project, run).folder / 'history.csv') as f:
        return [
            (r['stage'], r['train_loss'], r['valid_loss'], r['accuracy'], r['lr'])
            for r in csv.DictReader(f)
        ]


def weights(project):
    return torch.load(open_run(project).folder / 'best.pth', weights_only=True)


class Kill(Callback):
    "As if someone had pulled the plug, in the second batch of an epoch of a stage."

    def __init__(self, stage, number):
        self.where = (stage, number - 1, 1, True)

    def after_pred(self):
        if (self.history.stage, self.epoch, self.iter, self.training) == self.where:
            os.kill(os.getpid(), signal.SIGKILL)


def train_until_killed(folder, epochs, stage, number, unfreeze):
    import birdsort.train as module

    project = Project(folder)
    module.StopOnNaN = lambda: Kill(stage, number)  # Which is among the callbacks of every fit
    how = dict(epochs=epochs, patience=100, unfreeze=unfreeze)
    how |= dict(fine_tune='always') if stage == 'fine-tune' else {}
    train(project, quiet=True, settings=change(project.settings, **how))


@pytest.mark.parametrize(
    'stage, epochs, number, unfreeze',
    [
        ('one-cycle', (4, 1), 3, 'all'),
        ('fine-tune', (1, 4), 3, 'all'),
        ('fine-tune', (1, 4), 3, 3),
        ('fine-tune', (1, 1), 1, 3),
        ('trial', (1, 3), 1, 'all'),
    ],
    ids=['frozen', 'all', 'partly', 'partly, between two fits', 'trial'],
)
def test_killed_in_the_middle_of_an_epoch_and_resumed(pretrained, stage, epochs, number, unfreeze):
    "The same numbers, to the last bit, as without the kill."
    project, given = (
        pretrained,
        ('--epochs', '{},{}'.format(*epochs), '--patience', 100, '--unfreeze', unfreeze),
    )
    if stage == 'fine-tune':
        given = (*given, '--fine-tune', 'always')
    torch.set_num_threads(1)
    killed = forked(train_until_killed, project.path, epochs, stage, number, unfreeze)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not list(project.models.glob('[0-9]*')) and list(
        project.models.glob('.*.part/checkpoint.pth')
    )
    one_line(
        birdsort('train', '--project', project.path, '--resume', '--epochs', '9,9'),
        'without --resume',
    )
    if stage == 'one-cycle':
        as_json(
            'train', '--project', project.path, '--epochs', '1,1'
        )  # Another training takes nothing from this one
    as_json('train', '--project', project.path, '--resume', *given)
    resumed, found, before = history(project), weights(project), open_run(project)
    assert len(resumed) == (3 if stage == 'trial' else sum(epochs) + 1) and not list(
        project.models.glob('.*')
    )
    as_json('train', '--project', project.path, '--force', *given)
    assert history(project) == resumed and open_run(project).name > before.name
    assert all(open_run(project).note[proof] == before.note[proof] for proof in ('polish', 'trial'))
    assert all(torch.equal(v, found[k]) for k, v in weights(project).items())
    stores = [f for f in (project.path / '.cache').glob('features-*') if not f.suffix]
    assert len(stores) == (2 if unfreeze == 3 else 1), 'what is frozen looked once at each image'


def test_shortcuts_off_are_plain_fastai(pretrained):
    "Three epochs: the same losses as fastai's own functions give with the same seed."
    from fastai.vision.all import (
        CategoryBlock,
        DataBlock,
        GrandparentSplitter,
        ImageBlock,
        IntToFloatTensor,
        Normalize,
        Resize,
        ToTensor,
        accuracy,
        aug_transforms,
        parent_label,
        set_seed,
        vision_learner,
    )

    project = pretrained
    train(project, quiet=True, settings=change(project.settings, epochs=(3, 1), **SHORTCUTS_OFF))
    set_seed(project.settings.seed, reproducible=True)
    files = [f for side in ('train', 'val') for f in sorted((project.split / side).glob('*/*.jpg'))]
    block = DataBlock(
        (ImageBlock, CategoryBlock),
        get_y=parent_label,
        splitter=GrandparentSplitter('train', 'val'),
        item_tfms=Resize(74, 'squish'),
        batch_tfms=[*aug_transforms(size=64, max_zoom=1.3), Normalize.from_stats(*IMAGENET)],
    )
    dls = block.dataloaders(files, bs=8, num_workers=0)
    pipeline = type(dls.valid.after_item)  # Validation images come to their size in one step
    dls.valid.after_item = pipeline([Resize(64, 'squish'), ToTensor()], split_idx=1)
    dls.valid.after_batch = pipeline(
        [IntToFloatTensor(), Normalize.from_stats(*IMAGENET)], split_idx=1
    )
    learn = vision_learner(dls, project.settings.architecture, metrics=accuracy, normalize=False)
    with learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(3)
    ours = [[float(x) for x in r[1:3]] for r in history(project) if r[0] == 'one-cycle']
    assert (
        torch.tensor(ours).sub(torch.tensor([v[:2] for v in learn.recorder.values])).abs().max()
        < 1e-4
    )


def forked_together(func, *args, n):
    "Call a function in n processes that know each other, as `torchrun` starts them -> the finished processes."
    with socket.create_server(('127.0.0.1', 0)) as free:
        port = free.getsockname()[1]
    every = dict(
        MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port), WORLD_SIZE=str(n), LOCAL_WORLD_SIZE=str(n)
    )
    ranks = [every | dict(RANK=str(i), LOCAL_RANK=str(i)) for i in range(n)]
    with ThreadPoolExecutor(n) as pool:
        return list(pool.map(lambda env: forked(func, *args, env=env), ranks))


def test_two_processes_are_one_with_the_doubled_batch(tmp_path):
    "The probe, stage one on cached features, and the whole network, which several processes train without a trial."
    project = lesson_project(
        27, tmp_path / 'birds', architecture='pip:efficientnet_lite0', pretrained=True
    )
    split(project, quiet=True)
    given = [
        'train',
        '--project',
        project.path,
        '--augmentation',
        'none',
        '--head',
        '',
        '--dropout',
        0,
        '--epochs',
        '3,1',
        '--lr',
        1e-4,
        '--precision',
        'fp32',
        '--json',
    ]
    done = forked_together(verb, [*map(str, given), '--batch-size', '4'], n=2)
    assert [d.returncode for d in done] == [0, 0], done
    assert [len(d.stdout.splitlines()) for d in done] == [1, 0]
    assert len([*project.models.glob('001_*')]) == 1
    two = history(project)
    as_json(*given[:-1], '--batch-size', 8, '--fine-tune', 'always')
    one = history(project)
    assert len(one) == len(two) == 5
    for a, b in zip(one, two, strict=False):
        assert [float(x) for x in a[1:3]] == pytest.approx([float(x) for x in b[1:3]], abs=2e-3)


class Hub(BaseHTTPRequestHandler):
    "What the Hugging Face hub answers about the model birds/tiny."

    def do_GET(self):
        file = self.server.folder / Path(self.path).name
        there = self.path.startswith('/birds/tiny/resolve/main/') and file.is_file()
        data = file.read_bytes() if there else b''
        self.send_response(200 if there else 404)
        told = (
            {'X-Error-Code': 'EntryNotFound' if '/birds/tiny/' in self.path else 'RepoNotFound'}
            if not there
            else {'ETag': f'"{sha256(data).hexdigest()}"', 'X-Repo-Commit': 'a' * 40}
        )
        for k, v in {**told, 'Content-Length': len(data)}.items():
            self.send_header(k, str(v))
        self.end_headers()
        if self.command == 'GET':
            self.wfile.write(data)

    do_HEAD = do_GET

    def log_message(self, *args):
        pass


def test_weights_from_a_hub(pretrained, tmp_path):
    "Fetched once; afterwards the hub is not needed."
    server = ThreadingHTTPServer(('127.0.0.1', 0), Hub)
    server.folder = Path(pretrained.settings.architecture.removeprefix('local-dir:'))
    Thread(target=server.serve_forever, daemon=True).start()
    address = f'http://127.0.0.1:{server.server_port}'
    env = dict(HF_ENDPOINT=address, HF_HOME=str(tmp_path / 'hub'), HF_HUB_OFFLINE='0')
    p = ('--project', pretrained.path)
    with birdsort_with(env) as run:
        one_line(run('train', *p, '--arch', 'hf-hub:birds/none'), 'hf-hub:birds/none', 'local-dir:')
        first = one_object(
            run('train', *p, '--arch', 'hf-hub:birds/tiny', '--epochs', '2,1', '--json')
        )
        ours, second = history(pretrained), as_json('train', *p, '--epochs', '2,1')
        assert (first['run'], second['run']) == ('001_tiny', '002_weights')
        assert history(pretrained, '001_tiny') == ours
        server.shutdown()
        server.server_close()
        assert one_object(run('evaluate', *p, '--run', '001_tiny', '--json'))['n'] == 9


class Small(nn.Module):
    "A network for which four images are too many."

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(3, 4, 3, stride=4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
        )

    def forward(self, x):
        if len(x) > 3:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return self.net(x)


def test_not_enough_memory_names_a_batch_that_fits(split_birds):
    with pytest.raises(MemoryError, match='batch_size = 2 fits'):
        train(
            split_birds,
            quiet=True,
            model=Small(),
            settings=change(split_birds.settings, precision='fp32'),
        )


def test_data_from_elsewhere(split_birds, tmp_path):
    "A folder per label, dealt folders, a table: each gives a run that can be judged and exported."
    table = tmp_path / 'birds.csv'
    table.write_text(
        'file,label,split\n'
        + ''.join(
            f'{f},{f.parent.name[:3]},{f.parent.parent.name}\n'
            for f in split_birds.split.glob('*/*/*.jpg')
        )
    )
    toml = split_birds.path / 'birdsort.toml'
    toml.write_text(
        toml.read_text().replace('#data = ""', 'data = "images"')
    )  # Seen from the project, wherever one stands
    whole, places = (
        as_json('run', '--project', split_birds.path, cwd=tmp_path),
        (split_birds.split, table),
    )
    assert (
        list(whole) == ['train', 'evaluate', 'report', 'export', 'predict', 'seconds']
        and as_json('status', '--project', split_birds.path)['next'] == 'predict'
    )
    runs = [
        whole['train']['run'],
        *(
            as_json('train', '--project', split_birds.path, '--data', data)['run']
            for data in places
        ),
    ]
    assert runs == ['001_test_resnet', '002_test_resnet', '003_test_resnet']
    assert open_run(split_birds).note['vocab'] == ['bui', 'cac', 'gar']
    assert as_json('evaluate', '--project', split_birds.path)['n'] == 9
    as_json('export', '--formats', 'pickle', '--project', split_birds.path)
    one = next(split_birds.images.glob('*/*.jpg'))
    opened = forked(predict_without_birdsort, split_birds.export / 'learner.pkl', one)
    assert opened.stdout.split()[-1] in ('bui', 'cac', 'gar'), opened.stderr
    assert str(tmp_path).encode() not in (split_birds.export / 'learner.pkl').read_bytes()


def test_bad_input_is_one_line_before_the_first_epoch(split_birds, tmp_path):

    def go(*a):
        return birdsort('train', '--project', split_birds.path, *a)

    table = tmp_path / 'birds.csv'
    for rows, words in (
        ('file,label\nnowhere.jpg,owl\n', ('line 2', 'nowhere.jpg')),
        ('bird,label\nx,y\n', ('file and label',)),
        (
            'file,label,split\n'
            + ''.join(f'{f},{f.parent.name},somewhere\n' for f in split_birds.images.glob('*/*')),
            ('somewhere',),
        ),
        (
            'file,label\n'
            + ''.join(f'{f},{f.parent.name}\n' for f in split_birds.images.glob('garza/*'))
            + f'{next(split_birds.images.glob("cacatua/*"))},rare\n',
            ("'rare' has 1",),
        ),
    ):
        table.write_text(rows)
        one_line(go('--data', table), *words)
    one_line(go('--data', tmp_path / 'nothing'), 'CSV')
    one_line(go('--lr', 'fast'), '"auto"', code=2)
    one_line(go('--head', 'wide'), '"linear"', code=2)
    one_line(go('--resume'), 'without --resume')
    one_line(go('--mixup', 0.4, '--cutmix', 1), 'choose one', code=2)
    one_line(go('--precision', 'fp16'), 'GPU')
    one_line(go('--augmentation', 'wild'), 'none, light, standard, strong')
    gone = next(split_birds.split.glob('val/garza/*'))
    gone.unlink()
    one_line(go(), gone.name, 'vanished')
    assert not list(split_birds.models.glob('*/checkpoint.pth'))


def test_weights_of_another_network_are_named(split_birds):
    run = open_run(split_birds, train(split_birds, quiet=True)['run'])
    note = run.note
    note['settings']['architecture'] = 'resnet34'
    (run.folder / 'run.json').write_text(json.dumps(note))
    one_line(birdsort('evaluate', '--project', split_birds.path), 'another network than resnet34')


@pytest.mark.parametrize(
    'given',
    [
        dict(mixup=0.4, label_smoothing=0.1),
        dict(cutmix=1.0, optimizer='ranger'),
        dict(schedule='step', unfreeze='1 group', class_weights=True),
        dict(feature_views=2, schedule='flat', unfreeze=2, head=()),
        dict(unfreeze=0, augmentation='none'),
    ],
    ids=str,
)
def test_what_can_be_chosen_trains_and_comes_back(pretrained, given):
    result = train(pretrained, quiet=True, settings=change(pretrained.settings, **given))
    probe = [] if given.get('schedule') else ['probe']
    assert [s['name'] for s in result['stages']] == [*probe, 'one-cycle', 'fine-tune']
    learn = load_run(open_run(pretrained))
    assert abs(learn.validate()[0] - min(s['valid_loss'] for s in result['stages'])) < 0.2
    assert {f.name for f in open_run(pretrained).folder.iterdir()} == {
        'best.pth',
        'stage_one.pth',
        'history.csv',
        'history.png',
        'run.json',
    }


def test_tensorboard_is_written(split_birds):
    run = as_json('train', '--project', split_birds.path, '--tensorboard')['run']
    assert list((split_birds.models / run / 'tensorboard').rglob('events*'))
