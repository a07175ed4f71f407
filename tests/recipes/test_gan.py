"The DCGAN: what it reads and refuses, that it can be killed and resumed, and where its images go."

import gzip
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load, save
from sklearn.datasets import load_digits

from birdsort.core.inventory import sync
from birdsort.datasets.splits import load_splits
from birdsort.recipes.gan.datasets import Images, read_idx, read_images
from birdsort.recipes.gan.metrics import frechet, make_feature_extractor, quality
from birdsort.recipes.gan.networks import make_discriminator, make_generator, steps_to
from birdsort.recipes.gan.recipe import (
    _signature,
    augment,
    gan,
    interpolate,
    load_generator,
    sample,
)
from birdsort.recipes.gan.settings import GanLimits, GanSettings, load_gan_settings
from birdsort.recipes.gan.training import open_gan
from birdsort.split import split
from conftest import ENV, birdsort, files, forked, one_line

TOY = GanSettings(width=8, batch_size=100, precision='channels-last')


def train(data, out=None, epochs=1, settings=TOY, **kw):
    "A GAN of 8 x 8 pixels."
    return gan(data, out, 8, settings, GanLimits(epochs=epochs), **dict(quiet=True) | kw)


def idx(array):
    header = bytes([0, 0, 8, array.ndim]) + b''.join(n.to_bytes(4, 'big') for n in array.shape)
    return header + array.astype('uint8').tobytes()


def write_digits(folder, n_train, n_test):
    "Scikit-learn's digits, as MNIST's four files."
    found = load_digits()
    folder.mkdir()
    parts = dict(train=slice(0, n_train), t10k=slice(n_train, n_train + n_test))
    for name, part in parts.items():
        images, labels = idx(found.images[part] / 16 * 255), idx(found.target[part])
        (folder / f'{name}-images-idx3-ubyte.gz').write_bytes(gzip.compress(images, mtime=0))
        (folder / f'{name}-labels-idx1-ubyte.gz').write_bytes(gzip.compress(labels, mtime=0))
    return folder


@pytest.fixture
def digits(tmp_path):
    "Six hundred to learn from, and as many held out as a floor needs."
    return write_digits(tmp_path / 'digits', 600, 200)


def test_idx_files_are_read(tmp_path):
    x = np.arange(24, dtype='uint8').reshape(4, 3, 2)
    file = tmp_path / 'f'
    for data in (idx(x), gzip.compress(idx(x))):
        file.write_bytes(data)
        assert (read_idx(file) == x).all()
    with pytest.raises(FileNotFoundError, match='no file'):
        read_idx(tmp_path / 'none')


WHOLE = idx(np.arange(24).reshape(4, 3, 2))
DAMAGED = [
    (WHOLE[:-1], 'is cut'),
    (WHOLE + b'x', 'too long'),
    (gzip.compress(WHOLE, mtime=0)[:-9], 'cut or damaged'),
    (WHOLE[:9], 'is cut'),
    (b'', 'no idx file'),
    (b'\0\0\x0d\3' + WHOLE[4:], '00 00 0d 03'),
    (b'PK\3\4', 'no idx file'),
]


@pytest.mark.parametrize('data,problem', DAMAGED)
def test_damaged_idx_files_are_refused(tmp_path, data, problem):
    file = tmp_path / 'f'
    file.write_bytes(data)
    with pytest.raises(ValueError, match=problem) as error:
        read_idx(file)
    assert '\n' not in str(error.value)
    assert str(file) in str(error.value)


REFUSED = [
    (lambda: GanLimits(epochs=0), 'epochs'),
    (lambda: GanSettings(label_smoothing=0.9), 'label_smoothing'),
    (lambda: GanSettings(precision='fp61'), 'precision'),
    (lambda: load_gan_settings(dict(witdh=8)), "mean 'width'"),
]


@pytest.mark.parametrize('call,problem', REFUSED)
def test_settings_out_of_range_are_refused(call, problem):
    with pytest.raises(ValueError, match=problem):
        call()


def test_wrong_arguments_leave_no_folder(digits, tmp_path):
    out = tmp_path / 'out'
    with pytest.raises(ValueError, match='choose 24, 28 or 32'):
        gan(digits, out, size=30)
    with pytest.raises(TypeError, match='witdh'):
        gan(digits, out, witdh=8)
    with pytest.raises(ValueError, match='--out'):
        gan(digits)
    with pytest.raises(FileNotFoundError, match='idx files or images'):
        gan(tmp_path / 'none', out)
    assert not out.exists()


def test_images_that_do_not_fit_are_refused(digits, tmp_path):
    out = tmp_path / 'out'
    (digits / 'train-labels-idx1-ubyte.gz').write_bytes(gzip.compress(idx(np.zeros(7))))
    with pytest.raises(ValueError, match='has 7 labels, and .* has 600 images'):
        gan(digits, out)
    few = tmp_path / 'few'
    few.mkdir()
    with pytest.raises(FileNotFoundError, match='no images in'):
        gan(few, out)
    for i in range(20):
        Image.new('RGB', (16, 16), (i, 0, 0)).save(few / f'{i}.png')
    with pytest.raises(ValueError, match='20 images'):
        gan(few, out)
    wide = tmp_path / 'wide'
    wide.write_bytes(idx(np.zeros((50, 20, 28))))
    with pytest.raises(ValueError, match='28 x 20'):
        gan(wide, out)


@pytest.mark.parametrize(
    'size,channels,spectral', [(28, 1, False), (32, 3, True), (64, 3, False), (48, 1, True)]
)
def test_shapes(size, channels, spectral):
    base, doublings = steps_to(size)
    assert base * 2**doublings == size
    assert 4 <= base < 8
    x = make_generator(size, channels, 8, 20)(torch.randn(3, 20, 1, 1))
    assert x.shape == (3, channels, size, size)
    assert x.abs().max() <= 1
    assert make_discriminator(size, channels, 8, spectral)(x).shape == (3,)


def save_noise(folder, n, shape):
    rng = np.random.default_rng(0)
    folder.mkdir(exist_ok=True)
    for i in range(n):
        Image.fromarray(rng.integers(0, 256, shape, dtype='uint8')).save(folder / f'{i}.png')


def test_folders_of_images(tmp_path):
    for label in ('a', 'b'):
        save_noise(tmp_path / label, 30, (40, 30))
    broken = tmp_path / 'a' / '0.png'
    broken.write_bytes(b'broken')
    found = read_images(tmp_path, quiet=True)
    assert found.train.shape == (54, 1, 64, 64)
    assert len(found.held) == 5
    assert found.vocab == ['a', 'b']
    assert found.broken == [(str(broken), 'not an image')]
    save_noise(tmp_path / 'a', 40, (16, 16, 3))
    flat = read_images(tmp_path / 'a', quiet=True)
    assert flat.train.shape == (36, 3, 16, 16)
    assert flat.known is None
    assert flat.vocab == []


def test_the_frechet_distance_agrees_with_scipy():
    from scipy.linalg import sqrtm

    rng = np.random.default_rng(1)
    a = rng.normal(size=(500, 6)) @ rng.normal(size=(6, 6))
    b = rng.normal(size=(400, 6)) @ rng.normal(size=(6, 6)) + 1
    cov_a, cov_b = np.cov(a.T), np.cov(b.T)
    root = sqrtm(cov_a @ cov_b).real
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(cov_a + cov_b - 2 * root)
    a, b = torch.from_numpy(a), torch.from_numpy(b)
    assert frechet(a, b) == pytest.approx(expected, rel=1e-6)
    assert frechet(a, a + 2) == pytest.approx(24, rel=1e-6)


def test_real_images_are_near_and_noise_is_far(tmp_path):
    images = read_images(write_digits(tmp_path / 'digits', 1500, 297))
    judge = make_feature_extractor(images, quiet=True)
    rng = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (300, 1, 8, 8), dtype=torch.uint8, generator=rng)
    real, noisy = quality(judge, images.held), quality(judge, noise)
    assert judge.accuracy > 0.9
    assert real['classes'] == 10
    assert real['sure'] > 0.8 > 0.5 > noisy['sure']
    assert real['frechet'] * 5 < noisy['frechet']


BATCHES = 6  # Of 100 in an epoch of 600 images


def train_in_process(data, out, killed):
    "Train four epochs, or die in the middle of the third."
    from birdsort.recipes.gan import training

    real_step, steps = training.step, []

    def dying_step(*args):
        steps.append(1)
        if len(steps) == BATCHES * 2 + 4:
            os._exit(7)
        return real_step(*args)

    if killed:
        training.step = dying_step
    train(data, out, 4)


def saved_generator(folder):
    "Header and weights of generator.safetensors, to the last bit; the file's own order of the header may vary."
    file = folder / 'generator.safetensors'
    with safe_open(file, 'pt') as f:
        header = f.metadata()
    return header, {
        name: weight.numpy().tobytes() for name, weight in load(file.read_bytes()).items()
    }


def without_seconds(folder):
    result = json.loads((folder / 'gan.json').read_text())['result']
    return {k: v for k, v in result.items() if k != 'seconds'}


def test_a_killed_training_resumes_exactly(digits, tmp_path):
    whole, halves = tmp_path / 'whole', tmp_path / 'halves'
    assert forked(train_in_process, digits, whole, False).returncode == 0
    assert forked(train_in_process, digits, halves, True).returncode == 7
    assert len(open_gan(halves).history) == 2
    assert forked(train_in_process, digits, halves, False).returncode == 0
    assert saved_generator(whole) == saved_generator(halves)
    for name in ('film.gif', 'grids/epoch_004.png'):
        assert (whole / name).read_bytes() == (halves / name).read_bytes(), name
    assert without_seconds(whole) == without_seconds(halves)
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
    assert train(digits, halves, 4)['epochs'] == 4
    assert files(halves) == before
    other = replace(TOY, seed=1)
    with pytest.raises(FileExistsError, match='--force'):
        train(digits, halves, 4, other)
    assert train(digits, halves, 1, other, force=True)['epochs'] == 1
    assert len(list((halves / 'grids').iterdir())) == 1


# What birdsort 0.1 computed for these images
SIGNATURES = [
    (GanSettings(), '4654cc1f1aca4f07'),
    (
        GanSettings(
            latent_dim=7, width=9, label_smoothing=0.1, spectral_norm=True, seed=3, precision='fp32'
        ),
        '1ccb0a1ce88d5c8c',
    ),
]


@pytest.mark.parametrize('settings,expected', SIGNATURES)
def test_signatures_are_those_of_the_old_names(settings, expected):
    x = torch.arange(64 * 64, dtype=torch.uint8).reshape(64, 1, 8, 8)
    images = Images(x[:60], x[60:], None, [], 'numbers')
    assert _signature(images, settings) == expected


def old_names(values):
    names = dict(latent_dim='latent', label_smoothing='smooth', spectral_norm='spectral')
    return {names.get(k, k): v for k, v in values.items()}


def make_old(folder):
    "Write a GAN's files as birdsort 0.1 did."
    checkpoint = torch.load(folder / 'checkpoint.pth', weights_only=True)
    torch.save(
        checkpoint | dict(settings=old_names(checkpoint['settings'])), folder / 'checkpoint.pth'
    )
    note = json.loads((folder / 'gan.json').read_text())
    (folder / 'gan.json').write_text(json.dumps(note | dict(settings=old_names(note['settings']))))
    weights = folder / 'generator.safetensors'
    with safe_open(weights, 'pt') as f:
        header = f.metadata()
    weights.write_bytes(save(load(weights.read_bytes()), old_names(header)))


def test_a_gan_with_the_old_names_is_opened_and_trained_further(digits, tmp_path):
    old, whole = tmp_path / 'old', tmp_path / 'whole'
    settings = replace(TOY, latent_dim=20, label_smoothing=0.1, spectral_norm=True)
    found = train(digits, old, 2, settings, judge=False)
    train(digits, whole, 3, settings, judge=False)
    make_old(old)
    assert open_gan(old).settings == settings
    latents = torch.randn(5, 20, 1, 1)
    generators = load_generator(old), open_gan(old).generator.eval()
    assert torch.allclose(*(g(latents) for g in generators), atol=1e-6)
    before = files(old)
    assert train(digits, old, 2, settings, judge=False) == found
    assert files(old) == before  # Recognised as the same training: nothing was trained
    assert train(digits, old, 3, settings, judge=False)['epochs'] == 3
    assert saved_generator(old) == saved_generator(whole)
    assert json.loads((old / 'gan.json').read_text())['settings'] == asdict(settings)


def test_old_flags_are_answered_with_the_new_ones():
    one_line(birdsort('gan', '--smooth', '0.1'), '--smooth is now --label-smoothing')


def test_settings_load_without_torch():
    code = "import sys, birdsort.recipes.gan.settings; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, '-c', code], env=ENV).returncode == 0


def test_without_labels(digits, tmp_path):
    for f in digits.glob('*labels*'):
        f.unlink()
    found = train(digits, tmp_path / 'out')
    assert found['classes'] is None
    assert found['frechet_last'] > found['frechet_real']
    assert any('no labels' in w for w in found['warnings'])


def test_sample_and_interpolate(digits, tmp_path):
    out = tmp_path / 'out'
    train(digits, out, judge=False)
    made = sample(out, 7, tmp_path / 'new')
    assert len(made) == 7 == len(files(tmp_path / 'new'))
    assert Image.open(made[0]).size == (8, 8)
    assert sample(out, 7, tmp_path / 'other', seed=5)[0].read_bytes() != made[0].read_bytes()
    strip = np.array(interpolate(out, 5, 2))
    assert strip.shape == (2 * 9 - 1, 5 * 9 - 1)
    with pytest.raises(ValueError, match='or more'):
        sample(out, 0)
    with pytest.raises(ValueError, match='or more'):
        interpolate(out, 1)


def test_minutes_are_kept(digits, tmp_path):
    start = time.perf_counter()
    limits = GanLimits(epochs=100_000, minutes=0.1)
    found = gan(digits, tmp_path / 'out', 8, TOY, limits, judge=False, quiet=True)
    assert 1 <= found['epochs'] < 100_000
    assert time.perf_counter() - start < 20


def test_a_project_without_a_split_is_refused(birds):
    with pytest.raises(FileNotFoundError, match='birdsort split'):
        gan((birds, 'garza'), quiet=True)
    with pytest.raises(FileNotFoundError, match='birdsort split'):
        augment(birds, 'garza', 3)


def test_generated_images_go_to_the_train_split_only(birds):
    from birdsort.aviary.sample_project import draw_images

    draw_images(birds, 50)
    split(birds, quiet=True)
    with pytest.raises(FileNotFoundError, match='birdsort gan'):
        augment(birds, 'garza', 3)
    before, rows, splits = files(birds.split), birds.catalogue.rows(), load_splits(birds)
    made = train((birds, 'garza'), judge=False)
    assert made['folder'] == str(birds.models / 'gan_garza')
    found = augment(birds, 'garza', 5)
    new = {f for f in files(birds.split) if f not in before}
    assert new == {f'train/garza/{name}' for name in found['names']}
    assert found['added'] == 5 == len(new)
    assert augment(birds, 'garza', 5)['added'] == 0
    assert augment(birds, 'garza', 5, seed=1)['added'] == 5
    generated = birds.catalogue.rows(source='gan')
    assert len(generated) == 10
    known = {(row['split'], row['label'], row['reason']) for row in generated}
    assert known == {('train', 'garza', 'generated by gan_garza')}
    sync(birds)
    assert len(load_splits(birds).train) == len(splits.train) + 10
    assert len(birds.catalogue.rows(source='gan', split='train')) == 10
    assert train((birds, 'garza'), judge=False) == made  # It never learns from generated images
    assert augment(birds, 'garza', 0)['removed'] == 10
    assert files(birds.split) == before
    assert birds.catalogue.rows() == rows
    with pytest.raises(ValueError, match="'garza'"):
        augment(birds, 'graza', 1)
