"The DCGAN: what it reads, what it refuses, that it can be killed, and where its images go."

import gzip
import json

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from birdsort.datasets.splits import load_splits
from birdsort.recipes.gan.datasets import read_idx, read_images
from birdsort.recipes.gan.metrics import frechet, make_feature_extractor, quality
from birdsort.recipes.gan.networks import make_discriminator, make_generator, steps_to
from birdsort.recipes.gan.recipe import augment, gan, interpolate, sample
from birdsort.recipes.gan.training import open_gan
from birdsort.split import split
from conftest import files, forked

TOY = dict(size=8, width=8, batch_size=100, precision='channels-last', quiet=True)


def idx(array):
    return (
        bytes([0, 0, 8, array.ndim])
        + b''.join(n.to_bytes(4, 'big') for n in array.shape)
        + array.astype('uint8').tobytes()
    )


@pytest.fixture
def digits(tmp_path):
    "Scikit-learn's digits, as MNIST's four files."
    found, folder = load_digits(), tmp_path / 'digits'
    folder.mkdir()
    for name, part in (('train', slice(0, 1500)), ('t10k', slice(1500, None))):
        (folder / f'{name}-images-idx3-ubyte.gz').write_bytes(gzip.compress(idx(found.images[part] / 16 * 255)))
        (folder / f'{name}-labels-idx1-ubyte.gz').write_bytes(gzip.compress(idx(found.target[part])))
    return folder


def test_idx(tmp_path):
    x = np.arange(24, dtype='uint8').reshape(4, 3, 2)
    whole, f = idx(x), tmp_path / 'f'
    for data in (whole, gzip.compress(whole)):
        f.write_bytes(data)
        assert (read_idx(f) == x).all()
    for bad, word in (
        (whole[:-1], 'is cut'),
        (whole + b'x', 'too long'),
        (gzip.compress(whole)[:-9], 'cut or damaged'),
        (whole[:9], 'is cut'),
        (b'', 'no idx file'),
        (b'\0\0\x0d\3' + whole[4:], '00 00 0d 03'),
        (b'PK\3\4', 'no idx file'),
    ):
        f.write_bytes(bad)
        with pytest.raises(ValueError, match=word) as e:
            read_idx(f)
        assert '\n' not in str(e.value) and str(f) in str(e.value)
    with pytest.raises(FileNotFoundError, match='no file'):
        read_idx(tmp_path / 'none')


def test_what_is_refused(digits, tmp_path):
    out = tmp_path / 'out'
    for kw, word in (
        (dict(size=30), 'choose 24, 28 or 32'),
        (dict(epochs=0), 'epochs'),
        (dict(smooth=0.9), 'smooth'),
        (dict(witdh=8), "mean 'width'"),
        (dict(precision='fp61'), 'precision'),
    ):
        with pytest.raises(ValueError, match=word):
            gan(digits, out, **kw)
    with pytest.raises(ValueError, match='--out'):
        gan(digits)
    with pytest.raises(FileNotFoundError, match='idx files or images'):
        gan(tmp_path / 'none', out)
    assert not out.exists()
    (digits / 'train-labels-idx1-ubyte.gz').write_bytes(gzip.compress(idx(np.zeros(7))))
    with pytest.raises(ValueError, match='speaks of 7 images'):
        gan(digits, out)
    few = tmp_path / 'few'
    few.mkdir()
    with pytest.raises(FileNotFoundError, match='no images in'):
        gan(few, out)
    for i in range(20):
        Image.new('RGB', (16, 16), (i, 0, 0)).save(few / f'{i}.png')
    with pytest.raises(ValueError, match='20 images'):
        gan(few, out)
    (tmp_path / 'wide').write_bytes(idx(np.zeros((50, 20, 28))))
    with pytest.raises(ValueError, match='28 x 20'):
        gan(tmp_path / 'wide', out)


@pytest.mark.parametrize('size,channels,spectral', [(28, 1, False), (32, 3, True), (64, 3, False), (48, 1, True)])
def test_shapes(size, channels, spectral):
    base, n = steps_to(size)
    assert base * 2**n == size and 4 <= base < 8
    x = make_generator(size, channels, 8, 20)(torch.randn(3, 20, 1, 1))
    assert x.shape == (3, channels, size, size) and x.abs().max() <= 1
    assert make_discriminator(size, channels, 8, spectral)(x).shape == (3,)


def test_folders_of_images(tmp_path):
    rng = np.random.default_rng(0)
    for l in ('a', 'b'):
        (tmp_path / l).mkdir()
        for i in range(30):
            Image.fromarray(rng.integers(0, 256, (40, 30), dtype='uint8')).save(tmp_path / l / f'{i}.png')
    (tmp_path / 'a' / '0.png').write_bytes(b'broken')
    found = read_images(tmp_path, quiet=True)
    assert (
        found.train.shape == (54, 1, 64, 64)
        and len(found.held) == 5
        and found.vocab == ['a', 'b']
        and found.broken == [(str(tmp_path / 'a' / '0.png'), 'not an image')]
    )
    for i in range(40):
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype='uint8')).save(tmp_path / 'a' / f'{i}.png')
    flat = read_images(tmp_path / 'a', quiet=True)
    assert flat.train.shape == (36, 3, 16, 16) and flat.known is None and flat.vocab == []


def test_frechet_by_hand_and_by_scipy():
    from scipy.linalg import sqrtm

    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(500, 6)) @ rng.normal(size=(6, 6)), rng.normal(size=(400, 6)) @ rng.normal(size=(6, 6)) + 1
    ca, cb = np.cov(a.T), np.cov(b.T)
    wanted = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(ca + cb - 2 * sqrtm(ca @ cb).real)
    assert frechet(torch.from_numpy(a), torch.from_numpy(b)) == pytest.approx(wanted, rel=1e-6)
    assert frechet(torch.from_numpy(a), torch.from_numpy(a) + 2) == pytest.approx(24, rel=1e-6)


def test_real_images_are_near_and_noise_is_far(digits):
    images = read_images(digits)
    judge = make_feature_extractor(images, quiet=True)
    real, noise = quality(judge, images.held), quality(judge, torch.randint(0, 256, (300, 1, 8, 8), dtype=torch.uint8))
    assert (
        judge.accuracy > 0.9
        and real['classes'] == 10
        and real['sure'] > 0.8 > 0.5 > noise['sure']
        and real['frechet'] * 5 < noise['frechet']
    )


def toy(data, out, killed):
    "In a process of its own: train, and die in the middle of the third epoch."
    import os

    from birdsort.recipes.gan import training as fit

    if killed:
        step, seen = fit.step, []

        def dying(*args):
            seen.append(1)
            if len(seen) == 15 * 2 + 4:
                os._exit(7)
            return step(*args)

        fit.step = dying
    gan(data, out, epochs=4, **TOY)


def test_killed_and_taken_up_again(digits, tmp_path):
    whole, halves = tmp_path / 'whole', tmp_path / 'halves'
    assert forked(toy, digits, whole, False).returncode == 0
    assert forked(toy, digits, halves, True).returncode == 7
    assert len(open_gan(halves).history) == 2
    assert forked(toy, digits, halves, False).returncode == 0
    same = ('generator.safetensors', 'film.gif', 'grids/epoch_004.png')
    assert [n for n in same if (whole / n).read_bytes() != (halves / n).read_bytes()] == []
    a, b = (json.loads((f / 'gan.json').read_text())['result'] for f in (whole, halves))
    assert {k: v for k, v in a.items() if k != 'seconds'} == {k: v for k, v in b.items() if k != 'seconds'}
    assert {*files(whole)} == {
        'gan.json',
        'checkpoint.pth',
        'classifier.pth',
        'generator.safetensors',
        'film.gif',
        'losses.png',
        'history.csv',
        *(f'grids/epoch_00{i}.png' for i in (1, 2, 3, 4)),
    }
    before = files(halves)
    assert gan(digits, halves, epochs=4, **TOY)['epochs'] == 4 and files(halves) == before
    with pytest.raises(FileExistsError, match='--force'):
        gan(digits, halves, epochs=4, **TOY, seed=1)
    assert (
        gan(digits, halves, epochs=1, **TOY, seed=1, force=True)['epochs'] == 1
        and len(list((halves / 'grids').iterdir())) == 1
    )


def test_without_labels(digits, tmp_path):
    for f in digits.glob('*labels*'):
        f.unlink()
    found = gan(digits, tmp_path / 'out', epochs=1, **TOY)
    assert (
        found['classes'] is None
        and found['frechet_last'] > found['frechet_real']
        and any('no labels' in w for w in found['warnings'])
    )


def test_sample_and_walk(digits, tmp_path):
    gan(digits, tmp_path / 'out', epochs=1, judge=False, **TOY)
    made = sample(tmp_path / 'out', 7, tmp_path / 'new')
    assert len(made) == 7 == len(files(tmp_path / 'new')) and Image.open(made[0]).size == (8, 8)
    assert sample(tmp_path / 'out', 7, tmp_path / 'other', seed=5)[0].read_bytes() != made[0].read_bytes()
    strip = np.array(interpolate(tmp_path / 'out', 5, 2))
    assert strip.shape == (2 * 9 - 1, 5 * 9 - 1)
    for call in (lambda: sample(tmp_path / 'out', 0), lambda: interpolate(tmp_path / 'out', 1)):
        with pytest.raises(ValueError, match='or more'):
            call()


def test_minutes_are_kept(digits, tmp_path):
    import time

    start = time.perf_counter()
    found = gan(digits, tmp_path / 'out', epochs=100_000, minutes=0.1, judge=False, **TOY)
    assert 1 <= found['epochs'] < 100_000 and time.perf_counter() - start < 20


def test_generated_images_reach_the_train_side_alone(birds):
    from birdsort.aviary.sample_project import draw_images

    draw_images(birds, 50)
    with pytest.raises(FileNotFoundError, match='birdsort split'):
        gan((birds, 'garza'), quiet=True)
    with pytest.raises(FileNotFoundError, match='birdsort split'):
        augment(birds, 'garza', 3)
    split(birds, quiet=True)
    with pytest.raises(FileNotFoundError, match='birdsort gan'):
        augment(birds, 'garza', 3)
    before, rows, splits = files(birds.split), birds.catalogue.rows(), load_splits(birds)
    made = gan((birds, 'garza'), epochs=1, judge=False, **TOY)
    assert made['folder'] == str(birds.models / 'gan_garza')
    found = augment(birds, 'garza', 5)
    new = {f for f in files(birds.split) if f not in before}
    assert new == {f'train/garza/{n}' for n in found['names']} and found['added'] == 5 == len(new)
    assert augment(birds, 'garza', 5)['added'] == 0
    assert augment(birds, 'garza', 5, seed=1)['added'] == 5
    assert {(r['split'], r['label'], r['reason']) for r in birds.catalogue.rows(source='gan')} == {
        ('train', 'garza', 'generated by gan_garza')
    } and len(birds.catalogue.rows(source='gan')) == 10
    from birdsort.core.inventory import sync

    sync(birds)
    assert (
        len(load_splits(birds).train) == len(splits.train) + 10
        and len(birds.catalogue.rows(source='gan', split='train')) == 10
    )
    assert gan((birds, 'garza'), epochs=1, judge=False, **TOY) == made  # It never learns from what it painted
    assert augment(birds, 'garza', 0)['removed'] == 10
    assert files(birds.split) == before and birds.catalogue.rows() == rows
    with pytest.raises(ValueError, match="'garza'"):
        augment(birds, 'graza', 1)
