"A finished run whose weights are fixed, for tests that ask a model and do not care how it was trained."

import json
from dataclasses import asdict

import torch

from birdsort.core.architectures import origin
from birdsort.datasets.signatures import train_signature
from birdsort.datasets.splits import splits_signature
from birdsort.training.learner import build_network


def add_fixed_run(project, name='001_fixed', seed=0):
    "Give a project that is split a run of its architecture with random weights of a seed: the same on every machine."
    settings, folder = project.settings, project.models / name
    folder.mkdir(parents=True)
    torch.manual_seed(seed)
    labels = sorted(settings.labels)
    library, network_name, _ = origin(settings.architecture)
    network = build_network(library, network_name, len(labels), settings.train)
    for weights in ('best', 'stage_one'):
        torch.save(network.state_dict(), folder / f'{weights}.pth')
    header = 'stage,epoch,lr,train_loss,valid_loss,accuracy,seconds,waiting'
    epochs = [f'{stage},1,0.001,0.8,0.7,0.5,1.0,0.1' for stage in ('one-cycle', 'fine-tune')]
    (folder / 'history.csv').write_text('\n'.join([header, *epochs, '']))
    stages = [
        dict(name=s, epochs=1, seconds=1.0, valid_loss=0.6, accuracy=0.5)
        for s in ('one-cycle', 'fine-tune')
    ]
    note = dict(
        run=name,
        stages=stages,
        seconds=2.0,
        precision='fp32',
        waiting=0.1,
        lr=0.004,
        own=None,
        vocab=labels,
    )
    note |= dict(
        signature=train_signature(project),
        splits=splits_signature(project),
        settings=asdict(settings),
    )
    (folder / 'run.json').write_text(json.dumps(note))
    return project
