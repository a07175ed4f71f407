"""From images on disk to report and export: what does each stage take, and how does the whole grow?

    python bench/run.py --data FOLDER --arch local-dir:FOLDER
    python bench/run.py --data FOLDER --arch local-dir:FOLDER --repeat 1 10
    python bench/run.py --data FOLDER --arch local-dir:FOLDER --beside CHECKOUT

Every stage is a command of its own, as a user types it, so the start of Python counts. `--repeat` takes each image so
many times, shifted, lit and with noise of its own, and gives the exponent of the growth: 1 where ten times the images
take ten times as long. `--beside` runs another checkout of birdsort afterwards, on the same images, and gives ratios."""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STAGES = dict(clean=['--apply'], split=[], train=[], evaluate=[], report=[], export=[])


def vary(image, rng):
    "A photo of the same thing, a moment later: shifted, lit and with noise of its own."
    import numpy as np
    from PIL import Image, ImageOps

    w, h = image.size
    left, top = (int(rng.integers(0, max(1, side // 5))) for side in (w, h))
    right, bottom = (side - int(rng.integers(0, max(1, side // 5))) for side in (w, h))
    pixels = np.asarray(image.crop((left, top, right, bottom)).convert('RGB'), np.float32)
    pixels = pixels * rng.uniform(0.7, 1.3, 3) + rng.normal(0, 8, pixels.shape)
    varied = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    return ImageOps.mirror(varied) if rng.random() < 0.5 else varied


def make_images(data, folder, repeat):
    "Each image of the label folders, and variations of it -> how many."
    import numpy as np
    from PIL import Image

    rng, n = np.random.default_rng(0), 0
    for file in sorted(Path(data).glob('*/*')):
        target = folder / file.parent.name
        target.mkdir(parents=True, exist_ok=True)
        image = Image.open(file).convert('RGB')
        for i in range(repeat):
            (vary(image, rng) if i else image).save(target / f'{file.stem}-{i}.jpg', quality=90)
            n += 1
    return n


def run(args, repeat, checkout, tmp):
    "All stages in a new project -> {images, seconds: {stage: seconds}}."
    env = os.environ | dict(PYTHONPATH=str(Path(checkout).resolve()))
    project = Path(tempfile.mkdtemp(dir=tmp)) / 'project'

    def birdsort(*words):
        argv = [sys.executable, '-m', 'birdsort.cli', *map(str, words)]
        done = subprocess.run(argv, env=env, cwd=tmp, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f'{" ".join(argv)}: {done.stderr[-2000:]}')

    labels = sorted(d.name for d in Path(args.data).iterdir() if d.is_dir())
    birdsort('new', project, *labels, '--arch', args.arch)
    n, seconds = make_images(args.data, project / 'images', repeat), {}
    for stage, options in STAGES.items():
        start = time.perf_counter()
        birdsort(stage, '--project', project, *options)
        seconds[stage] = round(time.perf_counter() - start, 1)
        print(f'{n} images, {checkout}: {stage} {seconds[stage]} s', file=sys.stderr, flush=True)
    return dict(images=n, seconds=seconds | dict(all=round(sum(seconds.values()), 1)))


def exponent(rows):
    "Of the growth of the whole, from the fewest images to the most."
    first, last = rows[0], rows[-1]
    if first['images'] == last['images']:
        return None
    ratio = last['seconds']['all'] / first['seconds']['all']
    return round(math.log(ratio) / math.log(last['images'] / first['images']), 3)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--data', required=True, help='a folder of label folders with images')
    p.add_argument('--arch', required=True, help='a torchvision or timm name, or local-dir:FOLDER')
    p.add_argument('--repeat', type=int, nargs='+', default=[1], help='how often each image is taken')
    p.add_argument('--beside', help='another checkout of birdsort')
    p.add_argument('--json', action='store_true', help='print one JSON object')
    args = p.parse_args()
    here = Path(__file__).resolve().parents[1]
    with tempfile.TemporaryDirectory() as tmp:
        rows = [run(args, repeat, here, tmp) for repeat in args.repeat]
        other = run(args, args.repeat[0], args.beside, tmp) if args.beside else None
    result = dict(rows=rows, exponent=exponent(rows), other=other)
    if other:
        result['ratio'] = round(other['seconds']['all'] / rows[0]['seconds']['all'], 2)
    if args.json:
        return print(json.dumps(result))
    print(f"{'images':>8}" + ''.join(f'{name:>10}' for name in rows[0]['seconds']))
    for row in [*rows, *([other] if other else [])]:
        print(f"{row['images']:>8}" + ''.join(f'{seconds:>10}' for seconds in row['seconds'].values()))
    for name in ('exponent', 'ratio'):
        if result.get(name):
            print(f'{name} {result[name]}')


if __name__ == '__main__':
    main()
