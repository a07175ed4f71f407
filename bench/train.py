"""Training on label folders, on the same split and seed, one after the other: the published schedule in plain fastai
and in birdsort, birdsort's default (a probe, then what pays), and scikit-learn's logistic regression on its own.

    python bench/train.py --data FOLDER --arch local-dir:FOLDER
    python bench/train.py --data FOLDER --arch resnext50_32x4d --random --per-label 20

fastai: the study's cells, `vision_learner`, `fit_one_cycle`, `fine_tune`, fp32, each fit with its own
EarlyStopping, SaveModel and ReduceLROnPlateau as they come. probe: the pooled features of each image and its mirror
image, standardised, the penalty by cross-validation. Each training is a process of its own. `--random`
stands in for weights that cannot be fetched: random ones are written down and taken for pretrained, to see the
speed alone; both splits then run all epochs, since such losses would stop them anywhere. `--keep FILE` notes
each training when it is done, and a bench that was stopped goes on from there."""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from contextlib import redirect_stdout
from pathlib import Path


def make_project(args, seed):
    "A project of so many of the images, split by the seed."
    from birdsort.core.scaffold import new_project
    from birdsort.pipeline import demo_settings
    from birdsort.split import split

    settings = demo_settings(args.data, args.arch) | dict(
        seed=seed, epochs=tuple(args.epochs), image_size=args.size, batch_size=args.batch
    )
    project = new_project(Path(tempfile.mkdtemp(dir=args.tmp)) / 'birds', **settings)
    for folder in (d for d in sorted(Path(args.data).iterdir()) if d.is_dir()):
        (project.images / folder.name).mkdir(parents=True)
        for f in sorted(folder.iterdir())[: args.per_label or None]:
            shutil.copy(f, project.images / folder.name)
    split(project, quiet=True)
    return project


def plain_fastai(project, args):
    "The study's cells: fastai's callbacks, as they come."
    from fastai.vision.all import (
        EarlyStoppingCallback,
        ImageDataLoaders,
        ReduceLROnPlateau,
        Resize,
        SaveModelCallback,
        accuracy,
        aug_transforms,
        set_seed,
        vision_learner,
    )

    from birdsort.core.architectures import architecture

    s = project.settings
    set_seed(s.seed, reproducible=True)
    dls = ImageDataLoaders.from_folder(
        project.split,
        train='train',
        valid='val',
        bs=s.batch_size,
        num_workers=args.workers,
        item_tfms=Resize(s.image_size),
        batch_tfms=aug_transforms(),
    )
    learn = vision_learner(dls, architecture(s.architecture)[0], metrics=accuracy, path=tempfile.mkdtemp(dir=args.tmp))
    stop = [] if args.random else [lambda: EarlyStoppingCallback(patience=3)]

    def watch(delta, factor):
        return [
            *(cb() for cb in stop),
            SaveModelCallback(),
            ReduceLROnPlateau(min_delta=delta, factor=factor),
        ]

    start = time.perf_counter()
    with learn.no_bar():
        learn.fit_one_cycle(s.epochs[0], cbs=watch(0.10, 3.5))
        frozen, epochs = time.perf_counter() - start, [len(learn.recorder.values)]
        learn.fine_tune(s.epochs[1], cbs=watch(0.05, 7.5))
    total, epochs = time.perf_counter() - start, [*epochs, len(learn.recorder.values)]
    return dict(frozen=frozen, total=total, epochs=epochs) | scores(project, learn)


def ours(project, args, **given):
    from birdsort.core.settings import change
    from birdsort.train import train
    from birdsort.training.runs import load_run, open_run

    if args.random:
        given |= dict(patience=1000, fine_tune='always')  # All epochs
    result = train(project, force=True, settings=change(project.settings, **given | json.loads(args.set)))
    whole = [s['seconds'] for s in result['stages'] if s['name'] in ('trial', 'fine-tune')]
    return dict(
        frozen=result['seconds'] - sum(whole),
        total=result['seconds'],
        epochs={s['name']: s['epochs'] for s in result['stages']},
        waiting=result.get('waiting'),
        threads=result['threads'],
        trial=result['trial'],
    ) | scores(project, load_run(open_run(project)))


def published(project, args):
    return ours(project, args, schedule='published')


def sklearn_probe(project, args):
    "Logistic regression on frozen features, without birdsort's training."
    import numpy as np
    import torch
    from sklearn.linear_model import LogisticRegressionCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from birdsort.cleaning.embeddings import batches, make_backbone
    from birdsort.core.architectures import architecture
    from birdsort.datasets.splits import load_splits

    start, arch = time.perf_counter(), project.settings.architecture
    model, size = make_backbone(arch)

    def features(pairs):
        "Of the images and of their mirror images: (2, n, d)."
        with torch.inference_mode():
            views = [(model(x), model(x.flip(-1))) for x in batches([f for f, _ in pairs], size, architecture(arch)[1])]
        return np.stack([torch.cat(view).flatten(1).numpy() for view in zip(*views, strict=True)])

    splits = load_splits(project)
    x, y = features(splits.train), [label for _, label in splits.train]
    probe = make_pipeline(StandardScaler(), LogisticRegressionCV(Cs=np.logspace(-3, 0, 7), cv=5, max_iter=500))
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        probe.fit(x.reshape(-1, x.shape[-1]), y + y)
    total = time.perf_counter() - start

    def accuracy(pairs):
        return float(probe.score(features(pairs)[0], [label for _, label in pairs]))

    return dict(frozen=total, total=total, validation=accuracy(splits.val), test=accuracy(splits.test))


TRAININGS = dict(fastai=plain_fastai, published=published, birdsort=ours, probe=sklearn_probe)


def scores(project, learn):
    with learn.no_bar(), learn.no_logging():
        return dict(
            validation=learn.validate()[1],
            test=learn.validate(dl=learn.dls.test_dl(sorted(project.split.glob('test/*/*')), with_labels=True))[1],
        )


def random_weights(arch, folder):
    "A `local-dir:` of random weights."
    import timm
    from safetensors.torch import save_file

    net = timm.create_model(arch)
    folder.mkdir(parents=True)
    save_file(net.state_dict(), folder / 'model.safetensors')
    cfg = {
        k: net.pretrained_cfg[k]
        for k in ('num_classes', 'classifier', 'input_size', 'mean', 'std', 'pool_size', 'first_conv')
        if k in net.pretrained_cfg
    }
    (folder / 'config.json').write_text(
        json.dumps(dict(architecture=arch, num_classes=net.num_classes, pretrained_cfg=cfg))
    )
    return f'local-dir:{folder}'


def one(args):
    "One training, in this process -> a dict on stdout."
    warnings.filterwarnings('ignore')
    import resource

    with redirect_stdout(sys.stderr):
        row = TRAININGS[args.one](make_project(args, args.seeds[0]), args)
    print(
        json.dumps(
            {k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}
            | dict(megabytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
        )
    )


def trainings(args):
    "Every seed and side -> {seed: {who: row}}"
    what = {k: v for k, v in vars(args).items() if k not in ('seeds', 'who', 'keep', 'json', 'one', 'tmp')} | (
        dict(arch='random') if args.random else {}
    )
    kept = json.loads(Path(args.keep).read_text()) if args.keep and Path(args.keep).is_file() else dict(of=what)
    if kept['of'] != what:
        sys.exit(f'{args.keep} holds another bench: {kept["of"]}')
    for seed in map(str, args.seeds):
        for who in (w for w in args.who if w not in kept.get(seed, {})):
            argv = [
                sys.executable,
                __file__,
                *sys.argv[1:],
                '--one',
                who,
                '--seeds',
                seed,
                '--arch',
                args.arch,
                '--tmp',
                args.tmp,
            ]
            kept.setdefault(seed, {})[who] = json.loads(
                subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True).stdout
            )
            if args.keep:
                Path(args.keep).write_text(json.dumps(kept, indent=1))
            print(f'seed {seed}, {who}: {kept[seed][who]}', file=sys.stderr, flush=True)
    return {s: kept[s] for s in map(str, args.seeds)}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--data', required=True, help='a folder of label folders with images')
    p.add_argument('--arch', required=True, help='a torchvision or timm name, or local-dir:FOLDER')
    p.add_argument('--seeds', type=int, nargs='+', default=[1, 2, 3])
    p.add_argument('--epochs', type=int, nargs=2, default=[10, 10])
    p.add_argument('--per-label', type=int, default=0, help='only so many images of each label')
    p.add_argument('--size', type=int, default=224)
    p.add_argument('--batch', type=int, default=32)
    p.add_argument('--workers', type=int, default=0, help="worker processes of fastai's loader")
    p.add_argument('--random', action='store_true', help='random weights, taken for pretrained: speed only, all epochs')
    p.add_argument('--who', nargs='+', default=list(TRAININGS), choices=TRAININGS)
    p.add_argument('--set', default='{}', help="settings of birdsort, as JSON, such as '{\"views\": 8}'")
    p.add_argument('--keep', help='a JSON file for what is done')
    p.add_argument('--json', action='store_true', help='print one JSON object')
    p.add_argument('--one', help=argparse.SUPPRESS)
    p.add_argument('--tmp', help=argparse.SUPPRESS)
    args = p.parse_args()
    if args.one:
        return one(args)
    with tempfile.TemporaryDirectory() as args.tmp:
        if args.random:
            args.arch = random_weights(args.arch, Path(args.tmp) / args.arch)
        rows = trainings(args)
    if not {'fastai', 'birdsort'} <= {*args.who}:
        return print(json.dumps(rows))
    report(args, rows)


def report(args, rows):
    def mean(who, k):
        return sum(r[who][k] for r in rows.values()) / len(rows)

    def ratio(k):
        return mean('fastai', k) / mean('birdsort', k)

    result = dict(
        frozen_ratio=ratio('frozen'),
        total_ratio=ratio('total'),
        test_accuracy={who: mean(who, 'test') for who in args.who},
        rows=rows,
    )
    if args.json:
        return print(json.dumps(result))
    print(f"{'':<10}{'stage one, s':>14}{'all, s':>10}{'validation':>12}{'test':>8}")
    for who in args.who:
        print(
            f"{who:<10}{mean(who, 'frozen'):>14.0f}{mean(who, 'total'):>10.0f}"
            f"{mean(who, 'validation'):>12.3f}{mean(who, 'test'):>8.3f}"
        )
    print(
        f"stage one {result['frozen_ratio']:.1f} times faster, all {result['total_ratio']:.1f} times, over {len(rows)} seeds"
    )


if __name__ == '__main__':
    main()
