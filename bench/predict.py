"""How fast does an exported model answer: for a folder, for one image, and for a command that has just been typed?

python bench/predict.py

500 photos of about one megapixel are made, and one network (mobilenetv2_100, random weights) is exported. In
turns, in one process: plain fastai's `get_preds` over `learner.pkl` (the faster of no worker and its usual
number), a loop of `learn.predict`, ONNX Runtime alone over arrays that are decoded already, and birdsort. The
command is a process of its own each time."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path


def make_photos(folder, n, width=1155, height=866):
    "Drawn birds, enlarged, with the grain of a camera: JPEGs of some 300 KB."
    import numpy as np
    from PIL import Image

    from birdsort.aviary.pencil import draw_bird

    folder.mkdir()
    rng, birds = (
        np.random.default_rng(0),
        [
            draw_bird(s, i).resize((width, height), Image.Resampling.BICUBIC)
            for s in ('grey heron', 'cockatoo')
            for i in range(10)
        ],
    )
    for i in range(n):
        grain = rng.normal(0, 3, (height, width, 1)).astype(np.float32)
        Image.fromarray(np.uint8(np.clip(np.asarray(birds[i % len(birds)], np.float32) + grain, 0, 255))).save(
            folder / f'{i:04}.jpg', quality=85
        )
    return sorted(folder.iterdir())


def make_model(folder, arch):
    "A project whose network has seen its images once -> the project, exported."
    from birdsort.aviary.sample_project import lesson_project
    from birdsort.export import export
    from birdsort.split import split
    from birdsort.train import train

    project = lesson_project(20, folder, architecture=arch, image_size=224)
    split(project), train(project, quiet=True), export(project, formats=('pickle', 'onnx', 'safetensors'), quiet=True)
    return project


def seconds(f, *args):
    start = time.perf_counter()
    out = f(*args)
    return time.perf_counter() - start, out


def folders(project, learn, files, folder, rounds):
    "Seconds for all files -> {who: median}, and what fastai and birdsort said."
    import numpy as np

    from birdsort.core.images import decode
    from birdsort.deploy.inference import open_model
    from birdsort.predict import predict

    model, workers = open_model(project.export, 'onnx'), min(16, os.cpu_count())
    arrays = np.stack([model.prepare(decode(f)) for f in files[:32]])

    def get_preds(n):
        return learn.get_preds(dl=learn.dls.test_dl(files, num_workers=n))[0]

    def bare():
        for _ in range(len(files) // len(arrays)):
            model.network(arrays)

    ways = {
        'get_preds, no worker': lambda: get_preds(0),
        f'get_preds, {workers} workers': lambda: get_preds(workers),
        'ONNX Runtime, bare': bare,
        'birdsort': lambda: predict(project, [folder], quiet=True),
    }
    took, said = {k: [] for k in ways}, {}
    with learn.no_bar(), learn.no_logging():
        for _ in range(rounds):
            for k, f in ways.items():
                s, said[k] = seconds(f)
                took[k].append(s)
    took = {k: statistics.median(v) for k, v in took.items()}
    took['ONNX Runtime, bare'] *= len(files) / (len(files) // len(arrays) * len(arrays))
    theirs, ours = said['get_preds, no worker'].argmax(1).tolist(), said['birdsort']
    return took, sum(learn.dls.vocab[i] == r['label'] for i, r in zip(theirs, ours, strict=False)) / len(files)


def singles(project, learn, files):
    "Median seconds for one image, warm; in turns, 25 at a time."
    from birdsort.predict import Predictor

    predictor, took = Predictor(project), {'learn.predict': [], 'birdsort': []}
    with learn.no_bar(), learn.no_logging():
        for _ in range(3):  # In blocks: threads of the one still spin when the other begins
            for who, ask in (('learn.predict', learn.predict), ('birdsort', predictor)):
                for f in files[:5]:
                    ask(f)
                took[who] += [seconds(ask, f)[0] for f in files[:25]]
    return {k: statistics.median(v) for k, v in took.items()}


def cold(project, file, rounds):
    "Seconds of the whole command -> (median, whether PyTorch was loaded)."
    code = 'import sys; from birdsort.cli import main; sys.exit(main(sys.argv[1:]) or 3*("torch" in sys.modules))'
    runs = [
        seconds(
            lambda: (
                subprocess.run(
                    [sys.executable, '-c', code, 'predict', str(file), '--project', str(project.path)],
                    stdout=subprocess.DEVNULL,
                ).returncode
            )
        )
        for _ in range(rounds)
    ]
    assert {code for _, code in runs} <= {0, 3}, 'the command failed'
    return statistics.median(s for s, _ in runs), any(code == 3 for _, code in runs)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--photos', type=int, default=500)
    p.add_argument('--arch', default='mobilenetv2_100', help='a torchvision or timm name')
    p.add_argument('--rounds', type=int, default=3)
    p.add_argument('--json', action='store_true', help='print one JSON object')
    args = p.parse_args()
    warnings.filterwarnings('ignore')
    from fastai.learner import load_learner

    with tempfile.TemporaryDirectory() as tmp:
        files = make_photos(photos := Path(tmp) / 'photos', args.photos)
        project = make_model(Path(tmp) / 'birds', args.arch)
        start, torch_loaded = cold(project, files[0], 5)
        learn = load_learner(project.export / 'learner.pkl')
        took, agree = folders(project, learn, files, photos, args.rounds)
        one = singles(project, learn, files)
    plain = min(v for k, v in took.items() if k.startswith('get_preds'))
    out = dict(
        folder=took,
        single=one,
        folder_ratio=plain / took['birdsort'],
        single_ratio=one['learn.predict'] / one['birdsort'],
        cold_seconds=start,
        torch_loaded=torch_loaded,
        agree=agree,
    )
    if args.json:
        return print(json.dumps(out))
    print(
        f'{args.photos} photos: '
        + ', '.join(f'{k} {v:.1f} s' for k, v in took.items())
        + f", {out['folder_ratio']:.2f} times as fast as get_preds; {agree:.1%} the same label\n"
        f"one photo, warm: learn.predict {1e3 * one['learn.predict']:.0f} ms, "
        f"birdsort {1e3 * one['birdsort']:.0f} ms, {out['single_ratio']:.1f} times\n"
        f"birdsort predict, cold: {start:.2f} s{', with PyTorch' if torch_loaded else ', without PyTorch'}"
    )


if __name__ == '__main__':
    main()
