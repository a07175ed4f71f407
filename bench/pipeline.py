"""The published schedule on your label folders: fastai as it comes, and birdsort's `train`, on the same split and seed, one after the other.

    python bench/pipeline.py --data FOLDER --arch local-dir:FOLDER

fastai: vision_learner, fit_one_cycle, fine_tune, each with its own EarlyStopping, SaveModel and ReduceLROnPlateau."""
import argparse, json, shutil, tempfile, time, warnings
from contextlib import redirect_stdout
from pathlib import Path
import sys


def plain_fastai(project):
    "The study's cells: fastai's callbacks, as they come."
    from fastai.vision.all import (EarlyStoppingCallback, ImageDataLoaders, ReduceLROnPlateau, Resize, SaveModelCallback, accuracy, aug_transforms, set_seed, vision_learner)
    from birdsort.train import architecture
    s = project.settings
    set_seed(s.seed, reproducible=True)
    dls = ImageDataLoaders.from_folder(project.split, train='train', valid='val', bs=s.batch_size, num_workers=0, item_tfms=Resize(s.image_size), batch_tfms=aug_transforms())
    learn = vision_learner(dls, architecture(s.architecture)[0], metrics=accuracy, pretrained=s.pretrained, path=tempfile.mkdtemp())
    watch = lambda delta, factor: [EarlyStoppingCallback(patience=3), SaveModelCallback(), ReduceLROnPlateau(min_delta=delta, factor=factor)]
    start = time.perf_counter()
    with learn.no_bar():
        learn.fit_one_cycle(s.epochs[0], cbs=watch(.10, 3.5))
        frozen = time.perf_counter()-start
        learn.fine_tune(s.epochs[1], cbs=watch(.05, 7.5))
    total = time.perf_counter()-start
    return dict(frozen=frozen, total=total) | scores(project, learn)


def ours(project):
    from birdsort.train import load_run, train
    result = train(project, again=True)
    return dict(frozen=result['stages'][0]['seconds'], total=result['seconds']) | scores(project, load_run(project))


def scores(project, learn):
    from birdsort.data import test_loader
    with learn.no_bar(), learn.no_logging(): return dict(validation=learn.validate()[1], test=learn.validate(dl=test_loader(project, learn.dls))[1])


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--data', required=True, help='a folder of label folders with pictures')
    p.add_argument('--arch', required=True, help='a torchvision or timm name, or local-dir:FOLDER')
    p.add_argument('--seeds', type=int, nargs='+', default=[42])
    p.add_argument('--epochs', type=int, nargs=2, default=[10, 10])
    p.add_argument('--json', action='store_true', help='print one JSON object')
    args = p.parse_args()
    warnings.filterwarnings('ignore')
    from birdsort.pipeline import demo_settings
    from birdsort.project import new_project
    from birdsort.split import split
    rows = []
    for seed in args.seeds:
        project = new_project(Path(tempfile.mkdtemp())/'birds', **{**demo_settings(args.data, args.arch), 'seed': seed, 'epochs': tuple(args.epochs)})
        shutil.copytree(args.data, project.images)
        with redirect_stdout(sys.stderr):
            split(project)
            rows.append(dict(seed=seed, fastai=plain_fastai(project), birdsort=ours(project)))
    mean = lambda who, k: sum(r[who][k] for r in rows)/len(rows)
    keys = ('frozen', 'total', 'validation', 'test')
    result = dict(rows=rows, mean={who: {k: mean(who, k) for k in keys} for who in ('fastai', 'birdsort')},
                  frozen_ratio=mean('fastai', 'frozen')/mean('birdsort', 'frozen'), total_ratio=mean('fastai', 'total')/mean('birdsort', 'total'))
    if args.json: print(json.dumps(result)); return
    print(f"{'':<10}{'stage one, s':>14}{'all, s':>10}{'validation':>12}{'test':>8}")
    for who,m in result['mean'].items(): print(f"{who:<10}{m['frozen']:>14.0f}{m['total']:>10.0f}{m['validation']:>12.3f}{m['test']:>8.3f}")
    print(f"stage one {result['frozen_ratio']:.1f} times faster, all {result['total_ratio']:.1f} times")


if __name__ == '__main__': main()
