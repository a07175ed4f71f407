"""What does a training take beside a program that keeps every processor busy with a training of its own?

    python bench/busy.py --data FOLDER --arch local-dir:FOLDER

birdsort's `train` as it comes, alone and beside the other, with the number of threads that it chooses, and with one
for each processor, as PyTorch has it. Each training is a process of its own, from an empty cache. Where it takes
more than `--limit` times as long as alone, it is stopped."""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from contextlib import contextmanager, redirect_stdout

from train import make_project


def other():
    "Train a small network on random images for ever, with a thread for each processor."
    import timm
    import torch

    torch.set_num_threads(os.cpu_count())
    net = timm.create_model('resnet10t', num_classes=7).to(memory_format=torch.channels_last)
    opt = torch.optim.SGD(net.parameters(), 1e-3)
    x, y = torch.rand(16, 3, 96, 96), torch.arange(16) % 7
    print('ready', flush=True)
    while True:
        torch.nn.functional.cross_entropy(net(x), y).backward()
        opt.step()
        opt.zero_grad()


def one(args):
    "A training in this process -> a dict."
    from birdsort.core.settings import change
    from birdsort.train import train

    project = make_project(args, args.seed)
    threads = 'auto' if args.one == 'auto' else os.cpu_count()
    settings = change(project.settings, threads=threads, **json.loads(args.set))
    before, start = os.times(), time.perf_counter()
    result = train(project, settings=settings)
    seconds, after = time.perf_counter() - start, os.times()
    return dict(
        seconds=round(seconds, 1),
        cpu=round(after.user + after.system - before.user - before.system, 1),
        threads=result['threads'],
        stages=[[stage['name'], stage['epochs'], stage['seconds']] for stage in result['stages']],
        megabytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    )


def environment():
    "Nothing that tells a process how many threads to take."
    return {k: v for k, v in os.environ.items() if not k.endswith('_NUM_THREADS')}


@contextmanager
def beside():
    "Within, another process trains."
    argv = [sys.executable, __file__, '--other']
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=environment())
    try:
        process.stdout.readline()
        yield
    finally:
        process.kill()
        process.wait()


def training(args, how, limit=None):
    "One training in a process of its own -> its dict, or None where it took too long."
    argv = [sys.executable, __file__, *sys.argv[1:], '--one', how, '--tmp', args.tmp]
    try:
        done = subprocess.run(
            argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True, timeout=limit, env=environment()
        )
    except subprocess.TimeoutExpired:
        return None
    return json.loads(done.stdout)


def measure(args):
    "{how: dict(alone, beside, ratio)}; the ratio of a stopped training is the limit, and `stopped` says so."
    rows = {}
    for how in args.threads:
        alone = training(args, how)
        print(f'{how}, alone: {alone}', file=sys.stderr, flush=True)
        with beside():
            busy = training(args, how, args.limit * alone['seconds'] + 30)
        print(f'{how}, beside: {busy}', file=sys.stderr, flush=True)
        ratio = busy['seconds'] / alone['seconds'] if busy else args.limit
        rows[how] = dict(alone=alone, beside=busy, ratio=round(ratio, 2), stopped=busy is None)
    return rows


def report(rows):
    print(f'{"threads":<10}{"alone, s":>10}{"beside, s":>11}{"ratio":>10}   threads used beside')
    for how, row in rows.items():
        busy = row['beside']
        seconds, used = (f'{busy["seconds"]:.0f}', busy['threads']) if busy else ('stopped', '')
        ratio = f'{"> " if row["stopped"] else ""}{row["ratio"]:.1f}'
        print(f'{how:<10}{row["alone"]["seconds"]:>10.0f}{seconds:>11}{ratio:>10}   {used}')


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--data', help='a folder of label folders with images')
    p.add_argument('--arch', help='a torchvision or timm name, local-dir:FOLDER, or pip:NAME')
    p.add_argument('--threads', nargs='+', default=['auto', 'all'], choices=['auto', 'all'])
    p.add_argument('--seed', type=int, default=1)
    p.add_argument('--epochs', type=int, nargs=2, default=[10, 10])
    p.add_argument('--per-label', type=int, default=0, help='only so many images of each label')
    p.add_argument('--size', type=int, default=224)
    p.add_argument('--batch', type=int, default=32)
    p.add_argument('--set', default='{}', help="settings, as JSON, such as '{\"feature_views\": 2}'")
    p.add_argument('--limit', type=float, default=10, help='stop a training that takes so many times as long as alone')
    p.add_argument('--json', action='store_true', help='print one JSON object')
    p.add_argument('--one', help=argparse.SUPPRESS)
    p.add_argument('--other', action='store_true', help=argparse.SUPPRESS)
    p.add_argument('--tmp', help=argparse.SUPPRESS)
    args = p.parse_args()
    if args.other:
        return other()
    if not args.data or not args.arch:
        p.error('--data and --arch are needed')
    if args.one:
        warnings.filterwarnings('ignore')
        with redirect_stdout(sys.stderr):
            row = one(args)
        return print(json.dumps(row))
    with tempfile.TemporaryDirectory() as args.tmp:
        rows = measure(args)
    print(json.dumps(rows)) if args.json else report(rows)


if __name__ == '__main__':
    main()
