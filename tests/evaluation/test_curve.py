"The learning curve: what it foretells holds, copies stay together, and what cannot be said is one line."

import numpy as np
import pytest

from birdsort.evaluation.learning_curve import (
    CurvePoints,
    curve_sizes,
    explain_curve,
    foretell,
    measure_curve,
)
from birdsort.training.probe import ProbeData
from conftest import birdsort, one_line


def clouds(n, labels=3, seed=0, copies=1):
    "Overlapping clouds of points, each point so many times, and their mirror images."
    rng, y = np.random.default_rng(seed), np.repeat(np.arange(labels), n)
    x = rng.normal(size=(len(y), 16))
    x[np.arange(len(y)), y] += 2.2
    x, y, groups = (np.repeat(values, copies, 0) for values in (x, y, np.arange(len(y))))
    mirrored = x + 0.3 * rng.normal(size=x.shape)
    return ProbeData(
        np.concatenate([x, mirrored]).astype(np.float32), np.tile(y, 2), np.tile(groups, 2)
    )


def test_half_of_the_images_foretell_what_all_of_them_give():
    held = 0
    for seed in range(10):
        points = measure_curve(clouds(60, seed=seed), seed)
        half = [size for size in points.sizes if size <= points.sizes[-1] // 2]
        early = CurvePoints(half, points.right[: len(half)], points.y)
        (told,) = foretell(early, [points.sizes[-1]], seed=seed)
        held += told['low'] <= points.right[-1].mean() <= told['high']
    assert held >= 9


def test_copies_of_an_image_teach_nothing_about_it():
    "Each point three times, with labels that mean nothing: whoever sees a copy would know the label."
    data = clouds(20, copies=3)
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(3), 20))
    y = np.tile(np.repeat(labels, 3), 2)
    assert measure_curve(data._replace(y=y)).right[-1].mean() < 0.6


@pytest.mark.parametrize(
    'most, sizes', [(4, []), (5, [5]), (6, [6]), (16, [5, 7, 10, 16]), (20, [5, 7, 10, 14, 20])]
)
def test_sizes_grow_by_the_root_of_two(most, sizes):
    assert curve_sizes(most) == sizes


@pytest.mark.parametrize('counts', [(4, 60, 60), (11, 11, 11), (60, 60, 1)])
def test_too_few_images_are_one_line(counts):
    y = np.repeat(np.arange(3), counts)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2 * len(y), 4)).astype(np.float32)
    with pytest.raises(ValueError, match=f'the smallest has {min(counts)} in train and val'):
        measure_curve(ProbeData(x, np.tile(y, 2), np.tile(np.arange(len(y)), 2)))


def test_a_wide_band_promises_nothing():
    now = dict(images_per_label=20, accuracy=0.8, low=0.7, high=0.9)
    words = explain_curve(now, dict(images_per_label=120, accuracy=0.9, low=0.84, high=0.95))
    assert 'cannot be said yet' in words
    words = explain_curve(now, dict(images_per_label=120, accuracy=0.9, low=0.86, high=0.95))
    assert '100 more would bring about 0.90 (0.86 to 0.95)' in words


def test_without_a_run_it_says_what_to_do(birds):
    one_line(birdsort('curve', '--project', birds.path), 'birdsort train')
    one_line(birdsort('curve', '--project', birds.path, '--more', '0'), 'more')
