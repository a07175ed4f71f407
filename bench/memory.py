"""Does training on many images take more memory than training on few? Every image is made, each count is a process
of its own.

python bench/memory.py

The network is timm's `test_resnet` with random weights taken for pretrained, so that both stages are as they
always are: images decoded into a cache on disk, a frozen body that looks at them once, and then the whole
network. All of the cache together would not fit into the gigabyte that is allowed: 20,000 images are two of
them."""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

from train import random_weights


def make_images(folder, n, size):
    "Blurred noise, so many JPEGs in seven labels, dealt to train, val and test."
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    for i in range(n):
        (label := folder / ('train' if i < 0.7 * n else 'val' if i < 0.85 * n else 'test') / f'label_{i % 7}').mkdir(
            parents=True, exist_ok=True
        )
        Image.fromarray(rng.integers(0, 256, (9, 9, 3), np.uint8)).resize((size, size), Image.Resampling.BICUBIC).save(
            label / f'{i:05}.jpg'
        )


def one(n, args):
    "Train on so many images, in this process -> a dict."
    from birdsort.core.scaffold import new_project
    from birdsort.core.settings import change
    from birdsort.train import train

    folder = Path(tempfile.mkdtemp(dir=args.tmp))
    make_images(folder / 'images', n, args.size)
    arch = random_weights('test_resnet.r160_in1k', folder / 'weights')
    labels = {d.name: [d.name] for d in sorted((folder / 'images' / 'train').iterdir())}
    project = new_project(folder / 'birds', labels=labels, architecture=arch, image_size=args.size, epochs=(1, 1))
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, time.perf_counter()
    train(project, settings=change(project.settings, data=str(folder / 'images')))
    cache = sum(f.stat().st_size for f in (project.path / '.cache').iterdir()) / 1e6
    return dict(
        images=n,
        megabytes=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        before=round(before),
        cache=round(cache),
        seconds=round(time.perf_counter() - start, 1),
    )


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--images', type=int, nargs='+', default=[490, 20_000])
    p.add_argument('--size', type=int, default=160, help='of the images, pixels')
    p.add_argument('--json', action='store_true', help='print one JSON object')
    p.add_argument('--tmp', help=argparse.SUPPRESS)
    args = p.parse_args()
    if args.tmp:
        warnings.filterwarnings('ignore')
        return print(json.dumps(one(args.images[0], args)))
    rows = []
    for n in args.images:
        with tempfile.TemporaryDirectory() as tmp:
            argv = [sys.executable, __file__, '--images', str(n), '--size', str(args.size), '--tmp', tmp]
            rows.append(
                json.loads(subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()[-1])
            )
    difference = rows[-1]['megabytes'] - rows[0]['megabytes']
    if args.json:
        return print(json.dumps(dict(rows=rows, difference=difference)))
    print(f"{'images':>10}{'cache, MB':>12}{'peak, MB':>10}{'seconds':>10}")
    for r in rows:
        print(f"{r['images']:>10}{r['cache']:>12}{r['megabytes']:>10}{r['seconds']:>10}")
    print(f'difference {difference} MB')


if __name__ == '__main__':
    main()
