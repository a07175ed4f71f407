"""Does a learning curve fitted to at most half of the images foretell the accuracy that all of them give?

    python bench/curve.py --data FOLDER --arch local-dir:FOLDER

For each seed the folds and the order of the images are drawn anew. The power law is fitted to the points with at most
half of the largest number of images per label; `held` counts the seeds in which its 95 % band holds what was measured
at the largest number. `error` is how far the law was off on average, `unchanged` how far somebody is who says that
more images change nothing."""

import argparse
import json
import shutil
import sys
import tempfile
import time
import warnings
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np


def features(args):
    "Features of the images of train and validation."
    from birdsort.choose import candidate_features, images_to_compare
    from birdsort.core.scaffold import new_project
    from birdsort.pipeline import demo_settings
    from birdsort.split import split
    from birdsort.training.learner import make_learner
    from birdsort.training.precision import choose_precision

    settings = demo_settings(args.data, args.arch) | dict(image_size=args.size)
    project = new_project(Path(args.tmp) / 'images', **settings)
    for folder in (d for d in sorted(Path(args.data).iterdir()) if d.is_dir()):
        shutil.copytree(folder, project.images / folder.name)
    split(project, quiet=True)
    learn, pairs = make_learner(project), images_to_compare(project, project.settings)
    precision = choose_precision(project, project.settings, learn)
    return candidate_features(project, learn, project.settings, pairs, precision)


def one(data, seed):
    from birdsort.evaluation.learning_curve import CurvePoints, foretell, measure_curve

    points = measure_curve(data, seed)
    most, seen = points.sizes[-1], points.right.mean(1)
    half = [size for size in points.sizes if size <= most // 2]
    (told,) = foretell(CurvePoints(half, points.right[: len(half)], points.y), [most], seed=seed)
    return told | dict(from_at_most=half[-1], last=float(seen[len(half) - 1]), seen=float(seen[-1]))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--data', required=True, help='a folder of label folders')
    p.add_argument('--arch', required=True, help='a timm name, or local-dir:FOLDER')
    p.add_argument('--seeds', type=int, default=10)
    p.add_argument('--size', type=int, default=224)
    p.add_argument('--json', action='store_true', help='print one JSON object')
    args = p.parse_args()
    warnings.filterwarnings('ignore')
    with tempfile.TemporaryDirectory() as args.tmp, redirect_stdout(sys.stderr):
        data, start = features(args), time.process_time()
        rows = [one(data, seed) for seed in range(args.seeds)]
        seconds = (time.process_time() - start) / args.seeds
    off = {name: np.mean([abs(row[key] - row['seen']) for row in rows]) for name, key in
           dict(error='accuracy', unchanged='last').items()}  # fmt: skip
    held = sum(row['low'] <= row['seen'] <= row['high'] for row in rows)
    found = dict(held=held, seeds=args.seeds, cpu_seconds=seconds, rows=rows) | {k: float(v) for k, v in off.items()}
    if args.json:
        print(json.dumps(found))
        return
    for row in rows:
        print({name: round(value, 3) for name, value in row.items()})
    print(
        f"{held} of {args.seeds} bands hold it; off by {off['error']:.3f}, and by {off['unchanged']:.3f} without a law"
    )
    print(f'{seconds:.1f} s of processor for a curve')


if __name__ == '__main__':
    main()
