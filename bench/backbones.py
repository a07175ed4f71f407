"""How fast is each backbone on this machine, and how well do its pretrained features tell labels apart?

    python bench/backbones.py --data FOLDER --weights local-dir:FOLDER pip:efficientnet_lite0

The networks of `--weights` are judged as `--arch auto` judges them: a logistic regression on their features, cross-validated
on the train and validation images. All others among which `auto` chooses are built with random weights, and only timed:
milliseconds for one image in a batch, forward, in the fastest precision and number of threads."""

import argparse
import json
import shutil
import tempfile
import warnings
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path


def make_project(data, folder, size):
    from birdsort.core.scaffold import new_project
    from birdsort.pipeline import demo_settings
    from birdsort.split import split

    settings = demo_settings(data, 'pip:efficientnet_lite0') | dict(image_size=size)
    project = new_project(folder, **settings)
    for label in (d for d in sorted(Path(data).iterdir()) if d.is_dir()):
        shutil.copytree(label, project.images / label.name)
    split(project, quiet=True)
    return project


def timed(project, settings):
    "Milliseconds and megabytes of a network with random weights."
    from birdsort.core.threads import processor_threads
    from birdsort.training.learner import make_learner
    from birdsort.training.precision import choose_precision, forward_milliseconds

    learn = make_learner(project, settings=settings)
    precision = choose_precision(project, settings, learn)
    with processor_threads(learn.model, settings.train.threads):
        milliseconds = forward_milliseconds(learn, settings.image_size, precision)
    megabytes = sum(p.numel() for p in learn.model.parameters()) * 4 / 1e6
    return dict(architecture=settings.architecture, milliseconds=milliseconds, megabytes=round(megabytes, 1))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--data', required=True, help='a folder of label folders')
    p.add_argument('--weights', nargs='*', default=['pip:efficientnet_lite0'], help='networks that are judged')
    p.add_argument('--size', type=int, default=224)
    p.add_argument('--json', action='store_true', help='print one JSON object per network')
    args = p.parse_args()
    warnings.filterwarnings('ignore')
    from birdsort.choose import judge_backbone
    from birdsort.core.architectures import architectures
    from birdsort.core.settings import TIERS

    names = dict.fromkeys(name for tier in TIERS for name, _ in architectures([f'auto:{tier}']))
    with tempfile.TemporaryDirectory() as tmp:
        project = make_project(args.data, Path(tmp) / 'images', args.size)
        rows = [(name, True) for name in args.weights] + [(n, False) for n in names if n not in args.weights]
        for name, judged in rows:
            settings = replace(project.settings, architecture=name, pretrained=judged)
            with redirect_stdout(StringIO()):
                row = judge_backbone(project, settings, quiet=True) if judged else timed(project, settings)
            known = (row.get('accuracy', ''), row['milliseconds'], row['megabytes'], row.get('licence', ''))
            print(json.dumps(row) if args.json else f'{name:60} {known}', flush=True)


if __name__ == '__main__':
    main()
