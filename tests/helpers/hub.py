"""A Hugging Face hub on loopback: repositories with a history, large files beside them by their hash, tokens, and
the answers that the real one gives."""

import base64
import hashlib
import json
import re
import secrets
import socket
import struct
import threading
import time
from collections import namedtuple
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

LARGE = (
    '.safetensors',
    '.pkl',
    '.onnx',
    '.bin',
    '.pt',
    '.pth',
    '.h5',
    '.npz',
    '.zip',
)  # As in the attributes with which a repository begins
ATTRIBUTES = ''.join(f'*{ext} filter=lfs diff=lfs merge=lfs -text\n' for ext in LARGE).encode()
MOST = 10 * 2**20  # Bytes of a file that git itself takes
USERS = {
    'hf_writes': ('ana', 'write'),
    'hf_reads': ('ana', 'read'),
}  # Token -> who, and what it may

File = namedtuple(
    'File', 'oid size large'
)  # The hash is git's own, or the content's sha256 where the file is large
Commit = namedtuple('Commit', 'oid title files')  # Files: all that there are, path -> File


class Refused(Exception):
    def __init__(self, status, message, code=None):
        self.status, self.message, self.code = status, message, code


class Repo:
    def __init__(self, private, first):
        self.private, self.commits = private, [first]

    def commit(self, title, changed, gone=()):
        files = {k: v for k, v in (self.commits[-1].files | changed).items() if k not in gone}
        self.commits.append(
            Commit(
                hashlib.sha1(repr((self.commits[-1].oid, title, files)).encode()).hexdigest(),
                title,
                files,
            )
        )

    def at(self, revision):
        if found := next((c for c in reversed(self.commits) if revision in ('main', c.oid)), None):
            return found
        raise Refused(404, f'Invalid rev id: {revision}', 'RevisionNotFound')


class Hub:
    """The hub, up inside a `with`; it keeps its memory, and can be opened again. `dies_at`: it dies when so many
    bytes of one file have come, and `after` others are whole."""

    def __init__(self, dies_at=None, after=0):
        (
            self.after,
            self.repos,
            self.blobs,
            self.xorbs,
            self.grants,
            self.dies_at,
            self.port,
            self.lock,
        ) = (
            after,
            {},
            {},
            {},
            set(),
            dies_at,
            0,
            threading.RLock(),
        )

    address = property(lambda self: f'http://127.0.0.1:{self.port}')
    storage = property(
        lambda self: f'http://localhost:{self.port}'
    )  # Another host, as the real one has

    def __enter__(self):
        self.lines, self.asked, self.stored, self.came, self.up = (
            set(),
            [],
            [],
            0,
            True,
        )  # `came`: bytes of all bodies
        self.server = Server(('127.0.0.1', self.port), type('Bound', (Answer,), dict(hub=self)))
        self.port = self.server.server_address[1]
        threading.Thread(
            target=self.server.serve_forever, kwargs=dict(poll_interval=0.02), daemon=True
        ).start()
        return self

    def __exit__(self, *args):
        self.die()

    def die(self):
        with self.lock:
            if not self.up:
                return
            self.up, self.dies_at = False, None
        self.server.shutdown(), self.server.server_close()
        for line in list(self.lines):
            with suppress(OSError):  # Closed already
                # Closing now sends a reset
                line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
                line.shutdown(socket.SHUT_RD)

    def keep(self, data, large=False):
        oid = (
            hashlib.sha256(data).hexdigest()
            if large
            else hashlib.sha1(b'blob %d\0' % len(data) + data).hexdigest()
        )
        self.blobs[oid] = data
        return File(oid, len(data), large)

    def content(self, name):
        return {
            p: self.blobs[f.oid]
            for p, f in self.repos[name].at('main').files.items()
            if p != '.gitattributes'
        }


class Server(ThreadingHTTPServer):
    daemon_threads, request_queue_size = True, 64

    def handle_error(self, request, client_address):
        pass  # Whoever hangs up is expected to


class Answer(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def log_message(self, *args):
        pass

    def handle(self):
        self.hub.lines.add(self.connection)
        try:
            super().handle()
        finally:
            self.hub.lines.discard(self.connection)

    def do_GET(self):
        url = urlsplit(self.path)
        self.query, method = parse_qs(url.query), self.command.replace('HEAD', 'GET')
        self.hub.asked.append(f'{self.command} {url.path}')
        self.data = self.body()
        try:
            for wanted, pattern, do in ROUTES:
                if wanted == method and (found := re.fullmatch(pattern, unquote(url.path))):
                    return do(self, *found.groups())
            raise Refused(404, "Sorry, we can't find the page you are looking for.")
        except Refused as e:
            self.say(
                e.status,
                dict(error=e.message),
                **{'X-Error-Message': e.message},
                **({'X-Error-Code': e.code} if e.code else {}),
            )

    do_HEAD = do_POST = do_PUT = do_GET

    def body(self):
        data, left = bytearray(), int(self.headers.get('Content-Length', 0))
        while left:
            if not (piece := self.rfile.read1(min(left, 65536))):
                raise ConnectionError('cut off')
            data += piece
            left -= len(piece)
            with self.hub.lock:
                self.hub.came += len(piece)
            if self.hub.dies_at and len(data) >= self.hub.dies_at:
                end = time.monotonic() + 10
                while len(self.hub.stored) < self.hub.after and time.monotonic() < end:
                    time.sleep(0.01)
                self.hub.die()
            if not self.hub.up:  # What the kernel still holds of the body came too late
                raise ConnectionError('cut off')
        return bytes(data)

    def say(self, status, body=None, kind='application/json; charset=utf-8', **headers):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for k, v in (
            {
                'Content-Type': kind,
                'Content-Length': len(data),
                'X-Request-Id': f'Root=1-{secrets.token_hex(4)}-{secrets.token_hex(12)}',
            }
            | headers
        ).items():
            self.send_header(k, str(v))
        self.end_headers()
        if self.command != 'HEAD':
            self.wfile.write(data)

    def who(self):  # (user, role) of the token; (None, None) without one
        if not (given := self.headers.get('Authorization')):
            return None, None
        if user := USERS.get(given.removeprefix('Bearer ')):
            return user
        raise Refused(401, 'Invalid credentials in Authorization header')

    def may_write(self, owner):
        user, role = self.who()
        if user is None:
            raise Refused(401, 'Invalid username or password.')
        if user != owner:
            raise Refused(
                403, f'You don\'t have the rights to create a model under the namespace "{owner}"'
            )
        if role != 'write':
            raise Refused(
                403, 'You have read access but not the required permissions for this operation'
            )

    def repo(self, name, write=False):
        owner, (user, _), repo = name.split('/')[0], self.who(), self.hub.repos.get(name)
        if repo is None or repo.private and user != owner:
            raise (
                Refused(404, 'Repository not found', 'RepoNotFound')
                if user
                else Refused(401, 'Invalid username or password.', 'RepoNotFound')
            )
        if write:
            self.may_write(owner)
        return repo

    # The hub's own address

    def whoami(self):
        user, role = self.who()
        if user is None:
            raise Refused(401, 'Invalid username or password.')
        self.say(
            200,
            dict(
                type='user',
                name=user,
                orgs=[],
                auth=dict(type='access_token', accessToken=dict(role=role)),
            ),
        )

    def create(self):
        asked = json.loads(self.data)
        name = f"{asked.get('organization') or self.who()[0]}/{asked['name']}"
        self.may_write(name.split('/')[0])
        answer = dict(url=f'{self.hub.address}/{name}', name=name, id=secrets.token_hex(12))
        if name in self.hub.repos:
            return self.say(409, answer | dict(error='You already created this model repo'))
        first = Commit(
            secrets.token_hex(20), 'initial commit', {'.gitattributes': self.hub.keep(ATTRIBUTES)}
        )
        self.hub.repos[name] = Repo(
            asked.get('visibility') == 'private' or bool(asked.get('private')), first
        )
        self.say(200, answer)

    def card(self):
        front = re.match(r'---\s*\n(.*?)\n---', json.loads(self.data)['content'], re.S)
        try:
            meta = yaml.safe_load(front[1]) if front else None
        except yaml.YAMLError as e:
            return self.say(
                400,
                dict(
                    error='Invalid metadata', errors=[dict(message=f'YAML Error. {e}')], warnings=[]
                ),
            )
        self.say(
            200,
            dict(
                errors=[],
                warnings=[]
                if meta
                else [dict(message='empty or missing yaml metadata in repo card')],
            ),
        )

    def info(self, name, revision='main'):
        repo = self.repo(name)
        head = repo.at(revision)
        self.say(
            200,
            dict(
                _id=name,
                id=name,
                modelId=name,
                author=name.split('/')[0],
                sha=head.oid,
                private=repo.private,
                gated=False,
                disabled=False,
                tags=[],
                downloads=0,
                likes=0,
                siblings=[dict(rfilename=p) for p in head.files],
            ),
        )

    def tree(self, name, revision):
        files = self.repo(name).at(revision).files
        self.say(
            200,
            [
                dict(type='file', path=p, size=f.size, oid=f.oid[:40])
                | (dict(lfs=dict(oid=f.oid, size=f.size, pointerSize=130)) if f.large else {})
                for p, f in files.items()
            ],
        )

    def preupload(self, name, revision):
        head, said = self.repo(name, write=True).at(revision), []
        for f in json.loads(self.data)['files']:
            large = f['size'] > 0 and (
                f['path'].endswith(LARGE)
                or f['size'] > MOST
                or b'\0' in base64.b64decode(f['sample'])
            )
            there = head.files.get(f['path'])
            said.append(
                dict(path=f['path'], uploadMode='lfs' if large else 'regular', shouldIgnore=False)
                | (dict(oid=there.oid) if there else {})
            )
        self.say(200, dict(commitOid=head.oid, files=said))

    def commit(self, name, revision):
        repo, changed = self.repo(name, write=True), {}
        lines = [json.loads(l) for l in self.data.splitlines()]
        for v in (l['value'] for l in lines if l['key'] == 'file'):
            changed[v['path']] = self.hub.keep(base64.b64decode(v['content']))
            if changed[v['path']].size > MOST:
                raise Refused(
                    400,
                    f"Your push was rejected because it contains files larger than 10 MiB. Offending files: - {v['path']}",
                )
        for v in (l['value'] for l in lines if l['key'] == 'lfsFile'):
            if len(self.hub.blobs.get(v['oid'], b'')) != v['size']:
                raise Refused(
                    400,
                    'Your push was rejected because an LFS pointer pointed to a file that does not exist. '
                    f"Offending file: - {v['path']}",
                )
            changed[v['path']] = File(v['oid'], v['size'], True)
        gone = [l['value']['path'] for l in lines if l['key'] == 'deletedFile']
        with self.hub.lock:
            repo.commit(lines[0]['value']['summary'], changed, gone)
        self.say(
            200,
            dict(
                success=True,
                commitOid=(oid := repo.at(revision).oid),
                commitUrl=f'{self.hub.address}/{name}/commit/{oid}',
                hookOutput='',
            ),
        )

    def batch(self, name):
        self.repo(name, write=True)
        said = [
            dict(oid=o['oid'], size=o['size'], authenticated=True)
            | ({} if o['oid'] in self.hub.blobs else dict(actions=self.actions(name, o)))
            for o in json.loads(self.data)['objects']
        ]
        self.say(200, dict(transfer='basic', objects=said), kind='application/vnd.git-lfs+json')

    def actions(self, name, o):
        self.hub.grants.add(grant := secrets.token_hex(16))
        return dict(
            upload=dict(
                href=f"{self.hub.storage}/lfs/{o['oid']}?size={o['size']}&X-Amz-Signature={grant}"
            ),
            verify=dict(href=f'{self.hub.address}/{name}.git/info/lfs/objects/verify'),
        )

    def verify(self, name):
        self.repo(name, write=True)
        asked = json.loads(self.data)
        if len(self.hub.blobs.get(asked['oid'], b'')) != asked['size']:
            raise Refused(404, 'Object does not exist on the server')
        self.say(200, {})

    def resolve(self, name, revision, path):
        head = self.repo(name).at(revision)
        if (f := head.files.get(path)) is None:
            raise Refused(404, 'Entry not found', 'EntryNotFound')
        told = {'X-Repo-Commit': head.oid, 'Accept-Ranges': 'bytes'}
        if not f.large:
            return self.say(
                200,
                self.hub.blobs[f.oid],
                kind='text/plain; charset=utf-8',
                ETag=f'"{f.oid}"',
                **told,
            )
        self.say(
            302,
            b'Found',
            kind='text/plain',
            Location=f'{self.hub.storage}/lfs/{f.oid}',
            **{'X-Linked-Size': f.size, 'X-Linked-Etag': f'"{f.oid}"'},
            **told,
        )

    # The storage's address: no tokens, but a signature in the address

    def put(self, oid):
        if self.query.get('X-Amz-Signature', [''])[0] not in self.hub.grants:
            raise Refused(403, 'SignatureDoesNotMatch')
        if 'Content-Length' not in self.headers:
            raise Refused(411, 'MissingContentLength')
        if (
            len(self.data) != int(self.query['size'][0])
            or hashlib.sha256(self.data).hexdigest() != oid
        ):
            raise Refused(400, 'BadDigest')
        self.hub.stored.append(self.hub.keep(self.data, large=True).oid)
        self.say(200, b'', kind='application/xml', ETag=f'"{hashlib.md5(self.data).hexdigest()}"')

    def get(self, oid):
        if oid not in self.hub.blobs:
            raise Refused(403, 'AccessDenied')
        self.say(200, self.hub.blobs[oid], kind='application/octet-stream', ETag=f'"{oid}"')

    # The store that newer clients use instead: a file is cut in chunks, many chunks go in one xorb, and a shard says
    # which chunks make which file

    def xet_token(self, name, revision):
        self.repo(name, write=True)
        self.hub.grants.add(grant := f'xet_{secrets.token_hex(16)}')
        told = dict(casUrl=self.hub.storage, exp=int(time.time()) + 900, accessToken=grant)
        self.say(
            200,
            told,
            **{
                'X-Xet-Cas-Url': told['casUrl'],
                'X-Xet-Access-Token': grant,
                'X-Xet-Token-Expiration': told['exp'],
            },
        )

    def granted(self):
        if self.headers.get('Authorization', '').removeprefix('Bearer ') not in self.hub.grants:
            raise Refused(401, 'Unauthorized')

    def xorb(self, oid):
        self.granted()
        chunks, at = [], 0
        while (
            at < len(self.data) and self.data[at : at + 7] != b'XETBLOB'
        ):  # What begins so is a list of the chunks
            size, packing = int.from_bytes(self.data[at + 1 : at + 4], 'little'), self.data[at + 4]
            if packing:
                raise Refused(400, 'this stand-in unpacks nothing: send it what cannot be packed')
            chunks.append(self.data[at + 8 : at + 8 + size])
            at += 8 + size
        new = oid not in self.hub.xorbs
        self.hub.xorbs[oid] = chunks
        self.hub.stored.append(oid)
        self.say(200, dict(was_inserted=new))

    def shard(self):
        self.granted()
        rows = (self.data[i : i + 48] for i in range(48, len(self.data), 48))
        while (head := next(rows))[:32] != b'\xff' * 32:
            flags, n = struct.unpack('<II', head[32:40])
            parts = [next(rows) for _ in range(n)]
            if flags & 1 << 31:
                [next(rows) for _ in range(n)]
            try:
                data = b''.join(
                    b''.join(self.hub.xorbs[hexed(p[:32])][slice(*struct.unpack('<II', p[40:48]))])
                    for p in parts
                )
            except KeyError as e:
                raise Refused(400, f'no such xorb: {e}') from None
            if flags & 1 << 30 and self.hub.keep(data, large=True).oid != hexed(next(rows)[:32]):
                raise Refused(400, 'sha256 mismatch')
        self.say(200, dict(result=1))

    def unknown(self, *args):
        self.granted()
        raise Refused(404, 'Not found')


def hexed(data):
    return b''.join(
        data[i : i + 8][::-1] for i in range(0, 32, 8)
    ).hex()  # As that store writes a hash


NAME, REV = r'([\w.-]+/[\w.-]+)', r'([^/]+)'
ROUTES = [
    ('GET', '/api/whoami-v2', Answer.whoami),
    ('POST', '/api/repos/create', Answer.create),
    ('POST', '/api/validate-yaml', Answer.card),
    ('GET', f'/api/models/{NAME}', Answer.info),
    ('GET', f'/api/models/{NAME}/revision/{REV}', Answer.info),
    ('GET', f'/api/models/{NAME}/tree/{REV}', Answer.tree),
    ('POST', f'/api/models/{NAME}/preupload/{REV}', Answer.preupload),
    ('POST', f'/api/models/{NAME}/commit/{REV}', Answer.commit),
    ('POST', rf'/{NAME}\.git/info/lfs/objects/batch', Answer.batch),
    ('POST', rf'/{NAME}\.git/info/lfs/objects/verify', Answer.verify),
    ('GET', f'/{NAME}/resolve/{REV}/(.+)', Answer.resolve),
    ('GET', f'/api/models/{NAME}/xet-write-token/{REV}', Answer.xet_token),
    ('POST', r'/v1/xorbs/default/(\w{64})', Answer.xorb),
    ('POST', '(?:/v1)?/shards', Answer.shard),
    ('GET', r'/v1/chunks/[\w-]+/\w{64}', Answer.unknown),
    ('PUT', r'/lfs/(\w{64})', Answer.put),
    ('GET', r'/lfs/(\w{64})', Answer.get),
]
