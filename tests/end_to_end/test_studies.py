"The studies: data of their shape by path, one clear line for another shape, the table at the end, and what is stopped goes on."
import csv
import json
import os
import signal
import subprocess
import time

import nbformat
import pytest
from conftest import CLI, ENV, ROOT, as_json, birdsort, one_line

from birdsort.aviary.forgeries import draw_face, draw_road
from birdsort.aviary.pencil import draw_bird

STUDIES = 'birds edited_scenes faces scenes sports'.split()


def drawn(folder, labels, n, draw=draw_bird):
    for k,label in enumerate(labels):
        (folder/label).mkdir(parents=True)
        for i in range(n): draw(label, i*len(labels)+k).save(folder/label/f'{i}.png')
    return folder


def table_of_scenes(folder):
    (folder/'photos').mkdir(parents=True), (folder/'to_judge').mkdir()
    for i in range(36): draw_road(i, i % 2 > 0).save(folder/('to_judge' if i >= 30 else 'photos')/f'scene_{i}.png')
    with open(folder/'clases.csv', 'w', newline='') as f: csv.writer(f).writerows([('nombre', 'tipo', 'ancho'), *((f'scene_{i}', 'editada' if i % 2 else 'real', 240) for i in range(30))])
    return folder


def test_they_are_listed_each_with_its_question():
    found = as_json('study')['studies']
    assert sorted(found) == STUDIES and all(len(q) > 20 for q in found.values())
    assert 'edited_scenes' in birdsort('study').stdout


@pytest.mark.parametrize('name,data,row', [
    ('edited_scenes', table_of_scenes, 'B0, dropout 0.3, 512 pixels'),
    ('faces', lambda d: drawn(d, ['anna', 'otto'], 14, lambda l, i: draw_face(i, l == 'otto')), 'two convolutions'),
    ('sports', lambda d: [drawn(d/side, ['owl', 'parrot', 'cockatoo'], 4) for side in ('train', 'valid', 'test')] and d, 'frozen')])
def test_any_data_of_that_shape(tmp_path, name, data, row):
    made = as_json('study', name, '--data', data(tmp_path/'data'), '--project', tmp_path/'study', timeout=600)
    assert {r['name'] for r in made['table']} >= {row} and all(set(r) == {'name', 'published', 'reproduced', 'improved', 'intervals'} for r in made['table'])
    mine = next(r for r in made['table'] if r['name'] == row)
    assert 0 <= mine['published'] <= 1 and 0 <= mine['reproduced'] <= 1 and mine['intervals']['reproduced'][0] <= mine['reproduced'] <= mine['intervals']['reproduced'][1]
    nb = nbformat.read(made['notebook'], 4)
    assert str(tmp_path/'data') in ''.join(c.source for c in nb.cells) and not [o for c in nb.cells if c.cell_type == 'code' for o in c.outputs if o.output_type == 'error']
    if name == 'edited_scenes':
        with open(tmp_path/'study'/'reports'/'submission.csv') as f: handed = list(csv.DictReader(f))
        assert [r['file'] for r in handed] == [f'scene_{i}.png' for i in range(30, 36)] and {r['label'] for r in handed} <= {'0', '1'}


def test_another_shape_is_one_line(tmp_path):
    two = drawn(tmp_path/'two', ['owl', 'parrot'], 2)
    one_line(birdsort('study', 'sports', '--data', two, '--project', tmp_path/'a'), 'train, valid (or val) and test', 'found the folders owl, parrot')
    one_line(birdsort('study', 'edited_scenes', '--data', two, '--project', tmp_path/'b'), 'CSV file', 'found the folders owl, parrot')
    (tmp_path/'none').mkdir()
    one_line(birdsort('study', 'faces', '--data', tmp_path/'none', '--project', tmp_path/'c'), 'a folder per label', 'nothing in it')
    one_line(birdsort('study', 'faces', '--data', tmp_path/'nowhere'), 'nowhere', '--data')
    one_line(birdsort('study', 'sport'), "unknown study 'sport'", 'sports')
    one_line(birdsort('study', 'birds', 'faces'), 'one study at a time')


def test_stopped_and_run_again_it_goes_on(tmp_path):
    where = tmp_path/'study'
    command = [*CLI, 'study', 'sports', '--project', str(where), '--json']
    process = subprocess.Popen(command, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    end = time.monotonic()+300
    while not list(where.glob('models/0*/run.json')) and time.monotonic() < end: time.sleep(.2)
    first = sorted(where.glob('models/0*'))
    os.killpg(process.pid, signal.SIGINT)
    said = process.communicate(timeout=60)
    assert process.returncode == 130 and not said[0] and 'Traceback' not in said[1], said
    assert first and (where/'notebooks'/'sports.ipynb').is_file(), 'what was done is kept'
    before = (first[0]/'run.json').stat().st_mtime_ns
    made = subprocess.run(command, env=ENV, capture_output=True, text=True, timeout=600)
    assert made.returncode == 0 and len(json.loads(made.stdout)['table']) == 2, made.stderr
    assert (first[0]/'run.json').stat().st_mtime_ns == before and len({json.loads(f.read_text())['signature'] for f in where.glob('models/0*/run.json')}) == len(list(where.glob('models/0*'))), 'nothing was trained twice'


@pytest.mark.parametrize('name', STUDIES)
def test_what_is_committed_ends_with_its_table_and_shows_thumbnails_only(name):
    nb = nbformat.read(ROOT/'nbs'/'studies'/f'{name}.ipynb', 4)
    code = [c for c in nb.cells if c.cell_type == 'code']
    assert 'study_table(' in code[-1].source and any('published' in str(o.get('data', {})) for o in code[-1].outputs)
    assert nb.cells[-1].cell_type == 'markdown' and all(w in nb.cells[-1].source for w in ("data = 'my/folder'", 'arch = ', 'full = True', f'birdsort study {name} '))
