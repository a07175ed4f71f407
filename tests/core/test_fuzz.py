"Ten seconds of damaged files of every format: read or refused, quickly, within the budget."

import io
import random
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from birdsort.cleaning.format_leaks import file_facts
from birdsort.core.images import (
    Budget,
    ImageError,
    _has_heic,
    decode,
    ingest,
    read_header,
    strip_metadata,
)

SECONDS = 2.5  # For each group of formats


def noise(mode='RGB'):
    grid = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    return Image.fromarray(grid).resize((96, 64), Image.Resampling.BICUBIC).convert(mode)


def encode(im, format='JPEG', **kw):
    out = io.BytesIO()
    im.save(out, format, **kw)
    return out.getvalue()


def film(format, **kw):
    frames = [noise(), noise().rotate(90), Image.new('RGB', (96, 64), 'red')]
    return encode(frames[0], format, save_all=True, append_images=frames[1:], **kw)


def located():
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, 'at home'
    exif.get_ifd(0x8825)[1] = 'N'
    return exif


def png_chunk(kind, content):
    return (
        struct.pack('>I', len(content))
        + kind
        + content
        + struct.pack('>I', zlib.crc32(kind + content))
    )


def jpegs():
    yield from (encode(noise(), exif=located(), comment=b'at home', **kw) for kw in ({}, PASSES))
    yield from (encode(noise(mode)) for mode in ('L', 'CMYK'))
    yield encode(noise(), restart_marker_rows=1)
    yield encode(noise(), icc_profile=bytes(70_000))
    yield film('MPO')


def pngs():
    modes = ('RGB', 'RGBA', 'P', 'LA', '1', 'I;16')
    yield from (encode(noise(mode), 'PNG', exif=located()) for mode in modes)
    plain = encode(noise(), 'PNG')
    yield plain[:33] + png_chunk(b'zTXt', b'a\0\0' + zlib.compress(b'x' * 9000)) + plain[33:]
    rows = zlib.compress(b'\1' * 3000)
    head = png_chunk(b'IHDR', struct.pack('>IIBBBBB', 40, 30, 8, 0, 0, 0, 1))  # Interlaced
    yield plain[:8] + head + png_chunk(b'IDAT', rows) + png_chunk(b'IEND', b'')
    yield film('PNG')


def films_and_bitmaps():
    yield from (encode(noise(mode), 'GIF', comment=b'at home') for mode in ('P', 'L'))
    yield from (film('GIF', transparency=0), film('WEBP'))
    yield from (encode(noise(), 'WEBP', exif=located(), **kw) for kw in ({}, dict(lossless=True)))
    yield encode(noise('RGBA'), 'WEBP')
    yield from (encode(noise(mode), 'BMP') for mode in ('RGB', 'RGBA', 'P', 'L', '1'))
    bitmap = encode(noise('P'), 'BMP')
    runs = b'\x60\7\0\0' * 64 + b'\0\1'
    yield from (bitmap[:30] + bytes([kind, 0, 0, 0]) + bitmap[34:1078] + runs for kind in (1, 2))


def others():
    for compression in ('raw', 'tiff_lzw', 'tiff_adobe_deflate', 'jpeg', 'packbits'):
        yield encode(noise(), 'TIFF', compression=compression, exif=located())
    yield from (encode(noise(mode), 'TIFF') for mode in ('RGBA', 'CMYK', 'I;16', 'F', '1', 'P'))
    yield from (encode(noise(), 'TIFF', big_tiff=True), film('TIFF'))
    yield encode(noise(), 'TIFF', tiffinfo={322: 32, 323: 32}, compression='tiff_lzw')
    yield from (encode(noise(mode), 'AVIF', speed=10, exif=located()) for mode in ('RGB', 'RGBA'))
    if _has_heic():
        yield encode(noise(), 'HEIF', exif=located())


PASSES = dict(progressive=True)
GROUPS = dict(JPEG=jpegs, PNG=pngs, films_and_bitmaps=films_and_bitmaps, others=others)
NUMBERS = [b'\xff', b'\0', b'\x7f', b'\x80', b'\0\1', b'\1\0']


def mutated(rng, data):
    "A file with a few bytes changed, cut, doubled or taken out."
    data = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        at, n = (
            rng.randrange(min(len(data), rng.choice([200, 10**6]))),
            rng.choice([1, 1, 2, 4, 30]),
        )
        kind = rng.randrange(5)
        if kind == 0:
            data[at : at + n] = rng.randbytes(n)
        elif kind == 1:
            data[at : at + n] = rng.choice(NUMBERS) * n
        elif kind == 2:
            data[at:at] = data[at : at + n]
        elif kind == 3:
            del data[at : at + n]
        elif rng.random() < 0.2:
            del data[at:]
        data = data or bytearray(b'\xff')
    return sealed(bytes(data)) if rng.random() < 0.7 else bytes(data)


def sealed(data):
    "A PNG with right checksums, so that its chunks are read."
    if not data.startswith(b'\x89PNG\r\n'):
        return data
    at, parts = 8, [data[:8]]
    while at < len(data):
        n = int.from_bytes(data[at : at + 4], 'big')
        kind, content = data[at + 4 : at + 8], data[at + 8 : at + 8 + n]
        parts.append(data[at : at + 4] + kind + content)
        parts.append(struct.pack('>I', zlib.crc32(kind + content)))
        at += 12 + n
    return b''.join(parts)


def read_in_every_way(data, file):
    "Whether a file can be read; whatever leaves as another error than ours is a fault."
    file.write_bytes(data)  # It is there still when a decoder takes the whole process with it
    stored, width, height = ingest(data, 1)
    assert b'at home' not in stored or b'Exif' not in stored
    assert read_header(stored)[:2] == (width, height) and strip_metadata(stored) == stored
    assert min(decode(stored, 8).size) >= min(width, height, 8)
    assert read_header(file).format and file_facts(file)
    assert decode(file, 8).mode == 'RGB'


def memory():
    "Megabytes at the highest since the last call, and now; Linux only."
    lines = Path('/proc/self/status').read_text().splitlines()
    status = dict(line.split(':', 1) for line in lines)
    Path('/proc/self/clear_refs').write_text('5')
    return [int(status[name].split()[0]) / 1000 for name in ('VmHWM', 'VmRSS')]


@pytest.mark.parametrize('group', GROUPS)
def test_damaged_files_are_read_or_refused(group, tmp_path, monkeypatch):
    budget, rng, counts = Budget(20_000_000), random.Random(int(time.time())), [0, 0]
    monkeypatch.setattr('birdsort.core.images.DECODING', budget)
    files = [[data, 0] for data in GROUPS[group]()]
    for data, _ in files:
        decode(data)
    _, before = memory()
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        chosen = rng.choice(files)
        data, start = mutated(rng, chosen[0]), time.process_time()
        budget.most = budget.free = rng.choice([20_000_000, 20_000_000, 110_000])
        try:
            read_in_every_way(data, tmp_path / 'last')
        except ImageError as e:
            counts[1] += 1
            assert 0 < len(e.reason) < 200 and '\n' not in e.reason, (data.hex(), e.reason)
        except Exception as e:
            raise AssertionError(data.hex()) from e
        else:
            counts[0] += 1
            chosen[1] += 1
        assert budget.free == budget.most and time.process_time() - start < 5, data.hex()
    print(f'{counts[0]} read, {counts[1]} refused')
    assert min(counts) > 0 and memory()[0] - before < 100
