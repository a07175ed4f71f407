"Labels that can be told by their files alone: found by what they differ by, silent where they do not, made alike."

import io

import numpy as np
import pytest
from PIL import Image

from birdsort.cleaning.format_leaks import choose_equaliser, explain_leaks, format_leaks
from birdsort.core.images import decode
from birdsort.core.scaffold import new_project
from birdsort.core.settings import Training, change
from birdsort.split import split
from birdsort.train import train

N = 16


def photo(seed, size=(96, 64)):
    "A smooth scene with grain."
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 255, (6, 9, 3), dtype=np.uint8)).resize(
        size, Image.Resampling.BICUBIC
    )
    return Image.fromarray(
        (np.asarray(coarse) + rng.normal(0, 5, (size[1], size[0], 1))).clip(0, 255).astype(np.uint8)
    )


def camera(name):
    exif = Image.Exif()
    exif[0x0110] = name
    return exif


# How the files of two labels are written: (keywords of save, and the size and the suffix where they are not usual)
HONEST = dict(quality=85)
PAIRS = {
    'JPEG quality': (
        dict(quality=60),
        dict(quality=90),
    ),
    'near qualities': (
        dict(quality=88),
        dict(quality=90),
    ),
    'width': (
        dict(HONEST, size=(96, 64)),
        dict(HONEST, size=(120, 64)),
    ),
    'height': (
        dict(HONEST, size=(96, 64)),
        dict(HONEST, size=(96, 80)),
    ),
    'scaled': (
        dict(HONEST, size=(96, 64)),
        dict(HONEST, size=(192, 128)),
    ),
    'turned': (
        dict(HONEST, size=(96, 64)),
        dict(HONEST, size=(64, 96)),
    ),
    'format': (
        dict(suffix='png'),
        dict(HONEST),
    ),
    'webp': (
        dict(HONEST, suffix='webp'),
        dict(HONEST),
    ),
    'bmp': (
        dict(suffix='bmp'),
        dict(suffix='png'),
    ),
    'camera': (
        dict(HONEST, exif=camera('Ant 1')),
        dict(HONEST, exif=camera('Bee 2')),
    ),
    'no camera': (
        dict(HONEST, exif=camera('Ant 1')),
        dict(HONEST),
    ),
    'chroma subsampling': (
        dict(HONEST, subsampling=0),
        dict(HONEST, subsampling=2),
    ),
    'colour mode': (
        dict(HONEST, mode='L'),
        dict(HONEST),
    ),
}


def save(folder, label, i, size=(96, 64), suffix='jpg', mode='RGB', **how):
    file = folder / f'{label}_{i}.{suffix}'
    photo(len(label) * 1000 + i, size).convert(mode).save(file, **how)
    return file, label


def files_of(folder, fake, real):
    return [save(folder, 'fake', i, **fake) for i in range(N)] + [
        save(folder, 'origin', i, **real) for i in range(N)
    ]


@pytest.mark.parametrize('name', PAIRS)
def test_what_two_labels_differ_by_is_found(tmp_path, name):
    leaks = format_leaks(files_of(tmp_path, *PAIRS[name]))
    assert {leak.label for leak in leaks} == {'fake', 'origin'}
    assert min(leak.share for leak in leaks) > 0.95
    by = explain_leaks(leaks, ['fake', 'origin'])
    assert by.startswith('fake and origin differ by ')
    if name in ('JPEG quality', 'camera', 'chroma subsampling'):
        assert leaks[0].facts == [name]


def test_files_alike_are_not_told(tmp_path):
    pairs = files_of(tmp_path, HONEST, HONEST)
    assert format_leaks(pairs) == []
    (tmp_path / 'broken.jpg').write_bytes(b'\xff\xd8\xff')
    assert (
        format_leaks(
            [*pairs, (tmp_path / 'broken.jpg', 'fake'), (tmp_path / 'missing.jpg', 'fake')]
        )
        == []
    )
    assert format_leaks(pairs[:N]) == format_leaks([]) == []


def test_one_label_of_several(tmp_path):
    labels = 'ant', 'bees', 'crane'
    pairs = [
        save(tmp_path, label, i, quality=60 if label == 'bees' else 85)
        for label in labels
        for i in range(N)
    ]
    leaks = format_leaks(pairs)
    assert [leak.label for leak in leaks] == ['bees']
    assert explain_leaks(leaks, labels).startswith(
        'bees: these files differ from the others by JPEG quality'
    )


def test_few_files_prove_nothing(tmp_path):
    fake, real = PAIRS['JPEG quality']
    assert (
        format_leaks(
            [save(tmp_path, 'fake', i, **fake) for i in range(5)]
            + files_of(tmp_path, real, real)[N:]
        )
        == []
    )


def moved(image, quality=60):
    "How much compressing an image again changes it: little where it has this quality already."
    out = io.BytesIO()
    image.save(out, 'JPEG', quality=quality)
    return np.abs(np.asarray(decode(out.getvalue()), float) - np.asarray(image, float)).mean()


def test_made_alike_they_have_one_compression(tmp_path):
    equalise = choose_equaliser(files_of(tmp_path, *PAIRS['JPEG quality']))
    assert equalise == (60, 96)
    low, high = (decode(tmp_path / name) for name in ('fake_0.jpg', 'origin_0.jpg'))
    assert moved(high) > 4 * moved(low)
    assert moved(equalise(high)) < 2 * moved(equalise(low)) + 0.2


def test_made_alike_they_have_one_size(tmp_path):
    equalise = choose_equaliser(files_of(tmp_path, *PAIRS['scaled']))
    assert {equalise(decode(f)).size for f in tmp_path.iterdir()} == {(96, 64)}
    assert choose_equaliser(files_of(tmp_path, *PAIRS['bmp'])).quality == 75


def test_made_alike_they_give_chance(tmp_path):
    how = dict(architecture='pip:efficientnet_lite0', pretrained=True, image_size=64, seed=1)
    how |= dict(ratio=(0.5, 0.45, 0.05), epochs=(1, 0), train=Training(precision='fp32'))
    project = new_project(tmp_path / 'p', labels=dict(fake=['fake'], origin=['origin']), **how)
    for i in range(80):
        label, quality = [('fake', 20), ('origin', 95)][i % 2]
        (project.images / label).mkdir(parents=True, exist_ok=True)
        photo(i, (64, 64)).save(project.images / label / f'{i}.jpg', quality=quality)
    split(project, quiet=True)
    accuracy = [
        train(project, settings=change(project.settings, equalise=equalise), quiet=True)['stages'][
            0
        ]
        for equalise in (False, True)
    ]
    by_format, alike = (stage['accuracy'] for stage in accuracy)
    assert by_format > 0.85 and alike < 0.72
