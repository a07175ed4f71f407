"""A DCGAN on images of one's own, and what a small classifier, trained on the real ones, says of what it paints.

python bench/gan.py --data FOLDER [FOLDER ...] [--minutes 15] [--epochs 15] [--out FOLDER]

Each folder holds idx files with MNIST's names, images, or label folders. The seconds are those of the whole:
reading, the classifier, the training, the verdict. The last column is the distance of held-out real images,
which is the floor."""

import argparse
import json
import sys
import tempfile
import warnings
from contextlib import redirect_stdout
from pathlib import Path

KEYS = (
    'epochs',
    'classes',
    'sure',
    'sure_real',
    'frechet_first',
    'frechet_last',
    'frechet_real',
    'classifier_accuracy',
    'seconds',
)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--data', required=True, nargs='+', help='folders with idx files, images, or label folders')
    p.add_argument('--minutes', type=float, default=15, help='for each, at most; 0 sets no limit')
    p.add_argument('--epochs', type=int, default=15, help='for each, at most')
    p.add_argument('--size', type=int, default=0, help='pixels; 0 takes the own size')
    p.add_argument('--width', type=int, default=32)
    p.add_argument('--seed', type=int, default=42)
    p.add_argument('--out', help='keep what is made here, in a folder per data folder')
    p.add_argument('--json', action='store_true', help='print one JSON object')
    args = p.parse_args()
    warnings.filterwarnings('ignore')
    with tempfile.TemporaryDirectory() as tmp, redirect_stdout(sys.stderr):
        from birdsort.recipes.gan.recipe import gan

        out = {
            Path(d).name: gan(
                d,
                Path(args.out or tmp) / Path(d).name,
                size=args.size,
                epochs=args.epochs,
                minutes=args.minutes,
                width=args.width,
                seed=args.seed,
            )
            for d in args.data
        }
    if args.json:
        return print(json.dumps({d: {k: r[k] for k in (*KEYS, 'warnings')} for d, r in out.items()}))
    width = max(map(len, out))
    print(f"{'data':{width}}  " + '  '.join(f'{k:>{max(len(k), 7)}}' for k in KEYS))
    for d, r in out.items():
        print(f'{d:{width}}  ' + '  '.join(f'{str(r[k]):>{max(len(k), 7)}}' for k in KEYS))
        for w in r['warnings']:
            print(f'  {w}')


if __name__ == '__main__':
    main()
