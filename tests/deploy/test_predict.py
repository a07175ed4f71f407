"The command `birdsort predict`: inputs of all kinds, sorting, and a fast start."

import csv
import io
import json
import shutil
import socket
import subprocess
import sys
import threading
from base64 import b64encode
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from selenium.webdriver.common.by import By

from birdsort.core.project import Project
from birdsort.export import export
from birdsort.predict import Predictor
from birdsort.sources.browser import browser
from conftest import CLI, ENV, as_json, birdsort, files, one_line, until
from helpers.runs import add_fixed_run

HTML = 'not an image: an HTML page'


@pytest.fixture(scope='module')
def project(exported_birds):
    return exported_birds


@pytest.fixture
def images(project, tmp_path):
    "A folder with the test images, some of them one level deeper, and a file that is not an image."
    folder = tmp_path / 'images'
    (folder / 'deep').mkdir(parents=True)
    for label in project.settings.labels:
        for i, f in enumerate(sorted((project.split / 'test' / label).iterdir())):
            shutil.copy(f, folder / ('deep' if i else '') / f'{label}-{i}.jpg')
    (folder / 'garza-0.png').write_text('<html>not found</html>')
    return folder


@pytest.fixture
def site(images):
    "The images, served on loopback -> host and port."

    class Quiet(SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(images))

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(('127.0.0.1', 0), Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'127.0.0.1:{server.server_port}'
    server.shutdown()
    server.server_close()


def test_files_folders_and_patterns(project, images):
    here = ['--project', project.path]
    rows = as_json('predict', images, *here)['predictions']
    assert len(rows) == 10
    assert [r['error'] for r in rows if r['label'] is None] == [HTML]
    for row in rows:
        probabilities = list(row['best'].values())
        assert probabilities == sorted(probabilities, reverse=True)
        assert row['label'] == next(iter(row['best']), None)
    labels = {r['file']: r['label'] for r in rows}
    some = as_json('predict', f'{images}/deep/*.jpg', images / 'garza-0.jpg', *here)['predictions']
    assert len(some) == 7
    assert [r['label'] for r in some] == [labels[r['file']] for r in some]
    doubtful = as_json('predict', images, '--threshold', '1.01', *here)['predictions']
    assert {r['label'] for r in doubtful} == {'none of these', None}


def test_the_result_as_a_table_and_as_csv(project, images):
    here = ['--project', project.path]
    table = birdsort('predict', images, *here).stdout
    assert f'({HTML})' in table
    assert len(table.splitlines()) == 11
    rows = list(csv.DictReader(io.StringIO(birdsort('predict', images, '--csv', *here).stdout)))
    assert len(rows) == 10
    assert list(rows[0]) == ['file', 'label', 'probability', 'error']
    assert [r['error'] for r in rows if r['error']] == [HTML]


@pytest.mark.parametrize(
    'options, words',
    [
        (['*.gif'], ['matches nothing']),
        (['.', '--engine', 'jax'], ["'jax'", 'onnx']),
        (['.', '--engine', 'pickle'], ['learner.pkl']),
        (['.', '--model', '.'], ['no model in']),
        (['.', '--threshold', 'often'], ["'often'"]),
    ],
)
def test_a_mistake_is_one_line(project, images, options, words):
    one_line(birdsort('predict', *options, '--project', project.path, cwd=images), *words)


def test_standard_input(project, images):
    def lines(data):
        command = [*CLI, 'predict', '-', '--csv', '--project', str(project.path)]
        done = subprocess.run(command, input=data, capture_output=True, env=ENV)
        return done.stdout.decode().splitlines(), done.stderr.decode()

    (_, one), _ = lines((images / 'garza-0.jpg').read_bytes())
    assert one.startswith("'-,")  # No cell of a table is a formula
    (_, first, second), _ = lines(f"{images / 'garza-0.jpg'}\n{images / 'garza-0.png'}\n".encode())
    assert first.split(',')[1:3] == one.split(',')[1:3]
    assert second.endswith(HTML)
    (_, missing), _ = lines(b'holiday\n')
    assert missing == 'holiday,,,no such file'  # A missing file in a list does not stop the others
    _, error = lines(b'\n')
    assert 'nothing came on standard input' in error


def test_addresses_follow_the_rules_of_the_downloader(project, images, site):
    here, good, missing = (
        ['--project', project.path],
        f'http://{site}/garza-0.jpg',
        f'http://{site}/nothing.jpg',
    )
    alone = birdsort('predict', good, *here, '--json')
    (refused,) = json.loads(alone.stdout)['result']['predictions']
    assert refused['error'] == 'private address' and alone.returncode == 1
    done = as_json('predict', good, missing, images / 'garza-0.jpg', '--allow', site, *here)
    fetched, failed, file = done['predictions']
    assert (fetched['label'], fetched['probability']) == (file['label'], file['probability'])
    assert failed['error'] == 'http 404'
    one_line(
        birdsort('predict', good, '--sort-into', images / 'sorted', *here),
        'download it first',
        code=2,
    )


def test_sorting_moves_and_overwrites_nothing(project, images):
    here, before = ['--project', project.path], files(images)
    taken = images / 'sorted' / 'garza' / 'garza-0.jpg'
    taken.parent.mkdir(parents=True)
    taken.write_bytes(b'another file')
    result = as_json('predict', images, '--sort-into', images / 'sorted', *here)
    after = files(images)
    assert {k: v for k, v in after.items() if not k.startswith('sorted/')} == before
    assert taken.read_bytes() == b'another file'
    assert sum(result['sorted'].values()) == 9
    assert len([k for k in after if k.startswith('sorted/')]) == 10
    for row in result['predictions']:
        if row['label']:
            copies = [f.read_bytes() for f in (images / 'sorted' / row['label']).iterdir()]
            assert Path(row['file']).read_bytes() in copies
    again = as_json('predict', images, '--sort-into', images / 'sorted', *here)
    assert again['sorted'] == result['sorted']
    assert files(images) == after  # Its own copies are not sorted again


def test_sorting_images_below_the_threshold(project, images):
    here, folder = ['--project', project.path], images / 'doubtful'
    result = as_json('predict', images, '--sort-into', folder, '--threshold', '1.01', *here)
    assert result['sorted'] == {'none_of_these': 9}
    assert (
        'not sorted'
        in birdsort('predict', images / 'garza-0.png', '--sort-into', folder, *here).stdout
    )


LOADED = """
import sys
from birdsort.cli import main
c = main(sys.argv[1:])
print(c, *sorted({'torch', 'fastai', 'pandas', 'matplotlib', 'aiohttp', 'PIL', 'onnxruntime'} & {*sys.modules}))"""


def test_predicting_does_not_load_torch(project, images):
    def loaded(code, *options):
        command = ['predict', str(images / 'garza-0.jpg'), '--project', str(project.path), *options]
        return subprocess.run(
            [sys.executable, '-c', code, *command], capture_output=True, text=True, env=ENV
        )

    done = loaded(LOADED)
    assert done.stdout.splitlines()[-1] == '0 PIL onnxruntime', done
    without_onnxruntime = f"import sys; sys.modules['onnxruntime'] = None; {LOADED}"
    done = loaded(without_onnxruntime, '--engine', 'torch')
    assert done.stdout.splitlines()[-1].startswith('0 '), done.stderr


def test_a_large_photo_gets_the_same_prediction_decoded_small(split_birds, tmp_path):
    "With fixed weights, since the difference must not depend on what a machine has learned."
    export(add_fixed_run(split_birds), formats=('safetensors',), quiet=True)
    small, file = next((split_birds.split / 'test' / 'garza').iterdir()), tmp_path / 'large.jpg'
    Image.open(small).resize((3000, 2250), Image.Resampling.BICUBIC).save(file, quality=95)
    predictor = Predictor(split_birds)
    reduced, whole = predictor(file), predictor(Image.open(file))
    assert reduced['label'] == whole['label']
    assert reduced['probability'] == pytest.approx(whole['probability'], abs=0.01)


@contextmanager
def voila(notebook):
    "A notebook served by Voilà -> its address."
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    program = Path(sys.executable).parent / 'voila'
    app = subprocess.Popen(
        [program, notebook.name, '--no-browser', f'--port={port}', '--Voila.ip=127.0.0.1'],
        cwd=notebook.parent,
        stderr=subprocess.PIPE,
        text=True,
        env=ENV,
    )
    try:
        next(line for line in app.stderr if f':{port}' in line)
        threading.Thread(target=app.stderr.read, daemon=True).start()
        yield f'http://127.0.0.1:{port}/'
    finally:
        app.terminate()
        app.wait(30)


def test_images_are_dropped_and_chosen_under_voila(project, tmp_path):
    import nbformat

    cells = [
        f'from birdsort.predict import Predictor\npredictor = Predictor({str(project.path)!r})',
        'predictor',
    ]
    kernel = dict(name='python3', display_name='python3', language='python')
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(c) for c in cells], metadata=dict(kernelspec=kernel)
    )
    nbformat.write(notebook, tmp_path / 'app.ipynb')
    uploads = sorted((project.split / 'test' / 'garza').iterdir())[:2]
    labels = [row['label'] for row in Predictor(project)(uploads)]
    with voila(tmp_path / 'app.ipynb') as address, browser() as driver:
        driver.get(address)
        zone = until(lambda: driver.find_elements(By.CSS_SELECTOR, '.birdsort-drop'), 120)[0]
        assert zone.text == 'Drop images here, or choose them'
        zone.find_element(By.TAG_NAME, 'input').send_keys(str(uploads[0]))
        drop = """
            const [zone, name, text] = arguments, dropped = new DataTransfer()
            const bytes = Uint8Array.from(atob(text), letter => letter.charCodeAt(0))
            dropped.items.add(new File([bytes], name))
            zone.dispatchEvent(new DragEvent('drop', {dataTransfer: dropped, bubbles: true, cancelable: true}))"""
        driver.execute_script(
            drop, zone, uploads[1].name, b64encode(uploads[1].read_bytes()).decode()
        )
        images = '.jupyter-widgets img'
        until(lambda: len(driver.find_elements(By.CSS_SELECTOR, images)) == 2)
        shown = driver.find_elements(By.CSS_SELECTOR, images)
        assert {img.get_attribute('alt') for img in shown} == {f.name for f in uploads}
        text = driver.find_element(By.TAG_NAME, 'body').text
        assert all(label in text for label in labels)
        assert '%' in text
        assert 'import' not in text


def test_a_pickle_predicts_from_every_form(project, tmp_path):
    "fastai decodes later than the others, when the image that was read is closed."
    copy = Project(shutil.copytree(project.path, tmp_path / 'birds'))
    export(copy, formats=('pickle', 'safetensors'), quiet=True)
    file = next(copy.images.glob('*/*.jpg'))
    im = Image.open(file)
    expected = Predictor(copy, 'torch')(file)['label']
    pickled = Predictor(copy, 'pickle', trust_pickle=True)
    assert expected
    for form in (file, str(file), file.read_bytes(), im, np.asarray(im)):
        assert pickled(form)['label'] == expected
