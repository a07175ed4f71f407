"""How fast are images downloaded? `birdsort.scrape` beside `jmd_imagescraper.core.download_urls`, same addresses,
a local server that takes 100 ms to answer; and how much memory 300 and 3,000 take."""

import argparse
import asyncio
import io
import json
import multiprocessing
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

PEER = '''
import sys, time, contextlib, io
from jmd_imagescraper.core import download_urls
links = open(sys.argv[1]).read().split()
start = time.perf_counter()
with contextlib.redirect_stdout(io.StringIO()): got = download_urls(sys.argv[2], links)
'''
OURS = '''
import sys, time
from birdsort.aviary.sample_project import lesson_project
from birdsort.scrape import scrape
links = open(sys.argv[1]).read().split()
project = lesson_project(0, sys.argv[2], images_per_label=len(links), labels={'heron': ['grey heron'], 'owl': ['owl']})
start = time.perf_counter()
found = scrape(project, label='heron', source=[f'urls={sys.argv[1]}'], allow=['127.0.0.1'], quiet=True)
got = range(found['labels']['heron']['kept'])
'''
REPORT = '''
import json, resource
rss_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1024
print(json.dumps(dict(seconds=time.perf_counter()-start, kept=len(got), rss_mb=rss_mb)))
'''


def images(n, side):
    "n different JPEGs: one drawing, each with its number in black and white squares."
    from birdsort.aviary.pencil import draw_bird

    im = draw_bird('grey heron', 0).resize((side, side * 3 // 4)).convert('RGB')
    for i in range(n):
        for bit in range(16):
            im.paste('white' if i >> bit & 1 else 'black', (16 * bit, 0, 16 * bit + 16, 16))
        out = io.BytesIO()
        im.save(out, 'JPEG', quality=88)
        yield out.getvalue()


def serve(folder, delay, port):
    "Predictions with the files of a folder, each after `delay` seconds; keeps connections open."

    async def one(reader, writer):
        try:
            while asked := await reader.readuntil(b'\r\n\r\n'):
                body = (Path(folder) / asked.split(b' ')[1].decode().rsplit('/', 1)[-1].split('?')[0]).read_bytes()
                await asyncio.sleep(delay)
                writer.write(
                    b'HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n' % len(body) + body
                )
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def run():
        server = await asyncio.start_server(one, '127.0.0.1', 0, backlog=256)
        port.put(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


def measure(code, links, out):
    return json.loads(
        subprocess.run(
            [sys.executable, '-W', 'ignore', '-c', code + REPORT, links, out],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.splitlines()[-1]
    )


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('--n', type=int, default=300, help='downloads of the comparison')
    p.add_argument('--many', type=int, default=3000, help='downloads of the second memory measurement')
    p.add_argument('--delay', type=float, default=0.1, help='seconds before the server answers')
    p.add_argument('--side', type=int, default=640, help='width of the images, pixels')
    p.add_argument('--runs', type=int, default=3, help='runs of each, in turn')
    p.add_argument('--json', action='store_true', help='print one JSON object')
    args = p.parse_args()
    tmp, port = Path(tempfile.mkdtemp()), multiprocessing.Queue()
    (tmp / 'www').mkdir()
    for i, data in enumerate(images(args.many, args.side)):
        (tmp / 'www' / f'{i}.jpg').write_bytes(data)
    server = multiprocessing.Process(target=serve, args=(tmp / 'www', args.delay, port), daemon=True)
    server.start()
    at = port.get()

    def links(n):
        file = tmp / f'heron-{n}' / 'heron.txt'  # A list is named after its label
        file.parent.mkdir(exist_ok=True)
        file.write_text('\n'.join(f'http://127.0.0.1:{at}/{i}.jpg' for i in range(n)))
        return str(file)

    ours, peer = [], []
    for k in range(args.runs):
        ours.append(measure(OURS, links(args.n), str(tmp / f'ours-{k}')))
        peer.append(measure(PEER, links(args.n), str(tmp / f'peer-{k}')))
    many = measure(OURS, links(args.many), str(tmp / 'many'))
    server.terminate()
    assert {r['kept'] for r in ours + peer} == {args.n} and many['kept'] == args.many, 'images were lost'
    seconds = dict(
        birdsort=statistics.median(r['seconds'] for r in ours),
        jmd_imagescraper=statistics.median(r['seconds'] for r in peer),
    )
    result = dict(
        ratio=seconds['jmd_imagescraper'] / seconds['birdsort'],
        rss_mb_300=statistics.median(r['rss_mb'] for r in ours),
        rss_mb_3000=many['rss_mb'],
        seconds=seconds,
        per_second=args.n / seconds['birdsort'],
        per_second_many=args.many / many['seconds'],
        kb=(tmp / 'www/0.jpg').stat().st_size / 1024,
    )
    if args.json:
        print(json.dumps(result))
        return
    print(f"{args.n} images of {result['kb']:.0f} KB, {1000 * args.delay:.0f} ms until the server answers\n")
    for name, s in seconds.items():
        print(f'{name:<18} {s:6.2f} s')
    print(
        f"\nbirdsort is {result['ratio']:.1f} times as fast; memory at its highest: "
        f"{result['rss_mb_300']:.0f} MB for {args.n} images, {result['rss_mb_3000']:.0f} MB for {args.many}"
    )


if __name__ == '__main__':
    main()
