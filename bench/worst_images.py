"""What does the worst image of each kind take, in memory and in seconds?

    python bench/worst_images.py

Images that are as hard as their format allows are made: many pixels, little of a file. Each is read as `scrape` reads
it (by as many threads as there are cores, the same image for each), as `predict` does, and by `serve`, with sixteen
clients at once. Memory is what a process holds at its highest, above what it held just before, in MB; a reason
stands where the image is refused."""

import argparse
import contextlib
import ctypes
import io
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, features

Image.MAX_IMAGE_PIXELS = None


def encoded(im, kind, **how):
    "An image as the bytes of a file."
    out = io.BytesIO()
    im.save(out, kind, **how)
    return out.getvalue()


def plain(mode, width, height):
    return Image.new(mode, (width, height))


def chunk(kind, data):
    return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))


def png(width, height, depth=8, colour=2, interlaced=0, more=()):
    "A black PNG, packed line by line; `more` are chunks before its pixels."
    bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    line = bytes(1 + -(-width * bits // 8))
    packer, parts = zlib.compressobj(9), []
    lines = height * 2 if interlaced else height
    for _ in range(lines):
        parts.append(packer.compress(line))
    parts.append(packer.flush())
    palette = [chunk(b'PLTE', bytes(768))] if colour == 3 else []
    head = chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, depth, colour, 0, 0, interlaced))
    data = chunk(b'IDAT', b''.join(parts))
    return b'\x89PNG\r\n\x1a\n' + head + b''.join([*palette, *more]) + data + chunk(b'IEND', b'')


def with_texts(n=200):
    "A small PNG with texts that unpack to 10 MB each."
    packed = zlib.compress(bytes(10_000_000), 9)
    return png(64, 64, more=[chunk(b'zTXt', b'Comment\0\0' + packed)] * n)


def tiff(width, height, **tags):
    "A TIFF that says so much of itself, and holds a little."
    known = dict(
        width=(256, width),
        height=(257, height),
        bits=(258, 8),
        packing=(259, 8),
        photometric=(262, 1),
        samples=(277, 1),
    )
    data = zlib.compress(bytes(1_000_000), 9)
    known |= {name: (number, value) for name, (number, value) in tags.items()}
    tiled = 'tile_width' in known
    known |= dict(place=(324 if tiled else 273, 8), length=(325 if tiled else 279, len(data)))
    if not tiled:
        known.setdefault('rows', (278, height))
    entries = [struct.pack('<HHII', number, 4, 1, value) for number, value in sorted(known.values())]
    table = struct.pack('<H', len(entries)) + b''.join(entries) + bytes(4)
    return b'II*\0' + struct.pack('<I', 8 + len(data) + len(data) % 2) + data + bytes(len(data) % 2) + table


def animated(kind, n, side, **how):
    frames = [Image.new('RGB', (side, side), (i % 256, 0, i // 256)) for i in range(n)]
    return encoded(frames[0], kind, save_all=True, append_images=frames[1:], **how)


def scans(n, side=4000):
    "A progressive JPEG that says its last scan again and again."
    data = encoded(plain('RGB', side, side), 'JPEG', progressive=True, quality=30)
    last = data.rindex(b'\xff\xda')
    return data[:last] + data[last:-2] * n + b'\xff\xd9'


def many_segments(n):
    data = encoded(plain('RGB', 64, 64), 'JPEG')
    return data[:2] + b'\xff\xfe\x00\x02' * n + data[2:]


def kinds():
    "Name -> the bytes of the image, made when they are asked for."
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (3000, 4000, 3), np.uint8))
    found = {
        'JPEG, 12 megapixels of noise': lambda: encoded(noise, 'JPEG', quality=95),
        'JPEG, 200 megapixels': lambda: encoded(plain('RGB', 16320, 12240), 'JPEG', quality=30),
        'JPEG, 200 megapixels, progressive': lambda: encoded(
            plain('RGB', 16320, 12240), 'JPEG', quality=30, progressive=True
        ),
        'JPEG, 100 megapixels, CMYK': lambda: encoded(plain('CMYK', 10000, 10000), 'JPEG', quality=30),
        'JPEG, 65,000 x 15,000': lambda: encoded(plain('RGB', 65000, 15000), 'JPEG', quality=10),
        'JPEG of 90 scans': lambda: scans(80),
        'JPEG of 1,000 scans': lambda: scans(1000, 500),
        'JPEG of 200,000 segments': lambda: many_segments(200_000),
        'PNG, 60 megapixels': lambda: png(7800, 7800),
        'PNG, 900 megapixels': lambda: png(30000, 30000),
        'PNG, 1 x 64,000,000': lambda: png(1, 64_000_000, colour=0),
        'PNG, 64,000,000 x 1': lambda: png(64_000_000, 1, colour=0),
        'PNG, 60 megapixels, 16 bits, RGBA': lambda: png(7800, 7800, 16, 6),
        'PNG, 60 megapixels, 16 bits, grey': lambda: png(7800, 7800, 16, 0),
        'PNG, 60 megapixels, a bit each': lambda: png(7800, 7800, 1, 0),
        'PNG, 60 megapixels, palette': lambda: png(7800, 7800, 8, 3),
        'PNG, 60 megapixels, interlaced': lambda: png(7800, 7800, 8, 2, 1),
        'PNG, 2 GB of packed texts': with_texts,
        'APNG of 2,000 frames': lambda: animated('PNG', 2000, 256),
        'GIF, 65,000 x 900': lambda: encoded(plain('P', 65000, 900), 'GIF'),
        'GIF of 3,000 frames': lambda: animated('GIF', 3000, 400),
        'BMP, 60 megapixels': lambda: encoded(plain('RGB', 7800, 7800), 'BMP'),
        'BMP, 60 megapixels, a bit each': lambda: encoded(plain('1', 7800, 7800), 'BMP'),
        'TIFF, 60 megapixels, packed': lambda: encoded(plain('RGB', 7800, 7800), 'TIFF', compression='tiff_deflate'),
        'TIFF, 60 megapixels, 16 bits': lambda: encoded(plain('I;16', 7800, 7800), 'TIFF'),
        'TIFF, floats': lambda: encoded(plain('F', 7800, 7800), 'TIFF', compression='tiff_deflate'),
        'TIFF, CMYK': lambda: encoded(plain('CMYK', 7800, 7800), 'TIFF', compression='tiff_lzw'),
        'TIFF, one tile of 60,000 x 60,000': lambda: tiff(64, 64, tile_width=(322, 60000), tile_height=(323, 60000)),
        'TIFF, one strip of 60 megapixels': lambda: tiff(7800, 7800),
        'TIFF of 500 pages': lambda: animated('TIFF', 500, 500, compression='tiff_deflate'),
        'WebP, 16,383 x 16,383': lambda: encoded(plain('RGB', 16383, 16383), 'WEBP', lossless=True, method=0),
        'WebP, 16 megapixels': lambda: encoded(plain('RGBA', 4000, 3990), 'WEBP', lossless=True, method=0),
        'WebP of 500 frames': lambda: animated('WEBP', 500, 1000, method=0),
        'a web page of 100 MB': lambda: b'<html>' + b' ' * 100_000_000,
    }
    if features.check('avif'):
        found['AVIF, 24 megapixels'] = lambda: encoded(plain('RGB', 6000, 4000), 'AVIF', speed=10)
        found['AVIF, 60 megapixels'] = lambda: encoded(plain('RGB', 7800, 7800), 'AVIF', speed=10)
    with contextlib.suppress(ImportError):
        from pillow_heif import register_heif_opener

        register_heif_opener()
        found['HEIC, 24 megapixels'] = lambda: encoded(plain('RGB', 6000, 4000), 'HEIF')
    return found


def status(pid, name):
    "A line of /proc/PID/status, MB."
    return int(re.search(rf'{name}:\s+(\d+)', Path(f'/proc/{pid}/status').read_text())[1]) / 1024


@contextlib.contextmanager
def measured(pid, found, trim=lambda: None):
    "Within, the memory of a process at its highest is looked at -> `found`: MB above before, and seconds."
    trim()
    before = status(pid, 'VmRSS')
    Path(f'/proc/{pid}/clear_refs').write_text('5')
    start = time.perf_counter()
    yield
    found += [status(pid, 'VmHWM') - before, time.perf_counter() - start]


def give_back():
    ctypes.CDLL('libc.so.6').malloc_trim(0)


def attempt(call, *args):
    "Call -> why it was refused; empty where it was not."
    try:
        answer = call(*args)
    except ValueError as e:
        return str(e)
    return str(answer.get('error') or '') if isinstance(answer, dict) else ''


def at_once(call, n):
    "Call from n threads at once -> the reason of the first."
    with ThreadPoolExecutor(n) as pool:
        return list(pool.map(lambda _: call(), range(n)))[0]


@contextlib.contextmanager
def served(folder):
    "`birdsort serve` in a process of its own -> its id and address."
    command = [sys.executable, '-m', 'birdsort.cli', 'serve', '--project', str(folder), '--threshold', '0']
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        try:
            address = next(m[0] for line in process.stderr if (m := re.search(r'http://[\d.]+:\d+', line)))
            threading.Thread(target=process.stderr.read, daemon=True).start()
            yield process.pid, address
        finally:
            process.terminate()


def post(address, data):
    import requests

    return requests.post(f'{address}/predict', files={'a': data}, timeout=600).json()


def measure(name, data, predictor, server, clients):
    "A row of the table."
    from birdsort.core.images import ingest

    scrape, predict, serve, cores = [], [], [], os.cpu_count()
    with measured(os.getpid(), scrape, give_back):
        reason = at_once(lambda: attempt(ingest, data), cores)
    with measured(os.getpid(), predict, give_back):
        attempt(predictor, data)
    with measured(server[0], serve):
        at_once(lambda: attempt(post, server[1], data), clients)
    row = dict(scrape=scrape, predict=predict, serve=serve)
    return dict(kind=name, bytes=len(data), refused=reason) | {k: [round(x, 2) for x in v] for k, v in row.items()}


def line(row):
    cells = ' | '.join(f'{row[k][0]:.0f}, {row[k][1]:.1f}' for k in ('scrape', 'predict', 'serve'))
    return f"| {row['kind']} | {row['bytes'] / 1e6:.2f} | {cells} | {row['refused'][:90]} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--only', default='', help='kinds whose name holds this')
    parser.add_argument('--clients', type=int, default=16, help='of the server, at once')
    args = parser.parse_args()
    from birdsort.aviary.sample_project import lesson_project
    from birdsort.export import export
    from birdsort.predict import Predictor
    from birdsort.split import split
    from birdsort.train import train

    rows = []
    print(
        '| image | MB | scrape: MB, s | predict: MB, s | serve: MB, s | refused |\n| --- | --- | --- | --- | --- | --- |'
    )
    with tempfile.TemporaryDirectory() as d:
        project = lesson_project(20, Path(d) / 'birds')
        split(project, quiet=True), train(project, quiet=True), export(project, formats=('onnx',), quiet=True)
        predictor, small = Predictor(project), next(project.images.glob('*/*.jpg')).read_bytes()
        predictor(small)
        with served(project.path) as server:
            at_once(lambda: post(server[1], small), args.clients)
            for name, make in kinds().items():
                if args.only in name:
                    rows.append(measure(name, make(), predictor, server, args.clients))
                    print(line(rows[-1]), flush=True)
    print(json.dumps({k: max(row[k][0] for row in rows) for k in ('scrape', 'predict', 'serve')}))


if __name__ == '__main__':
    main()
