"""Image files that ask for as much memory or time as they can: each kind is made by a function of its own."""

import io
import struct
import zlib


def encode(im, format='JPEG', **options):
    out = io.BytesIO()
    im.save(out, format, **options)
    return out.getvalue()


def blank(mode, width, height):
    "An image of one colour."
    from PIL import Image

    return Image.new(mode, (width, height), 77 if len(mode) == 1 else None)


def flat(mode, width, height, format='JPEG', **options):
    return encode(blank(mode, width, height), format, **options)


def grain(width, height, mode='RGB'):
    "Noise that repeats, as from a camera: a file can be small, its JPEG is not."
    import numpy as np
    from PIL import Image

    grid = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    tiles = np.tile(grid, (-(-height // 256), -(-width // 256), 1))[:height, :width]
    return Image.fromarray(tiles).convert(mode)


def photo(width, height, mode='RGB'):
    "Blurred noise, in which a decoder finds something on every line."
    from PIL import Image

    return grain(width // 8, height // 8).resize((width, height), Image.Resampling.BILINEAR).convert(mode)


def glass(width, height):
    "A photo of which each pixel is transparent in its own way."
    image = photo(width, height)
    image.putalpha(photo(width, height, 'L'))
    return image


def segments(jpeg, marker, contents):
    "A JPEG with more segments behind its first two bytes."
    more = b''.join(b'\xff' + bytes([marker]) + struct.pack('>H', len(c) + 2) + c for c in contents)
    return jpeg[:2] + more + jpeg[2:]


def scans(n, width, height):
    "A progressive JPEG that says its last scan so many times."
    jpeg = flat('RGB', width, height, progressive=True)
    at = jpeg.rindex(b'\xff\xda')
    return jpeg[:at] + jpeg[at:-2] * n + b'\xff\xd9'


def tags(length, entries, *, kind=7):
    "A directory of TIFF tags, of which each means nearly all of it: so many bytes become so many times as many."
    directory = struct.pack('<H', entries)
    start = 8 + 2 + 12 * entries + 4
    for tag in range(entries):
        directory += struct.pack('<HHII', 40_000 + tag, kind, length - start, start)
    return (b'II*\0' + struct.pack('<I', 8) + directory + bytes(4)).ljust(length, b'x')


def chunk(kind, content):
    return struct.pack('>I', len(content)) + kind + content + struct.pack('>I', zlib.crc32(kind + content))


def deflated(n, block=bytes(1 << 20)):
    "n zeros, deflated, without holding them."
    packer = zlib.compressobj(9)
    parts = [packer.compress(block) for _ in range(n // len(block))]
    return b''.join([*parts, packer.compress(bytes(n % len(block))), packer.flush()])


def png(width, height, depth=8, colour=2, *, interlaced=False, before=b'', rows=None):
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    head = struct.pack('>IIBBBBB', width, height, depth, colour, 0, 0, interlaced)
    if rows is None:
        rows = deflated(height * (1 + -(-width * channels * depth // 8)) + (8 * height if interlaced else 0))
    palette = chunk(b'PLTE', bytes(range(256)) * 3) + chunk(b'tRNS', bytes(range(256))) if colour == 3 else b''
    start = b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', head)
    return start + before + palette + chunk(b'IDAT', rows) + chunk(b'IEND', b'')


def png_of_grain(width, height):
    "A PNG of noise that repeats every 256 columns and rows."
    rows, packer = grain(width, 256).tobytes(), zlib.compressobj(9)
    lines = [b'\0' + rows[3 * width * y : 3 * width * (y + 1)] for y in range(256)]
    packed = b''.join(packer.compress(lines[y % 256]) for y in range(height)) + packer.flush()
    return png(width, height, rows=packed)


def riff(*parts):
    body = b''.join(kind + struct.pack('<I', len(c)) + c + bytes(len(c) % 2) for kind, c in parts)
    return b'RIFF' + struct.pack('<I', 4 + len(body)) + b'WEBP' + body


def vp8l(width, height):
    "A whole lossless WebP of one colour, in 34 bytes."
    size = struct.pack('<I', (width - 1) | (height - 1) << 14)
    return riff((b'VP8L', b'\x2f' + size + b'\x88\x88\x08' + bytes(6)))


def with_exif(webp, width, height, exif):
    "A plain WebP with Exif."
    extended = b'\x08\0\0\0' + struct.pack('<I', width - 1)[:3] + struct.pack('<I', height - 1)[:3]
    size = struct.unpack('<I', webp[16:20])[0]
    return riff((b'VP8X', extended), (webp[12:16], webp[20 : 20 + size]), (b'EXIF', exif))


def gif_comment(gif, length):
    "A GIF with a long comment in its first blocks."
    blocks = (b'\xff' + b'x' * 255) * (length // 256) + b'\0'
    at = 13 + 3 * 2 ** ((gif[10] & 7) + 1)
    return gif[:at] + b'!\xfe' + blocks + gif[at:]


def bmp(width, height, bits, compression, pixels):
    size = 54 + 4 * 2**bits if bits <= 8 else 54
    head = struct.pack('<IHHIIiiHHIIIIII', 0, 0, 0, size, 40, width, height, 1, bits, compression, 0, 0, 0, 0, 0)
    return b'BM' + head + bytes(size - 54) + pixels


def run_lengths(width, height):
    "RLE8: rows of one colour."
    row = b'\xff\x07' * (width // 255) + bytes([width % 255, 7])
    return bmp(width, height, 8, 1, (row + b'\0\0') * height + b'\0\1')


def tiff(width, height, *, bits=(8, 8, 8), photometric=2, data=None, tile=None, compression=8, more=()):
    "A TIFF of one strip or one tile."
    row = width * sum(bits) // 8
    if data is None:
        data = deflated(tile[0] * sum(bits) // 8 * tile[1] if tile else row * height)
    found = {256: width, 257: height, 259: compression, 262: photometric, 277: len(bits)} | dict(more)
    found |= {322: tile[0], 323: tile[1], 324: 8, 325: len(data)} if tile else {273: 8, 278: height, 279: len(data)}
    if len(bits) > 3 and photometric == 2:
        found[338] = 2  # Alpha
    depths = b''.join(struct.pack('<H', b) for b in bits)
    at = 8 + len(data)
    lines = [struct.pack('<HHII', tag, 4, 1, value) for tag, value in found.items()]
    short = depths.ljust(4, b'\0') if len(bits) < 3 else struct.pack('<I', at)
    lines.append(struct.pack('<HHI', 258, 3, len(bits)) + short)
    directory = struct.pack('<H', len(lines)) + b''.join(sorted(lines)) + bytes(4)
    start = at + len(depths)
    return b'II*\0' + struct.pack('<I', start) + data + depths + directory


def tiff_of_strips(n):
    "A TIFF that says that it consists of n strips, of one byte each."
    lines = {256: (4, 1, 1), 257: (4, 1, n), 258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 1), 278: (4, 1, 1)}
    start = 10 + 12 * 8 + 4
    lines |= {273: (4, n, start), 279: (3, 1, 1)}
    directory = b''.join(struct.pack('<HHII', tag, *lines[tag]) for tag in sorted(lines))
    return b'II*\0' + struct.pack('<IH', 8, len(lines)) + directory + bytes(4) + struct.pack('<I', start) * n


def deep_avif(width, height):
    import cv2
    import numpy as np

    image = np.uint16(np.asarray(glass(width, height))) << 2
    options = [cv2.IMWRITE_AVIF_DEPTH, 10, cv2.IMWRITE_AVIF_SPEED, 10, cv2.IMWRITE_AVIF_QUALITY, 60]
    return cv2.imencode('.avif', image, options)[1].tobytes()


def heif(im, **options):
    from pillow_heif import register_heif_opener

    register_heif_opener(thumbnails=False)
    return encode(im, 'HEIF', **options)


def deep_heic(width, height):
    import numpy as np
    import pillow_heif

    image = np.uint16(np.asarray(photo(width, height))) << 8
    out = io.BytesIO()
    pillow_heif.from_bytes('RGB;16', (width, height), image.tobytes()).save(out, quality=60, chroma=444)
    return out.getvalue()


def frames(n, width, height, format, **options):
    from PIL import Image

    images = [Image.new('RGB', (width, height), (i, 255 - i, 77)) for i in range(n)]
    return encode(images[0], format, save_all=True, append_images=images[1:], **options)


SMALL = (320, 240)
MB = 1_000_000
KINDS = {
    'JPEG, 200 megapixels': lambda: flat('RGB', 16_320, 12_240),
    'JPEG, 200 megapixels, progressive': lambda: flat('RGB', 16_320, 12_240, progressive=True),
    'JPEG, 80 megapixels, progressive': lambda: flat('RGB', 10_320, 7_750, progressive=True),
    'JPEG, 64 megapixels of grain': lambda: encode(grain(8000, 8000), quality=50),
    'JPEG, 64 megapixels, lies on its side': lambda: flat('RGB', 8000, 8000, exif=lying()),
    'JPEG, 64 megapixels, CMYK': lambda: flat('CMYK', 8000, 8000),
    'JPEG, 24 megapixels, CMYK, progressive': lambda: flat('CMYK', 6000, 4000, progressive=True),
    'JPEG, 16 megapixels in 90 scans': lambda: scans(80, 4000, 4000),
    'JPEG, 1,000 scans': lambda: scans(1000, *SMALL),
    'JPEG, grey, 65,500 x 980': lambda: flat('L', 65_500, 980),
    'JPEG, Exif that means itself': lambda: segments(flat('RGB', *SMALL), 0xE1, [exif(65_500, 2700)]),
    'JPEG, 30 MB of Exif that means itself': lambda: segments(flat('RGB', *SMALL), 0xE1, parts(exif(30 * MB, 5000))),
    'JPEG, many small pieces of Exif': lambda: segments(flat('RGB', *SMALL), 0xE1, [b'Exif\0\0' + b'x' * 200] * 95_000),
    'JPEG, 5 million empty segments': lambda: segments(flat('RGB', *SMALL), 0xE5, [b''] * 5 * MB),
    'JPEG, a colour profile of 16 MB': lambda: segments(flat('RGB', *SMALL), 0xE2, profile()),
    'JPEG, an index of images that means itself': lambda: segments(flat('RGB', *SMALL), 0xE2, [mpf()]),
    'MPO, two images of 24 megapixels': lambda: frames(2, 6000, 4000, 'MPO'),
    'PNG, 64 megapixels': lambda: png(8000, 8000),
    'PNG, 64 megapixels, 16 bits and alpha': lambda: png(8000, 8000, 16, 6),
    'PNG, 64 megapixels, grey of 16 bits': lambda: png(8000, 8000, 16, 0),
    'PNG, 64 megapixels, palette with alpha': lambda: png(8000, 8000, 8, 3),
    'PNG, 64 megapixels, grey with alpha': lambda: png(8000, 8000, 8, 4),
    'PNG, 64 megapixels, black and white': lambda: png(8000, 8000, 1, 0),
    'PNG, 64 megapixels, interlaced': lambda: png(8000, 8000, interlaced=True),
    'PNG, 64 megapixels of grain': lambda: png_of_grain(8000, 8000),
    'PNG, 1 x 64,000,000': lambda: png(1, 64_000_000),
    'PNG, 64,000,000 x 1': lambda: png(64_000_000, 1),
    'PNG, 977 x 65,500': lambda: png(977, 65_500),
    'PNG, 40 texts of 60 MB': lambda: png(*SMALL, before=chunk(b'zTXt', b'a\0\0' + deflated(60 * MB)) * 40),
    'PNG, a colour profile of 600 MB': lambda: png(*SMALL, before=chunk(b'iCCP', b'p\0\0' + deflated(600 * MB))),
    'PNG, 30 MB of Exif that means itself': lambda: png(*SMALL, before=chunk(b'eXIf', tags(30 * MB, 5000))),
    'PNG, 30 MB of a private chunk': lambda: png(*SMALL, before=chunk(b'prVt', bytes(30 * MB))),
    'PNG, 90,000 private chunks': lambda: png(*SMALL, before=chunk(b'prVt', bytes(300)) * 90_000),
    'APNG, 60 frames of 4 megapixels': lambda: frames(60, 2000, 2000, 'PNG'),
    'WebP of 34 bytes, 16,383 x 16,383': lambda: vp8l(16_383, 16_383),
    'WebP of 34 bytes, 36 megapixels': lambda: vp8l(6000, 6000),
    'WebP of a camera, 24 megapixels': lambda: encode(photo(6000, 4000), 'WEBP', method=0),
    'WebP, 24 megapixels, lossless': lambda: encode(photo(6000, 4000), 'WEBP', lossless=True, method=0),
    'WebP, 24 megapixels, alpha': lambda: encode(glass(6000, 4000), 'WEBP', method=0),
    'WebP, 30 frames of 16 megapixels': lambda: frames(30, 4000, 4000, 'WEBP', method=0),
    'WebP, 30 MB of Exif that means itself': lambda: with_exif(vp8l(*SMALL), *SMALL, tags(30 * MB, 5000)),
    'GIF, 65,535 x 65,535': lambda: b'GIF89a' + struct.pack('<HH', 65_535, 65_535) + flat('P', 4, 4, 'GIF')[10:],
    'GIF, 64 megapixels': lambda: flat('P', 8000, 8000, 'GIF'),
    'GIF, 20 frames of 16 megapixels': lambda: frames(20, 4000, 4000, 'GIF'),
    'GIF, a comment of 20 MB': lambda: gif_comment(flat('P', *SMALL, 'GIF'), 20 * MB),
    'BMP, 64 megapixels of run lengths': lambda: run_lengths(8000, 8000),
    'BMP, 64 megapixels of jumps': lambda: bmp(8000, 8000, 8, 1, b'\0\2\0\xff' * 40),
    'BMP, 60,000 x 60,000 without pixels': lambda: bmp(60_000, 60_000, 24, 0, b''),
    'TIFF, one strip of 64 megapixels': lambda: tiff(8000, 8000),
    'TIFF, one strip, 16 bits and alpha': lambda: tiff(8000, 8000, bits=(16,) * 4),
    'TIFF, one strip, CMYK': lambda: tiff(8000, 8000, bits=(8,) * 4, photometric=5),
    'TIFF, one strip, grey of 32 bits': lambda: tiff(8000, 8000, bits=(32,), photometric=1, more={339: 3}),
    'TIFF, a tile of 16,384 x 16,384': lambda: tiff(*SMALL, tile=(16_384, 16_384)),
    'TIFF, a tile of 65,520 x 1,600, 16 bits': lambda: tiff(*SMALL, bits=(16,) * 3, tile=(65_520, 1600)),
    'TIFF, 7 million strips': lambda: tiff_of_strips(7 * MB),
    'TIFF, JPEG inside, 48 megapixels': lambda: encode(photo(8000, 6000), 'TIFF', compression='jpeg'),
    'TIFF, 99 pages of 4 megapixels': lambda: frames(99, 2000, 2000, 'TIFF', compression='tiff_lzw'),
    'TIFF, 30 MB of tags that mean themselves': lambda: tags(30 * MB, 5000),
    'AVIF, 48 megapixels': lambda: encode(photo(8000, 6000), 'AVIF', speed=10),
    'AVIF, 20 megapixels, alpha, no subsampling': lambda: encode(
        glass(5200, 3900), 'AVIF', speed=10, subsampling='4:4:4'
    ),
    'AVIF, 20 frames of 12 megapixels': lambda: frames(20, 4000, 3000, 'AVIF', speed=10),
    'AVIF, 20 megapixels of 10 bits, alpha': lambda: deep_avif(5200, 3900),
    'HEIC, 48 megapixels': lambda: heif(blank('RGB', 8000, 6000)),
    'HEIC, 24 megapixels': lambda: heif(blank('RGB', 6000, 4000)),
    'HEIC, 12 megapixels of 10 bits': lambda: deep_heic(4000, 3000),
    'JPEG 2000, 36 megapixels': lambda: flat('RGB', 6000, 6000, 'JPEG2000'),
    'ICO, 16 images': lambda: encode(grain(256, 256, 'RGBA'), 'ICO', sizes=[(16 * i, 16 * i) for i in range(1, 17)]),
    'a web page of 30 MB': lambda: b'<html>' + bytes(30 * MB),
    'PPM, 10 megapixels': lambda: encode(grain(3200, 3200), 'PPM'),
}


def lying():
    from PIL import Image

    found = Image.Exif()
    found[0x0112] = 6
    return found


def exif(length, entries):
    return b'Exif\0\0' + tags(length - 6, entries)


def parts(content):
    "Exif in as many segments as it takes."
    return [b'Exif\0\0' + content[i : i + 65_000] for i in range(6, len(content), 65_000)]


def profile():
    "ICC in 255 segments."
    return [b'ICC_PROFILE\0' + bytes([i, 255]) + bytes(65_000) for i in range(1, 256)]


def mpf():
    "The index that makes a JPEG an MPO."
    return b'MPF\0' + tags(65_500, 2700)
