"From names to learner.pkl in one go, and in many goes with Ctrl-C in each stage."

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from birdsort.aviary.sample_project import lesson_project
from birdsort.core.settings import Training
from conftest import as_json, birdsort, files, one_line, started

TINY = dict(
    images_per_label=14,
    architecture='test_resnet',
    pretrained=False,
    image_size=64,
    epochs=(2, 1),
    train=Training(precision='fp32'),
)  # Which is fastest is measured, and may differ from project to project
STAGES = ['scrape', 'clean', 'split', 'train', 'evaluate', 'report', 'export', 'predict']


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    "A project that `run` took from nothing to the end, undisturbed; what stands in its settings was typed as well."
    project = lesson_project(0, tmp_path_factory.mktemp('whole') / 'birds', **TINY)
    return project, as_json('run', '--project', project.path, '-n', '14', '--arch', 'test_resnet')


def test_run_reports_every_stage(whole):
    project, result = whole
    assert list(result) == [*STAGES, 'seconds']
    assert {l: t['kept'] for l, t in result['scrape']['labels'].items()} == {
        'cacatua': 14,
        'garza': 14,
        'buitre': 14,
    }
    assert set(result['scrape']['labels']['garza']) == {
        'asked',
        'found',
        'kept',
        'waiting',
        'removed',
        'rejected',
        'sources',
    }
    assert result['evaluate']['n'] == 9 and len(result['predict']['predictions']) == 3
    assert Path(result['export']['learner']).samefile(project.export / 'learner.pkl')


def test_run_again_does_nothing_twice(whole):
    project, result = whole
    before = {
        f: f.stat().st_mtime_ns
        for d in (project.images, project.split, project.models, project.export)
        for f in d.rglob('*')
        if f.is_file()
    }
    force = as_json('run', '--project', project.path)
    assert {k: force[k] for k in STAGES} == {k: result[k] for k in STAGES}
    assert {f: f.stat().st_mtime_ns for f in before} == before


def test_the_learner_opens_with_fastai_alone(whole, tmp_path):
    "In a process that cannot import birdsort, from another folder, the same labels come out."
    project, result = whole
    told = {p['file']: p['label'] for p in result['predict']['predictions']}
    script = f"""
import sys, json; sys.modules['birdsort'] = None
from fastai.learner import load_learner
learn = load_learner({str(project.export / 'learner.pkl')!r})
with learn.no_bar(), learn.no_logging(): print(json.dumps({{f: learn.predict(f)[0] for f in {list(told)!r}}}))
assert not [m for m in sys.modules if m.startswith('birdsort') and sys.modules[m]]"""
    done = subprocess.run(
        [sys.executable, '-I', '-W', 'ignore', '-c', script],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == told


def test_ctrl_c_in_each_stage_and_run_again(whole, tmp_path):
    project = lesson_project(0, tmp_path / 'birds', **TINY)
    stopped = []
    said = [tmp_path / 'out', tmp_path / 'err']
    begun = dict(scrape=(project.images, '*/*.jpg'), train=(project.models, '.*.part/*'))
    for stage in STAGES:
        run = started(['run', '--project', project.path], said)
        while f'== {stage}\n' not in said[1].read_text(errors='replace') and run.is_alive():
            time.sleep(0.02)
        folder, pattern = begun.get(stage, (project.path, '*'))
        while not any(folder.glob(pattern)) and run.is_alive():
            time.sleep(0.02)
        time.sleep(0.05)
        with suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGINT)  # as the terminal does: the whole group gets it
        run.join(60)
        assert run.exitcode in (0, 130), said[1].read_text(errors='replace')
        out, err = (f.read_text(errors='replace') for f in said)
        if run.exitcode == 130:
            stopped.append(stage)
            assert (
                out == ''
                and err.strip().splitlines()[-1].startswith('birdsort: stopped')
                and 'Traceback' not in err
            ), err
    assert {'scrape', 'train'} <= set(stopped) and len(stopped) >= 4, stopped
    result, undisturbed = as_json('run', '--project', project.path), whole[1]
    for d in ('images', 'split/train', 'split/val', 'split/test'):
        assert files(project.path / d) == files(whole[0].path / d), d

    def strip(stages):
        return [{k: v for k, v in s.items() if k != 'seconds'} for s in stages]

    assert strip(result['train']['stages']) == strip(undisturbed['train']['stages'])
    assert result['evaluate']['accuracy'] == undisturbed['evaluate']['accuracy']
    assert not [
        f
        for f in project.path.rglob('*')
        if (f.name.startswith('.') or f.name.endswith('.part'))
        and f.name
        not in (
            '.cache',
            '.precision.json',
            '.lock',
            '.split.json',
            '.image_stats.sqlite',
            '.image_stats.sqlite-wal',
            '.image_stats.sqlite-shm',
        )
    ]


def test_a_killed_training_leaves_no_half_run(tmp_path):
    project = lesson_project(20, tmp_path / 'birds', epochs=(50, 1))
    as_json('split', '--project', project.path)
    run = started(['train', '--project', project.path], [tmp_path / 'out', tmp_path / 'err'])
    while not list(project.models.glob('.*.part/best.pth')):
        time.sleep(0.05)
        assert run.is_alive()
    run.kill()
    run.join()
    one_line(birdsort('export', '--project', project.path), 'birdsort train')
    toml = project.path / 'birdsort.toml'
    toml.write_text(toml.read_text().replace('epochs = [50, 1]', 'epochs = [1, 1]'))
    assert as_json('train', '--project', project.path)['run'] == '001_test_resnet'


def test_the_demo_goes_on_and_minds_its_folder(tmp_path):
    source = lesson_project(14, tmp_path / 'source')
    out = tmp_path / 'demo'
    project = lesson_project(
        0,
        out,
        **TINY,
        source=(f'aviary={source.images.resolve()}',),
        labels={l: [l] for l in source.settings.labels},
    )
    result = as_json('demo', '--out', out, '--gallery', source.images, '--arch', 'test_resnet')
    assert files(project.images) == files(source.images) and result['evaluate']['n'] == 9
    one_line(
        birdsort('demo', '--out', out, '--gallery', source.images, '--arch', 'resnet34'),
        'architecture',
        '--out',
    )
