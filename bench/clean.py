"""What does cleaning find, and how fast? `birdsort.clean.find_issues` beside imagededup's PHash and CleanVision,
on the same folder with the same faults planted, in one run."""

import argparse
import json
import math
import multiprocessing
import random
import shutil
import subprocess
import sys
import tempfile
from itertools import combinations
from pathlib import Path

from PIL import Image

STRANGERS = ('cockatoo', 'parrot', 'black kite', 'grey heron')


def crop(im, r):
    x, y = (int(r.random() * 0.2 * s) for s in im.size)
    return im.crop((x, y, x + int(0.8 * im.width), y + int(0.8 * im.height)))


COPIES = dict(
    crop=crop,
    mirror=lambda im, r: im.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    jpeg_30=lambda im, r: im,
    half=lambda im, r: im.reduce(2),
    rotate_5=lambda im, r: im.rotate(r.choice((-5, 5)), Image.Resampling.BICUBIC),
)


def plant(data, out, share=0.1, wrong=40, drawn=20, seed=0):
    """Copy a folder of label folders and plant faults -> {exact: [(file, copy)], near: [(file, copy, how)], wrong:
    [file]}, as paths within `out`."""
    from birdsort.aviary.pencil import draw_bird

    r = random.Random(seed)
    shutil.copytree(data, out)
    for d in (out, *out.rglob('*')):
        d.chmod(0o755 if d.is_dir() else 0o644)
    files, labels = sorted(out.glob('*/*')), sorted(d.name for d in out.iterdir())
    at, truth = {f: f for f in files}, dict(exact=[], near=[], wrong=[])
    for f in r.sample(files, round(share * len(files))):
        truth['exact'].append((f, Path(shutil.copy(f, f.with_name(f'exact_{f.name}')))))
    for how, change in COPIES.items():
        for f in r.sample(files, round(share * len(files))):
            with Image.open(f) as im:
                change(im.convert('RGB'), r).save(
                    copy := f.with_name(f'{how}_{f.stem}.jpg'), quality=30 if how == 'jpeg_30' else 90
                )
            truth['near'].append((f, copy, how))
    for f in r.sample(files, wrong):
        at[f] = f.rename(out / r.choice([l for l in labels if l != f.parent.name]) / f.name)
    for i in range(drawn):
        draw_bird(STRANGERS[i % 4], i).save(f := out / labels[i % len(labels)] / f'drawn_{i}.jpg', quality=90)
        truth['wrong'].append(f)
    truth['wrong'] += [at[f] for f in at if at[f] != f]
    return {
        k: [
            tuple(
                str(at.get(x, x).relative_to(out)) if isinstance(x, Path) else x
                for x in (v if isinstance(v, tuple) else (v,))
            )
            for v in vs
        ]
        for k, vs in truth.items()
    }


def aviary(out, n=60, share=0.1):
    "Every photo that the aviary would serve, with a tenth of each fault -> {kind: [path within `out`]}."
    from birdsort.aviary.exhibits import FAULTS, fill_shelves, photo_bytes, plan_photos
    from birdsort.core.settings import STUDY

    shelves, truth = fill_shelves(per_query=n), {}
    for label, queries in STUDY.items():
        (out / label).mkdir(parents=True)
        for q in queries[:1]:
            for i, photo in enumerate(plan_photos(q, shelves, dict.fromkeys(FAULTS, share))):
                (file := out / label / f'{i:04}.jpg').write_bytes(photo_bytes(photo)[1])
                truth.setdefault(photo.kind, []).append((str(file.relative_to(out)), str(photo.source)))
    return truth


def groups_of(pairs):
    "Sets of names that pairs tie together."
    home = {}
    for a, b in pairs:
        one, two = home.setdefault(a, {a}), home.setdefault(b, {b})
        if one is not two:
            one |= two
            for x in two:
                home[x] = one
    return home


def judge(exact, near, truth, same_bytes):
    "Recall and precision of pairs, by groups: whoever says A = B and B = C has said A = C."
    true, found = groups_of([p[:2] for p in truth['exact'] + truth['near']]), groups_of(exact + near)
    within = {
        tuple(sorted(p)) for g in {id(g): g for g in groups_of(near).values()}.values() for p in combinations(g, 2)
    }
    within -= {tuple(sorted(p)) for p in exact}
    sure = {tuple(sorted(p)) for p in exact}
    return dict(
        exact_recall=share(p[1] in groups_of(exact).get(p[0], ()) for p in truth['exact']),
        exact_precision=share(same_bytes(*p) for p in sure),
        near_recall=share(p[1] in found.get(p[0], ()) for p in truth['near']),
        near_precision=share(b in true.get(a, ()) for a, b in within),
        false_near=[p for p in sorted(within) if p[1] not in true.get(p[0], ())],
    )


def share(answers):
    answers = list(answers)
    return sum(answers) / len(answers) if answers else None


def first_tenth(rows, counts, wrong):
    """Share of the planted images that stand in the first tenth of their label, by the highest score of any
    opinion on labels."""
    score = {}
    for label, name, kind, s, _ in rows:
        if kind in ('odd one out', 'probably mislabelled'):
            score[label, name] = max(s, score.get((label, name), 0))
    hits = 0
    for label, n in counts.items():
        worst = sorted((k for k in score if k[0] == label), key=lambda k: -score[k])[: math.ceil(n / 10)]
        hits += sum('/'.join(k) in wrong for k in worst)
    return hits / len(wrong)


OURS = '''
import json, sys, time
from birdsort.clean import clean, find_issues
from birdsort.core.project import Project
project = Project(sys.argv[1])
start = time.perf_counter()
table = find_issues(project, quiet=True)
seconds = time.perf_counter()-start
rows = table.values.tolist()
start = time.perf_counter()
find_issues(project, quiet=True)
again = time.perf_counter()-start
kept = clean(project, apply=True, sheets=False, quiet=True)['kept'] # What a person then looks at
after = find_issues(project, quiet=True).values.tolist()
print(json.dumps(dict(seconds=seconds, again=again, rows=rows, note=table.attrs['note'], kept=kept, after=after)))
'''
IMAGEDEDUP = '''
import json, sys, time
from imagededup.methods import PHash
if __name__ == '__main__':
    start = time.perf_counter()
    method = PHash(verbose=False)
    codes = method.encode_images(image_dir=sys.argv[1], recursive=True)
    near = method.find_duplicates(encoding_map=codes)
    seconds = time.perf_counter()-start
    exact = method.find_duplicates(encoding_map=codes, max_distance_threshold=0)
    pairs = lambda found: [(a, b) for a,bs in found.items() for b in bs if a < b]
    print(json.dumps(dict(seconds=seconds, exact=pairs(exact), near=pairs(near))))
'''
CLEANVISION = '''
import json, os, sys, time
from itertools import combinations
from cleanvision import Imagelab
if __name__ == '__main__':
    start = time.perf_counter()
    lab = Imagelab(data_path=sys.argv[1], verbose=False)
    lab.find_issues({'exact_duplicates': {}, 'near_duplicates': {}}, verbose=False)
    seconds = time.perf_counter()-start
    def pairs(kind):
        found = [p for s in lab.info[kind]['sets'] for p in combinations(sorted(s), 2)]
        return [[os.path.relpath(x, sys.argv[1]) for x in p] for p in found]
    print(json.dumps(dict(seconds=seconds, exact=pairs('exact_duplicates'), near=pairs('near_duplicates'))))
'''
SEARCH = '''
import json, math, resource, sys, time
from pathlib import Path
from birdsort.cleaning.duplicates import near_duplicates
from birdsort.cleaning.image_stats import scan_files
from birdsort.core.project import Project
project, n = Project(sys.argv[1]), int(sys.argv[2])
files = sorted(project.images.glob('*/*'))[:n]
looks = [s.stats for s in scan_files(project, files, quiet=True)]
times = []
for _ in range(3):
    start = time.perf_counter()
    found = near_duplicates(looks)
    times.append(time.perf_counter()-start)
pairs = [(files[p.a].name, files[p.b].name) for p in found]
rss_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1024
print(json.dumps(dict(seconds=sorted(times)[1], pairs=pairs, rss_mb=rss_mb)))
'''
SEARCH_IMAGEDEDUP = '''
import json, sys, time, numpy as np
from imagededup.methods import CNN, PHash
if __name__ == '__main__':
    method, n = PHash(verbose=False), int(sys.argv[2])
    codes = dict(list(sorted(method.encode_images(image_dir=sys.argv[1], recursive=True).items()))[:n])
    start = time.perf_counter()
    method.find_duplicates(encoding_map=codes)
    seconds = time.perf_counter()-start
    cnn = CNN.__new__(CNN) # Its weights cannot be had everywhere; its search does not need them
    vectors = np.random.default_rng(0).normal(size=(n, 576)).astype(np.float32)
    cnn.verbose, cnn.logger = False, __import__('logging').getLogger('cnn')
    start = time.perf_counter()
    cnn.find_duplicates(encoding_map={str(i): v for i,v in enumerate(vectors)}, min_similarity_threshold=.9)
    print(json.dumps(dict(seconds=seconds, cnn=time.perf_counter()-start)))
'''


def run(code, *args):
    "A program in a process of its own -> what it printed last, as JSON."
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', code, *map(str, args)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f'{done.stderr[-2000:]}\nthe peers are not part of birdsort: pip install imagededup cleanvision')
    return json.loads(done.stdout.splitlines()[-1])


def draw(job):
    from birdsort.aviary.pencil import SPECIES, draw_bird

    folder, i, copies = job
    im = draw_bird(list(SPECIES)[i % len(SPECIES)], i)
    im.save(folder / f'{i:05}.jpg', quality=88)
    if i < copies:
        crop(im, random.Random(i)).save(folder / f'{i:05}_copy.jpg', quality=60)


def search(tmp, n):
    "n drawings, a hundredth of them with a cropped copy: the search alone, with hashes and looks there."
    from birdsort.aviary.sample_project import lesson_project

    project = lesson_project(0, tmp / 'many')
    (folder := project.images / 'garza').mkdir(parents=True)
    with multiprocessing.Pool() as pool:
        pool.map(draw, [(folder, i, n // 100) for i in range(n - n // 100)], chunksize=50)
    ours = {k: run(SEARCH, project.path, k) for k in (n // 4, n)}
    peer, clean = run(SEARCH_IMAGEDEDUP, project.images, n), run(CLEANVISION, project.images)
    found = {tuple(sorted(p)) for p in ours[n]['pairs']}
    copies = {(f'{i:05}.jpg', f'{i:05}_copy.jpg') for i in range(n // 100)}
    return dict(
        search_seconds=dict(
            birdsort=ours[n]['seconds'],
            imagededup=peer['seconds'],
            imagededup_cnn=peer['cnn'],
            cleanvision_with_hashing=clean['seconds'],
        ),
        search_ratio=peer['seconds'] / ours[n]['seconds'],
        exponent=math.log(ours[n]['seconds'] / ours[n // 4]['seconds']) / math.log(4),
        rss_mb=ours[n]['rss_mb'],
        search_recall=len(found & copies) / len(copies),
        search_precision=len(found & copies) / max(len(found), 1),
    )


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('--data', help='a folder of label folders with photos; none leaves the first part out')
    p.add_argument(
        '--arch',
        default='resnet18',
        help='the body that looks at labels: a torchvision or timm name, or local-dir:FOLDER',
    )
    p.add_argument('--many', type=int, default=10_000, help='drawings of the search; 0 leaves it out')
    p.add_argument('--seed', type=int, default=0, help='plants the faults elsewhere')
    p.add_argument('--json', action='store_true', help='print one JSON object')
    args = p.parse_args()
    from birdsort.core.scaffold import new_project

    tmp, result = Path(tempfile.mkdtemp()), {}
    if args.data:
        labels = {d.name: [d.name] for d in sorted(Path(args.data).iterdir()) if d.is_dir()}
        project = new_project(tmp / 'photos', labels=labels, architecture=args.arch)
        truth = plant(args.data, project.images, seed=args.seed)
        bytes_of = {str(f.relative_to(project.images)): f.read_bytes() for f in project.images.glob('*/*')}

        def same(a, b):
            return bytes_of[a] == bytes_of[b]

        peers = dict(imagededup=run(IMAGEDEDUP, project.images), cleanvision=run(CLEANVISION, project.images))
        ours = run(OURS, project.path)

        def of(kind):
            return [(f'{l}/{n}', e) for l, n, k, _, e in ours['rows'] if k == kind]

        wrong = {w[0] for w in truth['wrong']}
        quality = dict(
            birdsort=judge(of('exact duplicate'), of('near-duplicate'), truth, same),
            **{
                k: judge([tuple(x) for x in v['exact']], [tuple(x) for x in v['near']], truth, same)
                for k, v in peers.items()
            },
        )
        false = {k: v.pop('false_near') for k, v in quality.items()}
        result |= quality['birdsort'] | dict(
            planted_in_first_tenth=first_tenth(ours['after'], ours['kept'], wrong),
            seconds=dict(birdsort=ours['seconds'], **{k: v['seconds'] for k, v in peers.items()}),
            second_call=ours['force'],
            peers={k: quality[k] for k in peers},
            not_planted=false['birdsort'],
            note=ours['note'],
        )
        drawn = new_project(tmp / 'aviary', architecture=args.arch)
        truth = aviary(drawn.images)
        result['aviary'] = judge_aviary(run(OURS, drawn.path), truth)
    if args.many:
        result |= search(tmp, args.many)
    shutil.rmtree(tmp)
    print(json.dumps(result) if args.json else say(result))


def judge_aviary(ours, truth):
    "Every kind of fault of the aviary: what share was found."
    kinds = {}
    for l, n, k, *_ in ours['rows']:
        kinds.setdefault(f'{l}/{n}', set()).add(k)
    source = {f: s for rows in truth.values() for f, s in rows}

    def pairs(kind):
        return [(f'{l}/{n}', e) for l, n, k, _, e in ours['rows'] if k == kind]

    sound = {f for f, _ in truth.get('good', []) + truth['near_duplicate'] + truth['exact_duplicate']}
    copied = {s: {f for f in sound if source[f] == s} for _, s in truth['near_duplicate'] + truth['exact_duplicate']}
    said = groups_of(pairs('exact duplicate') + pairs('near-duplicate'))

    def together(rows):
        return share(len(copied[s]) < 2 or bool((copied[s] - {f}) & said.get(f, set())) for f, s in rows)

    near = {tuple(sorted(p)) for p in pairs('near-duplicate')}
    return dict(
        broken_recall=share(
            'corrupt' in kinds.get(f, ()) for k in ('corrupt', 'truncated', 'html') for f, _ in truth[k]
        ),
        broken_precision=share(f not in sound for f, ks in kinds.items() if 'corrupt' in ks),
        exact_recall=together(truth['exact_duplicate']),
        exact_precision=share(source[a] == source[b] for a, b in pairs('exact duplicate')),
        near_recall=together(truth['near_duplicate']),
        near_precision=share(source[a] == source[b] for a, b in near),
        planted_in_first_tenth=first_tenth(ours['after'], ours['kept'], {f for f, _ in truth['other_species']}),
    )


def say(r):
    def number(v):
        return '     –' if v is None else f'{v:6.3f}'

    lines = []
    if 'seconds' in r:
        lines += [
            f"{'':<12} {'exact recall':>14} {'precision':>10} {'near recall':>12} {'precision':>10} "
            f"{'first tenth':>12} {'seconds':>8}"
        ]
        for name, q in (('birdsort', r), *r['peers'].items()):
            lines.append(
                f"{name:<12} {number(q['exact_recall']):>14} {number(q['exact_precision']):>10} "
                f"{number(q['near_recall']):>12} {number(q['near_precision']):>10} "
                f"{number(q.get('planted_in_first_tenth')):>12} {r['seconds'][name]:8.1f}"
            )
        lines += [
            f"near-duplicates that were not planted: {r['not_planted']}",
            f"a second call: {r['second_call']:.2f} s",
            f"aviary: {', '.join(f'{k} {number(v).strip()}' for k, v in r['aviary'].items())}",
        ]
    if 'exponent' in r:
        lines += [
            '',
            'search alone: ' + ', '.join(f'{k} {v:.2f} s' for k, v in r['search_seconds'].items()),
            f"{r['search_ratio']:.1f} times as fast as imagededup, exponent {r['exponent']:.2f}, {r['rss_mb']:.0f} MB, "
            f"recall {r['search_recall']:.3f}, precision {r['search_precision']:.3f}",
        ]
    return '\n'.join(lines)


if __name__ == '__main__':
    main()
