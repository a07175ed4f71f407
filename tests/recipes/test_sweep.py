"Many architectures, one table: nothing is trained twice, a failure is a row, and a cluster gives the same table."

import csv
import shutil
import time
from pathlib import Path

import pytest
from openpyxl import load_workbook

from birdsort.aviary.sample_project import lesson_project
from birdsort.core.project import Project
from birdsort.split import split
from conftest import as_json, birdsort, one_line, started

ARCHS = 'test_resnet,mobilenetv3_small_050/random'


@pytest.fixture(scope='module')
def untrained(tmp_path_factory):
    "A project that is split; each test has a copy."
    p = lesson_project(
        20, tmp_path_factory.mktemp('untrained') / 'birds', image_size=32, epochs=(1, 1)
    )
    split(p, quiet=True)
    return p


@pytest.fixture
def project(untrained, tmp_path):
    return Project(shutil.copytree(untrained.path, tmp_path / 'birds'))


def check_row(row):
    "The row of a training that succeeded."
    assert abs(row['train_accuracy'] - row['validation_accuracy'] - row['gap']) < 1e-6
    assert row['parameters'] > 1e5
    assert row['seconds'] > 0
    assert 0 < row['epochs'] <= 3
    assert row['memory'] > 100


def check_tables(tables, rows):
    "The same table in three formats."
    with open(tables['csv']) as f:
        assert len(list(csv.DictReader(f))) == rows
    assert load_workbook(tables['xlsx']).active.max_row == rows + 1
    page = Path(tables['html']).read_text()
    assert page.count('<tr') == rows + 1
    assert 'data:image/png' in page
    assert "default-src 'none'" in page


def test_a_table_with_a_row_for_the_architecture_that_fails(project):
    at = '--project', project.path
    command = 'sweep', *at, '--archs', f'{ARCHS},alexnet/random', '--grid', 'lr=1e-3,1e-5'
    made = as_json(*command)
    archs = *ARCHS.split(','), 'alexnet/random'
    expected = [(arch, lr) for arch in archs for lr in (0.001, 0.00001)]
    assert [(row['arch'], row['lr']) for row in made['rows']] == expected
    good = [row for row in made['rows'] if not row['error']]
    bad = [row for row in made['rows'] if row['error']]
    assert {row['arch'] for row in good} == set(archs[:2])
    assert len(good) == 4
    assert len(bad) == 2
    assert all('does not take images of image_size 32' in row['error'] for row in bad)
    for row in good:
        check_row(row)
    assert made['best']['validation_accuracy'] == max(row['validation_accuracy'] for row in good)
    judged = as_json('evaluate', *at)['run']
    assert judged == made['best']['run'], 'the winner is what is evaluated next'
    check_tables(made['tables'], 6)

    again = as_json(*command)
    assert [row for row in again['rows'] if not row['error']] == good
    assert len([*project.models.glob('0*')]) == 4
    printed = birdsort('sweep', *at, '--archs', 'test_resnet', '--grid', 'lr=1e-3,1e-5').stdout
    assert '1e-05' in printed, printed


def test_an_architecture_whose_weights_cannot_be_downloaded_is_a_row(project):
    command = [
        'sweep',
        '--project',
        project.path,
        '--archs',
        'test_resnet',
        '--grid',
        'pretrained=true,false',
    ]
    made = as_json(*command)
    without, random = made['rows']
    assert without['error']
    assert without['run'] is None
    assert random['error'] is None
    assert made['best']['run'] == random['run']


def wait_for_file(process, folder, pattern):
    "The file that a process writes."
    while not (found := [*folder.glob(pattern)]):
        assert process.is_alive()
        time.sleep(0.1)
    return found[0]


@pytest.fixture(scope='module')
def killed(untrained, tmp_path_factory):
    "A project whose sweep was killed after the first architecture, its run, and when that was written."
    home = tmp_path_factory.mktemp('killed')
    project = Project(shutil.copytree(untrained.path, home / 'birds'))
    process = started(
        ['sweep', '--project', project.path, '--archs', ARCHS], [home / 'out', home / 'err']
    )
    row = wait_for_file(process, project.models, '0*/sweep.json')
    process.kill()
    process.join()
    first = row.parent
    before = (first / 'run.json').stat().st_mtime_ns
    time.sleep(2)  # Its worker has noticed
    return project, first, before


@pytest.fixture(scope='module')
def resumed(killed):
    "What the same sweep gives when it is asked for again."
    return as_json('sweep', '--project', killed[0].path, '--archs', ARCHS)


def test_killed_after_the_first_it_resumes_with_the_second(killed, resumed):
    (project, first, before), made = killed, resumed
    assert [row['arch'] for row in made['rows']] == ARCHS.split(',')
    assert not any(row['error'] for row in made['rows'])
    assert sorted(d.name[:3] for d in project.models.glob('0*')) == ['001', '002']
    assert made['rows'][0]['run'] == first.name
    assert (first / 'run.json').stat().st_mtime_ns == before


def test_a_local_ray_gives_the_same_table(killed, resumed, tmp_path):
    "The architecture that has been trained is left alone; a cluster trains the other."
    project = Project(shutil.copytree(killed[0].path, tmp_path / 'birds'))
    shutil.rmtree(project.models / resumed['rows'][1]['run'])
    by_ray = as_json(
        'sweep',
        '--project',
        project.path,
        '--archs',
        ARCHS,
        '--ray',
        'local',
        '--asha',
        timeout=600,
    )
    columns = [
        'arch',
        'train_accuracy',
        'validation_accuracy',
        'gap',
        'parameters',
        'epochs',
        'early_stop',
        'error',
    ]
    done = [row['arch'] for row in by_ray['rows'] if row['run']]
    assert by_ray['rows'][0] == resumed['rows'][0]
    for a, b in zip(by_ray['rows'], resumed['rows'], strict=True):
        if a['arch'] not in done:
            assert 'stopped early after' in a['error']
            continue
        assert {name: a[name] for name in columns} == {name: b[name] for name in columns}
        assert (
            abs(a['loss'] - b['loss']) < 0.01
        )  # One may have measured another precision to be faster
    assert by_ray['best']['arch'] in done
    assert not (project.path / '.cache' / 'ray').exists()


def test_a_wrong_option_is_answered_in_one_line(project):
    def answered(archs, *options, words):
        one_line(birdsort('sweep', '--project', project.path, '--archs', archs, *options), *words)

    answered('resnet81', words=["unknown architecture 'resnet81'", 'resnet18'])
    answered('mobilenot*', words=["'mobilenot*'"])
    answered('resnet18,resnet18', words=['two architectures of one name, resnet18'])
    answered('resnet18', '--grid', '1e-3', words=['lr=1e-3,1e-4'])
    answered('resnet18', '--grid', 'lrr=1e-3', words=["'lrr'", "'lr'"])
    answered('resnet18', '--asha', words=['--ray'])
    answered('resnet18', '--sample', '0', words=['sample = 0'])
    answered('resnet18,resnet18/random', '--no-pretrained', words=['one and the same training'])
    assert not list(project.models.glob('*'))
