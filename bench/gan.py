"""Train a DCGAN on your own images, and measure its images with a small classifier trained on the real ones.

python bench/gan.py --data FOLDER [FOLDER ...] [--minutes 15] [--epochs 15] [--out FOLDER]

Each folder holds idx files with MNIST's names, images, or label folders. The seconds include
reading, the classifier, the training and the measurements. `frechet_real` is the distance of held-out real
images, which is the floor."""

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
    p.add_argument('--size', type=int, default=0, help='pixels; 0 takes the size of the images')
    p.add_argument('--width', type=int, default=32)
    p.add_argument('--seed', type=int, default=42)
    p.add_argument('--out', help='keep the GANs here, one folder for each data folder')
    p.add_argument('--json', action='store_true', help='print one JSON object')
    args = p.parse_args()
    warnings.filterwarnings('ignore')
    with tempfile.TemporaryDirectory() as temporary, redirect_stdout(sys.stderr):
        out = Path(args.out or temporary)
        results = {Path(data).name: train(data, out / Path(data).name, args) for data in args.data}
    if args.json:
        chosen = {name: {k: found[k] for k in (*KEYS, 'warnings')} for name, found in results.items()}
        print(json.dumps(chosen))
    else:
        print_table(results)


def train(data, out, args):
    from birdsort.recipes.gan.recipe import gan
    from birdsort.recipes.gan.settings import GanLimits, GanSettings

    settings = GanSettings(width=args.width, seed=args.seed)
    return gan(data, out, args.size, settings, GanLimits(args.epochs, args.minutes))


def print_table(results):
    width = max(map(len, results))
    columns = {k: max(len(k), 7) for k in KEYS}
    print(f"{'data':{width}}  " + '  '.join(f'{k:>{w}}' for k, w in columns.items()))
    for name, found in results.items():
        print(f'{name:{width}}  ' + '  '.join(f'{str(found[k]):>{w}}' for k, w in columns.items()))
        for warning in found['warnings']:
            print(f'  {warning}')


if __name__ == '__main__':
    main()
