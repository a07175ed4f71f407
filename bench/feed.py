"""How much of the device's speed is left once real images are fed to it?

python bench/feed.py --data FOLDER --arch resnext50_32x4d --random

Images per second of birdsort's training of the whole network (cache, augmentation, callbacks, recorder), and of
a bare loop over one random batch that already lies on the device: the same network, optimizer, batch size and
precision. In turns, so that both see the same weather."""

import argparse
import json
import statistics
import tempfile
import time
import warnings
from pathlib import Path

from train import make_project, random_weights


def sync(device):
    import torch

    if device.type == 'cuda':
        torch.cuda.synchronize()


def fed(learn, epochs, folder):
    """Images/s of the training part of epochs, with everything that birdsort's `train` hangs on; and the share of
    that time without a batch."""
    from fastai.callback.core import Callback

    from birdsort.training.callbacks import History, StopOnNaN, save_best, stage_callbacks

    class Clock(Callback):
        order, took = 999, 0.0

        def before_train(self):
            sync(self.dls.device)
            self.start = time.perf_counter()

        def after_train(self):
            sync(self.dls.device)
            self.took += time.perf_counter() - self.start

    history, clock = History(folder / 'history.csv'), Clock()
    learn.fit_one_cycle(epochs, 1e-4, cbs=[*stage_callbacks(save_best(), 0.1, 3.5, 1000), history, StopOnNaN(), clock])
    return epochs * len(learn.dls.train) * learn.dls.bs / clock.took, statistics.mean(
        r['waiting'] for r in history.rows
    )


def bare(learn, steps, size, precision):
    "Images/s over steps on one batch of random numbers."
    import torch

    from birdsort.training.callbacks import head_of

    device, head = learn.dls.device, set(head_of(learn).modules())
    x, y = (
        torch.rand(learn.dls.bs, 3, size, size, device=device),
        torch.randint(learn.dls.c, (learn.dls.bs,), device=device),
    )
    learn.create_opt()
    learn.model.train()
    for m in learn.model.modules():
        if isinstance(m, torch.nn.modules.batchnorm._BatchNorm) and m not in head:
            m.eval()  # At rest, as in birdsort
    for i in range(steps + 3):
        if i == 3:
            sync(device)
            start = time.perf_counter()
        with torch.autocast(device.type, torch.float16, enabled=precision == 'fp16'):
            loss = learn.loss_func(learn.model(x), y)
        loss.backward()
        learn.opt.step(), learn.opt.zero_grad()
    sync(device)
    return steps * learn.dls.bs / (time.perf_counter() - start)


def measure(args):
    from fastai.torch_core import set_seed

    from birdsort.datasets.cache import cache_dataloaders
    from birdsort.training.learner import make_learner, open_layers
    from birdsort.training.precision import in_precision, measure_precision
    from birdsort.training.resources import retain_memory

    project = make_project(args, args.seed)
    set_seed(args.seed, reproducible=True)  # As `train` does; some kernels are slower for it
    learn = make_learner(project, Path(args.tmp), project.settings)
    learn.dls = cache_dataloaders(project, learn.dls)
    learn.model.to(learn.dls.device)
    times = measure_precision(learn.model, args.size, learn.dls.device)
    precision = min(times, key=times.get)
    open_layers(learn, 'all')
    rows = []
    with (
        retain_memory(learn.dls.device.type == 'cpu'),
        in_precision(learn, precision),
        learn.no_bar(),
        learn.no_logging(),
    ):
        fed(learn, 1, Path(args.tmp))  # Warms up
        for _ in range(args.repeat):
            rows.append(
                (
                    *fed(learn, args.times, Path(args.tmp)),
                    bare(learn, args.times * len(learn.dls.train), args.size, precision),
                )
            )
    images, waiting, loop = (statistics.median(c) for c in zip(*rows, strict=False))
    return dict(
        device=str(learn.dls.device),
        precision=precision,
        birdsort=round(images, 1),
        bare=round(loop, 1),
        share=round(images / loop, 3),
        waiting=round(waiting, 3),
    )


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--data', required=True, help='a folder of label folders with images')
    p.add_argument('--arch', required=True, help='a torchvision or timm name, or local-dir:FOLDER')
    p.add_argument('--random', action='store_true', help='random weights, taken for pretrained')
    p.add_argument('--per-label', type=int, default=0, help='only so many images of each label')
    p.add_argument('--size', type=int, default=224)
    p.add_argument('--batch', type=int, default=32)
    p.add_argument('--times', type=int, default=1, help='epochs to measure over; on a GPU take 20')
    p.add_argument('--repeat', type=int, default=3)
    p.add_argument('--seed', type=int, default=1)
    p.add_argument('--json', action='store_true', help='print one JSON object')
    args = p.parse_args()
    args.epochs = (1, 1)
    warnings.filterwarnings('ignore')
    with tempfile.TemporaryDirectory() as args.tmp:
        if args.random:
            args.arch = random_weights(args.arch, Path(args.tmp) / args.arch)
        row = measure(args)
    if args.json:
        return print(json.dumps(row))
    print('  '.join(f'{k} {v}' for k, v in row.items()))


if __name__ == '__main__':
    main()
