"""Does a person get an answer while slow clients hold a server's connections?

    python bench/slow_clients.py

A small network is exported and served on loopback, in a process of its own. Slow clients open connections: half of a
request's head, a photo of which a byte comes every second, a body that nobody wants and that does not come, or a page
that they do not read. Meanwhile a person sends a photo, ten times."""

import argparse
import contextlib
import json
import re
import resource
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path


@contextlib.contextmanager
def served(folder):
    "`birdsort serve` in a process of its own, with as many files as a shell gives -> its host and port."
    command = [sys.executable, '-m', 'birdsort.cli', 'serve', '--project', str(folder), '--threshold', '0']
    limit = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))  # noqa: E731
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, preexec_fn=limit) as p:
        try:
            place = next(m for line in p.stderr if (m := re.search(r'http://([\d.]+):(\d+)', line)))
            threading.Thread(target=p.stderr.read, daemon=True).start()
            yield place[1], int(place[2])
        finally:
            p.terminate()


def ask(place, photo):
    "Send a photo as a person's browser does -> seconds until the answer, and its status."
    import requests

    start = time.perf_counter()
    answer = requests.post('http://{}:{}/predict'.format(*place), files={'a': photo}, timeout=120)
    return time.perf_counter() - start, answer.status_code


def connect(place, n, said):
    "n connections that have said something."
    clients = []
    for _ in range(n):
        clients.append(socket.create_connection(place))
        with contextlib.suppress(ConnectionError):  # Sent away already
            clients[-1].sendall(said)
    return clients


def drip(clients, stop):
    "A byte from each of them every second."
    while not stop.wait(1):
        for client in clients:
            with contextlib.suppress(OSError):
                client.sendall(b'x')


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--heads', type=int, default=1100, help='connections with half a head')
    parser.add_argument('--bodies', type=int, default=70, help='connections with a slow body')
    parser.add_argument(
        '--others', type=int, default=0, help='connections with an unwanted body, and as many that read nothing'
    )
    args = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
    from birdsort.aviary.sample_project import lesson_project
    from birdsort.export import export
    from birdsort.split import split
    from birdsort.train import train

    with tempfile.TemporaryDirectory() as d:
        project = lesson_project(20, Path(d) / 'birds')
        split(project, quiet=True), train(project, quiet=True), export(project, formats=('onnx',), quiet=True)
        photo = next(project.images.glob('*/*.jpg')).read_bytes()
        with served(project.path) as place:
            ask(place, photo)
            alone = [ask(place, photo) for _ in range(10)]
            begun = 'POST /predict HTTP/1.1\r\nHost: {}:{}\r\n'.format(*place)
            body = 'Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 500000\r\n\r\n--x'
            page = 'GET / HTTP/1.1\r\nHost: {}:{}\r\n\r\n'.format(*place)
            clients = connect(place, args.heads, begun.encode())
            clients += connect(place, args.others, (begun.replace('predict', 'nothing') + body).encode())
            clients += connect(place, args.others, page.encode() * 30)
            slow, stop = connect(place, args.bodies, (begun + body).encode()), threading.Event()
            threading.Thread(target=drip, args=(slow, stop), daemon=True).start()
            beside = [ask(place, photo) for _ in range(10)]
            stop.set()
    for name, answers in (('alone', alone), ('beside slow clients', beside)):
        print(f'{name}: slowest of 10 answers {max(s for s, _ in answers):.3f} s, {[status for _, status in answers]}')
    slowest = {k: round(max(s for s, _ in v), 3) for k, v in dict(alone=alone, beside=beside).items()}
    print(json.dumps(dict(heads=args.heads, bodies=len(slow), others=2 * args.others, slowest=slowest)))


if __name__ == '__main__':
    main()
