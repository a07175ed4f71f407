"""What comes with a project, an export or a temporary folder of somebody else is not believed: no path from the
catalogue leads out of the project, no file runs code, and no process of another user is ended."""

import ast
import json
import os
import pickle
import sqlite3
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from birdsort.cleaning.decisions import Decisions, apply
from birdsort.core.catalogue import now
from birdsort.core.inventory import sync
from birdsort.core.moves import carry_out, undo
from birdsort.core.project import inside
from birdsort.core.scaffold import new_project
from conftest import ROOT, files

LABELS = {'stork': ['white stork'], 'heron': ['grey heron']}
ROW = dict(label='stork', state='kept', reason=None, name='1.jpg', split=None, address=None)


@pytest.fixture
def victim(tmp_path):
    "A project from elsewhere, beside files of the user that it has no business with."
    project = new_project(tmp_path / 'birds', labels=LABELS)
    for file in (
        'birds/images/stork/1.jpg',
        'birds/removed/heron/2.jpg',
        'home/id_rsa',
        'home/stork/1.jpg',
    ):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes(file.encode())
    sync(project)
    (project.images / 'out').symlink_to(tmp_path / 'home')
    (project.removed / 'out').symlink_to(tmp_path / 'home' / 'stork')
    return project


def others(project):
    "All that lies beside the project, and its settings."
    return files(project.path.parent / 'home'), (project.path / 'birdsort.toml').read_bytes()


def plant(project, source, target, done=0, was=ROW, becomes=ROW):
    "A step with one move, as if a crash had left it."
    execute = project.catalogue.execute
    execute('insert into step (name, made) values (?, ?)', ('planted', now()))
    step = execute('select max(id) from step')[0][0]
    texts = [row if isinstance(row, str) else json.dumps(row) for row in (was, becomes)]
    sql = 'insert into move (step, image, source, target, was, becomes, done) values (?, 1, ?, ?, ?, ?, ?)'
    execute(sql, (step, source, target, *texts, done))


OUTSIDE = [
    '../home/id_rsa',
    '{home}/id_rsa',
    'images/../../home/id_rsa',
    'images/stork/../../../home/id_rsa',
    'images/out/id_rsa',
    'removed/out/1.jpg',
    'birdsort.toml',
    'images/../birdsort.toml',
    './birdsort.toml',
    'models/stork/1.jpg',
    'images//../../home/id_rsa',
    '{home}/stork/1.jpg',
    'images/stork/..',
    'images/stork/\0.jpg',
    '',
]


@pytest.mark.parametrize('path', OUTSIDE)
def test_every_path_from_the_catalogue_is_resolved(victim, path, capsys):
    path = path.format(home=victim.path.parent / 'home')
    before = others(victim)
    plant(victim, path, 'images/stork/stolen.jpg')
    plant(victim, 'images/stork/1.jpg', path)
    carry_out(victim)
    assert 'not carried out' in capsys.readouterr().err
    assert (others(victim), carry_out(victim)) == (before, 0)
    assert (victim.images / 'stork/1.jpg').is_file()
    plant(victim, path, 'images/stork/1.jpg', done=1)
    plant(victim, 'images/stork/stolen.jpg', path, done=1)
    while undo(victim):
        pass
    assert others(victim) == before
    assert not (victim.images / 'stork/stolen.jpg').exists()


@pytest.mark.parametrize(
    'row',
    [
        {'label = "x", reason': 'sql'},
        '[1]',
        'null',
        '"text"',
        '{',
        '[' * 100_000,
        dict(label=['stork']),
        dict(reason=7),
        dict(address={}),
        dict(name=None, split=[1]),
        'NaN',
    ],
)
def test_rows_of_the_journal_are_rows(victim, row):
    plant(victim, 'images/stork/1.jpg', 'images/heron/1.jpg', becomes=row)
    before = victim.catalogue.rows(id=1)[0]
    carry_out(victim)
    after = victim.catalogue.rows(id=1)[0]
    assert after['label'] in ('stork', 'heron')
    assert after == before or (victim.images / 'heron/1.jpg').is_file()


@pytest.mark.parametrize(
    'label, name',
    [
        ('../../home', 'id_rsa'),
        ('stork', '../../../home/id_rsa'),
        ('{home}', 'id_rsa'),
        ('stork', '{home}/id_rsa'),
        ('out', 'id_rsa'),
        ('.', 'id_rsa'),
        ('..', 'birdsort.toml'),
        ('', '../birdsort.toml'),
        ('stork/../..', 'birdsort.toml'),
        ('out/stork', '1.jpg'),
    ],
)
@pytest.mark.parametrize('state, action', [('kept', 'remove'), ('removed', 'restore')])
def test_every_name_in_the_catalogue_is_resolved(victim, label, name, state, action):
    home, before = victim.path.parent / 'home', others(victim)
    row = dict(label=label.format(home=home), name=name.format(home=home), state=state)
    victim.catalogue.execute(
        'update image set label = :label, name = :name, state = :state where id = 1', row
    )
    Decisions(victim).choose([1], action)
    try:
        apply(victim)
    except ValueError as e:
        assert label.startswith('out') and 'is a link to' in str(e), e
    assert others(victim) == before


def test_a_label_that_is_a_path_is_not_moved_to(victim):
    before = others(victim)
    victim.catalogue.execute(
        "insert into choice (step, image, action, label) values (1, 1, 'move', '../../home')"
    )
    apply(victim)
    assert others(victim) == before
    assert (victim.images / 'stork/1.jpg').is_file()


def test_a_path_inside_is_a_path(victim):
    assert inside(victim.path, 'images', 'stork', '1.jpg').is_file()
    assert not inside(victim.path, 'images', 'heron', 'new.jpg').exists()


class Runs:
    "In a pickle, a call."

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


CALLS = [
    (os.system, 'touch {}'),
    (os.mkdir, '{}'),
    (Path.touch, Path('{}')),
    (open, '{}', 'w'),
    (eval, "open('{}', 'w')"),
    (exec, "open('{}', 'w')"),
    (subprocess.call, ['touch', '{}']),
    (partial(open, '{}', 'w'),),
    (os.symlink, '/', '{}'),
    (sqlite3.connect, '{}'),
    (__import__, '{}'),
]


def aimed(value, at):
    "The same call with a file in place of {}."
    if isinstance(value, str):
        return value.replace('{}', str(at))
    if isinstance(value, Path):
        return at
    if isinstance(value, partial):
        return partial(value.func, *(aimed(v, at) for v in value.args))
    return [aimed(v, at) for v in value] if isinstance(value, list) else value


@pytest.mark.parametrize('call', CALLS, ids=lambda call: getattr(call[0], '__name__', 'partial'))
def test_no_checkpoint_runs_code(tmp_path, call):
    import torch

    from birdsort.training.callbacks import History
    from birdsort.training.checkpoint import Checkpoint

    aim = Runs(*(aimed(part, tmp_path / 'ran') for part in call))
    checkpoint = Checkpoint(tmp_path / 'checkpoint.pth', History(tmp_path / 'history.csv'))
    for save in (torch.save, lambda value, file: Path(file).write_bytes(pickle.dumps(value))):
        save(dict(rows=[], extra=aim), checkpoint.file)
        with pytest.raises(ValueError, match='train again with --force'):
            checkpoint.load()
    assert not os.path.lexists(tmp_path / 'ran')


MAY_RUN_CODE = {'deploy.inference': {'load_learner'}}  # With --trust-pickle


def calls(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), {k.arg: ast.unparse(k.value) for k in node.keywords}


def runs_code(name, options):
    "Whether a call may open a pickle."
    if name.endswith('torch.load'):
        return options.get('weights_only') != 'True'
    if name == 'np.load':
        return options.get('allow_pickle') != 'False'
    last = name.rpartition('.')[2]
    return last in ('load_learner', 'read_pickle', 'Unpickler') or name in (
        'pickle.load',
        'pickle.loads',
        'joblib.load',
        'dill.load',
        'shelve.open',
        'eval',
        'exec',
        'marshal.loads',
    )


def test_no_module_opens_a_pickle_but_the_one_that_is_trusted():
    found = {}
    for file in (ROOT / 'birdsort').rglob('*.py'):
        module = '.'.join(file.relative_to(ROOT / 'birdsort').with_suffix('').parts)
        names = {
            name for name, options in calls(ast.parse(file.read_text())) if runs_code(name, options)
        }
        if names:
            found[module] = names
    assert found == MAY_RUN_CODE


def private(folder):
    folder.mkdir(mode=0o700)
    (folder / 'owner').write_text('999999999')


def fifo(folder):
    folder.mkdir(mode=0o700)
    os.mkfifo(folder / 'owner')


def linked(folder):
    folder.with_name('real').mkdir(mode=0o700)
    (folder.with_name('real') / 'owner').write_text('999999999')
    folder.symlink_to(folder.with_name('real'))


def link_inside(folder):
    folder.mkdir(mode=0o700)
    folder.with_name('number').write_text('999999999')
    (folder / 'owner').symlink_to(folder.with_name('number'))


def open_to_all(folder):
    private(folder)
    folder.chmod(0o777)


def open_to_the_group(folder):
    private(folder)
    folder.chmod(0o750)


def a_file(folder):
    folder.write_text('999999999')


def a_device(folder):
    folder.mkdir(mode=0o700)
    (folder / 'owner').symlink_to('/dev/zero')


def a_folder(folder):
    (folder / 'owner').mkdir(parents=True)
    folder.chmod(0o700)


def with_text(text):
    def make(folder):
        private(folder)
        (folder / 'owner').write_bytes(text)

    return make


FORGED = dict(
    fifo=fifo,
    linked=linked,
    link_inside=link_inside,
    open_to_all=open_to_all,
    open_to_the_group=open_to_the_group,
    a_file=a_file,
    a_device=a_device,
    a_folder=a_folder,
    everybody=with_text(b'-1'),
    own_group=with_text(b'0'),
    long=with_text(b'9' * 5000),
    words=with_text(b'1 2'),
    nothing=with_text(b''),
)


@pytest.mark.parametrize('make', FORGED.values(), ids=FORGED)
def test_a_browser_folder_of_somebody_else_is_left_alone(tmp_path, monkeypatch, make):
    from birdsort.sources import browser

    ended = []
    monkeypatch.setattr(browser, '_profiles_folder', lambda: str(tmp_path))
    monkeypatch.setattr(browser, 'end_browser', ended.append)
    folder = tmp_path / 'birdsort-browser-forged'
    make(folder)
    before = time.monotonic()
    browser._end_orphans()
    assert os.path.lexists(folder) and not ended and time.monotonic() - before < 5


def test_a_driver_is_ended_only_where_its_own_folder_names_it(tmp_path):
    from birdsort.sources.browser import end_browser

    command = [sys.executable, '-c', 'import time; time.sleep(60)', 'chromedriver']
    with subprocess.Popen(command) as other:
        profile = tmp_path / 'profile'
        profile.mkdir(mode=0o755)
        (profile / 'driver').write_text(str(other.pid))
        end_browser(profile)
        assert other.poll() is None
        profile.chmod(0o700)
        end_browser(profile)
        assert other.wait(10) < 0
