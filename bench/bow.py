"""The visual bag of words on label folders: accuracy and seconds of five published configurations and of the best,
in one run.

    python bench/bow.py --data scene15 train test
    python bench/bow.py --data FOLDER TRAIN TEST --only best --json

DATA holds two folders of label folders. Each configuration learns from the first and is judged by the second,
then the other way round (`--one-way` leaves that out). Each begins with an empty cache, and its seconds are for all
of it: decoding, descriptors, words, classifier, and the predictions for both folders. Published for the fifteen
scenes, where the larger part, 2,985, was learned from: 0.47, 0.54, 0.50, 0.37, 0.36, in 6 to 30 minutes."""

import argparse
import json
import sys
import tempfile
import time
from contextlib import redirect_stdout
from pathlib import Path

# As the published ones: key points, positions ignored; OpenCV's SIFT and KAZE take twice as long at 256 pixels
KEY_POINTS = dict(step=0, pyramid=(1,), pca=0, max_side=200, C=1.0)
# Name -> (published accuracy, options)
PUBLISHED = {
    'SIFT 100 linear': (0.47, dict(extractor='sift', vocab_size=100, classifier='linear')),
    'SIFT 500 linear': (0.54, dict(extractor='sift', vocab_size=500, classifier='linear')),
    'FAST+FREAK 250 linear': (0.50, dict(extractor='freak', vocab_size=250, classifier='linear')),
    'KAZE 250 linear': (0.37, dict(extractor='kaze', vocab_size=250, classifier='linear')),
    'SIFT 250 forest': (0.36, dict(extractor='sift', vocab_size=250, classifier='forest')),
}


def images(folder, per_label):
    "Files and labels of a folder of label folders."
    from birdsort.files.listing import list_images

    pairs = [(f, label) for label, files in list_images(folder).items() for f in files[: per_label or None]]
    if not pairs:
        raise SystemExit(f'{folder} holds no label folders with images')
    return [f for f, _ in pairs], [label for _, label in pairs]


def measure(options, train, validation, quiet):
    "Train on one pair (files, labels) and judge by the other."
    from birdsort.recipes.bow.recipe import make_bow
    from birdsort.recipes.bow.settings import BowSettings

    (files, labels), (others, truths) = train, validation
    with tempfile.TemporaryDirectory() as cache:
        start = time.perf_counter()
        pipe = make_bow(BowSettings(**options), cache=Path(cache), quiet=quiet)
        histograms = pipe[:-1].fit_transform(files)
        pipe[-1].fit(histograms, labels)
        train_accuracy = (pipe[-1].predict(histograms) == labels).mean()
        accuracy = (pipe.predict(others) == truths).mean()
        seconds = time.perf_counter() - start
    return dict(
        images=[len(files), len(others)],
        train=round(float(train_accuracy), 4),
        validation=round(float(accuracy), 4),
        seconds=round(seconds, 1),
    )


def measure_all(todo, folders, args):
    "A row for each configuration and way; each is printed to stderr as soon as it is there."
    ways = {'there': folders} if args.one_way else {'there': folders, 'back': folders[::-1]}
    for way, (train, test) in ways.items():
        for name, (published, options) in todo.items():
            pairs = [images(folder, args.per_label) for folder in (train, test)]
            row = dict(name=name) | measure(options, *pairs, args.quiet)
            row |= dict(way=way, published=published if way == 'there' else None)
            print(row, file=sys.stderr, flush=True)
            yield row


def line(row):
    "A row of the table that is printed."
    learned, judged = row['images']
    text = f"{row['name']:<24}{learned:>6} -> {judged:<6} train {row['train']:.3f}  "
    text += f"validation {row['validation']:.3f}  {row['seconds']:>6.1f} s"
    return text + (f"  (published {row['published']:.2f})" if row['published'] else '')


def options():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--data', required=True, help='a folder')
    two = ['train', 'test']
    p.add_argument('folders', nargs='*', default=two, help='the two folders in it, train and test by default')
    p.add_argument('--per-label', type=int, default=0, help='only so many images of each label and folder')
    p.add_argument('--one-way', action='store_true', help='not the other way round')
    p.add_argument('--only', default='', help='one configuration, by a part of its name')
    p.add_argument('--set', type=json.loads, default={}, help='other options of the best one, as JSON')
    p.add_argument('--quiet', action='store_true', help='no progress bars')
    p.add_argument('--json', action='store_true', help='print one JSON object')
    return p.parse_args()


def main():
    args = options()
    names = args.folders if len(args.folders) == 2 else ['train', 'test']
    folders = [Path(args.data) / name for name in names]
    known = {name: (published, KEY_POINTS | changed) for name, (published, changed) in PUBLISHED.items()}
    known['best'] = None, args.set
    todo = {name: configuration for name, configuration in known.items() if args.only in name}
    with redirect_stdout(sys.stderr):
        rows = list(measure_all(todo, folders, args))
    if args.json:
        there = [row for row in rows if row['way'] == 'there']
        best = max(there, key=lambda row: row['validation'], default=None)
        return print(json.dumps(dict(rows=rows, best=best)))
    for row in rows:
        print(line(row))


if __name__ == '__main__':
    main()
