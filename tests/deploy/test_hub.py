"""Pushing to the hub, in processes of their own, against one on loopback; by both ways that its client has of
sending large files."""

import json
import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

import pytest

from conftest import ENV
from helpers.hub import Hub

STEPS = '''
import json, os, sys, time
wait, time.sleep = time.sleep, lambda s: wait(s/50) # The client waits 23 seconds between its tries
from birdsort.deploy.hub import push
from huggingface_hub import hf_hub_download
for do, *args in map(json.loads, sys.stdin):
    try: said = os.environ.update(*args) if do == 'env' else push(*args) if do == 'push' else hf_hub_download(*args)
    except (ValueError, RuntimeError, FileNotFoundError) as e: said = f'{type(e).__name__}: {e}'
    print(json.dumps(said), flush=True)
'''
NAME = 'ana/birds'


@pytest.fixture(params=['lfs', 'xet'])
def way(request, tmp_path):
    return dict(
        HF_HOME=str(tmp_path / 'home'),
        HF_TOKEN='hf_writes',
        NO_PROXY='127.0.0.1,localhost',
        HF_HUB_DISABLE_TELEMETRY='1',
        HF_XET_TELEMETRY_ENABLED='false',
        HF_XET_CLIENT_RETRY_MAX_ATTEMPTS='1',
        HF_XET_CLIENT_RETRY_BASE_DELAY='10ms',
        HF_HUB_DISABLE_XET=str(int(request.param == 'lfs')),
    )


@pytest.fixture
def export(tmp_path):
    "A folder as `birdsort export` leaves it, with some in it that is not for others."
    (folder := tmp_path / 'export').mkdir()
    (folder / '.hidden').mkdir(), (folder / 'more').mkdir()
    good = {
        'README.md': b'---\nlicense: mit\ntags: [birds]\n---\n# Birds\n',
        'config.json': b'{"labels": ["owl"]}',
        'labels.txt': 'búho\n'.encode(),
        'more/empty.txt': b'',
        'model.safetensors': os.urandom(12_000_000),
        'learner.pkl': os.urandom(3_000_000),
    }
    bad = dict.fromkeys(
        ('.learner.pkl.part', 'model.onnx.part', 'more/.DS_Store', '.hidden/notes.txt', 'config.json.tmp'), b'no'
    )
    for name, data in (good | bad).items():
        (folder / name).write_bytes(data)
    return folder


def whole(folder):
    return {
        p: (folder / p).read_bytes()
        for p in ('README.md', 'config.json', 'labels.txt', 'more/empty.txt', 'model.safetensors', 'learner.pkl')
    }


@contextmanager
def client(hub, way):
    """A process of its own -> a function that has it do something, and returns what came of it: a result, or an
    error's kind and text."""
    with tempfile.TemporaryFile('w+') as said:
        process = subprocess.Popen(
            [sys.executable, '-c', STEPS],
            env=ENV | way | dict(HF_ENDPOINT=hub.address),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
        )

        def do(*step):
            process.stdin.write(json.dumps(step, default=str) + '\n'), process.stdin.flush()
            return json.loads(process.stdout.readline() or 'null')

        try:
            yield do
        finally:
            try:
                process.communicate(timeout=30)
            finally:
                process.kill(), said.seek(0)
        assert process.returncode == 0 and 'Traceback' not in (said := said.read()), said


def one_line(said, *words):
    assert isinstance(said, str) and '\n' not in said and all(w in said for w in words), said


def test_the_stand_in_takes_only_what_the_hub_takes():
    def ask(method, address, body, token='hf_writes', status=200):
        request = Request(
            address,
            body if isinstance(body, bytes) else json.dumps(body).encode(),
            {'Authorization': f'Bearer {token}'},
            method=method,
        )
        try:
            answer = build_opener(ProxyHandler({})).open(request, timeout=10)
        except HTTPError as e:
            answer = e
        assert answer.status == status and answer.headers['X-Request-Id'], (address, answer.status)
        return json.loads(answer.read() or 'null')

    large = dict(oid=sha256(b'weights').hexdigest(), size=7)

    def commit():
        return b'\n'.join(
            json.dumps(dict(key=k, value=v)).encode()
            for k, v in (
                ('header', dict(summary='x')),
                ('lfsFile', large | dict(path='model.safetensors', algo='sha256')),
            )
        )

    with Hub() as hub:
        api, create = f'{hub.address}/api', dict(organization='ana', name='birds', type='model')
        for token, status in {'hf_wrong': 401, 'hf_reads': 403, 'hf_writes': 200}.items():
            ask('POST', f'{api}/repos/create', create, token, status)
        assert ask('POST', f'{api}/repos/create', create, status=409)['url'] == f'{hub.address}/{NAME}'
        ask('POST', f'{api}/models/{NAME}/commit/main', commit(), status=400)  # Of a file that never came
        upload = ask('POST', f'{hub.address}/{NAME}.git/info/lfs/objects/batch', dict(objects=[large]))['objects'][0][
            'actions'
        ]['upload']['href']
        for address, body in {upload: b'Weights', f'{upload}0': b'weights'}.items():
            ask('PUT', address, body, status=400 if address == upload else 403)
        ask('PUT', upload, b'weights')
        ask('POST', f'{api}/models/{NAME}/commit/main', commit())
        assert hub.content(NAME) == {'model.safetensors': b'weights'}


def test_what_is_pushed_comes_back(way, export):
    with Hub() as hub, client(hub, way) as do:
        said, files = do('push', export, NAME), sorted(whole(export))
        assert hub.content(NAME) == whole(export)
        assert said == dict(
            address=f'{hub.address}/{NAME}',
            commit=f"{hub.address}/{NAME}/commit/{hub.repos[NAME].at('main').oid}",
            files=files,
        )
        assert len(hub.repos[NAME].commits) == 2 and hub.repos[NAME].at('main').title.startswith(
            'Exported by birdsort'
        ), 'it is one commit'
        assert {p for p, f in hub.repos[NAME].at('main').files.items() if f.large} == {
            'model.safetensors',
            'learner.pkl',
        }
        assert not hub.repos[NAME].private
        do('env', dict(HF_TOKEN=''))  # Whoever wants it
        assert {f: Path(do('fetch', NAME, f)).read_bytes() for f in files} == whole(export)


def test_the_second_push_sends_what_is_new(way, export):
    with Hub() as hub, client(hub, way) as do:
        first, before = do('push', export, NAME), hub.came
        (export / 'learner.pkl').write_bytes(os.urandom(3_100_000))
        second, changed = do('push', export, NAME), hub.came
        assert 3_100_000 < changed - before < 3_200_000
        assert hub.content(NAME) == whole(export) and second['commit'] != first['commit']
        (export / 'labels.txt').write_text('mochuelo\n')
        third = do('push', export, NAME)
        assert hub.came - changed < 10_000 and hub.content(NAME) == whole(export)
        assert do('push', export, NAME) == third and len(hub.repos[NAME].commits) == 4, (
            'where nothing is new, there is no new commit'
        )
        (left := whole(export)).pop('learner.pkl'), (export / 'learner.pkl').unlink()
        do('push', export, NAME)
        assert hub.content(NAME) == left, 'a model of an earlier export is still there'


def test_a_push_that_is_cut_off_goes_on(way, export):
    lfs = way['HF_HUB_DISABLE_XET'] == '1'
    hub = Hub(dies_at=6_000_000, after=int(lfs))  # By the other way, both files go as one
    with hub, client(hub, way) as do:
        one_line(
            do('push', export, NAME),
            'RuntimeError: ana/birds was not pushed',
            'run the same command again',
            hub.address,
            'Connect',
        )
    assert hub.content(NAME) == {}, 'half of an export was to be seen'
    with hub, client(hub, way) as do:
        assert do('push', export, NAME)['files'] == sorted(whole(export))
        assert hub.content(NAME) == whole(export) and len(hub.repos[NAME].commits) == 2
        if lfs:
            assert 12_000_000 < hub.came < 12_100_000, 'the file that was whole was sent again'


@pytest.mark.parametrize('way', ['xet'], indirect=True)
def test_what_is_refused_is_told_in_one_line(way, export, tmp_path):
    (empty := tmp_path / 'empty').mkdir()
    with Hub() as hub, client(hub, way) as do:
        one_line(do('push', export, 'birds'), "ValueError: 'birds'", 'USER/NAME')
        one_line(do('push', empty, NAME), 'FileNotFoundError', 'README.md', '`birdsort export`')
        one_line(do('push', export, 'bob/birds'), 'RuntimeError', '403', 'is bob your user name')
        for token, words in {
            'hf_wrong': ('401', '`hf auth login`', 'HF_TOKEN'),
            '': ('none is set', '`hf auth login`', 'HF_TOKEN'),
            'hf_reads': ('403', 'does the token have write access?'),
        }.items():
            do('env', dict(HF_TOKEN=token))
            one_line(do('push', export, NAME), 'RuntimeError', *words)
        assert not hub.repos and hub.came < 10_000, 'something was sent'
        do('env', dict(HF_TOKEN='hf_writes'))
        (export / 'README.md').write_text('---\ntags: [birds\n---\n')
        one_line(do('push', export, NAME), 'RuntimeError', '400', 'README.md')
        hub.die()
        one_line(do('push', export, NAME), 'RuntimeError', 'run the same command again')


@pytest.mark.parametrize('way', ['xet'], indirect=True)
def test_private_is_never_public(way, export):
    with Hub() as hub, client(hub, way) as do:
        assert do('push', export, NAME, True)['files'] and hub.repos[NAME].private
        assert do('push', export, NAME)['files'] and hub.repos[NAME].private, 'it stays what it is'
        hub.repos[NAME].private, before = False, hub.came
        (export / 'learner.pkl').write_bytes(os.urandom(3_000_000))
        one_line(do('push', export, NAME, True), 'ValueError', 'public', f'{NAME}/settings')
        assert hub.came - before < 10_000, 'what was to be private went to a public repository'
