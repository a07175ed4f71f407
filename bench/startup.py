"""How long does a word take? `birdsort --help` and `birdsort status` beside an import of fastai.vision.all, whole
processes, in turn."""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CLI = [sys.executable, '-c', 'import sys; from birdsort.cli import main; sys.exit(main())']


def seconds(command):
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('--runs', type=int, default=7, help='counted runs of each, after one that is not')
    p.add_argument('--json', action='store_true', help='print one JSON object')
    args = p.parse_args()
    folder = Path(tempfile.mkdtemp()) / 'birds'
    subprocess.run([*CLI, 'new', str(folder)], check=True, capture_output=True)
    commands = {
        'birdsort --help': [*CLI, '--help'],
        'birdsort status': [*CLI, 'status', '--project', str(folder)],
        'import fastai.vision.all': [sys.executable, '-W', 'ignore', '-c', 'from fastai.vision.all import *'],
    }
    times = {name: [] for name in commands}
    for i in range(args.runs + 1):
        for name, command in commands.items():
            t = seconds(command)
            if i:
                times[name].append(t)
    median = {name: statistics.median(ts) for name, ts in times.items()}
    result = dict(seconds=median, help_ratio=median['import fastai.vision.all'] / median['birdsort --help'])
    if args.json:
        print(json.dumps(result))
        return
    for name, t in median.items():
        print(f'{name:<26} {t:6.2f} s')
    print(f"--help answers {result['help_ratio']:.0f} times sooner than fastai is imported")


if __name__ == '__main__':
    main()
