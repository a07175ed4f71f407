"Whatever a decoder meets: large, wordy, damaged and dishonest files, each kind with its siblings."

import io
import struct
import threading
import time
import tracemalloc
import zlib
from contextlib import contextmanager, suppress

import numpy as np
import pytest
from PIL import Image, ImageOps, PngImagePlugin

import birdsort.core.images
from birdsort.cleaning.format_leaks import file_facts
from birdsort.core.images import (
    DECODING,
    Budget,
    ImageError,
    decode,
    decoding,
    ingest,
    opened,
    read_header,
    strip_metadata,
)


def encode(im, format='JPEG', **kw):
    out = io.BytesIO()
    im.save(out, format, **kw)
    return out.getvalue()


def noise(width=96, height=64, mode='RGB'):
    grid = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    return Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC).convert(mode)


def chunk(kind, content):
    return (
        struct.pack('>I', len(content))
        + kind
        + content
        + struct.pack('>I', zlib.crc32(kind + content))
    )


def png(width, height, depth=8, colour=2, rows=b'', *, interlaced=False):
    header = struct.pack('>IIBBBBB', width, height, depth, colour, 0, 0, interlaced)
    return (
        b'\x89PNG\r\n\x1a\n'
        + chunk(b'IHDR', header)
        + chunk(b'IDAT', zlib.compress(rows))
        + chunk(b'IEND', b'')
    )


def vp8l(width, height):  # A whole lossless WebP of one colour, of a few bytes
    size = struct.pack('<I', (width - 1) | (height - 1) << 14)
    body = b'\x2f' + size + b'\x88\x88\x08' + b'\0' * 6
    part = b'VP8L' + struct.pack('<I', len(body)) + body + b'\0' * (len(body) % 2)
    return b'RIFF' + struct.pack('<I', 4 + len(part)) + b'WEBP' + part


def resized(jpeg, width, height):  # The same JPEG, with another size in its frame
    at = next(i for i in range(len(jpeg)) if jpeg[i] == 0xFF and jpeg[i + 1] in (0xC0, 0xC2))
    return jpeg[: at + 5] + struct.pack('>HH', height, width) + jpeg[at + 9 :]


PLAIN = encode(noise(), 'PNG')
TEXT = zlib.compress(b'x' * 2_000_000)
WORDY = {
    'a compressed text': (33, chunk(b'zTXt', b'workflow\0\0' + TEXT)),
    'a compressed text in Unicode': (33, chunk(b'iTXt', b'prompt\0\1\0en\0\0' + TEXT)),
    'a text in Unicode': (33, chunk(b'iTXt', b'prompt\0\0\0en\0\0' + b'x' * 2_000_000)),
    'a plain text': (33, chunk(b'tEXt', b'parameters\0' + b'x' * 2_000_000)),
    'many texts': (33, chunk(b'zTXt', b'a\0\0' + zlib.compress(b'x' * 900_000)) * 90),
    'a text behind the image': (-12, chunk(b'zTXt', b'workflow\0\0' + TEXT)),
    'a colour profile': (33, chunk(b'iCCP', b'p\0\0' + TEXT)),
    'a text of another compression': (33, chunk(b'zTXt', b'a\0\7' + b'no')),
    'a damaged text': (33, chunk(b'zTXt', b'a\0\0' + TEXT[:-9])),
    'a text with a wrong checksum': (33, chunk(b'tEXt', b'a\0b')[:-1] + b'!'),
    'a text without a key': (33, chunk(b'zTXt', b'')),
    'Unicode that is none': (33, chunk(b'iTXt', b'\xff\0\0\0\0\0\xff')),
}


@pytest.mark.parametrize('where, words', WORDY.values(), ids=WORDY)
def test_the_text_of_a_png_is_no_part_of_its_image(tmp_path, where, words):
    file = tmp_path / 'wordy.png'
    file.write_bytes(PLAIN[:where] + words + PLAIN[where:])
    assert decode(file) == decode(PLAIN) and read_header(file).width == 96
    assert ingest(file.read_bytes()) == ingest(PLAIN)


@pytest.mark.parametrize('words', [False, True])
def test_the_first_frame_of_an_animated_png_is_the_image(words):
    frames = [Image.new('RGB', (64, 48), colour) for colour in ('red', 'red', 'blue')]
    frames[1].paste('blue', (0, 0, 10, 10))
    info = PngImagePlugin.PngInfo()
    if words:
        info.add_text('prompt', 'heron ' * 200)
    data = encode(frames[0], 'PNG', save_all=True, append_images=frames[1:], pnginfo=info)
    assert b'fdAT' in data and decode(data).getcolors() == [(64 * 48, (255, 0, 0))]


def test_a_png_is_turned_wherever_its_exif_stands():
    exif = Image.Exif()
    exif[0x0112] = 6
    content = chunk(b'eXIf', exif.tobytes().removeprefix(b'Exif\0\0'))
    assert {decode(PLAIN[:at] + content + PLAIN[at:]).size for at in (33, -12)} == {(64, 96)}


class CountedBudget(Budget):
    "Remembers how much was in use at the highest."

    highest = 0

    def __setattr__(self, name, value):
        super().__setattr__(name, value)
        if name == 'free':
            self.highest = max(self.highest, self.most - value)


LYING = b'Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0'


def self_quoting(n=300, length=300_000, *, long=False, inside=None):
    "A TIFF without an image: n tags, of which each means nearly all of it."
    head, counted, entry = ('<4sHHQ', '<Q', '<HHQQ') if long else ('<4sI', '<H', '<HHII')
    begin = struct.pack(head, b'II+\0', 8, 0, 16) if long else struct.pack(head, b'II*\0', 8)
    tags = [(40_000 + i, 7, length // 2, length // 2) for i in range(n)]
    directories = [tags] if inside is None else [[(inside, 4, 1, 64)], tags]
    for directory in directories:
        begin += struct.pack(counted, len(directory))
        begin += b''.join(struct.pack(entry, *tag) for tag in directory)
        begin = (begin + bytes(8)).ljust(64, b'\0') if directory is not tags else begin + bytes(8)
    return begin.ljust(length, b'x')


def in_segments(marker, contents):
    more = b''.join(b'\xff' + bytes([marker]) + struct.pack('>H', len(c) + 2) + c for c in contents)
    return JPEG[:2] + more + JPEG[2:]


def with_exif(format, exif, **kw):
    return encode(noise(), format, exif=b'Exif\0\0' + exif, **kw)


def gif_with(blocks):
    gif = encode(noise(mode='P'), 'GIF')
    at = 13 + (6 << (gif[10] & 7))
    return gif[:at] + blocks + gif[at:]


JPEG = encode(noise())
HEAVY = self_quoting()
WEIGHTY = {
    'Exif of a JPEG': in_segments(0xE1, [b'Exif\0\0' + self_quoting(2000, 65_000)]),
    'Exif of a JPEG in parts': in_segments(
        0xE1, [b'Exif\0\0' + HEAVY[i : i + 65_000] for i in range(0, 300_000, 65_000)]
    ),
    'thousands of parts': in_segments(0xE1, [b'Exif\0\0' + b'x' * 100] * 3000),
    'empty segments': in_segments(0xE5, [b''] * 20_000),
    'comments': in_segments(0xFE, [b'at home' * 8000] * 20),
    'an index of images': in_segments(0xE2, [b'MPF\0' + self_quoting(2000, 65_000)]),
    'a colour profile': in_segments(
        0xE2, [b'ICC_PROFILE\0' + bytes([i, 90]) + bytes(60_000) for i in range(1, 91)]
    ),
    'Exif of a PNG': with_exif('PNG', HEAVY),
    'a private chunk': PLAIN[:33] + chunk(b'prVt', bytes(3_000_000)) + PLAIN[33:],
    'private chunks': PLAIN[:33] + chunk(b'prVt', bytes(9)) * 10_000 + PLAIN[33:],
    'Exif of a WebP': with_exif('WEBP', HEAVY),
    'XMP of a WebP': encode(noise(), 'WEBP', xmp=bytes(3_000_000)),
    'Exif of an AVIF': with_exif('AVIF', HEAVY, speed=10),
    'a GIF’s comment': gif_with(b'!\xfe' + (b'\xff' + b'x' * 255) * 9000 + b'\0'),
    'a GIF’s comments': gif_with((b'!\xfe' + (b'\xff' + b'x' * 255) * 9 + b'\0') * 900),
    'tags of a TIFF': HEAVY,
    'tags of a BigTIFF': self_quoting(long=True),
    'Exif of a TIFF': self_quoting(inside=0x8769),
    'places of a TIFF': self_quoting(inside=0x8825),
}


@pytest.mark.parametrize('data', WEIGHTY.values(), ids=WEIGHTY)
def test_what_is_not_the_image_takes_no_memory(tmp_path, data):
    "Each would take a hundred times as much as the file, or as many steps as the square of its length."
    file = tmp_path / 'heron'
    file.write_bytes(data)
    for work in (read_header, decode, file_facts, lambda file: ingest(file.read_bytes())):
        tracemalloc.start()
        try:
            work(file)
        except ImageError as e:
            assert data[:2] == b'II' and 'MB in its tags' in e.reason
        finally:
            highest = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert highest < 6 * len(data) + 12_000_000
    with suppress(ImageError), opened(file) as raw:
        assert all(
            len(value) < 1_000_000 for value in raw.info.values() if isinstance(value, bytes)
        )


SIDEWAYS = [(f, kw) for f in ('JPEG', 'PNG', 'WEBP', 'TIFF', 'AVIF') for kw in range(1, 9)]


@pytest.mark.parametrize('format, lies', SIDEWAYS)
def test_every_format_comes_upright(format, lies):
    exif, im = Image.Exif(), noise().convert('L').convert('RGB')
    exif[0x0112] = lies
    data = encode(im, format, exif=exif)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert('RGB')
    difference = np.asarray(decode(data), float) - np.asarray(upright, float)
    assert np.abs(difference).max() == 0
    if format != 'TIFF':  # Pillow turns those itself, when they are decoded
        assert read_header(data)[:2] == upright.size
    assert ingest(data)[1:] == upright.size


STILL = {
    'lossy': dict(quality=80),
    'lossless': dict(lossless=True),
    'half transparent': dict(mode='RGBA'),
    'transparent, lossless': dict(mode='RGBA', lossless=True, exact=True),
    'an odd width': dict(width=97, lossless=True),
    'with Exif': dict(exif=LYING),
}


@pytest.mark.parametrize('side', [0, 20])
@pytest.mark.parametrize('options', STILL.values(), ids=STILL)
def test_a_webp_too_large_for_pillow_is_the_same_image(monkeypatch, options, side):
    kw = dict(options)
    im = noise(kw.pop('width', 96), mode='RGB')
    if kw.pop('mode', '') == 'RGBA':
        im.putalpha(Image.linear_gradient('L').resize(im.size))
    data = encode(im, 'WEBP', **kw)
    monkeypatch.setattr('birdsort.core.images._STRIP', 1000)
    expected = decode(data, side)
    budget = CountedBudget(17 * im.width * im.height)  # Pillow takes 18, and OpenCV 10 to 16
    monkeypatch.setattr('birdsort.core.images.DECODING', budget)
    monkeypatch.setattr('birdsort.core.images._MOST_WRITTEN', 2 * im.width * im.height)
    found = decode(data, side)
    assert budget.highest > 8 * im.width * im.height, 'it fits without OpenCV'
    assert found.size == expected.size
    assert np.abs(np.asarray(found, int) - np.asarray(expected, int)).max() <= 2


def test_a_jpeg_that_comes_out_too_large_is_refused(monkeypatch):
    monkeypatch.setattr('birdsort.core.images._MOST_WRITTEN', 1000)
    with pytest.raises(ImageError, match='MB as a JPEG'):
        ingest(PLAIN)


LARGE = {  # At a thirty-second of the real sizes and limits
    'a phone of 108 megapixels': (encode(Image.new('L', (2160, 1560)), quality=1), 0),
    'a phone of 200 megapixels': (encode(Image.new('L', (2900, 2160)), quality=1), 0),
    'the same, smaller': (encode(Image.new('L', (2900, 2160)), quality=1), 300),
    'four inks': (encode(Image.new('CMYK', (1300, 1300)), quality=1), 0),
    'lying': (encode(Image.new('L', (1600, 1000)), quality=1, exif=LYING), 0),
    'several passes': (encode(Image.new('RGB', (1300, 1000)), quality=1, progressive=True), 0),
    'a screen of one colour': (encode(Image.new('1', (1500, 1000)), 'PNG'), 300),
    'a palette': (encode(Image.new('P', (1300, 1300)), 'GIF'), 300),
    'half transparent': (encode(Image.new('LA', (1300, 1200)), 'PNG', compress_level=1), 300),
    'sixteen bits': (encode(Image.new('I;16', (1200, 1300)), 'PNG', compress_level=1), 300),
    'WebP': (vp8l(700, 500), 300),
    'a long strip': (encode(Image.new('L', (30_000, 200)), quality=1), 64),
}


@pytest.mark.parametrize('data, side', LARGE.values(), ids=LARGE)
def test_a_large_image_is_read_within_the_budget(monkeypatch, data, side):
    budget = CountedBudget(9_250_000)
    limits = dict(DECODING=budget, MAX_PIXELS=2_000_000, _STRIP=30_000, _MOST_WRITTEN=1_000_000)
    for name, value in limits.items():
        monkeypatch.setattr(f'birdsort.core.images.{name}', value)
    im = decode(data, side)
    width, height = read_header(data)[:2]
    assert (
        min(im.size) >= side and abs(im.width / im.height - width / height) < 0.02 * width / height
    )
    assert 4 * im.width * im.height <= budget.highest <= budget.most and budget.free == budget.most


def tiff(**tags):
    "A TIFF of 64 pixels a side that says of itself what is not so."
    numbers = dict(
        width=256, height=257, bits=258, packing=259, photometric=262, at=273, samples=277, rows=278, length=279,
        tile_width=322, tile_height=323, tile_at=324, tile_length=325,
    )  # fmt: skip
    known = dict(width=64, height=64, bits=8, packing=8, photometric=1, samples=1) | tags
    data = zlib.compress(bytes(4096))
    known |= (
        dict(tile_at=8, tile_length=len(data))
        if 'tile_width' in tags
        else dict(at=8, length=len(data))
    )
    entries = sorted(
        struct.pack('<HHII', numbers[name], 4, 1, value) for name, value in known.items()
    )
    entries.sort(key=lambda entry: struct.unpack('<H', entry[:2]))
    table = struct.pack('<H', len(entries)) + b''.join(entries) + bytes(4)
    return b'II*\0' + struct.pack('<I', 8 + len(data)) + data + table


TOO_LARGE = {
    'a TIFF of one huge tile': tiff(tile_width=60000, tile_height=60000),
    'a TIFF of one wide tile': tiff(tile_width=2**30, tile_height=16),
    'a TIFF of one tall tile': tiff(tile_width=16, tile_height=2**30),
    'a TIFF of one strip': tiff(width=8000, height=8000, rows=8000, samples=4, photometric=5),
    'a WebP of 34 bytes': vp8l(8000, 8000),
    'the largest WebP': vp8l(16_383, 16_383),
    'a PNG of one line': png(64_000_000, 1),
    'a PNG of one column': png(1, 64_000_000),
    'a web comic': png(64, 66_000),
    'a square PNG': png(30_000, 30_000, 1, 0),
    'a PNG in 16 bits': png(9000, 9000, 16, 6),
    'an interlaced PNG': png(9000, 9000, interlaced=True),
    'a PNG of the largest side': png(2**31 - 1, 2**31 - 1),
    'a GIF': b'GIF89a'
    + struct.pack('<HH', 65_535, 65_535)
    + encode(Image.new('P', (4, 4)), 'GIF')[10:],
    'a BMP': b'BM'
    + struct.pack('<IHHIIIIHHIIIIII', 0, 0, 0, 54, 40, 60_000, 60_000, 1, 24, 0, 0, 0, 0, 0, 0),
    'a JPEG of several passes': resized(encode(noise(), progressive=True), 16_000, 12_000),
    'a JPEG of four gigapixels': resized(encode(noise()), 65_535, 65_535),
    'a BMP of run lengths': b'BM'
    + struct.pack('<IHHIIIIHHIIIIII', 0, 0, 0, 54, 40, 65_000, 65_000, 1, 8, 1, 0, 0, 0, 0, 0),
}


@pytest.mark.parametrize('data', TOO_LARGE.values(), ids=TOO_LARGE)
@pytest.mark.parametrize('side', [0, 8])
def test_what_takes_too_much_is_refused_before_it_is_decoded(data, side):
    start = time.process_time()
    with pytest.raises(ImageError, match='too many pixels|too long') as e:
        decode(data, side)
    with pytest.raises(ImageError):
        ingest(data)
    assert time.process_time() - start < 2
    assert len(str(e.value)) < 120 and DECODING.free == DECODING.most


def test_a_jpeg_of_a_thousand_passes_is_refused():
    data = encode(noise(), progressive=True)
    at = data.index(b'\xff\xda')
    with pytest.raises(ImageError, match='scans'):
        decode(data[:at] + data[at:-2] * 40)


def test_the_budget_is_for_all_threads_together(monkeypatch):
    budget = CountedBudget(100_000)
    monkeypatch.setattr('birdsort.core.images.DECODING', budget)
    data, held = encode(noise(100, 60), 'PNG'), []  # 24,000 bytes each, and 12,000 as a JPEG

    def work():
        with decoding(data) as im:
            time.sleep(0.01)
            held.append(im.size)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(30)
    assert held == [(100, 60)] * 8
    assert budget.highest == 72_000 and budget.free == 100_000


@pytest.mark.parametrize('data', [PLAIN, JPEG, JPEG[:-60], PLAIN[:-60]])
def test_pixels_are_gone_before_their_room_is_given_back(monkeypatch, data):
    decoded, real = [], birdsort.core.images._decode

    def remembered(raw, plan):
        decoded[:] = [raw]
        decoded[:] = [real(raw, plan)]
        return decoded[0]

    class Strict(Budget):
        @contextmanager
        def reserve(self, n):
            with super().reserve(n):
                try:
                    yield
                finally:
                    with pytest.raises((ValueError, OSError, AttributeError)):
                        decoded[0].resize((1, 1))

    monkeypatch.setattr('birdsort.core.images._decode', remembered)
    monkeypatch.setattr('birdsort.core.images.DECODING', Strict(10**6))
    with suppress(ImageError), decoding(data) as im:
        assert im.resize((1, 1)).mode == 'RGB'
    assert decoded


RAISED = [
    OSError('image file is truncated (5 bytes not processed)'), SyntaxError('broken PNG file'), EOFError(),
    ValueError('Decompressed data too large for PngImagePlugin.MAX_TEXT_CHUNK'), struct.error('unpack requires'),
    Image.DecompressionBombError('exceeds limit'), MemoryError(), OverflowError('int too large'), IndexError(),
    KeyError(7), TypeError('no'), AttributeError('none'), ZeroDivisionError(), AssertionError(), zlib.error('-3'),
    RuntimeError('decoder'), RecursionError(), UnicodeDecodeError('utf8', b'x', 0, 1, 'bad'), NotImplementedError(),
    PermissionError(13, 'Permission denied'), OSError(28, 'No space left on device'), Warning('odd'),
]  # fmt: skip


@pytest.mark.parametrize('error', RAISED, ids=lambda e: type(e).__name__)
@pytest.mark.parametrize('method', ['_open', 'load'])
def test_whatever_a_decoder_raises_is_one_error_with_the_files_name(
    tmp_path, monkeypatch, error, method
):
    def fail(*args, **kw):
        raise error

    file = tmp_path / 'heron.png'
    file.write_bytes(PLAIN)
    monkeypatch.setattr(PngImagePlugin.PngImageFile, method, fail)
    with pytest.raises(ImageError) as e:
        decode(file)
    assert (
        str(e.value) == f'{file}: {e.value.reason}'
        and '\n' not in e.value.reason
        and 'heron' not in e.value.reason
    )
    with pytest.raises(ImageError):
        ingest(PLAIN)


@pytest.mark.parametrize('error', RAISED, ids=lambda e: type(e).__name__)
def test_an_encoder_that_fails_is_not_the_disk(monkeypatch, error):
    def fail(*args, **kw):
        raise error

    monkeypatch.setattr(Image.Image, 'save', fail)
    with pytest.raises(ImageError):
        ingest(PLAIN)


def test_what_is_no_file_is_named(tmp_path):
    with pytest.raises(ImageError, match='gone.jpg: no such file'):
        decode(tmp_path / 'gone.jpg')
    with pytest.raises(ImageError, match='not a file'):
        decode(tmp_path)


def located(**kw):  # A photo that says where it was taken
    exif = Image.Exif()
    exif[0x010E] = 'at home'
    exif.get_ifd(0x8825)[1] = 'N'
    return encode(noise(), exif=exif, quality=90, **kw)


def between(odd, at=20):  # Behind the first segment
    data = located()
    return data[:at] + odd + data[at:]


SCANNED = located(restart_marker_rows=1)
RESTART = SCANNED.index(b'\xff\xd1')
COMMENT = b'\xff\xfe\0\x09at home'
SAYS_MORE = {
    'as a camera writes it': located(),
    'a second image behind it': located() + encode(noise()) + b'at home',
    'FF 00 before a segment': between(b'\xff\0'),
    'a restart before a segment': between(b'\xff\xd0'),
    'a byte before a segment': between(b'\0'),
    'FF 01 before a segment': between(b'\xff\x01'),
    'padding': between(b'\xff' * 5),
    'a second beginning': between(b'\xff\xd8'),
    'a comment': between(COMMENT),
    'a comment inside the scan': SCANNED[:RESTART] + COMMENT + SCANNED[RESTART:],
    'a program of its own': between(b'\xff\xec\0\x09at home'),
    'a reserved segment': between(b'\xff\xf7\0\x09at home'),
    'an empty comment inside the scan': SCANNED[:RESTART] + b'\xff\xfe\0\2' + SCANNED[RESTART:],
    'a preview in JFIF': located()[:4]
    + b'\0\x17'
    + located()[6:18]
    + b'\1\1at home'
    + located()[20:],
    'words in what is Adobe’s': between(b'\xff\xee\0\x15Adobe\0\x64\0\0\0\0\1at home'),
    'JFIF in name only': between(b'\xff\xe0\0\x0dJFIFat home'),
    'a profile in name only': between(b'\xff\xe2\0\x14ICC_PROFILEat home'),
    'no end': located()[:-2] + COMMENT,
    'several passes': located(progressive=True),
}


@pytest.mark.parametrize('data', SAYS_MORE.values(), ids=SAYS_MORE)
def test_what_is_stored_is_what_was_checked_and_says_no_more_than_its_pixels(data):
    try:
        stored, *size = ingest(data)
    except ImageError:
        return
    im = Image.open(io.BytesIO(stored))
    assert (
        b'at home' not in stored
        and b'Exif' not in stored
        and not im.getexif()
        and tuple(size) == im.size
    )
    assert strip_metadata(stored) == stored
    difference = np.asarray(decode(stored), float) - np.asarray(decode(data), float)
    assert np.abs(difference).mean() < 2, 'another image than the one that was sent'
