"""The visual bag of words on label folders: accuracy and seconds of five published configurations and of the best,
in one run.

    python bench/bow.py --data scene15 train test
    python bench/bow.py --data FOLDER TRAIN TEST --only best --json

DATA holds two folders of label folders. Each configuration learns from the first and is judged by the second,
then the other way round (`--one-way` leaves that out). Each begins with an empty cache, and its seconds are all
of it: decoding, descriptors, words, classifier, and the answers to both splits. Published for the fifteen
scenes, where the larger part, 2,985, was learned from: 0.47, 0.54, 0.50, 0.37, 0.36, in 6 to 30 minutes."""

import argparse
import json
import sys
import tempfile
import time
from contextlib import redirect_stdout
from pathlib import Path

KEYS = dict(
    step=0, pyramid=(1,), pca=0, side=200, C=1.0
)  # As the published ones: key points, places forgotten; OpenCV's SIFT and KAZE take twice as long at 256
PUBLISHED = {
    'SIFT 100 linear': (0.47, dict(extractor='sift', words=100, classifier='linear')),
    'SIFT 500 linear': (0.54, dict(extractor='sift', words=500, classifier='linear')),
    'FAST+FREAK 250 linear': (0.50, dict(extractor='freak', words=250, classifier='linear')),
    'KAZE 250 linear': (0.37, dict(extractor='kaze', words=250, classifier='linear')),
    'SIFT 250 forest': (0.36, dict(extractor='sift', words=250, classifier='forest')),
}


def images(folder, per_label):
    from birdsort.core.project import list_images

    pairs = [(f, l) for l, fs in list_images(folder).items() for f in fs[: per_label or None]]
    if not pairs:
        raise SystemExit(f'{folder} holds no label folders with images')
    return map(list, zip(*pairs, strict=False))


def row(name, options, train, test, args):
    from birdsort.recipes.bow.recipe import make_bow

    (files, labels), (others, truths) = (images(d, args.per_label) for d in (train, test))
    with tempfile.TemporaryDirectory() as cache:
        start = time.perf_counter()
        pipe = make_bow(**options, cache=Path(cache), quiet=args.quiet)
        seen = pipe[:-1].fit_transform(files)
        pipe[-1].fit(seen, labels)
        fit, judged = (pipe[-1].predict(seen) == labels).mean(), (pipe.predict(others) == truths).mean()
    return dict(
        name=name,
        images=[len(files), len(others)],
        train=round(float(fit), 4),
        validation=round(float(judged), 4),
        seconds=round(time.perf_counter() - start, 1),
    )


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--data', required=True, help='a folder')
    p.add_argument(
        'folders', nargs='*', default=['train', 'test'], help='the two folders in it, train and test unless named'
    )
    p.add_argument('--per-label', type=int, default=0, help='only so many images of each label and side')
    p.add_argument('--one-way', action='store_true', help='not the other way round')
    p.add_argument('--only', help='one configuration, by a part of its name')
    p.add_argument('--set', type=json.loads, default={}, help='other options of the best one, as JSON')
    p.add_argument('--quiet', action='store_true')
    p.add_argument('--json', action='store_true', help='print one JSON object')
    args = p.parse_args()
    a, b = (Path(args.data) / f for f in (args.folders if len(args.folders) == 2 else ['train', 'test']))
    todo = {n: (0, KEYS | o, v) for n, (v, o) in PUBLISHED.items()} | {'best': (0, args.set, None)}
    rows = []
    with redirect_stdout(sys.stderr):
        for back, (train, test) in enumerate(((a, b), (b, a))[: 1 if args.one_way else 2]):
            for name, (_, options, published) in todo.items():
                if args.only and args.only not in name:
                    continue
                made = row(name, options, train, test, args)
                rows.append(made | dict(way='back' if back else 'there', published=None if back else published))
                print(rows[-1], file=sys.stderr, flush=True)
    best = max((r for r in rows if r['way'] == 'there'), key=lambda r: r['validation'], default=None)
    if args.json:
        return print(json.dumps(dict(rows=rows, best=best)))
    for r in rows:
        print(
            f"{r['name']:<24}{r['images'][0]:>6} -> {r['images'][1]:<6} train {r['train']:.3f}  "
            f"validation {r['validation']:.3f}  {r['seconds']:>6.1f} s"
            + (f"  (published {r['published']:.2f})" if r['published'] else '')
        )


if __name__ == '__main__':
    main()
