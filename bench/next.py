"""How many labels does `birdsort next` save?

    python bench/next.py --pool FOLDER --judge FOLDER --arch local-dir:FOLDER

Both folders hold label folders. Somebody labels --start images of each label of the pool, and then again and again --batch
images, by chance or as `choose_images` says; after each batch a probe is fitted to the features of the frozen backbone and
judged by the other folder. `random` is the accuracy of --labels images that were labelled by chance, `labels` the smallest
number with which `next` is as good, both from the mean over the seeds."""

import argparse
import json
import os
import sys
import tempfile
import warnings
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np


def link(folder, project, kind):
    "Put the images of label folders into a project, without copying them; the kind is written into their names."
    for file in sorted(f for f in Path(folder).glob('*/*') if f.is_file()):
        target = project.images / file.parent.name / f'{kind}_{file.name}'
        target.parent.mkdir(parents=True, exist_ok=True)
        os.symlink(file.resolve(), target)


def features(args):
    "Features and labels of all images, and which of them belong to the pool."
    from birdsort.choose import candidate_features
    from birdsort.core.scaffold import new_project
    from birdsort.datasets.splits import load_splits
    from birdsort.pipeline import demo_settings
    from birdsort.split import split
    from birdsort.training.learner import make_learner
    from birdsort.training.precision import choose_precision

    settings = demo_settings(args.pool, args.arch) | dict(image_size=args.size, duplicates='off')
    project = new_project(Path(args.tmp) / 'images', **settings)
    link(args.pool, project, 'pool')
    link(args.judge, project, 'judge')
    split(project, quiet=True)
    learn = make_learner(project)
    pairs = [pair for pairs in load_splits(project) for pair in pairs]
    precision = choose_precision(project, project.settings, learn)
    data = candidate_features(project, learn, project.settings, pairs, precision, n_views=1)
    return data.x, data.y, np.array([file.name.startswith('pool_') for file, _ in pairs])


def probe(x, y, n_labels, rows):
    from birdsort.training.probe import ProbeData, fit_probe

    data = ProbeData(x[rows], y[rows], np.arange(len(rows)))
    fitted = fit_probe(data, list(map(str, range(n_labels))), strength=0.03)
    return lambda rows: x[rows] @ fitted.weight.T + fitted.bias


def one(args, x, y, pool, seed, choose):
    "{labels: accuracy} of one way to choose."
    rng, n_labels, found = np.random.default_rng(seed), y.max() + 1, {}
    judge, pool = np.flatnonzero(~pool), np.flatnonzero(pool)
    own = [pool[y[pool] == label] for label in range(n_labels)]
    labelled = np.concatenate([rng.choice(rows, args.start, replace=False) for rows in own])
    while True:
        ask = probe(x, y, n_labels, labelled)
        found[len(labelled)] = float((ask(judge).argmax(1) == y[judge]).mean())
        if len(labelled) >= args.labels:
            return found
        left = np.setdiff1d(pool, labelled)
        n = min(args.batch, args.labels - len(labelled))
        labelled = np.concatenate([labelled, left[choose(ask(left), x[left], n, rng)]])


def by_chance(logits, features, n, rng):
    return rng.choice(len(logits), n, replace=False)


def by_doubt(logits, features, n, rng):
    from birdsort.deploy.inference import probabilities
    from birdsort.next import choose_images

    return choose_images(probabilities(logits), features, n)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--pool', required=True, help='label folders to choose from')
    p.add_argument('--judge', required=True, help='label folders to judge by')
    p.add_argument('--arch', required=True, help='a timm name, or local-dir:FOLDER')
    p.add_argument('--labels', type=int, default=600, help='images that are labelled by chance')
    p.add_argument('--start', type=int, default=5, help='of each label, at first')
    p.add_argument('--batch', type=int, default=45)
    p.add_argument('--seeds', type=int, default=5)
    p.add_argument('--size', type=int, default=224)
    p.add_argument('--json', action='store_true', help='print one JSON object')
    args = p.parse_args()
    warnings.filterwarnings('ignore')
    with tempfile.TemporaryDirectory() as args.tmp, redirect_stdout(sys.stderr):
        data = features(args)
        curves = {}
        for name, choose in dict(random=by_chance, next=by_doubt).items():
            runs = [one(args, *data, seed, choose) for seed in range(args.seeds)]
            curves[name] = {n: float(np.mean([run[n] for run in runs])) for n in runs[0]}
    goal = curves['random'][args.labels]
    enough = next((n for n, accuracy in curves['next'].items() if accuracy >= goal), None)
    if args.json:
        print(json.dumps(dict(random=goal, labels=enough, of=args.labels, seeds=args.seeds, curves=curves)))
        return
    for n in curves['random']:
        print(f"{n:5} labels  by chance {curves['random'][n]:.4f}  next {curves['next'][n]:.4f}")
    print(f'{args.labels} labels by chance give {goal:.4f}, {enough} chosen ones as much; {args.seeds} seeds')


if __name__ == '__main__':
    main()
