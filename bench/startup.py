"""How long does a word take? `import birdsort`, `birdsort --help` and `birdsort status` beside an import of
fastai.vision.all, and how long until a missing network is noticed: whole processes, in turn."""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CLI = [sys.executable, '-c', 'import sys; from birdsort.cli import main; sys.exit(main())']
# No name below .invalid exists (RFC 2606): as without a network, every host fails at once
AWAY = [f'{name}=https://{name}.invalid/' for name in ('google', 'bing', 'duckduckgo', 'inaturalist', 'wikimedia')]
CHECK = 'import sys; from birdsort.network.reach import unreached; assert unreached(sys.argv[1:])'


def seconds(command, code=0):
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return time.perf_counter() - start


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('--runs', type=int, default=7, help='counted runs of each, after one that is not')
    p.add_argument('--json', action='store_true', help='print one JSON object')
    args = p.parse_args()
    folder = Path(tempfile.mkdtemp()) / 'birds'
    subprocess.run([*CLI, 'new', str(folder), '--example'], check=True, capture_output=True)
    project = ['--project', str(folder)]
    commands = {
        'import birdsort': [sys.executable, '-c', 'import birdsort'],
        'python alone': [sys.executable, '-c', ''],
        'birdsort --help': [*CLI, '--help'],
        'birdsort status': [*CLI, 'status', *project],
        'is there a network? no': [sys.executable, '-c', CHECK, *(s.partition('=')[2] for s in AWAY)],
        'birdsort scrape without one': [*CLI, 'scrape', *project, '--source', ','.join(AWAY)],
        'import fastai.vision.all': [sys.executable, '-W', 'ignore', '-c', 'from fastai.vision.all import *'],
    }
    times = {name: [] for name in commands}
    for i in range(args.runs + 1):
        for name, command in commands.items():
            t = seconds(command, code=name.startswith('birdsort scrape'))
            if i:
                times[name].append(t)
    median = {name: statistics.median(ts) for name, ts in times.items()}
    result = dict(seconds=median, help_ratio=median['import fastai.vision.all'] / median['birdsort --help'])
    if args.json:
        print(json.dumps(result))
        return
    for name, t in median.items():
        print(f'{name:<28} {t:6.2f} s')
    print(f"--help answers {result['help_ratio']:.0f} times sooner than fastai is imported")


if __name__ == '__main__':
    main()
