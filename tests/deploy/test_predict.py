"Predicting from the command line: whatever is named, sorted, and at once."

import csv
import io
import shutil
import socket
import subprocess
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image
from selenium.webdriver.common.by import By

from birdsort.aviary.sample_project import lesson_project
from birdsort.export import export
from birdsort.predict import Predictor
from birdsort.sources.browser import browser
from birdsort.split import split
from birdsort.train import train
from conftest import CLI, ENV, as_json, birdsort, files, one_line, until
from helpers.runs import add_fixed_run


@pytest.fixture(scope='module')
def project(tmp_path_factory):
    project = lesson_project(20, tmp_path_factory.mktemp('predict') / 'birds', epochs=(6, 2))
    split(project), train(project, quiet=True), export(project, formats=('onnx', 'safetensors'), quiet=True)
    return project


@pytest.fixture
def pile(project, tmp_path):
    "Test images in one folder, some of one name, and one that is none."
    for label in project.settings.labels:
        for i, f in enumerate(sorted((project.split / 'test' / label).iterdir())):
            (folder := tmp_path / 'pile' / ('deep' if i else '')).mkdir(parents=True, exist_ok=True)
            shutil.copy(f, folder / f'{label}-{i}.jpg')
    (tmp_path / 'pile' / 'garza-0.png').write_text('<html>not found</html>')
    return tmp_path / 'pile'


@pytest.fixture
def site(pile):
    "The pile, served on loopback -> its address."

    class Quiet(SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(pile))

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(('127.0.0.1', 0), Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'127.0.0.1:{server.server_port}'
    server.shutdown(), server.server_close()


def test_files_folders_patterns_and_a_bad_one(project, pile):
    p = ['--project', project.path]
    rows = as_json('predict', pile, *p)['predictions']
    assert len(rows) == 10 and [r['error'] for r in rows if r['label'] is None] == ['not an image']
    assert all(
        list(r['best'].values()) == sorted(r['best'].values(), reverse=True) and next(iter(r['best'])) == r['label']
        for r in rows
        if r['label']
    )
    some = as_json('predict', f'{pile}/deep/*.jpg', pile / 'garza-0.jpg', *p)['predictions']
    assert (
        len(some) == 7
        and {r['file']: r['label'] for r in some}.items() <= {r['file']: r['label'] for r in rows}.items()
    )
    assert {r['label'] for r in as_json('predict', pile, '--threshold', '1.01', *p)['predictions']} == {
        'none of these',
        None,
    }
    table = birdsort('predict', pile, *p).stdout
    assert '(not an image)' in table and len(table.splitlines()) == 11
    rows = list(csv.DictReader(io.StringIO(birdsort('predict', pile, '--csv', *p).stdout)))
    assert (
        len(rows) == 10
        and list(rows[0]) == ['file', 'label', 'probability', 'error']
        and sum(r['error'] == 'not an image' for r in rows) == 1
    )
    for bad, words in (
        ((pile / '*.gif',), ['matches nothing']),
        ((pile, '--engine', 'jax'), ["'jax'", 'onnx']),
        ((pile, '--engine', 'pickle'), ['learner.pkl']),
        ((pile, '--model', pile), ['no model in']),
        ((pile, '--threshold', 'often'), ["'often'"]),
    ):
        one_line(birdsort('predict', *bad, *p), *words)


def test_standard_input(project, pile):
    def ask(data):
        return subprocess.run(
            [*CLI, 'predict', '-', '--csv', '--project', str(project.path)], input=data, capture_output=True, env=ENV
        )

    one = ask((pile / 'garza-0.jpg').read_bytes())
    assert one.stdout.decode().splitlines()[1].startswith('-,'), one.stderr
    two = ask(f"{pile / 'garza-0.jpg'}\n{pile / 'garza-0.png'}\n".encode()).stdout.decode().splitlines()
    assert two[1].split(',')[1:3] == one.stdout.decode().splitlines()[1].split(',')[1:3] and two[2].endswith(
        'not an image'
    )
    assert b'holiday,,,no such file' in ask(b'holiday\n').stdout  # In a list, one that is gone stops nobody
    assert b'nothing came on standard input' in ask(b'\n').stderr


def test_addresses_by_the_downloaders_rules(project, pile, site):
    p, good, bad = ['--project', project.path], f'http://{site}/garza-0.jpg', f'http://{site}/nothing.jpg'
    (refused,) = as_json('predict', good, *p)['predictions']
    assert refused['error'] == 'private address'
    here, gone, file = as_json('predict', good, bad, pile / 'garza-0.jpg', '--allow', site, *p)['predictions']
    assert (here['label'], here['probability']) == (file['label'], file['probability']) and gone['error'] == 'http 404'
    one_line(birdsort('predict', good, '--sort-into', pile / 'sorted', *p), 'download it first')


def test_sorting_moves_and_overwrites_nothing(project, pile):
    p, before = ['--project', project.path], files(pile)
    (sorted_ := pile / 'sorted' / 'garza').mkdir(parents=True)
    (sorted_ / 'garza-0.jpg').write_bytes(b'somebody else was here')
    said = as_json('predict', pile, '--sort-into', pile / 'sorted', *p)
    now = files(pile)
    assert {k: v for k, v in now.items() if not k.startswith('sorted/')} == before and now[
        'sorted/garza/garza-0.jpg'
    ] == b'somebody else was here'
    assert sum(said['sorted'].values()) == 9 and len([k for k in now if k.startswith('sorted/')]) == 10
    for r in said['predictions']:
        if r['label']:
            assert Path(r['file']).read_bytes() in [f.read_bytes() for f in (pile / 'sorted' / r['label']).iterdir()]
    assert (
        as_json('predict', pile, '--sort-into', pile / 'sorted', *p)['sorted'] == said['sorted'] and files(pile) == now
    )  # Its own copies are not sorted again
    doubt = as_json('predict', pile, '--sort-into', pile / 'doubt', '--threshold', '1.01', *p)
    assert doubt['sorted']['none_of_these'] >= 9 and set(doubt['sorted']) == {'none_of_these'}
    assert 'not sorted' in birdsort('predict', pile / 'garza-0.png', '--sort-into', pile / 'doubt', *p).stdout


def test_a_command_does_not_wait_for_torch(project, pile):
    code = """
import sys
from birdsort.cli import main
c = main(sys.argv[1:])
print(c, {'torch', 'fastai', 'pandas', 'matplotlib', 'aiohttp', 'PIL', 'onnxruntime'} & {*sys.modules})"""
    done = subprocess.run(
        [sys.executable, '-c', code, 'predict', str(pile / 'garza-0.jpg'), '--project', str(project.path)],
        capture_output=True,
        text=True,
        env=ENV,
    )
    assert done.stdout.splitlines()[-1] in ("0 {'PIL', 'onnxruntime'}", "0 {'onnxruntime', 'PIL'}"), done
    code = f"import sys; sys.modules['onnxruntime'] = None; {code}"  # Where ONNX Runtime is not installed
    done = subprocess.run(
        [
            sys.executable,
            '-c',
            code,
            'predict',
            str(pile / 'garza-0.jpg'),
            '--project',
            str(project.path),
            '--engine',
            'torch',
        ],
        capture_output=True,
        text=True,
        env=ENV,
    )
    assert done.stdout.splitlines()[-1].startswith('0 '), done.stderr


def test_large_photos_are_decoded_small_and_answered_alike(birds, tmp_path):
    "Asked of fixed weights: how alike the answers are must not depend on what a machine has learned."
    split(birds, quiet=True)
    export(add_fixed_run(birds), formats=('safetensors',), quiet=True)
    small = next((birds.split / 'test' / 'garza').iterdir())
    Image.open(small).resize((3000, 2250), Image.Resampling.BICUBIC).save(tmp_path / 'large.jpg', quality=95)
    predictor = Predictor(birds)
    large, whole = predictor(tmp_path / 'large.jpg'), predictor(Image.open(tmp_path / 'large.jpg'))
    assert large['label'] == whole['label'] and large['probability'] == pytest.approx(whole['probability'], abs=0.01)


def test_a_image_dropped_under_voila(project, tmp_path):
    import nbformat

    cells = [f"from birdsort.predict import Predictor\npredictor = Predictor({str(project.path)!r})", 'predictor']
    nbformat.write(
        nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(c) for c in cells],
            metadata=dict(kernelspec=dict(name='python3', display_name='python3', language='python')),
        ),
        tmp_path / 'app.ipynb',
    )
    shown = sorted((project.split / 'test' / 'garza').iterdir())[:2]
    said = [a['label'] for a in Predictor(project)(shown)]
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    app = subprocess.Popen(
        [Path(sys.executable).parent / 'voila', 'app.ipynb', '--no-browser', f'--port={port}', '--Voila.ip=127.0.0.1'],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        env=ENV,
    )
    try:
        next(l for l in app.stderr if f':{port}' in l)
        threading.Thread(target=app.stderr.read, daemon=True).start()
        with browser() as driver:
            driver.get(f'http://127.0.0.1:{port}/')
            button = until(lambda: driver.find_elements(By.CSS_SELECTOR, 'button.jupyter-widgets'), 120)[0]
            driver.execute_script(
                "HTMLInputElement.prototype.click = function() { document.body.append(this) }"
            )  # Where a person would see a dialog
            button.click()
            driver.find_element(By.CSS_SELECTOR, 'input[type=file]').send_keys('\n'.join(map(str, shown)))
            images = until(lambda: driver.find_elements(By.CSS_SELECTOR, '.jupyter-widgets img'))
            assert [i.get_attribute('alt') for i in images] == [f.name for f in shown]
            text = driver.find_element(By.TAG_NAME, 'body').text
            assert all(label in text for label in said) and '%' in text and 'import' not in text
    finally:
        app.terminate()
        app.wait(30)
