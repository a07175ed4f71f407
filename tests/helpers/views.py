"Kinds of images that share almost everything: one camera, one road sign, one form, one instrument."

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance

W, H = 320, 240


def colour(rng, low=0, high=255):
    return tuple(int(v) for v in rng.integers(low, high, 3))


def texture(seed, cell):
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 255, (H // cell, W // cell, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((W, H), Image.Resampling.BICUBIC)


def garden():
    rng = np.random.default_rng(2)
    im = Image.new('RGB', (W, H), (150, 190, 230))
    draw = ImageDraw.Draw(im)
    draw.rectangle((0, H // 2, W, H), fill=(90, 140, 70))
    for _ in range(60):
        x, y, r = (int(rng.integers(low, high)) for low, high in ((0, W), (H // 3, H), (4, 22)))
        draw.ellipse((x - r, y - r, x + r, y + r), fill=colour(rng, 20, 160))
    return im


def weather(im, rng):
    "Other light, and the noise of a sensor."
    im = ImageEnhance.Brightness(im).enhance(float(rng.uniform(0.7, 1.2)))
    noisy = np.asarray(im).astype(float) + rng.normal(0, 3, (im.height, im.width, 3))
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


def with_bird(im, rng, side):
    draw = ImageDraw.Draw(im)
    x, y = int(rng.integers(0, W - side)), int(rng.integers(H // 4, H - side))
    draw.ellipse((x, y, x + side, y + side * 0.6), fill=colour(rng))
    return weather(im, rng)


def nest_box(rng):
    return with_bird(texture(1, 8), rng, 50)


def bird_table(rng):
    return with_bird(garden(), rng, 36)


def words(rng, n):
    letters = list('abcdefghiklmnoprstuvwz')
    return ' '.join(''.join(rng.choice(letters, int(rng.integers(3, 9)))) for _ in range(n))


def road_sign(rng):
    im = texture(int(rng.integers(1e6)), 40)
    draw = ImageDraw.Draw(im)
    draw.ellipse((70, 30, 250, 210), fill='red')
    draw.ellipse((92, 52, 228, 188), fill='white')
    draw.text((160, 120), str(int(rng.integers(20, 99))), fill='black', font_size=90, anchor='mm')
    return im


def digit(rng):
    im = Image.new('L', (28, 28))
    figure, size = str(int(rng.integers(0, 10))), int(rng.integers(18, 24))
    ImageDraw.Draw(im).text((14, 14), figure, fill=255, font_size=size, anchor='mm')
    return im.rotate(float(rng.uniform(-12, 12)), Image.Resampling.BILINEAR).convert('RGB')


def form(rng):
    im = Image.new('RGB', (480, 640), 'white')
    draw, printed = ImageDraw.Draw(im), np.random.default_rng(5)
    for y in range(30, 620, 44):
        draw.text((30, y), words(printed, 3), fill='black', font_size=16)
        draw.rectangle((230, y - 4, 455, y + 26), outline='grey')
        draw.text((238, y), words(rng, 2), fill=(30, 30, 90), font_size=16)
    return im


def product(rng):
    im = Image.new('RGB', (W, H), (235, 235, 235))
    draw = ImageDraw.Draw(im)
    draw.rectangle((0, 190, W, H), fill=(200, 200, 200))
    sides, size = int(rng.integers(3, 9)), int(rng.integers(40, 75))
    draw.regular_polygon(
        (160, 130, size), sides, rotation=int(rng.integers(0, 90)), fill=colour(rng, 0, 160)
    )
    return im


def slide(rng):
    im = Image.new('RGB', (W, H))
    draw = ImageDraw.Draw(im)
    draw.ellipse((40, 0, 280, 240), fill=(240, 220, 230))
    for _ in range(18):
        angle, r, size = rng.uniform(0, 6.28), rng.uniform(0, 100), rng.uniform(6, 12)
        x, y = 160 + r * np.cos(angle), 120 + r * np.sin(angle)
        draw.ellipse((x - size, y - size, x + size, y + size), fill=(170, 90, 150))
    return im


def number_plate(rng):
    im = Image.new('RGB', (W, 90), 'white')
    draw = ImageDraw.Draw(im)
    draw.rectangle((0, 0, W - 1, 89), outline='black', width=5)
    draw.rectangle((5, 5, 40, 84), fill='blue')
    number = f'{"".join(rng.choice(list("ABCDEFGHKL"), 2))} {rng.integers(1000, 9999)}'
    draw.text((180, 46), number, fill='black', font_size=56, anchor='mm')
    return im


def chess_board(rng):
    im = Image.new('RGB', (240, 240))
    draw = ImageDraw.Draw(im)
    for i in range(64):
        x, y = i % 8 * 30, i // 8 * 30
        draw.rectangle(
            (x, y, x + 30, y + 30), fill=(230, 210, 170) if (i + i // 8) % 2 else (120, 80, 50)
        )
    for x, y in rng.integers(0, 8, (10, 2)).tolist():
        man = (x * 30 + 5, y * 30 + 5, x * 30 + 25, y * 30 + 25)
        draw.ellipse(man, fill='black' if rng.random() < 0.5 else 'white')
    return im


def chart(rng):
    im = Image.new('RGB', (W, H), 'white')
    draw = ImageDraw.Draw(im)
    draw.line((30, 10, 30, 210, 310, 210), fill='black', width=2)
    for k in range(8):
        draw.text((4, 10 + k * 25), str(80 - 10 * k), fill='black', font_size=12)
        draw.rectangle(
            (40 + k * 33, 210 - int(rng.integers(10, 190)), 62 + k * 33, 209), fill='steelblue'
        )
    return im


def gauge(rng):
    im = Image.new('RGB', (240, 240), (40, 40, 40))
    draw = ImageDraw.Draw(im)
    draw.ellipse((20, 20, 220, 220), fill='white')
    for k in range(11):
        angle = np.pi * (0.75 + k * 0.15)
        place = (120 + 80 * np.cos(angle), 120 + 80 * np.sin(angle))
        draw.text(place, str(k * 10), fill='black', font_size=15, anchor='mm')
    angle = rng.uniform(2.4, 7)
    draw.line((120, 120, 120 + 65 * np.cos(angle), 120 + 65 * np.sin(angle)), fill='red', width=9)
    return im


def car_park(rng):
    im = Image.new('RGB', (W, H), (110, 110, 115))
    draw = ImageDraw.Draw(im)
    for k in range(16):
        x, y = k % 8 * 40, 20 + k // 8 * 120
        draw.rectangle((x, y, x + 40, y + 80), outline='white', width=2)
        if rng.random() < 0.5:
            draw.rounded_rectangle((x + 7, y + 8, x + 33, y + 72), 6, fill=colour(rng))
    return weather(im, rng)


def passport_photo(rng):
    im = Image.new('RGB', (200, 250), (90, 110, 150))
    draw = ImageDraw.Draw(im)
    draw.ellipse((30, 170, 170, 330), fill=(40, 40, 60))
    draw.ellipse((60, 50, 140, 160), fill=colour(rng, 120, 230))
    apart, hair = int(rng.integers(14, 24)), int(rng.integers(90, 140))
    for x in (100 - apart, 100 + apart):
        draw.ellipse((x - 6, 90, x + 6, 100), fill='black')
    draw.chord((55, 40, 145, hair), 180, 360, fill=colour(rng, 0, 120))
    return im


def screen(rng):
    im = Image.new('RGB', (W, H), (30, 34, 40))
    draw = ImageDraw.Draw(im)
    for k, name in enumerate(('speed', 'load', 'rate', 'heat', 'flow', 'time')):
        x, y = 10 + k % 3 * 104, 10 + k // 3 * 112
        draw.rectangle((x, y, x + 96, y + 104), fill=(50, 56, 66))
        draw.text((x + 8, y + 6), name, fill='white', font_size=16)
        draw.text(
            (x + 48, y + 62),
            str(int(rng.integers(10, 999))),
            fill='lime',
            font_size=34,
            anchor='mm',
        )
    return im


VIEWS = [
    nest_box, bird_table, road_sign, digit, form, product, slide, number_plate, chess_board, chart, gauge,
    car_park, passport_photo, screen,
]  # fmt: skip
