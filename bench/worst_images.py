"""How much memory does the worst image of each kind take?

    python bench/worst_images.py

The kinds are those of hostile_images.py. Each is downloaded twelve times from a server on loopback (`scrape`, on all
cores), labelled twelve times (`predict`), and sent by 16 clients at once to a server that has been running since the
first kind (`serve`). Memory is the highest of the process, above what it took before the image came. Linux only."""

import argparse
import contextlib
import http.server
import json
import multiprocessing
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hostile_images import KINDS, encode, grain

COPIES, CLIENTS, SECONDS = 12, 16, 120
PLACES = ('scrape', 'predict', 'serve')
FORK = multiprocessing.get_context('fork')


def memory(pid='self'):
    "Megabytes of a process: now, and at the highest since `forget`."
    status = Path(f'/proc/{pid}/status').read_text()
    return [int(re.search(rf'{name}:\s+(\d+)', status)[1]) / 1000 for name in ('VmRSS', 'VmHWM')]


def forget(pid='self'):
    "From now on, the highest is that of now."
    Path(f'/proc/{pid}/clear_refs').write_text('5')


def measure(work, warm, file):
    "What work(file) returns, how much more memory it took at the highest than after work(warm), and the seconds."
    work(warm)
    idle, start = memory()[0], time.perf_counter()
    forget()
    said = work(file)
    return said, memory()[1] - idle, time.perf_counter() - start


def apart(function, *args):
    "Call a function in a child, which has as much memory as it likes, and two minutes."
    receiver, sender = FORK.Pipe(duplex=False)

    def child():
        signal.alarm(SECONDS)
        sender.send(function(*args))

    process = FORK.Process(target=child)
    process.start()
    sender.close()
    try:
        return receiver.recv()
    except EOFError:
        return f'ended after {SECONDS} s or by its memory', float('nan'), float('nan')
    finally:
        process.join()


def make(folder, only):
    "Files of all kinds -> their names."
    files = {kind: folder / re.sub(r'\W+', '_', kind) for kind in KINDS if only in kind}
    for kind, file in files.items():
        if not file.exists():
            apart(lambda: file.write_bytes(KINDS[kind]()))  # noqa: B023
    small = folder / 'small'
    small.write_bytes(encode(grain(640, 480)))
    return files, small


class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def log_message(self, *args):
        pass


@contextlib.contextmanager
def site(folder):
    "The files of a folder on loopback, from another process -> its address."
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), lambda *a: Handler(*a, directory=folder))
    server.handle_error = lambda *args: None  # Whoever asked has enough
    process = FORK.Process(target=server.serve_forever, daemon=True)
    process.start()
    server.server_close()
    yield f'http://127.0.0.1:{server.server_address[1]}'
    process.kill()


def scraping(address, folder):
    "A function that scrapes copies of a file, each time into a project of its own."

    def work(file):
        from birdsort.aviary.sample_project import lesson_project
        from birdsort.scrape import scrape

        with tempfile.TemporaryDirectory(dir=folder) as d:
            urls = Path(d) / 'urls.txt'
            urls.write_text(''.join(f'{address}/{file.name}?{i}\n' for i in range(COPIES)))
            labels = {'heron': ['heron'], 'owl': ['owl']}
            project = lesson_project(0, Path(d) / 'birds', images_per_label=COPIES, labels=labels)
            scrape(project, label='heron', source=[f'urls={urls}'], allow=['127.0.0.1'], quiet=True)
            rows = project.catalogue.rows(label='heron')
        known = {(r['reason'] or '', r['width'], r['height']) for r in rows if r['reason'] != 'exact duplicate'}
        return '; '.join(sorted(reason or f'{w} x {h}' for reason, w, h in known))

    return work


def predicting(project, folder):
    "A function that labels copies of a file."

    def work(file):
        from birdsort.predict import predict

        with tempfile.TemporaryDirectory(dir=folder) as d:
            copies = [Path(d) / f'{i}.jpg' for i in range(COPIES)]
            for copy in copies:
                os.link(file, copy)
            rows = predict(project, copies, quiet=True, threshold=0)
        return '; '.join(sorted({row.get('error') or 'labelled' for row in rows}))

    return work


@contextlib.contextmanager
def serving(project):
    "A server in a process of its own -> its address, its process."
    command = [sys.executable, '-m', 'birdsort.cli', 'serve', '--project', str(project.path), '--threshold', '0']
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as p:
        try:
            address = next(m[0] for line in p.stderr if (m := re.search(r'http://[\d.]+:\d+', line)))
            threading.Thread(target=p.stderr.read, daemon=True).start()
            yield address, p.pid
        finally:
            p.terminate()


def send(address, file):
    "16 clients, of whom every second one uses the page."
    import requests

    def one(i):
        place = f'{address}/{("predict", "photo")[i % 2]}'
        return requests.post(place, files={'a': file.read_bytes()}, timeout=SECONDS).status_code

    with ThreadPoolExecutor(CLIENTS) as pool:
        return sorted({*pool.map(one, range(CLIENTS))})


def served(address, pid, file, idle):
    "Statuses, memory above what the server took before the first kind, and seconds."
    forget(pid)
    start = time.perf_counter()
    statuses = send(address, file)
    return statuses, memory(pid)[1] - idle, time.perf_counter() - start


def exported(folder):
    "A project with a small model."
    from birdsort.aviary.sample_project import lesson_project
    from birdsort.export import export
    from birdsort.split import split
    from birdsort.train import train

    project = lesson_project(20, folder / 'birds')
    with open(os.devnull, 'w') as nothing, contextlib.redirect_stderr(nothing):
        split(project, quiet=True), train(project, quiet=True), export(project, formats=('onnx',), quiet=True)
    return project


def rows(folder, project, only, cores):
    "A row for each kind."
    files, small = make(folder, only)
    if cores:
        os.cpu_count = lambda: cores
        os.sched_getaffinity = lambda pid: set(range(cores))
    with site(folder) as www, serving(project) as (address, pid):
        for _ in range(3):
            send(address, small)
        idle = memory(pid)[0]
        for kind, file in files.items():
            found = dict(kind=kind, megabytes=file.stat().st_size / 1e6)
            found['scrape'] = apart(measure, scraping(www, folder), small, file)
            found['predict'] = apart(measure, predicting(project, folder), small, file)
            found['serve'] = served(address, pid, file, idle)
            yield found


def line(row):
    numbers = ' | '.join(f'{row[place][1]:.0f}' for place in PLACES)
    slowest = max(row[place][2] for place in PLACES)
    return f'| {row["kind"]} | {row["megabytes"]:.1f} | {numbers} | {slowest:.1f} | {row["scrape"][0]} |'


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--folder', type=Path, help='where the files are kept for the next time')
    parser.add_argument('--only', default='', help='kinds whose name holds this')
    parser.add_argument('--cores', type=int, default=0, help='pretend that scrape and predict have so many')
    parser.add_argument('--json', action='store_true', help='print one JSON object')
    args = parser.parse_args()
    warnings.filterwarnings('ignore')
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.environ.setdefault('OMP_NUM_THREADS', '1')
    with tempfile.TemporaryDirectory() as d:
        folder = args.folder or Path(d)
        folder.mkdir(exist_ok=True)
        table = []
        if not args.json:
            print(f'| image | file, MB | {" | ".join(PLACES)} | seconds | what scrape says |')
            print('| --- | --- | --- | --- | --- | --- | --- |')
        for row in rows(folder, exported(Path(d)), args.only, args.cores):
            table.append(row)
            if not args.json:
                print(line(row), flush=True)
    highest = {place: round(max(row[place][1] for row in table)) for place in PLACES}
    print(json.dumps(dict(highest=highest, rows=table)) if args.json else f'\nhighest: {highest}')


if __name__ == '__main__':
    main()
