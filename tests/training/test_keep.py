"A learner that was trained by hand becomes a run, and `train` takes a learner of yours."

import pytest
from fastai.vision.all import (
    ImageDataLoaders,
    Learner,
    Resize,
    accuracy,
    nn,
    vision_learner,
)

from birdsort import Project
from birdsort.training.runs import open_run
from conftest import as_json


@pytest.fixture
def loaders(split_birds):
    return ImageDataLoaders.from_folder(
        split_birds.split, 'train', 'val', item_tfms=Resize(64), bs=8, num_workers=0
    )


def test_a_kept_learner_is_evaluated_reported_and_exported(split_birds, loaders):
    learner = vision_learner(loaders, 'test_resnet', pretrained=False, metrics=accuracy)
    with learner.no_bar(), learner.no_logging():
        learner.fit_flat_cos(2)
    kept = Project(split_birds.path).keep(learner)
    assert kept['stages'][0]['epochs'] == 2
    run = open_run(split_birds)
    assert run.name == kept['run'] and run.settings.architecture == 'test_resnet'
    p = ('--project', split_birds.path)
    assert as_json('evaluate', *p)['run'] == kept['run']
    page = as_json('report', *p)['report']
    assert 'trained by hand' in (split_birds.path / page).read_text()
    assert as_json('export', '--formats', 'onnx', *p)['run'] == kept['run']
    assert 'train' in as_json('status', *p)['done']


def test_what_was_trained_on_test_images_is_refused(split_birds, loaders):
    everything = ImageDataLoaders.from_folder(
        split_birds.images, valid_pct=0.2, item_tfms=Resize(64), bs=8, num_workers=0
    )
    project = Project(split_birds.path)
    with pytest.raises(ValueError, match='images of the test split'):
        project.keep(Learner(everything, nn.Linear(1, 3)))
    loaders.vocab = ['a', 'b', 'c']
    with pytest.raises(ValueError, match='labels'):
        project.keep(Learner(loaders, nn.Linear(1, 3)))


def test_train_takes_a_learner(split_birds, loaders):
    net = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(4 * 4 * 3, 3))
    project = Project(split_birds.path)
    trained = project.train(learner=Learner(loaders, net), quiet=True)
    assert open_run(split_birds).own == 'Sequential'
    assert project.evaluate(model=net, quiet=True)['run'] == trained['run']
    with pytest.raises(TypeError, match='learner'):
        project.train(learner=net)
