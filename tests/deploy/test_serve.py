"The served page in a real browser, many clients at once, and requests that must be refused."

import os
import pickle
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import requests
from selenium.webdriver.common.by import By
from starlette.testclient import TestClient

from birdsort.predict import NONE, Predictor
from birdsort.serve import RequestQueue, _empty_app
from birdsort.sources.browser import browser
from conftest import CLI, ENV, birdsort, one_line
from helpers.birds import SPECIES, between, jpeg, tinted
from helpers.hostile import bomb


@pytest.fixture(scope='module')
def trained(exported_birds):
    return exported_birds


@contextmanager
def served(*args, temporary):
    "`birdsort serve` in a new process -> (its address, the process); stopped as by Ctrl-C."
    temporary.mkdir(exist_ok=True)
    log = temporary / 'log'
    process = subprocess.Popen(
        [*CLI, 'serve', *map(str, args)],
        stdout=subprocess.DEVNULL,
        stderr=log.open('w'),
        env=ENV | {'TMPDIR': str(temporary)},
    )
    try:
        while not (m := re.search(r'http://\S+:\d+', log.read_text())):
            assert process.poll() is None, log.read_text()
            time.sleep(0.05)
        yield m[0], process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(120)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    assert process.returncode == 0, log.read_text()
    assert 'birdsort/' not in log.read_text()
    assert not [*temporary.glob('birdsort-*'), *temporary.glob('gradio*')], 'files were left behind'


@pytest.fixture(scope='module')
def server(trained, tmp_path_factory):
    temporary = tmp_path_factory.mktemp('tmp')
    with served('--project', trained.path, '--threshold', 0, temporary=temporary) as (
        address,
        process,
    ):
        yield address, process


@pytest.fixture(scope='module')
def birds(trained):
    "A new bird of each label that the model labels correctly: [(label, JPEG)]."
    predictor, found = Predictor(trained), []
    for label in SPECIES:
        drawn = (jpeg(tinted(label, seed)) for seed in range(900, 960))
        data = next((data for data in drawn if predictor(data)['label'] == label), None)
        assert data, f'the model never predicts {label}'
        found.append((label, data))
    return found


class Page:
    "What a person does on the page, and what it shows."

    def __init__(self, driver, address, width):
        self.driver = driver
        driver.execute_cdp_cmd(
            'Emulation.setDeviceMetricsOverride',
            dict(width=width, height=800, deviceScaleFactor=1, mobile=width < 500),
        )
        driver.get_log('browser')
        driver.get(address)
        self.until(lambda: self.all('.bs-drop'))

    def all(self, css):
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def until(self, condition, seconds=300):  # The first Grad-CAM waits until PyTorch is loaded
        end = time.monotonic() + seconds
        while not (result := condition()):
            assert time.monotonic() < end, self.text()
            time.sleep(0.05)
        return result

    def text(self):
        return self.driver.find_element(By.TAG_NAME, 'body').text

    def cards(self, n):  # Texts of n cards, once their Grad-CAM is there
        self.until(lambda: len(self.all('.bs-card')) == n and not self.all('.bs-soon'))
        return self.texts('.bs-card')

    def texts(self, css):
        return self.driver.execute_script(
            'return [...document.querySelectorAll(arguments[0])].map(e => e.innerText)', css
        )

    def headings(self):
        return self.texts('.bs-card h3')

    def drop(self, *files):  # (name, bytes), as if a person dropped these files
        self.driver.execute_script(
            """const carried = new DataTransfer();
            for (const [name, data] of arguments[0]) carried.items.add(new File([new Uint8Array(data)], name));
            const how = {dataTransfer: carried, bubbles: true, cancelable: true}
            document.querySelector('.bs-drop').dispatchEvent(new DragEvent('drop', how))""",
            [[n, list(d)] for n, d in files],
        )

    def shot(self, name):  # To look at: BIRDSORT_SHOTS=folder
        if folder := os.environ.get('BIRDSORT_SHOTS'):
            self.driver.save_screenshot(f'{folder}/{name}.png')


@pytest.mark.parametrize('width', [1280, 375])
def test_photos_are_labelled_on_the_page(server, birds, tmp_path, width):
    files = []
    for label, data in birds:
        files.append(tmp_path / f'one {label}.jpg')
        files[-1].write_bytes(data)
    with browser() as driver:
        page = Page(driver, server[0], width)
        assert len(page.all('[data-sample]')) == 3
        label, data = birds[0]
        page.drop(('IMG_1.jpg', data))
        assert 'IMG_1.jpg' in page.cards(1)[0] and page.headings() == [label]
        assert len(page.all('.bs-bars li')) == 3 and len(page.all('.bs-pair img')) == 2
        page.shot(f'one_{width}')
        page.all('.bs-drop input')[0].send_keys('\n'.join(map(str, files)))
        page.cards(3)
        assert page.headings() == [l for l, _ in birds]
        page.shot(f'three_{width}')
        page.all('[data-sample]')[1].click()
        assert 'example of' in page.cards(1)[0]
        assert driver.execute_script('return document.documentElement.scrollWidth <= innerWidth'), (
            'the page is wider than the window'
        )
        loaded = driver.execute_script(
            "return performance.getEntriesByType('resource').map(e => e.name)"
        )
        assert len(loaded) > 10
        assert [address for address in loaded if not address.startswith((server[0], 'data:'))] == []
        assert driver.get_log('browser') == []
        page.all('button[role=tab]')[1].click()
        page.until(lambda: 'trained with birdsort' in page.text())
        page.shot(f'about_{width}')


def test_one_bad_photo_does_not_stop_the_others(server, birds):
    label, data = birds[1]
    name = '<img src=x onerror=alert(1)> ${1+1} {{x}}.jpg'
    with browser() as driver:
        page = Page(driver, server[0], 375)
        page.drop(('notes.txt', b'no image'), ('a.jpg', data), ('bomb.png', bomb()), (name, data))
        cards = page.cards(4)
        assert page.headings() == ['No prediction', label, 'No prediction', label]
        assert 'not an image' in cards[0]
        assert '/' not in cards[0]
        assert 'too many pixels' in cards[2]
        assert name in cards[3]
        page.shot('bad_375')
        page.drop(('first.jpg', birds[0][1]))
        page.drop(
            ('second.jpg', birds[2][1]), ('third.txt', b'no')
        )  # Replaces the first, also its late result
        page.until(
            lambda: page.headings() == [birds[2][0], 'No prediction'] and not page.all('.bs-soon')
        )
        time.sleep(1)
        assert page.headings() == [birds[2][0], 'No prediction']
        driver.execute_script(
            "const carried = new DataTransfer();"
            "carried.items.add(new File([new Uint8Array(50_000_000)], 'big.jpg'));"
            "const how = {dataTransfer: carried, bubbles: true, cancelable: true};"
            "document.querySelector('.bs-drop').dispatchEvent(new DragEvent('drop', how))"
        )
        assert 'big.jpg: larger than 20 MB' in page.cards(1)[0]


def doubtful(predictor):
    "An image that the model labels with a probability below 0.99: (the label, JPEG)."
    for share in range(101):
        data = jpeg(between('cacatua', 'garza', share / 100, 900))
        found = predictor(data)
        if found['probability'] < 0.99:
            return found['label'], data
    raise AssertionError('the model is never in doubt')


def test_below_the_threshold_it_is_none_of_these(trained, tmp_path):
    bare = tmp_path / 'bare'  # Without weights for PyTorch there is no Grad-CAM
    bare.mkdir()
    for name in ('model.onnx', 'config.json'):
        shutil.copy(trained.export / name, bare)
    with (
        served('--model', bare, '--threshold', 0.9999, temporary=tmp_path / 'tmp') as (address, _),
        browser() as driver,
    ):
        page = Page(driver, address, 1280)
        assert not page.all('[data-sample]'), 'an export has no examples'
        label, image = doubtful(Predictor(trained))
        page.drop(('a.jpg', image))
        (card,) = page.cards(1)
        assert page.headings() == [NONE]
        assert label in card
        assert 'Not sure enough' in card
        assert len(page.all('.bs-pair img')) == 1
        page.shot('doubt_1280')
        page.all('button[role=tab]')[1].click()
        page.until(lambda: 'without a card' in page.text())


def test_many_clients_at_once(server, birds):
    address, process = server

    def is_correct(i):
        label, data = birds[i % 3]
        answer = requests.post(
            f'{address}/predict', files={'photo': (f'{i}.jpg', data)}, timeout=60
        )
        return answer.status_code == 200 and answer.json()['predictions'][0]['label'] == label

    def memory():
        return psutil.Process(process.pid).memory_info().rss / 1e6

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(is_correct, range(40)))
        before, start = memory(), time.monotonic()
        assert all(pool.map(is_correct, range(200)))
    print(f'200 in {time.monotonic() - start:.1f} s, {before:.0f} MB before, {memory():.0f} after')
    assert memory() - before < 60
    health = requests.get(f'{address}/health', timeout=10).json()
    assert (health['status'], health['waiting'], health['run']) == ('ok', 0, '001_resnet18')
    assert sorted(health['labels']) == ['buitre', 'cacatua', 'garza']


def chunks(n):  # A body without a Content-Length
    yield b'--x\r\nContent-Disposition: form-data; name="a"; filename="a.jpg"\r\n\r\n'
    for _ in range(n):
        yield b'\0' * 1_000_000


@pytest.mark.parametrize('where', ['/predict', '/photo'])
def test_invalid_requests_are_refused(server, birds, where):
    address, process = server

    def post(**kw):
        answer = requests.post(address + where, timeout=30, **kw)
        return answer.status_code, answer.json()['error']

    before = psutil.Process(process.pid).memory_info().rss
    too_large = (413, 'larger than 20 MB')
    assert post(files={'a': ('a.jpg', b'\0' * 50_000_000)}) == too_large
    assert (
        post(data=chunks(50), headers={'Content-Type': 'multipart/form-data; boundary=x'})
        == too_large
    )
    assert psutil.Process(process.pid).memory_info().rss - before < 20e6
    status, why = post(files={'a': ('bomb.png', bomb())})
    assert status == 422
    assert 'too many pixels' in why
    status, why = post(files={'a': ('notes.txt', b'hello')})
    assert status == 415
    assert 'not an image' in why
    for name in ('../../etc/passwd', '..\\a.jpg', '/etc/passwd', '..'):
        status, why = post(files={'a': (name, birds[0][1])})
        assert status == 400
        assert 'a path in the file name' in why
    assert post(data={'a': 'b'})[0] == 400
    assert post(data=b'x', headers={'Content-Type': 'multipart/form-data'})[0] == 400
    error = requests.get(address + '/predict', timeout=10).json()['error']
    assert error == 'GET is not allowed for /predict: use POST'
    assert requests.get(address + '/health', timeout=10).json()['status'] == 'ok'


def test_good_images_among_bad_ones(server, birds):
    rows = requests.post(
        f'{server[0]}/predict',
        files=[
            ('a', ('a.jpg', birds[0][1])),
            ('b', ('b.txt', b'no')),
            ('c', ('c.jpg', birds[2][1])),
        ],
        timeout=30,
    ).json()['predictions']
    assert [(r['file'], r['label']) for r in rows] == [
        ('a.jpg', birds[0][0]),
        ('b.txt', None),
        ('c.jpg', birds[2][0]),
    ]
    assert rows[1]['error'] == 'not an image'
    assert list(rows[0]['best'])[0] == birds[0][0]


def test_a_request_too_many_is_told_to_come_again(birds, tmp_path):
    free, entered = threading.Event(), threading.Event()

    def slowly(data):
        entered.set()
        free.wait(60)
        return dict(label='stork', probability=1.0)

    queue = RequestQueue(slowly, tmp_path, max_waiting=1)
    with TestClient(_empty_app(queue, 10**6, ()), 'http://localhost') as client:

        def ask():
            return client.post('/predict', files={'a': birds[0][1]})

        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(ask)
            assert entered.wait(60)
            answer = ask()
            free.set()
            assert first.result().json()['predictions'][0]['label'] == 'stork'
        assert answer.status_code == 503 and int(answer.headers['retry-after']) > 0
        assert 'try again' in answer.json()['error']
        assert ask().status_code == 200


def test_hundreds_of_slow_clients_keep_no_person_waiting(server, birds):
    "They begin requests of which the rest never comes; the first of them are sent away."
    host, port = server[0].removeprefix('http://').split(':')
    half_a_body = (
        f'POST /predict HTTP/1.1\r\nHost: {host}:{port}\r\n'
        'Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 5000\r\n\r\n--x'
    ).encode()
    clients = []
    try:
        for said in [b'POST /predict HT'] * 300 + [half_a_body] * 150:
            clients.append(socket.create_connection((host, int(port))))
            clients[-1].sendall(said)
        label, photo = birds[0]
        answer = requests.post(f'{server[0]}/predict', files={'a': photo}, timeout=60)
        assert answer.json()['predictions'][0]['label'] == label
        for first in (clients[0], clients[300]):
            first.settimeout(60)
            assert first.recv(20)[:12] in (b'', b'HTTP/1.1 408')
    finally:
        for client in clients:
            client.close()


def raw(
    address, path, **headers
):  # A GET whose path is sent as it is -> (status, the whole answer)
    host, port = address.removeprefix('http://').split(':')
    with socket.create_connection((host, int(port)), timeout=10) as s:
        lines = [f'{k}: {v}' for k, v in (dict(Host=f'{host}:{port}') | headers).items()]
        request = '\r\n'.join([f'GET {path} HTTP/1.1', *lines, 'Connection: close', '', ''])
        s.sendall(request.encode())
        answer = b''.join(iter(lambda: s.recv(65536), b''))
    return int(answer.split()[1]), answer


def test_no_file_can_be_read(server, trained, tmp_path):
    address, _ = server
    secret = tmp_path / 'secret.txt'
    secret.write_text('the secret')
    for path in (
        f'/gradio_api/file={secret}',
        f'/file={secret}',
        f'/gradio_api/file/{secret}',
        '/gradio_api/file=/etc/passwd',
        '/gradio_api/file=https://127.0.0.1/',
        '/gradio_api/proxy=https://example.org/',
        f'/static/../../../../..{secret}',
        f'/assets/..%2f..%2f..%2f..%2f..{secret}',
        f'/assets/%2e%2e/%2e%2e{secret}',
        f'/static//{secret}',
        f'/gradio_api/deep_link?session_hash=../..{secret}',
        '/gradio_api/run/predict',
        '/gradio_api/info',
        '/monitoring',
        '/gradio_api/vibe-code',
        '/docs',
        '/openapi.json',
    ):
        status, answer = raw(address, path)
        assert status in (403, 404), path
        assert b'the secret' not in answer
        assert b'root:' not in answer
    for path in (
        'upload',
        'run/answers',
        'call/answers',
        'component_server',
        'process_recording',
        'vibe-edit',
    ):
        answer = requests.post(
            f'{address}/gradio_api/{path}', files={'files': ('a.txt', b'x')}, timeout=10
        )
        assert answer.status_code == 404
    file = dict(
        path=str(secret), name='a.jpg', photo=str(secret), meta={'_type': 'gradio.FileData'}
    )
    for sent in (
        dict(data=[[file]]),
        dict(data=[], event_data=dict(photos=[file])),
        dict(data=[], event_data=dict(photos=[dict(name='x', photo='../secret.txt')])),
        dict(data=[], event_data=7),
        dict(data=[], event_data=dict(photos=[dict(sample=99), 5, None])),
    ):
        event = dict(session_hash='s', fn_index=0, **sent)
        answer = requests.post(f'{address}/gradio_api/queue/join', json=event, timeout=10)
        if answer.ok:
            answer = requests.get(f'{address}/gradio_api/queue/data?session_hash=s', timeout=30)
        assert 'the secret' not in answer.text
        assert 'Traceback' not in answer.text
    assert secret.is_file()


def test_pages_of_other_sites_are_refused(server, birds):
    address, _ = server
    port = address.rpartition(':')[2]
    assert raw(address, '/', Host=f'elsewhere.example:{port}')[0] == 421
    assert raw(address, '/', Host='')[0] == 421
    assert (
        raw(address, '/', Host=f'localhost:{port}')[0]
        == raw(address, '/health', Host=f'LOCALHOST:{port}')[0]
        == 200
    )
    for origin in ('https://elsewhere.example', 'null', f'http://localhost:{port}'):
        answer = requests.post(
            f'{address}/predict', files={'a': birds[0][1]}, headers={'Origin': origin}, timeout=10
        )
        assert answer.status_code == 403
        assert 'foreign page' in answer.json()['error']
    answer = requests.get(address, headers={'Origin': address}, timeout=10)
    assert answer.status_code == 200
    assert not [h for h in answer.headers if h.lower().startswith('access-control')]
    assert "default-src 'self'" in answer.headers['content-security-policy']
    assert answer.headers['x-frame-options'] == 'DENY'


def test_a_port_that_is_taken(server, trained):
    port = server[0].rpartition(':')[2]
    one_line(
        birdsort('serve', '--project', trained.path, '--port', port),
        f'port {port} is taken',
        '--port',
    )
    one_line(
        birdsort('serve', '--project', trained.path, '--host', 'no.such.host.invalid'),
        'no.such.host.invalid',
    )


class CreatesFile:
    "Creates a file when it is unpickled."

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return Path.touch, (self.file,)


def test_a_pickle_is_not_opened(trained, tmp_path):
    export, created = tmp_path / 'export', tmp_path / 'created'
    export.mkdir()
    (export / 'learner.pkl').write_bytes(pickle.dumps(CreatesFile(created)))
    one_line(birdsort('serve', '--model', export), 'learner.pkl', '--trust-pickle')
    (export / 'config.json').write_bytes((trained.export / 'config.json').read_bytes())
    one_line(birdsort('serve', '--model', export), 'learner.pkl', '--trust-pickle')
    assert not created.exists()
    pickle.loads((export / 'learner.pkl').read_bytes())
    assert created.exists(), 'this pickle runs no code, so the test shows nothing'
