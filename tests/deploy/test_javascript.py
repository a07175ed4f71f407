"An exported model needs no Python: in JavaScript, by what the ONNX file says of itself, it gives the same answers."

import json
import subprocess

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from birdsort.aviary.pencil import draw_bird
from birdsort.aviary.sample_project import lesson_project
from birdsort.core.images import decode
from birdsort.core.settings import Training
from birdsort.deploy.onnx import to_int8
from birdsort.export import export
from birdsort.predict import Predictor
from birdsort.split import split
from birdsort.train import train
from conftest import ROOT


def label(*args, cwd=None):
    return subprocess.run(
        ['node', ROOT / 'tests/deploy/label.mjs', *args], capture_output=True, text=True, cwd=cwd, timeout=300
    )


def in_javascript(model, images):
    done = label(model, *images)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def prepare(model, images):
    "Images as an ONNX file wants them -> (b, 3, n, n) float32."
    said = {
        k: json.loads(v) for k, v in onnxruntime.InferenceSession(model).get_modelmeta().custom_metadata_map.items()
    }
    squished = [Image.open(f).resize((said['input_size'],) * 2, Image.Resampling.BILINEAR) for f in images]
    return ((np.float32(squished) / 255 - np.float32(said['mean'])) / np.float32(said['std'])).transpose(
        0, 3, 1, 2
    ), said


def in_python(model, images):
    x, said = prepare(model, images)
    p = np.exp(onnxruntime.InferenceSession(model).run(['logits'], {'images': x})[0] / said['temperature'])
    return [dict(label=said['labels'][row.argmax()], probability=row.max() / row.sum()) for row in p]


def by_birdsort(project, images):
    return Predictor(project)(
        [decode(f) for f in images]
    )  # Every pixel of them: from a file, large JPEGs are decoded at a fraction of their size


def alike(ours, theirs, images, least):
    "The same labels in the same order, and no probability further apart than this."
    assert [p['file'] for p in theirs] == [str(f) for f in images]
    assert [p['label'] for p in ours] == [p['label'] for p in theirs]
    assert max(abs(a['probability'] - b['probability']) for a, b in zip(ours, theirs, strict=False)) <= least


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    "A small model, and twenty birds that it has not seen."
    folder = tmp_path_factory.mktemp('javascript')
    project = lesson_project(20, folder / 'birds', train=Training(precision='fp32'))
    split(project, quiet=True), train(project, quiet=True), export(project, formats=('onnx',), quiet=True)
    species = [s for queries in project.settings.labels.values() for s in queries]
    for i in range(20):
        draw_bird(species[i % len(species)], 5000 + i).save(folder / f'{i:02}.jpg', quality=90)
    return project, sorted(folder.glob('*.jpg'))


def test_javascript_gives_the_same_labels(exported):
    project, images = exported
    theirs = in_javascript(project.export / 'model.onnx', images)
    alike(by_birdsort(project, images), theirs, images, 0.001)
    alike(in_python(project.export / 'model.onnx', images), theirs, images, 0.001)
    assert len({p['label'] for p in theirs}) > 1 and len({round(p['probability'], 3) for p in theirs}) > 10, (
        'the model tells nothing apart: the test shows nothing'
    )


def test_javascript_gives_the_same_labels_in_8_bits(exported, tmp_path):
    project, images = exported
    model = project.export / 'model.onnx'
    (small := tmp_path / 'model.int8.onnx').write_bytes(to_int8(model.read_bytes(), [prepare(model, images)[0]]))
    assert small.stat().st_size < model.stat().st_size / 3
    alike(in_python(small, images), in_javascript(small, images), images, 0.02)


def test_a_image_on_its_side_and_a_grey_one(exported, tmp_path):
    project, images = exported
    exif, bird, odd = Image.Exif(), Image.open(images[0]), [tmp_path / 'turned.jpg', tmp_path / 'grey.jpg']
    exif[0x0112] = 6
    bird.save(odd[0], exif=exif), bird.convert('L').save(odd[1])
    alike(by_birdsort(project, odd), in_javascript(project.export / 'model.onnx', odd), odd, 0.001)


@pytest.mark.parametrize(
    'args, why',
    [
        ([], 'which model, and which images?'),
        (['none.onnx', 'bird.jpg'], 'no file none.onnx'),
        (['bird.jpg', 'bird.jpg'], 'bird.jpg: no ONNX model of birdsort'),
        (['model.onnx', 'half.jpg'], 'half.jpg: Premature end of JPEG file'),
        (['model.onnx', 'model.onnx'], 'model.onnx: Not a JPEG file'),
    ],
)
def test_wrong_use_is_told_in_one_line(exported, tmp_path, args, why):
    project, (first, *_) = exported
    for name, data in {
        'model.onnx': (project.export / 'model.onnx').read_bytes(),
        'bird.jpg': first.read_bytes(),
        'half.jpg': first.read_bytes()[:5000],
    }.items():
        (tmp_path / name).write_bytes(data)
    done = label(*args, cwd=tmp_path)
    assert (
        done.returncode == 1
        and done.stdout == ''
        and done.stderr.startswith(f'label: {why}')
        and done.stderr.count('\n') == 1
    ), done.stderr
