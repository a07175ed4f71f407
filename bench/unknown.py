"""Does a model notice what it has never seen? Images of something else, in colour and with everything grey, and each
label left out in turn, by birdsort's unknown score and by the maximum softmax probability.

    python bench/unknown.py --data FOLDER --far FOLDER --arch local-dir:FOLDER

For each seed the label folders in --data are split, trained on, evaluated and exported; ONNX Runtime then answers with
`threshold="auto"` for the test images and for --images images of --far, evenly spaced. `known_kept` is the share of the
test images that get a label, right or wrong; it should be near the 95 % that the threshold was chosen for, on the
validation split. The maximum softmax is given the threshold that keeps 95 % of the same validation images. In grey, the
training images are grey as well, so that colour cannot give anything away. `loo_auroc` is from `evaluate`: models that
never saw a label are asked about it, from the same features. Numbers are means over the seeds."""

import argparse
import json
import re
import sys
import tempfile
import time
import warnings
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np


def make_project(args, grey):
    "A project of the label folders, in colour or in grey."
    from PIL import Image

    from birdsort.core.scaffold import new_project
    from birdsort.pipeline import demo_settings

    settings = demo_settings(args.data, args.arch) | dict(image_size=args.size, batch_size=32)
    project = new_project(Path(args.tmp) / ('grey' if grey else 'colour'), **settings)
    for folder in (d for d in sorted(Path(args.data).iterdir()) if d.is_dir()):
        (project.images / folder.name).mkdir(parents=True)
        for file in sorted(folder.iterdir())[: args.per_label or None]:
            im = Image.open(file).convert('RGB')
            im = im.convert('L').convert('RGB') if grey else im
            im.save(project.images / folder.name / f'{file.stem}.png', compress_level=1)
    return project


def with_seed(project, seed):
    "The same project with another seed; its cached features stay."
    from birdsort.core.project import Project

    file = project.path / 'birdsort.toml'
    text, n = re.subn(r'(?m)^seed = \d+', f'seed = {seed}', file.read_text())
    assert n == 1, 'birdsort.toml has no seed'
    file.write_text(text)
    return Project(project.path)


def far_images(args, grey):
    from PIL import Image

    files = sorted(f for f in Path(args.far).rglob('*') if f.suffix.lower() in ('.jpg', '.jpeg', '.png'))
    n = min(args.images, len(files))
    images = [Image.open(files[i * len(files) // n]).convert('RGB') for i in range(n)]
    return [im.convert('L').convert('RGB') for im in images] if grey else images


def ask(project, far):
    "What an exported model answers for the test images and for the others, and the maximum softmax beside it."
    from birdsort.datasets.splits import load_splits
    from birdsort.files.names import NONE
    from birdsort.predict import Predictor

    predictor, splits = Predictor(project, 'onnx', threshold='auto'), load_splits(project)
    val, test = ([file for file, _ in pairs] for pairs in (splits.val, splits.test))
    asked = {name: list(predictor.rows(images)) for name, images in dict(val=val, test=test, far=far).items()}
    sure = {name: np.array([row['probability'] for row in rows]) for name, rows in asked.items()}
    refused = {name: np.mean([row['label'] == NONE for row in rows]) for name, rows in asked.items()}
    least = np.sort(sure['val'])[int(0.05 * (len(val) + 1))]
    return dict(
        known_kept=1 - refused['test'],
        far_refused=refused['far'],
        softmax_known_kept=np.mean(sure['test'] >= least),
        softmax_far_refused=np.mean(sure['far'] < least),
    )


def one(project, far, given):
    "Split, training, evaluation, export and answers for the seed of a project."
    from birdsort.core.settings import change
    from birdsort.evaluate import evaluate
    from birdsort.export import export
    from birdsort.split import split
    from birdsort.train import train

    split(project, force=True, quiet=True)
    train(project, quiet=True, settings=change(project.settings, **json.loads(given)))
    start = time.process_time()
    result = evaluate(project, quiet=True)
    evaluating = time.process_time() - start
    exported = export(project, formats=('onnx',), quiet=True)
    left_out = result['unknown']['left_out']
    row = ask(project, far) | dict(accuracy=result['accuracy'], evaluate_cpu=evaluating)
    for name, key in dict(score='auroc', softmax='by_probability', refused='refused').items():
        row[f'loo_{name}'] = np.mean([found[key] for found in left_out.values()])
    return row, left_out, exported['megabytes']['unknown.safetensors']


def both(args, grey):
    "The means over all seeds, in colour or in grey."
    project, far = make_project(args, grey), far_images(args, grey)
    rows, left_out = [], []
    for seed in args.seeds:
        row, labels, megabytes = one(with_seed(project, seed), far, args.set)
        rows.append(row)
        left_out.append(labels)
        print(
            f"{'grey' if grey else 'colour'}, seed {seed}:", {k: round(float(v), 3) for k, v in row.items()}, flush=True
        )
    means = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    labels = {
        label: {
            k: float(np.mean([found[label][k] for found in left_out])) for k in ('auroc', 'by_probability', 'refused')
        }
        for label in left_out[0]
    }
    return means | dict(labels=labels, megabytes=megabytes)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--data', required=True, help='a folder of label folders')
    p.add_argument('--far', required=True, help='a folder of images of something else')
    p.add_argument('--arch', required=True, help='a timm name, or local-dir:FOLDER')
    p.add_argument('--images', type=int, default=500, help='how many of --far')
    p.add_argument('--seeds', type=int, nargs='+', default=[1, 2, 3, 4, 5])
    p.add_argument('--size', type=int, default=224)
    p.add_argument('--per-label', type=int, default=0, help='only so many images of each label')
    p.add_argument('--set', default='{}', help='settings as JSON, such as {"fine_tune": "never"}')
    p.add_argument('--json', action='store_true', help='print one JSON object')
    args = p.parse_args()
    warnings.filterwarnings('ignore')
    with tempfile.TemporaryDirectory() as args.tmp, redirect_stdout(sys.stderr):
        colour, grey = both(args, False), both(args, True)
    out = dict(
        far_refused=colour['far_refused'],
        far_refused_grey=grey['far_refused'],
        known_kept=colour['known_kept'],
        known_kept_grey=grey['known_kept'],
        loo_auroc=dict(score=colour['loo_score'], softmax=colour['loo_softmax']),
        loo_auroc_grey=dict(score=grey['loo_score'], softmax=grey['loo_softmax']),
        colour=colour,
        grey=grey,
    )
    if args.json:
        return print(json.dumps(out))
    for name, found in dict(colour=colour, grey=grey).items():
        print(
            f"{name}: known kept {found['known_kept']:.3f}, far refused {found['far_refused']:.3f}, AUROC left out "
            f"{found['loo_score']:.3f}; maximum softmax {found['softmax_known_kept']:.3f}, "
            f"{found['softmax_far_refused']:.3f}, {found['loo_softmax']:.3f}; accuracy {found['accuracy']:.3f}"
        )
        for label, values in found['labels'].items():
            auroc = f"AUROC {values['auroc']:.3f}, by maximum softmax {values['by_probability']:.3f}"
            print(f"  {label}: {auroc}, refused {values['refused']:.2f}")


if __name__ == '__main__':
    main()
