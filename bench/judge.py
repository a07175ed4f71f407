"""What comes after the training, on label folders: evaluation, report, export and cross-validation, their seconds
beside those of the training, and what report and folds say beside each other.

python bench/judge.py --data FOLDER --arch local-dir:FOLDER

One training by birdsort, then its evaluation (every image of every split, as it is and mirrored), its report,
its export in all formats, and `--folds 5`. Each stage has its seconds by the clock and, in brackets, by the
processors (user and system), which others on the machine change less. `--folds 0` leaves out the folds and their
peer, and `--predictions-kept` evaluates once before, so that evaluation has its predictions already. The peer of
the folds is scikit-learn's usual way on features: logistic regression on those of the pretrained body,
`cross_val_score` over the same kind of folds; no variations, no copies kept together."""

import argparse
import json
import resource
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


def processor_seconds():
    "User and system seconds of this process and of those that it has waited for."
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def timed(stage, *args, **kw):
    "-> (what the stage gave, its seconds by the clock and by the processors)"
    start, before = time.perf_counter(), processor_seconds()
    result = stage(*args, **kw)
    return result, dict(seconds=time.perf_counter() - start, cpu=processor_seconds() - before)


def forget(project, stage):
    project.catalogue.execute('delete from stage where name = ?', (stage,))


def judge(project, args):
    from birdsort.evaluate import evaluate
    from birdsort.evaluation.cross_validation import cross_validate
    from birdsort.export import export
    from birdsort.report import report
    from birdsort.train import train

    _, training = timed(train, project)
    if args.predictions_kept:
        evaluate(project)
        forget(project, 'evaluate')
    single, evaluation = timed(evaluate, project)
    made, reporting = timed(report, project)
    exported, exporting = timed(export, project)
    out = dict(
        training=training,
        evaluate=evaluation,
        report=reporting,
        export=exporting,
        megabytes=Path(made['report']).stat().st_size / 1e6,
        left_out=exported['left_out'],
        apart=exported['apart'],
        accuracy=single['accuracy'],
        interval=single['intervals']['accuracy'],
    )
    if not args.folds:
        return out
    folds = cross_validate(project, args.folds)
    peer = logistic_regression(project, args.folds)
    return out | dict(folds=folds['accuracy'] | dict(seconds=folds['seconds']), logistic_regression=peer)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--data', required=True, help='a folder of label folders')
    p.add_argument('--arch', required=True, help='a timm name, or local-dir:FOLDER')
    p.add_argument('--folds', type=int, default=5, help='0 leaves them out')
    p.add_argument('--predictions-kept', action='store_true', help='evaluate with the predictions there already')
    p.add_argument('--seed', type=int, default=42)
    p.add_argument('--epochs', type=int, nargs=2, default=[10, 10])
    p.add_argument('--size', type=int, default=224)
    p.add_argument('--batch', type=int, default=32)
    p.add_argument('--per-label', type=int, default=0, help='only so many images of each label')
    p.add_argument('--json', action='store_true', help='print one JSON object')
    args = p.parse_args()
    warnings.filterwarnings('ignore')
    with tempfile.TemporaryDirectory() as args.tmp, redirect_stdout(sys.stderr):
        import birdsort.export  # noqa: F401 (loading is not what is measured)

        out = judge(make_project(args, args.seed), args)
    if args.json:
        return print(json.dumps(out))
    training = out['training']
    for stage in ('training', 'evaluate', 'report', 'export'):
        times = out[stage]
        print(
            f"{stage} {times['seconds']:.1f} s ({times['cpu']:.1f} s), "
            f"{times['seconds'] / training['seconds']:.2f} ({times['cpu'] / training['cpu']:.2f}) of the training"
        )
    low, high = out['interval']
    print(f"report {out['megabytes']:.2f} MB\nsingle split {out['accuracy']:.3f} ({low:.3f} to {high:.3f})")
    for name in ('folds', 'logistic_regression') if args.folds else ():
        print(
            f"{name.replace('_', ' ')}: {out[name]['mean']:.3f} ± {out[name]['sd']:.3f}, "
            f"{out[name]['seconds']:.0f} s ({out[name]['seconds'] / training['seconds']:.2f} of the training)"
        )


if __name__ == '__main__':
    main()
