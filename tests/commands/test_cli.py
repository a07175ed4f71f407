"The command line as a new user meets it: help, mistakes, JSON."

import re
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from birdsort.aviary.sample_project import lesson_project
from conftest import CLI, ENV, as_json, birdsort, files, forked, one_line, verb

STAGES = [
    'new',
    'scrape',
    'clean',
    'split',
    'train',
    'evaluate',
    'compare',
    'report',
    'export',
    'predict',
    'serve',
]
VERBS = [*STAGES, 'bow', 'sweep', 'gan', 'study', 'lab', 'status', 'run', 'demo']


def test_help_is_light():
    done = subprocess.run(
        [sys.executable, '-X', 'importtime', *CLI[1:], '--help'],
        capture_output=True,
        text=True,
        env=ENV,
    )
    loaded = {
        l.rsplit('|', 1)[-1].strip().split('.')[0]
        for l in done.stderr.splitlines()
        if l.startswith('import time:')
    }
    assert {'birdsort', 'argparse'} <= loaded
    assert not loaded & {'torch', 'fastai', 'numpy', 'PIL', 'selenium', 'ipywidgets', 'requests'}
    for name in VERBS:
        assert f"\n    {name} " in done.stdout


@pytest.mark.parametrize('verb', VERBS)
def test_every_verb_explains_itself(verb):
    done = birdsort(verb, '--help')
    assert done.returncode == 0 and '--json' in done.stdout and '--debug' in done.stdout
    usage, _, options = done.stdout.partition('options:')
    entries = [
        re.split(r'\s{2,}', e.strip(), maxsplit=1) for e in re.split(r'\n  (?=-)', options)[1:]
    ]
    assert all(len(e) == 2 and len(e[1]) > 5 for e in entries), 'a flag without help'
    assert set(re.findall(r'\[(-[a-z-]+)', usage)) <= {
        f for e in entries for f in re.findall(r'--?[a-z-]+', e[0])
    }


def test_a_new_project(tmp_path):
    made = as_json('new', tmp_path / 'birds', '--example')
    assert (
        made['labels']['buitre'] == ['griffon vulture', 'Egyptian vulture']
        and len(made['labels']) == 7
    )
    assert made['notebooks'] == sorted(f.name for f in (tmp_path / 'birds/notebooks').iterdir())
    numbered = [name for name in made['notebooks'] if name != 'app.ipynb']
    assert [int(name[:2]) for name in numbered] == [*range(12)]
    one_line(birdsort('new', tmp_path / 'birds'), 'project already')
    named = as_json(
        'new', tmp_path / 'mine', 'red_kite', 'stork=white stork, black stork', '-n', 30
    )
    assert named['labels'] == {'red_kite': ['red kite'], 'stork': ['white stork', 'black stork']}


@pytest.mark.parametrize(
    'text, words',
    [
        ('ratio = [0.7, 0.2, 0.2]', ['ratio', '1.1', 'sum to 1']),
        ('ration = [0.7, 0.2, 0.1]', ["'ration'", "did you mean 'ratio'"]),
        ('labels = {"" = ["x"], b = ["b"]}', ["''", 'can name a folder']),
        ('labels = {"../up" = ["x"], b = ["b"]}', ["'../up'", 'can name a folder']),
        ('labels = {a = ["x"]}', ['two labels']),
        ('labels = {Heron = ["x"], heron = ["y"]}', ['capitals']),
        ('images_per_label = -1', ['images_per_label = -1', '1 to']),
        ('epochs = [10]', ['epochs', 'two whole numbers']),
        ('source = ["google=www.google.com"]', ['source', 'https://']),
        ('images_per_label = ', ['not TOML']),
    ],
    ids=lambda v: v if isinstance(v, str) else '',
)
def test_settings_that_make_no_sense(tmp_path, text, words):
    (tmp_path / 'birdsort.toml').write_text(text)
    one_line(birdsort('status', '--project', tmp_path), 'birdsort.toml', *words)


def test_mistakes_of_order(birds):
    p = ['--project', birds.path]
    one_line(birdsort('train', *p), 'birdsort split')
    one_line(birdsort('evaluate', *p), 'birdsort train')
    one_line(birdsort('export', *p), 'birdsort train')
    one_line(birdsort('predict', birds.images, *p), 'birdsort export')
    empty = lesson_project(0, birds.path.parent / 'empty')
    one_line(birdsort('split', '--project', empty.path), 'birdsort scrape')


def test_mistakes_of_spelling(birds):
    p = ['--project', birds.path]
    one_line(birdsort('scarpe', *p), "'scarpe'", "did you mean 'scrape'", code=2)
    one_line(
        birdsort('scrape', '--label', 'graza', *p),
        "'graza'",
        "did you mean 'garza'",
        'cacatua',
        code=2,
    )
    one_line(birdsort('status', '--projekt', birds.path), '--projekt', '--help')
    one_line(birdsort('status', '--project', birds.path / 'nowhere'), 'nowhere', 'birdsort new')
    one_line(birdsort('predict', birds.path / 'no.jpg', *p), 'no.jpg')
    one_line(
        birdsort('demo', '--out', birds.path.parent / 'demo', '--gallery', 'nowhere'),
        'nowhere',
        '--gallery',
    )
    toml = birds.path / 'birdsort.toml'
    toml.write_text(toml.read_text().replace('"test_resnet"', '"resnext50"'))
    birdsort('split', *p)
    one_line(birdsort('train', *p), "'resnext50'", 'resnext50_32x4d', 'local-dir:')
    one_line(birdsort('run', *p), "'resnext50'", 'resnext50_32x4d')


def test_small_labels_are_refused_with_what_is_missing(birds):
    for f in sorted((birds.images / 'garza').iterdir())[5:]:
        f.rename(birds.path / f.name)
    one_line(birdsort('split', '--project', birds.path), "'garza' has 5 and misses 2", 'needs 7')
    assert not birds.split.exists()


def test_a_stale_split_is_not_mixed_with_a_new_one(birds):
    as_json('split', '--project', birds.path)
    before = files(birds.split)
    toml = birds.path / 'birdsort.toml'
    toml.write_text(toml.read_text().replace('#seed = 42', 'seed = 43'))
    one_line(birdsort('split', '--project', birds.path), '--force')
    assert files(birds.split) == before
    as_json('split', '--project', birds.path, '--force')
    after = files(birds.split)
    assert len(after) == len(before) and after.keys() != before.keys()


def test_no_browser(tmp_path, birds):
    env = {
        'PATH': str(tmp_path),
        'SE_OFFLINE': 'true',
        'SE_CACHE_PATH': str(tmp_path / 'selenium'),
        'BIRDSORT_BROWSER': '',
    }
    before = files(birds.images)
    line = one_line(
        birdsort('scrape', '-n', 21, '--project', birds.path, env=env, timeout=120),
        'no Chromium or Chrome found',
        'apt-get install',
    )
    assert len(line) < 400 and files(birds.images) == before
    broken = tmp_path / 'chromium'
    broken.write_text('#!/bin/sh\necho Chromium 1.2.3\nexit 1\n')
    broken.chmod(0o755)
    one_line(
        birdsort(
            'scrape',
            '-n',
            21,
            '--project',
            birds.path,
            env={**env, 'BIRDSORT_BROWSER': str(broken), 'PATH': f'{tmp_path}:/usr/bin:/bin'},
            timeout=120,
        ),
        'did not start',
        '1.2.3',
    )


def test_a_folder_where_nothing_can_be_written():
    one_line(birdsort('new', '/proc/birds', '--example'), '/proc/birds')
    one_line(birdsort('demo', '--out', '/proc/birds'), '/proc/birds')


def on_a_full_disk(size, *argv):
    "A verb of which no file may grow beyond `size` bytes, as on a disk that is full."
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    return verb(argv)


@pytest.mark.parametrize('stage, size', [('split', 10_000), ('train', 1_000_000)])
def test_a_full_disk(birds, stage, size):
    p = ['--project', str(birds.path)]
    if stage == 'train':
        as_json('split', *p)
    before = files(birds.images)
    one_line(forked(on_a_full_disk, size, stage, *p), 'full')
    assert files(birds.images) == before
    as_json(stage, *p)  # With room again, it continues


def test_exactly_one_json_object(tmp_path):
    birds = lesson_project(20, tmp_path / 'birds', architecture='test_resnet', image_size=32)
    p = ['--project', birds.path]
    as_json('clean', *p)
    split = as_json('split', *p)
    assert {s: sum(split[s].values()) for s in split} == {'train': 42, 'val': 9, 'test': 9}
    train = as_json('train', *p)
    assert [set(s) for s in train['stages']] == [
        {'name', 'epochs', 'seconds', 'valid_loss', 'accuracy'}
    ] * 2
    assert train['seconds'] > 0
    score = as_json('evaluate', *p)
    assert {'n', 'loss', 'accuracy', 'f1_macro', 'per_label'} <= set(score) and score['n'] == 9
    assert Path(as_json('export', '--formats', 'pickle,safetensors', *p)['learner']).is_file()
    (birds.path / 'note.txt').write_text('no image')
    rows = as_json('predict', birds.images / 'garza', birds.path / 'note.txt', *p)['predictions']
    assert len(rows) == 21
    assert (
        set(rows[0]) == {'file', 'label', 'probability', 'best'}
        and 0 <= rows[0]['probability'] <= 1
    )
    assert rows[-1]['label'] is None and rows[-1]['error'] == 'not an image'
    status = as_json('status', *p)
    assert status['next'] == 'predict' and status['labels']['garza']['kept'] == 20
    assert as_json('train', *p) == train  # It is not trained twice
