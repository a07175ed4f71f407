"A project that birdsort 0.1 has made: it opens, nothing is lost, and nothing is done a second time."

import json
import os
import shutil
import sqlite3

import pytest
import torch
from PIL import Image

from birdsort.core.catalogue import SCHEMA_VERSION
from birdsort.core.project import Project, stage_result
from birdsort.datasets.signatures import train_signature
from birdsort.datasets.splits import splits_signature
from birdsort.training.learner import build_network
from birdsort.training.runs import find_run, open_run
from conftest import as_json
from helpers.old_catalogue import TABLES

TOML = """
n = 6
noai = false
source = ["aviary"]
architecture = "resnet18"
pretrained = false
image_size = 32
batch_size = 4
epochs = [1, 1]

[train]
lr_mult = 50.0
schedule = "halve"
views = 2
head = [512]
rest_batch_norm = false
precision = "fp32"
keep_memory = false
small_first = false

[labels]
"heron" = ["grey heron"]
"stork" = ["white stork"]
"""
SIGNATURE = (
    '32ea6834ef4f6c5f'  # What birdsort 0.1 signed a training of these images and settings with
)
SPLITS = {'train': 4, 'val': 1, 'test': 1}
THEN = 1_700_000_000  # When the images were last changed


def draw(file, colour):
    "A BMP file, whose length is the same whatever library writes it."
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new('RGB', (32, 32), colour).save(file)
    os.utime(file, (THEN, THEN))


def fill(home):
    "Images, split and catalogue of birdsort 0.1."
    db = sqlite3.connect(home / 'catalogue.sqlite')
    db.executescript(TABLES)
    row = 'insert into picture (label, source, address, state, name, split, author) values (?, ?, ?, ?, ?, ?, ?)'
    for k, label in enumerate(('heron', 'stork')):
        names = iter(range(6))
        for split, n in SPLITS.items():
            for i in (next(names) for _ in range(n)):
                for folder in (home / 'images', home / 'split' / split):
                    draw(folder / label / f'{i}.bmp', (60 * k + 100, 40 * i, 90))
                db.execute(
                    row, (label, 'pencil', f'pencil:{label}/{i}', 'kept', f'{i}.bmp', split, 'Ada')
                )
    db.execute(
        row, ('heron', 'gbif', 'http://photos.example/1.jpg', 'removed', 'toy.bmp', None, 'Grace')
    )
    draw(home / 'removed' / 'heron' / 'toy.bmp', (0, 0, 0))
    was = dict(label='heron', state='kept', reason=None, name='toy.bmp', split=None)
    was |= dict(address='http://photos.example/1.jpg')
    step = ('by hand', '2026-11-21T09:30:00+00:00')
    db.execute('insert into step (name, made) values (?, ?)', step)
    move = (
        'images/heron/toy.bmp',
        'removed/heron/toy.bmp',
        json.dumps(was),
        json.dumps(was | dict(state='removed')),
    )
    columns = 'step, picture, source, target, was, becomes, done'
    db.execute(f'insert into move ({columns}) values (1, 13, ?, ?, ?, ?, 1)', move)
    judged = dict(
        run='001_resnet18', accuracy=0.5, sides={'test': {'n': 2}}, pictures=['history.png']
    )
    db.execute(
        'insert into stage values (?, ?, ?, ?)', ('evaluate', 'signed', json.dumps(judged), step[1])
    )
    db.commit()
    db.close()


def add_run(home):
    "A finished run of birdsort 0.1, with fixed weights."
    folder = home / 'models' / '001_resnet18'
    folder.mkdir(parents=True)
    project = Project(home)
    torch.manual_seed(0)
    network = build_network('torchvision', 'resnet18', 2, project.settings.train)
    for name in ('best', 'stage_one'):
        torch.save(network.state_dict(), folder / f'{name}.pth')
    header = 'stage,epoch,lr,train_loss,valid_loss,accuracy,seconds,waiting'
    epochs = [f'{stage},1,0.001,0.8,0.7,0.5,1.0,0.1' for stage in ('one-cycle', 'fine-tune')]
    (folder / 'history.csv').write_text('\n'.join([header, *epochs, '']))
    train = dict(
        lr_mult=50.0,
        schedule='halve',
        views=2,
        rest_batch_norm=False,
        precision='fp32',
        keep_memory=False,
    )
    settings = dict(
        n=6, noai=False, architecture='resnet18', pretrained=False, image_size=32, batch_size=4
    )
    settings |= dict(epochs=[1, 1])
    settings |= dict(
        train=train | dict(small_first=False),
        labels={'heron': ['grey heron'], 'stork': ['white stork']},
    )
    stages = [
        dict(name=s, epochs=1, seconds=1.0, valid_loss=0.6, accuracy=0.5)
        for s in ('one-cycle', 'fine-tune')
    ]
    note = dict(
        run='001_resnet18',
        stages=stages,
        seconds=2.0,
        precision='fp32',
        waiting=0.1,
        lr=0.004,
        own=None,
    )
    note |= dict(
        signature=SIGNATURE,
        sides=splits_signature(project),
        settings=settings,
        vocab=['heron', 'stork'],
    )
    (folder / 'run.json').write_text(json.dumps(note))


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    home = tmp_path_factory.mktemp('old') / 'birds'
    home.mkdir()
    (home / 'birdsort.toml').write_text(TOML)
    fill(home)
    as_it_was = (home / 'catalogue.sqlite').read_bytes()
    add_run(home)  # Which asks today's birdsort for a signature
    (home / 'catalogue.sqlite').write_bytes(as_it_was)
    return home


@pytest.fixture
def old(made, tmp_path):
    "A copy of its own for each test, with the times of the files kept."
    return shutil.copytree(made, tmp_path / 'birds')


def test_its_settings_are_read_under_their_old_names(old):
    settings = Project(old).settings
    assert (settings.images_per_label, settings.respect_noai) == (6, False)
    train = settings.train
    assert (train.backbone_lr_div, train.schedule, train.feature_views) == (50, 'step-half', 2)
    assert not (train.freeze_bn or train.retain_memory or train.progressive_resizing)


def test_its_catalogue_is_brought_up_to_date_and_loses_nothing(old):
    before = (
        sqlite3.connect(old / 'catalogue.sqlite')
        .execute('select * from picture order by id')
        .fetchall()
    )
    project = Project(old)
    assert [tuple(r.values()) for r in project.catalogue.rows()] == before
    assert len(before) == 13
    assert project.catalogue.execute('pragma user_version')[0][0] == SCHEMA_VERSION
    judged = stage_result(project, 'evaluate')
    assert judged['splits'] == {'test': {'n': 2}}
    assert judged['images'] == ['history.png']


def test_its_last_step_can_be_taken_back(old):
    done = as_json('clean', '--undo', '--project', old)
    assert done['undone']['moved'] == 1
    assert (old / 'images' / 'heron' / 'toy.bmp').is_file()
    (row,) = Project(old).catalogue.rows(name='toy.bmp')
    assert (row['state'], row['author']) == ('kept', 'Grace')


def test_its_run_is_known_and_not_trained_again(old):
    project = Project(old)
    assert train_signature(project) == SIGNATURE
    assert find_run(project, SIGNATURE).name == '001_resnet18'
    assert as_json('train', '--project', old)['run'] == '001_resnet18'
    assert [d.name for d in (old / 'models').iterdir()] == ['001_resnet18']


def test_its_run_is_evaluated_exported_and_asked(old):
    note = open_run(Project(old)).note
    assert note['splits'] and 'sides' not in note
    judged = as_json('evaluate', '--project', old)
    assert (judged['run'], judged['n']) == ('001_resnet18', 2)
    made = as_json('export', '--project', old, '--formats', 'safetensors,pickle')
    assert {'model.safetensors', 'learner.pkl'} <= set(made['megabytes'])
    answers = as_json('predict', old / 'split' / 'test', '--project', old, '--engine', 'torch')[
        'predictions'
    ]
    assert {a['label'] for a in answers} <= {'heron', 'stork'} and len(answers) == 2


def test_its_status_counts_every_image(old):
    labels = as_json('status', '--project', old)['labels']
    assert {label: (n['found'], n['kept'], n['removed']) for label, n in labels.items()} == {
        'heron': (7, 6, 1),
        'stork': (6, 6, 0),
    }
