"Many architectures, one table: nothing is trained twice, a failure is a row, and a cluster gives the same."

import csv
import signal
import subprocess
import time
from pathlib import Path

import pytest
from openpyxl import load_workbook

from birdsort.aviary.sample_project import lesson_project
from birdsort.split import split
from conftest import CLI, ENV, as_json, birdsort, one_line

ARCHS = 'test_resnet,mobilenetv3_small_050/random'


@pytest.fixture
def project(tmp_path):
    p = lesson_project(20, tmp_path / 'birds', image_size=32, epochs=(1, 1))
    split(p, quiet=True)
    return p


def test_a_table_with_a_row_for_the_one_that_fails(project):
    made = as_json('sweep', '--project', project.path, '--archs', f'{ARCHS},alexnet/random', '--grid', 'lr=1e-3,1e-5')
    assert [(r['arch'], r['lr']) for r in made['rows']] == [
        (a, lr) for a in ('test_resnet', 'mobilenetv3_small_050/random', 'alexnet/random') for lr in (0.001, 0.00001)
    ]
    good, bad = [r for r in made['rows'] if not r['error']], [r for r in made['rows'] if r['error']]
    assert {r['arch'] for r in good} == {'test_resnet', 'mobilenetv3_small_050/random'} and len(good) == 4
    assert all('does not take images of image_size 32' in r['error'] for r in bad) and len(bad) == 2
    for r in good:
        assert (
            abs(r['train_accuracy'] - r['validation_accuracy'] - r['gap']) < 1e-6
            and r['parameters'] > 1e5
            and r['seconds'] > 0
            and 0 < r['epochs'] <= 3
            and r['memory'] > 100
        )
    assert made['best']['validation_accuracy'] == max(r['validation_accuracy'] for r in good)
    assert as_json('evaluate', '--project', project.path)['run'] == made['best']['run'], (
        'the winner is what is judged next'
    )
    with open(made['tables']['csv']) as f:
        assert len(list(csv.DictReader(f))) == 6
    assert load_workbook(made['tables']['xlsx']).active.max_row == 7
    page = Path(made['tables']['html']).read_text()
    assert page.count('<tr') == 7 and 'data:image/png' in page and "default-src 'none'" in page
    force = as_json('sweep', '--project', project.path, '--archs', f'{ARCHS},alexnet/random', '--grid', 'lr=1e-3,1e-5')
    assert [r for r in force['rows'] if not r['error']] == good
    assert len([*project.models.glob('0*')]) == 4
    said = birdsort('sweep', '--project', project.path, '--archs', 'test_resnet', '--grid', 'lr=1e-3,1e-5').stdout
    assert 'lr=1e-05' in said or '1e-05' in said, said


def test_an_architecture_whose_weights_cannot_be_had_is_a_row(project):
    made = as_json(
        'sweep',
        '--project',
        project.path,
        '--archs',
        'test_resnet',
        '--grid',
        'pretrained=true,false',
        env={'HF_HUB_OFFLINE': '1', 'TORCH_HOME': str(project.path)},
    )
    assert made['rows'][0]['error'] and made['rows'][0]['run'] is None
    assert made['rows'][1]['error'] is None and made['best']['run'] == made['rows'][1]['run']


def test_killed_after_the_first_it_goes_on_with_the_second(project):
    command = [*CLI, 'sweep', '--project', str(project.path), '--archs', ARCHS, '--json']
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=ENV)
    while not (done := [*project.models.glob('0*/sweep.json')]):
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL), process.wait()
    before = (done[0].parent / 'run.json').stat().st_mtime_ns
    time.sleep(2)  # Whoever trained for it has noticed
    made = as_json('sweep', '--project', project.path, '--archs', ARCHS)
    assert [r['arch'] for r in made['rows']] == ARCHS.split(',') and not any(r['error'] for r in made['rows'])
    assert (
        sorted(d.name[:3] for d in project.models.glob('0*')) == ['001', '002']
        and made['rows'][0]['run'] == done[0].parent.name
    )
    assert (done[0].parent / 'run.json').stat().st_mtime_ns == before


def test_a_local_ray_gives_the_same_table(project, tmp_path):
    by_turns = as_json('sweep', '--project', project.path, '--archs', ARCHS)
    other = lesson_project(20, tmp_path / 'other', image_size=32, epochs=(1, 1))
    split(other, quiet=True)
    by_ray = as_json(
        'sweep', '--project', other.path, '--archs', ARCHS, '--ray', 'local', env={'OMP_NUM_THREADS': '1'}, timeout=600
    )
    what = ('arch', 'train_accuracy', 'validation_accuracy', 'gap', 'parameters', 'epochs', 'early_stop', 'error')
    assert [{k: r[k] for k in what} for r in by_ray['rows']] == [{k: r[k] for k in what} for r in by_turns['rows']]
    for a, b in zip(by_ray['rows'], by_turns['rows'], strict=False):
        assert abs(a['loss'] - b['loss']) < 0.01  # One may have measured another precision to be faster
    assert by_ray['best']['arch'] == by_turns['best']['arch'] and not (other.path / '.cache' / 'ray').exists()
    poor = as_json(
        'sweep',
        '--project',
        other.path,
        '--archs',
        'test_resnet',
        '--grid',
        'lr=1e-2,1e-7',
        '--epochs',
        '1,3',
        '--ray',
        'local',
        '--asha',
        env={'OMP_NUM_THREADS': '1'},
        timeout=600,
    )
    assert len(poor['rows']) == 2 and all(r['run'] or 'stopped early after' in r['error'] for r in poor['rows'])


def test_wrong_words_get_one_line(project):
    p = ['sweep', '--project', project.path]
    one_line(birdsort(*p, '--archs', 'resnet81'), "unknown architecture 'resnet81'", 'resnet18')
    one_line(birdsort(*p, '--archs', 'mobilenot*'), "'mobilenot*'")
    one_line(birdsort(*p, '--archs', 'resnet18,resnet18'), 'two architectures of one name, resnet18')
    one_line(birdsort(*p, '--archs', 'resnet18', '--grid', '1e-3'), 'lr=1e-3,1e-4')
    one_line(birdsort(*p, '--archs', 'resnet18', '--grid', 'lrr=1e-3'), "'lrr'", "'lr'")
    one_line(birdsort(*p, '--archs', 'resnet18', '--asha'), '--ray')
    one_line(birdsort(*p, '--archs', 'resnet18', '--sample', '0'), 'sample = 0')
    one_line(birdsort(*p, '--archs', 'resnet18,resnet18/random', '--no-pretrained'), 'one and the same training')
    assert not [*project.models.glob('*')] if project.models.is_dir() else True
