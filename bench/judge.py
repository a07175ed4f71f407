"""The report and cross-validation on label folders: seconds beside those of the training, and what they say beside
each other.

python bench/judge.py --data FOLDER --arch local-dir:FOLDER

One training by birdsort, then its report (every image of every side, as it is and mirrored), then `--folds 5`.
The peer of the folds is scikit-learn's usual way on features: logistic regression on those of the pretrained
body, `cross_val_score` over the same kind of folds; no variations, no copies kept together."""

import argparse
import json
import sys
import tempfile
import time
import warnings
from contextlib import redirect_stdout
from pathlib import Path

from train import make_project


def logistic_regression(project, folds):
    "The features of the body, then scikit-learn."
    import numpy as np
    import timm
    import torch
    from PIL import Image
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    s, start = project.settings, time.perf_counter()
    body = timm.create_model(s.architecture, pretrained=True, num_classes=0).eval()
    look = timm.data.create_transform(
        **timm.data.resolve_data_config({}, model=body) | dict(input_size=(3, s.image_size, s.image_size))
    )
    files = sorted(project.images.glob('*/*'))
    with torch.inference_mode():
        x = torch.cat(
            [
                body(torch.stack([look(Image.open(f).convert('RGB')) for f in files[i : i + 32]]))
                for i in range(0, len(files), 32)
            ]
        ).numpy()
    found = cross_val_score(
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
        x,
        [f.parent.name for f in files],
        cv=StratifiedKFold(folds, shuffle=True, random_state=s.seed),
    )
    return dict(mean=float(np.mean(found)), sd=float(np.std(found, ddof=1)), seconds=time.perf_counter() - start)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--data', required=True, help='a folder of label folders')
    p.add_argument('--arch', required=True, help='a timm name, or local-dir:FOLDER')
    p.add_argument('--folds', type=int, default=5)
    p.add_argument('--seed', type=int, default=42)
    p.add_argument('--epochs', type=int, nargs=2, default=[10, 10])
    p.add_argument('--size', type=int, default=224)
    p.add_argument('--batch', type=int, default=32)
    p.add_argument('--per-label', type=int, default=0, help='only so many images of each label')
    p.add_argument('--json', action='store_true', help='print one JSON object')
    args = p.parse_args()
    warnings.filterwarnings('ignore')
    with tempfile.TemporaryDirectory() as args.tmp, redirect_stdout(sys.stderr):
        from birdsort.evaluate import evaluate
        from birdsort.evaluation.cross_validation import cross_validate
        from birdsort.report import report
        from birdsort.train import train

        project = make_project(args, args.seed)
        trained, made = train(project), report(project)
        single, folds = evaluate(project), cross_validate(project, args.folds)
        out = dict(
            training=trained['seconds'],
            report=made['seconds'],
            megabytes=Path(made['report']).stat().st_size / 1e6,
            accuracy=single['accuracy'],
            interval=single['intervals']['accuracy'],
            folds=folds['accuracy'] | dict(seconds=folds['seconds']),
            logistic_regression=logistic_regression(project, args.folds),
        )
    if args.json:
        return print(json.dumps(out))
    low, high = out['interval']
    print(
        f"training {out['training']:.0f} s, report {out['report']:.0f} s "
        f"({out['report'] / out['training']:.2f} of it), {out['megabytes']:.2f} MB\n"
        f"single split {out['accuracy']:.3f} ({low:.3f} to {high:.3f})"
    )
    for name in ('folds', 'logistic_regression'):
        print(
            f"{name.replace('_', ' ')}: {out[name]['mean']:.3f} ± {out[name]['sd']:.3f}, "
            f"{out[name]['seconds']:.0f} s ({out[name]['seconds'] / out['training']:.2f} of the training)"
        )


if __name__ == '__main__':
    main()
