"The callbacks under fastai's own schedules, with validation losses that are given."

import pytest
import torch
from fastai.callback.core import Callback
from fastai.callback.schedule import ParamScheduler
from fastai.callback.tracker import ReduceLROnPlateau as Fastais
from fastai.callback.tracker import SaveModelCallback
from fastai.data.core import DataLoaders
from fastai.data.load import DataLoader
from fastai.learner import Learner
from torch import nn

from birdsort.training.callbacks import ReduceLROnPlateau, save_best, stage_callbacks


class Scripted(nn.Module):
    "A loss that answers, in validation, what it is told to, one value per epoch."

    def __init__(self, script):
        super().__init__()
        self.script, self.real = list(script), nn.MSELoss()

    def forward(self, x, y):
        return self.real(x, y) if torch.is_grad_enabled() else x.sum() * 0 + self.script[0]


class Next(Callback):
    def after_validate(self):
        self.learn.loss_func.script.pop(0)


class Weights(Callback):
    "The weights after each epoch."

    order = 55

    def __init__(self):
        self.seen = []

    def after_epoch(self):
        self.seen.append(self.learn.model[1].weight.item())


def tiny(script, path='.'):
    torch.manual_seed(0)
    xy = [(torch.rand(1), torch.rand(1)) for _ in range(8)]
    model = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1))
    return Learner(
        DataLoaders(DataLoader(xy, bs=4), DataLoader(xy, bs=8)),
        model,
        loss_func=Scripted(script),
        cbs=Next(),
        path=path,
        model_dir='.',
        splitter=lambda m: [list(m[0].parameters()), list(m[1].parameters())],
    )


def quietly(learn, fit):
    with learn.no_bar(), learn.no_logging():
        fit()
    return torch.tensor(learn.recorder.lrs)


def rates(plateau, script, fit='fit_one_cycle'):
    learn = tiny(script)
    return quietly(learn, lambda: getattr(learn, fit)(len(script), 1e-2, cbs=plateau))


LOSSES = [1, 0.5, 0.5, 0.5, 0.1, 0.1]  # no improvement in epochs 3 and 4, and in 6


def test_a_reduced_rate_stays_reduced_under_one_cycle():
    plain, ours = rates(None, LOSSES), rates(ReduceLROnPlateau(factor=10), LOSSES)
    assert torch.allclose(ours[:6], plain[:6])
    assert torch.allclose(ours[6:8], plain[6:8] / 10)
    assert torch.allclose(ours[8:], plain[8:] / 100)


def test_fastais_own_is_undone_by_the_schedule():
    "What this is all about; when it fails, fastai has mended it and ours can go."
    assert torch.allclose(rates(None, LOSSES), rates(Fastais(factor=10), LOSSES))


def test_without_a_schedule_the_rate_is_reduced_once_per_plateau():
    lrs = rates(ReduceLROnPlateau(factor=10), LOSSES, 'fit')
    assert torch.allclose(lrs, torch.tensor([1e-2] * 6 + [1e-3] * 2 + [1e-4] * 4))


def test_no_reduction_while_the_schedule_warms_up():
    script = [1, 2, 3, 0.5, 0.4, 0.3, 0.2, 0.1]  # bad epochs within the first quarter
    assert torch.allclose(rates(ReduceLROnPlateau(factor=10), script)[:6], rates(None, script)[:6])


def test_min_lr_is_the_floor():
    lrs = rates(ReduceLROnPlateau(factor=10, min_lr=5e-4), [1] * 8)
    assert lrs[5:].min() == pytest.approx(5e-4)


@pytest.mark.parametrize(
    'cb, epoch',
    [(save_best, 1), (lambda: SaveModelCallback(fname='best'), 3)],
    ids=['ours keeps 0.1', "fastai's keeps 0.8"],
)
def test_best_model_of_both_phases(tmp_path, cb, epoch):
    learn, weights, best = tiny([0.3, 0.1, 0.9, 0.8], tmp_path), Weights(), cb()
    quietly(learn, lambda: learn.fine_tune(2, 1e-1, freeze_epochs=2, cbs=[best, weights]))
    assert len(set(weights.seen)) == 4
    assert learn.model[1].weight.item() == weights.seen[epoch]


def test_best_model_over_both_stages_and_early_stop(tmp_path):
    "The published callbacks over fit_one_cycle, then fine_tune, as `train` calls them."
    learn, weights, best = (
        tiny([0.5, 0.2, 0.9, 0.9, 0.9, 0.9, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8], tmp_path),
        Weights(),
        save_best(),
    )
    quietly(
        learn,
        lambda: learn.fit_one_cycle(9, 1e-1, cbs=[*stage_callbacks(best, 0.10, 3.5), weights]),
    )
    assert len(weights.seen) == 6 and learn.model[1].weight.item() == weights.seen[1]
    quietly(
        learn, lambda: learn.fine_tune(5, 1e-1, cbs=[*stage_callbacks(best, 0.05, 7.5), weights])
    )
    assert learn.model[1].weight.item() == weights.seen[1] and best.best == pytest.approx(0.2)


def test_the_published_numbers():
    _, one, stop = stage_callbacks(save_best(), 0.10, 3.5)
    assert (one.monitor, -one.min_delta, one.factor, stop.monitor, stop.patience) == (
        'valid_loss',
        0.10,
        3.5,
        'valid_loss',
        3,
    )
    assert one.order > ParamScheduler.order  # it scales what the schedule has set
