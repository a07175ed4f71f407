"""Do sets of labels hold the true one as often as was promised?

    python bench/sets.py --data FOLDER --arch local-dir:FOLDER

For each seed the images are divided at random into 70 % to fit a probe on features of the frozen network, 15 % to choose
temperature and bound, and 15 % to count; then the two small parts change places, so that easy images in one of them
do not decide. `coverage` is the mean share of sets with the true label, `sd` its standard
deviation over the seeds, `size` the mean number of labels in a set, `several` and `empty` the shares of sets with more
than one label and with none."""

import argparse
import json
import sys
import tempfile
import warnings
from contextlib import redirect_stdout

import numpy as np

from curve import features

PROMISES = 0.9, 0.95


def as_predictions(probe, data, rows, names, split):
    from birdsort.deploy.inference import probabilities
    from birdsort.evaluation.predictions import Predictions

    logits = data.x[rows] @ probe.weight.T + probe.bias
    return Predictions(list(rows), probabilities(logits), data.y[rows], names, split)


def judge(tables):
    "A `SetsResult` for each promise."
    from birdsort.evaluation.calibration import apply_temperature, fit_temperature
    from birdsort.evaluation.prediction_sets import judge_sets, true_label_scores

    temperature = fit_temperature(tables['val'])
    scaled = {split: apply_temperature(table, temperature) for split, table in tables.items()}
    scores = true_label_scores(scaled['val'])
    return [judge_sets(scaled['test'], scores, promise) for promise in PROMISES]


def one(data, seed):
    "(`SetsResult` for each promise, accuracy), for either of two parts as the one that is counted."
    from birdsort.training.probe import ProbeData, fit_probe

    n = len(data.y) // 2  # The other rows are those of the mirror images
    order = np.random.default_rng(seed).permutation(n)
    train, *parts = np.split(order, [int(0.7 * n), int(0.85 * n)])
    names = [str(label) for label in range(data.y.max() + 1)]
    both = np.concatenate([train, train + n])
    probe = fit_probe(ProbeData(data.x[both], data.y[both], data.groups[both]), names, seed=seed)
    for val, test in (parts, parts[::-1]):
        tables = {s: as_predictions(probe, data, rows, names, s) for s, rows in dict(val=val, test=test).items()}
        yield judge(tables), tables['test'].correct.mean()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--data', required=True, help='a folder of label folders')
    p.add_argument('--arch', required=True, help='a timm name, or local-dir:FOLDER')
    p.add_argument('--seeds', type=int, default=30)
    p.add_argument('--size', type=int, default=224)
    p.add_argument('--json', action='store_true', help='print one JSON object')
    args = p.parse_args()
    warnings.filterwarnings('ignore')
    with tempfile.TemporaryDirectory() as args.tmp, redirect_stdout(sys.stderr):
        data = features(args)
        judged = [found for seed in range(args.seeds) for found in one(data, seed)]
    found = dict(seeds=args.seeds, images=len(data.y) // 2, accuracy=float(np.mean([right for _, right in judged])))
    for i, promise in enumerate(PROMISES):
        rows = [sets[i] for sets, _ in judged]
        per_seed = np.reshape([row['coverage'] for row in rows], (args.seeds, 2)).mean(1)
        means = {key: float(np.mean([row[key] for row in rows])) for key in ('coverage', 'size', 'several', 'empty')}
        found[str(promise)] = means | dict(sd=float(np.std(per_seed)))
    if args.json:
        return print(json.dumps(found))
    print(f"{found['images']} images, accuracy {found['accuracy']:.3f}, {args.seeds} seeds")
    for promise in PROMISES:
        print(promise, {key: round(value, 3) for key, value in found[str(promise)].items()})


if __name__ == '__main__':
    main()
