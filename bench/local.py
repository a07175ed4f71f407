"""A local head and the pooled probe on label folders, chosen by birdsort itself: accuracy on the test split, and time.

    python bench/local.py --data FOLDER --arch pip:efficientnet_lite0
    python bench/local.py --drawn 700
    python bench/local.py --data FOLDER --boxes FILE.json

pooled: `head = "linear"`, its probe and stage one. chosen: `head = "auto"`, so with the comparison, and whichever head
it has taken. Both without stage two. Seconds are of everything, from features to the last epoch, each in a process of
its own. `--drawn` draws so many road scenes, half of them with pasted objects. With `--boxes` (file name without its
ending -> [[left, top, right, bottom], …], shares of the sides) it also says in how many of the edited test images one
of the three strongest places lies in a box."""

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from contextlib import redirect_stdout
from pathlib import Path


def make_project(args):
    from birdsort.core.scaffold import new_project
    from birdsort.split import split

    folders = sorted(d for d in Path(args.data).iterdir() if d.is_dir())
    settings = dict(
        labels={d.name: [d.name] for d in folders},
        architecture=args.arch,
        seed=args.seed,
    )
    project = new_project(Path(tempfile.mkdtemp(dir=args.tmp)) / 'images', **settings)
    for folder in folders:
        files = [f for f in sorted(folder.iterdir()) if f.suffix.lower() in ('.jpg', '.png')]
        (project.images / folder.name).mkdir(parents=True)
        for file in files:
            shutil.copy(file, project.images / folder.name)
    split(project, quiet=True)
    return project


def inside(project, learn, boxes):
    "The share of the test images with boxes of which one of the three strongest places lies in a box."
    import torch

    from birdsort.local.evidence import evidence_maps, strongest_places

    hits, model = [], learn.model.eval()
    for file in sorted(project.split.glob('test/*/*')):
        known = boxes.get(file.stem)
        if not known:
            continue
        x = learn.dls.test_dl([file]).one_batch()[0].as_subclass(torch.Tensor)
        label = torch.tensor([learn.dls.vocab.o2i[file.parent.name]])
        places = strongest_places(evidence_maps(model, x, label)[0].cpu().numpy())
        hits.append(any(a <= p.x <= c and b <= p.y <= d for p in places for a, b, c, d in known))
    return sum(hits) / max(1, len(hits))


def one(args):
    from birdsort.core.settings import change
    from birdsort.train import train
    from birdsort.training.runs import load_run, open_run

    project, head = make_project(args), dict(pooled='linear', chosen='auto')[args.one]
    settings = change(project.settings, head=head, fine_tune='never')
    start, start_cpu = time.perf_counter(), time.process_time()
    result = train(project, settings=settings)
    seconds, run = time.perf_counter() - start, open_run(project, result['run'])
    cpu, megabytes = time.process_time() - start_cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    learn = load_run(run)
    with learn.no_bar(), learn.no_logging():
        accuracy = {}
        for name in ('val', 'test'):  # In small batches, which need less memory than those of a training
            files = sorted(project.split.glob(f'{name}/*/*'))
            dl = learn.dls.test_dl(files, with_labels=True, bs=4)
            accuracy[name] = learn.validate(dl=dl)[1]
    row = dict(
        head=run.settings.train.head,
        size=run.settings.image_size,
        test=accuracy['test'],
        n=len(files),
        validation=accuracy['val'],
        seconds=seconds,
        cpu_seconds=cpu,
        megabytes_of_training=megabytes,
    )
    if args.boxes and head == 'auto' and row['head'] != 'linear':
        row['inside'] = inside(project, learn, json.loads(Path(args.boxes).read_text()))
    return row


def main():
    p = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument('--data', help='a folder of images for each label')
    p.add_argument('--drawn', type=int, help='draw so many road scenes')
    p.add_argument('--arch', default='pip:efficientnet_lite0')
    p.add_argument('--boxes', help='where the pasted objects are')
    p.add_argument('--seed', type=int, default=42)
    p.add_argument(
        '--who',
        nargs='*',
        default=['pooled', 'chosen'],
        choices=['pooled', 'chosen'],
    )
    p.add_argument('--tmp', help='folder for temporary files')
    p.add_argument('--one', help=argparse.SUPPRESS)
    args = p.parse_args()
    warnings.filterwarnings('ignore')
    if args.one:
        with redirect_stdout(sys.stderr):
            row = one(args)
        row['megabytes'] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        rounded = {k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}
        print(json.dumps(rounded))
        return
    args.tmp = tempfile.mkdtemp(dir=args.tmp)
    more = ['--tmp', args.tmp]
    if args.drawn:
        more += draw(args)
    try:
        for who in args.who:
            command = [sys.executable, __file__, *sys.argv[1:], '--one', who, *more]
            done = subprocess.run(
                command,
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
            print(who, done.stdout.strip(), flush=True)
    finally:
        shutil.rmtree(args.tmp)


def draw(args):
    "Draw road scenes -> the arguments that name them."
    from birdsort.aviary.forgeries import draw_road

    folder, boxes = Path(args.tmp) / 'scenes', {}
    for seed in range(args.drawn):
        edited = seed % 2 == 1
        label = 'edited' if edited else 'original'
        (folder / label).mkdir(parents=True, exist_ok=True)
        image, found = draw_road(seed, edited)
        image.save(folder / label / f'{seed:05d}.jpg', quality=90)
        (w, h), stem = image.size, f'{seed:05d}'
        boxes[stem] = [[a / w, b / h, c / w, d / h] for a, b, c, d in found]
    file = folder.with_suffix('.json')
    file.write_text(json.dumps(boxes))
    return ['--data', str(folder), '--boxes', str(file)]


if __name__ == '__main__':
    main()
