"""Pushing to a stand-in for the hub on loopback, each time from a new process, by both protocols that the hub's
client has for large files."""

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
from unittest.mock import patch
from huggingface_hub import HfApi, close_session, get_session, hf_hub_download
def push_beside_a_failure(*args): # Another thread finds no server, and closes the client that all threads share
    upload, calls = HfApi.upload_folder, []
    def interrupted(api, **folder):
        calls.append(folder)
        client = get_session()
        if len(calls) == 1: close_session()
        client.get(api.endpoint)
        return upload(api, **folder)
    with patch.object(HfApi, 'upload_folder', interrupted): push(*args)
    return len(calls)
functions = dict(env=os.environ.update, push=push, download=hf_hub_download, beside=push_beside_a_failure)
for name, *args in map(json.loads, sys.stdin):
    try: result = functions[name](*args)
    except (ValueError, RuntimeError, FileNotFoundError) as e: result = f'{type(e).__name__}: {e}'
    print(json.dumps(result), flush=True)
'''
NAME = 'ana/birds'


@pytest.fixture(params=['lfs', 'xet'])
def protocol(request, tmp_path):
    "Environment variables that choose how the client sends large files."
    return dict(
        HF_HOME=str(tmp_path / 'home'),
        HF_TOKEN='hf_writes',
        HF_HUB_OFFLINE='0',
        NO_PROXY='127.0.0.1,localhost',
        HF_HUB_DISABLE_TELEMETRY='1',
        HF_XET_TELEMETRY_ENABLED='false',
        HF_XET_CLIENT_RETRY_MAX_ATTEMPTS='1',
        HF_XET_CLIENT_RETRY_BASE_DELAY='10ms',
        HF_HUB_DISABLE_XET=str(int(request.param == 'lfs')),
    )


@pytest.fixture
def export(tmp_path):
    "A folder as `birdsort export` writes it, with files of others beside it that must not be pushed."
    folder = tmp_path / 'export'
    for name in ('.hidden', 'more'):
        (folder / name).mkdir(parents=True)
    wanted = {
        'README.md': b'---\nlicense: mit\ntags: [birds]\n---\n# Birds\n',
        'config.json': b'{"labels": ["owl"]}',
        'labels.txt': 'búho\n'.encode(),
        'model.safetensors': os.urandom(12_000_000),
        'learner.pkl': os.urandom(3_000_000),
    }
    unwanted = dict.fromkeys(
        (
            '.learner.pkl.part',
            'model.onnx.part',
            'more/notes.txt',
            '.hidden/notes.txt',
            'photo.jpg',
            'model[.]onnx',
        ),
        b'no',
    )
    wanted['SHA256SUMS'] = ''.join(
        f'{sha256(data).hexdigest()}  {name}\n' for name, data in wanted.items()
    ).encode()
    for name, data in (wanted | unwanted).items():
        (folder / name).write_bytes(data)
    (tmp_path / 'secret').write_bytes(b'no')
    (folder / 'model.onnx').symlink_to(tmp_path / 'secret')
    return folder


NAMES = ('README.md', 'SHA256SUMS', 'config.json', 'labels.txt', 'model.safetensors', 'learner.pkl')


def contents(folder):
    return {name: (folder / name).read_bytes() for name in NAMES}


@contextmanager
def client(hub, protocol):
    "A new process -> a function that calls one of its functions and returns the result, or an error's type and text."
    with tempfile.TemporaryFile('w+') as log:
        process = subprocess.Popen(
            [sys.executable, '-c', STEPS],
            env=ENV | protocol | dict(HF_ENDPOINT=hub.address),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )

        def do(*step):
            process.stdin.write(json.dumps(step, default=str) + '\n')
            process.stdin.flush()
            return json.loads(process.stdout.readline() or 'null')

        try:
            yield do
        finally:
            try:
                process.communicate(timeout=30)
            finally:
                process.kill()
                log.seek(0)
        errors = log.read()
        assert process.returncode == 0, errors
        assert 'Traceback' not in errors


def one_line(error, *words):
    assert isinstance(error, str), error
    assert '\n' not in error
    assert all(w in error for w in words), error


def send(method, address, body, token='hf_writes', status=200):
    "Send a request to the stand-in and check its status -> the JSON of the answer."
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    message = Request(address, data, {'Authorization': f'Bearer {token}'}, method=method)
    try:
        answer = build_opener(ProxyHandler({})).open(message, timeout=10)
    except HTTPError as e:
        answer = e
    assert answer.status == status, (address, answer.status)
    assert answer.headers['X-Request-Id']
    return json.loads(answer.read() or 'null')


def test_the_stand_in_accepts_only_what_the_hub_accepts():
    large = dict(oid=sha256(b'weights').hexdigest(), size=7)
    header = dict(key='header', value=dict(summary='x'))
    file = dict(key='lfsFile', value=large | dict(path='model.safetensors', algo='sha256'))
    commit = b'\n'.join(json.dumps(line).encode() for line in (header, file))
    with Hub() as hub:
        api, repository = f'{hub.address}/api', dict(organization='ana', name='birds', type='model')
        for token, status in {'hf_wrong': 401, 'hf_reads': 403, 'hf_writes': 200}.items():
            send('POST', f'{api}/repos/create', repository, token, status)
        existing = send('POST', f'{api}/repos/create', repository, status=409)
        assert existing['url'] == f'{hub.address}/{NAME}'
        send(
            'POST', f'{api}/models/{NAME}/commit/main', commit, status=400
        )  # The file was never uploaded
        batch = send(
            'POST', f'{hub.address}/{NAME}.git/info/lfs/objects/batch', dict(objects=[large])
        )
        upload = batch['objects'][0]['actions']['upload']['href']
        send('PUT', upload, b'Weights', status=400)
        send('PUT', f'{upload}0', b'weights', status=403)
        send('PUT', upload, b'weights')
        send('POST', f'{api}/models/{NAME}/commit/main', commit)
        assert hub.content(NAME) == {'model.safetensors': b'weights'}


def test_what_is_pushed_can_be_downloaded(protocol, export):
    with Hub() as hub, client(hub, protocol) as do:
        result, names = do('push', export, NAME), sorted(NAMES)
        repository = hub.repos[NAME]
        commit = repository.at('main')
        assert hub.content(NAME) == contents(export)
        address = f'{hub.address}/{NAME}'
        assert result == dict(address=address, commit=f'{address}/commit/{commit.oid}', files=names)
        assert len(repository.commits) == 2, (
            'everything is one commit, after the one that created the repository'
        )
        assert commit.title.startswith('Exported by birdsort')
        assert {p for p, f in commit.files.items() if f.large} == {
            'model.safetensors',
            'learner.pkl',
        }
        assert not repository.private
        do('env', dict(HF_TOKEN=''))  # Anybody can download
        assert {name: Path(do('download', NAME, name)).read_bytes() for name in names} == contents(
            export
        )


def test_a_second_push_sends_only_what_is_new(protocol, export):
    with Hub() as hub, client(hub, protocol) as do:
        first, before = do('push', export, NAME), hub.came
        (export / 'learner.pkl').write_bytes(os.urandom(3_100_000))
        second, changed = do('push', export, NAME), hub.came
        assert 3_100_000 < changed - before < 3_200_000
        assert hub.content(NAME) == contents(export)
        assert second['commit'] != first['commit']
        (export / 'labels.txt').write_text('mochuelo\n')
        third = do('push', export, NAME)
        assert hub.came - changed < 10_000
        assert hub.content(NAME) == contents(export)
        assert do('push', export, NAME) == third
        assert len(hub.repos[NAME].commits) == 4, 'where nothing is new, there is no new commit'
        remaining = contents(export)
        del remaining['learner.pkl']
        (export / 'learner.pkl').unlink()
        do('push', export, NAME)
        assert hub.content(NAME) == remaining, 'a model of an earlier export is still there'


def test_one_lost_connection_does_not_end_the_push(protocol, export):
    with Hub() as hub, client(hub, protocol) as do:
        assert do('beside', export, NAME) == 2
        assert hub.content(NAME) == contents(export)


def test_an_interrupted_push_is_continued(protocol, export):
    lfs = protocol['HF_HUB_DISABLE_XET'] == '1'
    hub = Hub(dies_at=6_000_000, after=int(lfs))  # By the other protocol both files go as one
    with hub, client(hub, protocol) as do:
        error = do('push', export, NAME)
        one_line(
            error,
            'RuntimeError: ana/birds was not pushed',
            'run the same command again',
            hub.address,
            'Connect',
        )
    assert hub.content(NAME) == {}, 'half of an export was visible'
    with hub, client(hub, protocol) as do:
        assert do('push', export, NAME)['files'] == sorted(NAMES)
        assert hub.content(NAME) == contents(export)
        assert len(hub.repos[NAME].commits) == 2
        if lfs:
            assert 12_000_000 < hub.came < 12_100_000, 'the file that had arrived was sent again'


@pytest.mark.parametrize(
    'line, words',
    [
        ('../secret', 'nothing outside'),
        ('/etc/hostname', 'nothing outside'),
        ('more/notes.txt', 'nothing outside'),
        ('..', 'nothing outside'),
        ('model.onnx', 'link'),
        ('within', 'link'),
        ('dangling', 'leads to'),
        ('loop', 'loop'),
        ('more', 'not a file'),
        ('fifo', 'not a file'),
    ],
)
def test_only_files_of_the_export_folder_are_pushed(export, line, words):
    from birdsort.deploy.hub import push

    os.mkfifo(export / 'fifo')
    links = dict(within='labels.txt', dangling='../nowhere', loop='loop')
    for name, target in links.items():
        (export / name).symlink_to(target)
    with open(export / 'SHA256SUMS', 'a') as f:
        f.write(f'{"0" * 64}  {line}\n')
    with pytest.raises(ValueError, match=words):
        push(export, NAME)


@pytest.mark.parametrize('protocol', ['xet'], indirect=True)
def test_a_refusal_is_one_line(protocol, export, tmp_path):
    empty = tmp_path / 'empty'
    empty.mkdir()
    with Hub() as hub, client(hub, protocol) as do:
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
        assert not hub.repos
        assert hub.came < 10_000, 'a file was sent'
        do('env', dict(HF_TOKEN='hf_writes'))
        (export / 'README.md').write_text('---\ntags: [birds\n---\n')
        one_line(do('push', export, NAME), 'RuntimeError', '400', 'README.md')
        hub.die()
        one_line(do('push', export, NAME), 'RuntimeError', 'run the same command again')


@pytest.mark.parametrize('protocol', ['xet'], indirect=True)
def test_a_private_push_never_goes_to_a_public_repository(protocol, export):
    with Hub() as hub, client(hub, protocol) as do:
        assert do('push', export, NAME, True)['files']
        assert hub.repos[NAME].private
        assert do('push', export, NAME)['files']
        assert hub.repos[NAME].private, 'an existing repository stays what it is'
        hub.repos[NAME].private, before = False, hub.came
        (export / 'learner.pkl').write_bytes(os.urandom(3_000_000))
        one_line(do('push', export, NAME, True), 'ValueError', 'public', f'{NAME}/settings')
        assert hub.came - before < 10_000, 'a private file was sent to a public repository'
