"A web server on loopback that does to a downloader what the web does, and what should come of it."

import gzip
import io
import socket
import socketserver
import struct
import threading
import time
import zlib
from collections import Counter, namedtuple
from urllib.parse import quote, unquote

from PIL import Image

from birdsort.aviary.pencil import draw_bird


def encode(im, format='JPEG', **kw):
    out = io.BytesIO()
    im.save(out, format, **kw)
    return out.getvalue()


def image(seed, side=96):
    return draw_bird('grey heron', seed).resize((side, side * 2 // 3)).convert('RGB')


def jpeg(seed):
    return encode(image(seed), quality=85)


def bomb(side=30_000):
    "A PNG of a few KB that is gigabytes in memory: one grey row, compressed, again and again."

    def chunk(kind, data):
        return (
            struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
        )

    packer = zlib.compressobj(9)
    rows = b''.join(packer.compress(b'\0' * (side // 8 + 1)) for _ in range(side)) + packer.flush()
    return (
        b'\x89PNG\r\n\x1a\n'
        + chunk(b'IHDR', struct.pack('>IIBBBBB', side, side, 1, 0, 0, 0, 0))
        + chunk(b'IDAT', rows)
        + chunk(b'IEND', b'')
    )


def upright(seed):  # Stored lying, with a note to turn it, and the place where it was taken
    exif = Image.Exif()
    exif[0x0112] = 6
    exif.get_ifd(0x8825)[1] = 'N'
    return encode(image(seed), exif=exif)


def walked(seed):  # A clean JPEG, but for where it was taken
    exif = Image.Exif()
    exif.get_ifd(0x8825)[1] = 'N'
    return encode(image(seed), exif=exif, comment=b'at home')


def deep(seed):  # 16 bits of grey
    grey = image(seed).convert('L')
    return encode(
        Image.frombytes('I;16', grey.size, bytes(b for v in grey.tobytes() for b in (0, v))), 'PNG'
    )


def glass(seed):
    im = image(seed)
    im.putalpha(128)
    return encode(im, 'PNG')


def film(seed):
    return encode(image(seed), 'GIF', save_all=True, append_images=[image(seed + 1)], duration=100)


def head(length=None, status='200 OK', kind='image/jpeg', **more):
    lines = [
        f'HTTP/1.1 {status}',
        f'Content-Type: {kind}',
        *([] if length is None else [f'Content-Length: {length}']),
        *(f"{k.replace('_', '-')}: {v}" for k, v in more.items()),
        'Connection: close',
    ]
    return '\r\n'.join(lines).encode() + b'\r\n\r\n'


def whole(body, **kw):
    return lambda sock, nth: sock.sendall(head(len(body), **kw) + body)


def status(code, **kw):
    return lambda sock, nth: sock.sendall(head(0, status=f'{code} No', **kw))


def moved(to):
    return lambda sock, nth: sock.sendall(head(0, status='302 Found', Location=to))


def first(times, bad, good):
    return lambda sock, nth: (bad if nth <= times else good)(sock, nth)


def drip(sock, nth):
    sock.sendall(head(3000))
    for b in jpeg(1)[:3000]:
        sock.sendall(bytes([b]))
        time.sleep(0.2)


def stall(sock, nth):
    time.sleep(60)


def stall_later(sock, nth):
    sock.sendall(head(9000) + jpeg(2)[:500])
    time.sleep(60)


def reset(sock, nth):
    sock.sendall(head(9000) + jpeg(3)[:500])
    time.sleep(0.05)
    sock.setsockopt(
        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0)
    )  # Closing now sends a reset


def flood(sock, nth):  # 200 MB, and no word of it beforehand
    sock.sendall(head())
    for _ in range(200):
        sock.sendall(b'\0' * 1_000_000)


def chunked(body, broken=False):
    def send(sock, nth):
        sock.sendall(head(Transfer_Encoding='chunked'))
        for i in range(0, len(body), 700):
            sock.sendall(b'%x\r\n' % len(body[i : i + 700]) + body[i : i + 700] + b'\r\n')
        sock.sendall(b'zz\r\n' if broken else b'0\r\n\r\n')

    return send


Fault = namedtuple(
    'Fault', 'play kept reason'
)  # What the server does; whether the image is to be kept; else why not, one of these


def good(play):
    return Fault(play, True, None)


def bad(play, *reason):
    return Fault(play, False, reason)


def faults():
    "Path -> what happens there."
    one = jpeg(50)
    table = {
        'drip.jpg': bad(drip, 'timeout'),
        'stall.jpg': bad(stall, 'timeout'),
        'stall-later.jpg': bad(stall_later, 'timeout'),
        'reset.jpg': bad(reset, 'cut off', 'no connection'),
        'reset-once.jpg': good(first(1, reset, whole(jpeg(4)))),
        'truncated.jpg': bad(lambda s, n: s.sendall(head(9000) + jpeg(5)[:700]), 'cut off'),
        'length-too-short.jpg': bad(
            lambda s, n: s.sendall(head(700) + jpeg(6)), 'broken image', 'bad answer'
        ),
        'no-length.jpg': good(lambda s, n: s.sendall(head() + jpeg(7))),
        'chunked.jpg': good(chunked(jpeg(8))),
        'chunked-broken.jpg': bad(chunked(jpeg(9), True), 'cut off', 'bad answer', 'timeout'),
        'no-http.jpg': bad(lambda s, n: s.sendall(b'\xff\xfe\0nonsense\r\n\r\n'), 'bad answer'),
        'hangs-up.jpg': bad(lambda s, n: None, 'no connection'),
        '404.jpg': bad(status(404), 'http 404'),
        '403.jpg': bad(status(403), 'http 403'),
        '410.jpg': bad(status(410), 'http 410'),
        '204.jpg': bad(status(204), 'http 204'),
        '429-then-fine.jpg': good(first(1, status(429, Retry_After='1'), whole(jpeg(10)))),
        '429-for-a-day.jpg': bad(status(429, Retry_After='86400'), 'http 429'),
        '500-then-fine.jpg': good(first(2, status(500), whole(jpeg(11)))),
        '503-then-fine.jpg': good(first(1, status(503, Retry_After='0'), whole(jpeg(12)))),
        '503.jpg': bad(status(503), 'http 503'),
        'loop.jpg': bad(moved('/loop.jpg'), 'too many redirects'),
        'moved.jpg': good(first(1, moved('/moved.jpg?again'), whole(jpeg(13)))),
        'to-loopback.jpg': bad(moved('http://localhost:22/x.jpg'), 'private address'),
        'to-number.jpg': bad(moved('http://127.1:22/x.jpg'), 'private address', 'not an address'),
        'to-metadata.jpg': bad(moved('http://169.254.169.254/latest/'), 'private address'),
        'to-v6.jpg': bad(moved('http://[::ffff:127.0.0.1]:22/'), 'private address'),
        'to-file.jpg': bad(moved('file:///etc/passwd'), 'not http'),
        'to-nonsense.jpg': bad(moved('http://[broken'), 'not an address'),
        'to-nat64.jpg': bad(moved('http://[64:ff9b::7f00:1]:22/'), 'private address'),
        'page.jpg': bad(whole(b'<html>Sorry</html>', kind='text/html'), 'not an image'),
        'drawing.jpg': bad(
            whole(b'<svg xmlns="http://www.w3.org/2000/svg"/>', kind='image/svg+xml'),
            'not an image',
        ),
        'empty.jpg': bad(whole(b''), 'empty file'),
        'dot.png': bad(whole(encode(Image.new('RGB', (1, 1)), 'PNG')), 'too small'),
        'bomb.png': bad(whole(bomb()), 'too many pixels'),
        'announced.jpg': bad(lambda s, n: s.sendall(head(200_000_000)), 'too large'),
        'flood.jpg': bad(flood, 'too large'),
        'squeezed.jpg': bad(
            whole(gzip.compress(b'\0' * 200_000_000, 9), Content_Encoding='gzip'), 'too large'
        ),
        'cut-inside.jpg': bad(whole(jpeg(14)[:-300]), 'broken image'),
        'garbage.jpg': bad(
            whole(b'\xff\xd8\xff\xe0\0\x10JFIF\0' + bytes(range(256)) * 9),
            'broken image',
            'not an image',
        ),
        'scan.tiff': good(whole(encode(image(15), 'TIFF'), kind='image/tiff')),
        'cmyk.jpg': good(whole(encode(image(16).convert('CMYK')))),
        'palette.png': good(whole(encode(image(17).quantize(16), 'PNG'))),
        '16-bit.png': good(whole(deep(18))),
        'film.gif': good(whole(film(19))),
        'glass.png': good(whole(glass(21))),
        'image.webp': good(whole(encode(image(22), 'WEBP'))),
        'image.bmp': good(whole(encode(image(23), 'BMP'))),
        'odd-notes.jpg': good(
            whole(jpeg(33)[:20] + b'\xff\xe1\x00\x10Exif\0\0nonsense' + jpeg(33)[20:])
        ),
        'upright.jpg': good(whole(upright(24))),
        'walked.jpg': good(whole(walked(25))),
        '../../../etc/escape.jpg': good(whole(jpeg(26))),
        'garça-real ’.jpg': good(whole(jpeg(27))),
        'गौरैया.jpg': good(whole(jpeg(28))),
        'con.jpg?a=/../b&c=%2F': good(whole(jpeg(29))),
        'noai.jpg': bad(whole(jpeg(30), X_Robots_Tag='noai'), 'opted out'),
        'noimageai.jpg': bad(whole(jpeg(31), X_Robots_Tag='noindex, noimageai'), 'opted out'),
        'other-bot.jpg': good(whole(jpeg(32), X_Robots_Tag='otherbot: noai')),
        'same-0.jpg': good(whole(one)),
    }
    return (
        table
        | {f'same-{i}.jpg': bad(whole(one), 'exact duplicate') for i in range(1, 10)}
        | {f'good-{i}.jpg': good(whole(jpeg(100 + i))) for i in range(20)}
    )


class Hostile(socketserver.ThreadingTCPServer):
    "The server, up inside a `with`; `asked` counts requests per path."

    allow_reuse_address, daemon_threads, request_queue_size = True, True, 128

    def __init__(self, table, delay=0):
        self.table = {quote(p, safe='/?&=%'): f for p, f in table.items()}
        self.delay, self.lock = delay, threading.Lock()
        self.asked, self.open = Counter(), 0
        self.unanswered = self.most_unanswered = 0
        super().__init__(('127.0.0.1', 0), _Answer)

    @property
    def host(self):
        return f'127.0.0.1:{self.server_address[1]}'

    def address(self, path):
        return f'http://{self.host}/{path}'

    def __enter__(self):
        threading.Thread(
            target=self.serve_forever, kwargs=dict(poll_interval=0.05), daemon=True
        ).start()
        return self

    def __exit__(self, *args):
        self.shutdown()
        self.server_close()

    def handle_error(self, request, client_address):
        pass  # Whoever hangs up is expected to


class _Answer(socketserver.BaseRequestHandler):
    def handle(self):
        server, asked = self.server, b''
        while b'\r\n\r\n' not in asked:
            if not (more := self.request.recv(65536)):
                return
            asked += more
        path = asked.split(b' ')[1].decode()[1:]
        with server.lock:
            server.asked[unquote(path)] += 1
            server.open += 1
            server.unanswered += 1
            server.most_unanswered = max(server.most_unanswered, server.unanswered)
            nth = server.asked[unquote(path)]
        try:
            time.sleep(server.delay)
            with server.lock:
                server.unanswered -= 1  # Before the answer, after which the client may ask again
            fault = server.table.get(path) or server.table.get(path.split('?')[0])
            (fault.play if fault else status(404))(self.request, nth)
        finally:
            with server.lock:
                server.open -= 1
