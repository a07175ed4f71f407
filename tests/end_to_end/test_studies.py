"The studies: data of their shape by path, one clear line for another shape, the table at the end, and resuming."

import csv
import json
import os
import signal

import nbformat
import pytest

from birdsort.aviary.forgeries import draw_road
from birdsort.aviary.pencil import draw_bird
from conftest import ROOT, as_json, birdsort, one_line, started, until

STUDIES = ['birds', 'edited_scenes', 'faces', 'scenes', 'sports']
COLUMNS = {'name', 'published', 'reproduced', 'improved', 'intervals'}


def drawn(folder, labels, n, draw=draw_bird):
    "A folder per label with n drawn images each."
    for k, label in enumerate(labels):
        (folder / label).mkdir(parents=True)
        for i in range(n):
            draw(label, i * len(labels) + k).save(folder / label / f'{i}.png')
    return folder


def label_folders(folder):
    return drawn(folder, ['owl', 'parrot', 'cockatoo'], 10)


def table_of_scenes(folder):
    "Thirty labelled photos with a CSV table, and six without a label."
    for name in ('photos', 'to_judge'):
        (folder / name).mkdir(parents=True)
    for i in range(36):
        draw_road(i, i % 2 > 0).image.save(
            folder / ('to_judge' if i >= 30 else 'photos') / f'scene_{i}.png'
        )
    rows = [(f'scene_{i}', 'editada' if i % 2 else 'real', 240) for i in range(30)]
    with open(folder / 'clases.csv', 'w', newline='') as f:
        csv.writer(f).writerows([('nombre', 'tipo', 'ancho'), *rows])
    return folder


def test_they_are_listed_each_with_its_question():
    found = as_json('study')['studies']
    assert sorted(found) == STUDIES
    assert all(len(question) > 20 for question in found.values())
    assert 'edited_scenes' in birdsort('study').stdout


def test_a_table_of_data_and_images_to_judge(tmp_path):
    home, data = tmp_path / 'study', table_of_scenes(tmp_path / 'data')
    made = as_json('study', 'edited_scenes', '--data', data, '--project', home, timeout=600)
    check_study(made, 'B0, dropout 0.3, 512 pixels', data)
    check_submission(home / 'reports' / 'submission.csv')


def check_study(made, row, data):
    "Its table has a row of that name with sound numbers, and its notebook ran to the end on this data."
    assert all(set(r) == COLUMNS for r in made['table'])
    mine = next(r for r in made['table'] if r['name'] == row)
    low, high = mine['intervals']['reproduced']
    assert 0 <= mine['published'] <= 1
    assert 0 <= low <= mine['reproduced'] <= high <= 1
    nb = nbformat.read(made['notebook'], 4)
    assert str(data) in ''.join(c.source for c in nb.cells)
    outputs = [o for c in nb.cells if c.cell_type == 'code' for o in c.outputs]
    assert not [o for o in outputs if o.output_type == 'error']


def check_submission(file):
    with open(file) as f:
        handed_in = list(csv.DictReader(f))
    assert [r['file'] for r in handed_in] == [f'scene_{i}.png' for i in range(30, 36)]
    assert {r['label'] for r in handed_in} <= {'0', '1'}


def test_another_shape_is_one_line(tmp_path):
    two = drawn(tmp_path / 'two', ['owl', 'parrot'], 2)
    (tmp_path / 'none').mkdir()
    found = 'found the folders owl, parrot'

    def study(name, *more, at='a'):
        return birdsort('study', name, *more, '--project', tmp_path / at)

    one_line(study('sports', '--data', two), 'train, valid (or val) and test', found)
    one_line(study('edited_scenes', '--data', two, at='b'), 'CSV file', found)
    one_line(
        study('faces', '--data', tmp_path / 'none', at='c'), 'a folder per label', 'nothing in it'
    )
    one_line(birdsort('study', 'faces', '--data', tmp_path / 'nowhere'), 'nowhere', '--data')
    one_line(birdsort('study', 'sport'), "unknown study 'sport'", 'sports')
    one_line(birdsort('study', 'birds', 'faces'), 'one study at a time')


def test_stopped_and_run_again_it_resumes(tmp_path):
    "On data of its shape, for which the whole notebook runs in the end."
    home, data = tmp_path / 'study', label_folders(tmp_path / 'data')
    command = ['study', 'birds', '--project', home, '--data', data]
    said = tmp_path / 'out', tmp_path / 'err'
    process = started([*command, '--json'], said)
    first, *_ = until(lambda: sorted(home.glob('models/0*/run.json')), seconds=300)
    os.killpg(process.pid, signal.SIGINT)
    process.join(60)
    out, err = (f.read_text() for f in said)
    assert (process.exitcode, out) == (130, '') and 'Traceback' not in err, err
    assert (home / 'notebooks' / 'birds.ipynb').is_file(), 'what was done is kept'
    before = first.stat().st_mtime_ns
    made = as_json(*command, timeout=600)
    check_study(made, 'stage one, frozen backbone', data)
    assert len(made['table']) == 2
    assert first.stat().st_mtime_ns == before
    signatures = [json.loads(f.read_text())['signature'] for f in home.glob('models/0*/run.json')]
    assert len(set(signatures)) == len(signatures), 'nothing was trained twice'


@pytest.mark.parametrize('name', STUDIES)
def test_what_is_committed_ends_with_its_table_and_shows_thumbnails_only(name):
    nb = nbformat.read(ROOT / 'nbs' / 'studies' / f'{name}.ipynb', 4)
    *_, last = (c for c in nb.cells if c.cell_type == 'code')
    assert 'study_table(' in last.source
    assert any('published' in str(o.get('data', {})) for o in last.outputs)
    end = nb.cells[-1]
    assert end.cell_type == 'markdown'
    wanted = "data = 'my/folder'", 'arch = ', 'full = True', f'birdsort study {name} '
    assert all(words in end.source for words in wanted)
