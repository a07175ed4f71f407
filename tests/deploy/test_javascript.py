"An exported model needs no Python: in JavaScript, with the metadata of the ONNX file, it gives the same predictions."

import json
import subprocess

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from birdsort.core.images import decode
from birdsort.deploy.onnx import to_int8
from birdsort.predict import Predictor
from conftest import ROOT
from helpers.birds import between


def label(*args, cwd=None):
    command = ['node', ROOT / 'tests/deploy/label.mjs', *args]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=300)


def in_javascript(model, images):
    done = label(model, *images)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def prepare(model, images):
    "Images as the metadata of an ONNX file describes -> ((b, 3, n, n) float32, the metadata)."
    texts = onnxruntime.InferenceSession(model).get_modelmeta().custom_metadata_map
    metadata = {k: json.loads(text) for k, text in texts.items()}
    size = (metadata['input_size'],) * 2
    pixels = (
        np.float32([Image.open(f).resize(size, Image.Resampling.BILINEAR) for f in images]) / 255
    )
    x = (pixels - np.float32(metadata['mean'])) / np.float32(metadata['std'])
    return x.transpose(0, 3, 1, 2), metadata


def in_python(model, images):
    x, metadata = prepare(model, images)
    (logits,) = onnxruntime.InferenceSession(model).run(['logits'], {'images': x})
    exp = np.exp(logits / metadata['temperature'])
    return [
        dict(label=metadata['labels'][row.argmax()], probability=row.max() / row.sum())
        for row in exp
    ]


def by_birdsort(project, images):
    # Decoded here at full size: from a file, large JPEGs are decoded at a fraction of it
    return Predictor(project)([decode(f) for f in images])


def assert_alike(ours, theirs, images, tolerance):
    "The same labels in the same order, and probabilities no further apart than the tolerance."
    assert [p['file'] for p in theirs] == [str(f) for f in images]
    assert [p['label'] for p in ours] == [p['label'] for p in theirs]
    differences = [
        abs(a['probability'] - b['probability']) for a, b in zip(ours, theirs, strict=True)
    ]
    assert max(differences) <= tolerance


@pytest.fixture(scope='module')
def exported(exported_birds, tmp_path_factory):
    "A small model, and twenty birds that it was not trained on."
    project, folder = exported_birds, tmp_path_factory.mktemp('javascript')
    for i in range(20):
        pair = ('cacatua', 'garza') if i % 2 else ('garza', 'buitre')
        between(*pair, i / 19, 5000 + i).save(folder / f'{i:02}.jpg', quality=90)
    return project, sorted(folder.glob('*.jpg'))


def test_javascript_gives_the_same_predictions(exported):
    project, images = exported
    model = project.export / 'model.onnx'
    theirs = in_javascript(model, images)
    assert_alike(by_birdsort(project, images), theirs, images, 0.001)
    assert_alike(in_python(model, images), theirs, images, 0.001)
    hint = 'the model cannot tell these images apart, so the test shows nothing'
    assert len({p['label'] for p in theirs}) > 1, hint
    assert len({round(p['probability'], 5) for p in theirs}) > 10, hint


def test_javascript_gives_the_same_predictions_in_8_bits(exported, tmp_path):
    project, images = exported
    model, small = project.export / 'model.onnx', tmp_path / 'model.int8.onnx'
    small.write_bytes(to_int8(model.read_bytes(), [prepare(model, images)[0]]))
    assert small.stat().st_size < model.stat().st_size / 3
    assert_alike(in_python(small, images), in_javascript(small, images), images, 0.02)


def test_javascript_refuses_the_same_images(exported, tmp_path):
    project, images = exported
    rng, asked = np.random.default_rng(0), [*images[:5]]
    for i in range(5):
        stripes = rng.integers(0, 256, (3 + 20 * i, 2, 3), dtype='uint8')
        Image.fromarray(stripes).resize((200, 150)).save(tmp_path / f'{i}.jpg')
        asked.append(tmp_path / f'{i}.jpg')
    bank, ours = project.export / 'unknown.safetensors', Predictor(project, threshold='auto')
    rows, theirs = (
        ours([decode(f) for f in asked]),
        in_javascript(bank, [project.export / 'model.onnx', *asked]),
    )
    assert [r['label'] for r in theirs] == [r['label'] for r in rows]
    apart = [
        abs(a['unknown_score'] - b['unknown_score']) for a, b in zip(rows, theirs, strict=True)
    ]
    assert max(apart) < 1e-3
    assert [r['label'] for r in theirs[5:]] == ['none of these'] * 5
    foreign = tmp_path / 'foreign.safetensors'
    foreign.write_bytes(bank.read_bytes().replace(ours.bank.network[:8].encode(), b'00000000'))
    done = label(foreign, project.export / 'model.onnx', images[0])
    assert done.stderr == f'label: {foreign}: it does not belong to this model: export again\n'


def test_a_turned_image_and_a_grey_one(exported, tmp_path):
    project, images = exported
    bird, exif = Image.open(images[0]), Image.Exif()
    exif[0x0112] = 6
    turned, grey = tmp_path / 'turned.jpg', tmp_path / 'grey.jpg'
    bird.save(turned, exif=exif)
    bird.convert('L').save(grey)
    theirs = in_javascript(project.export / 'model.onnx', [turned, grey])
    assert_alike(by_birdsort(project, [turned, grey]), theirs, [turned, grey], 0.001)


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
def test_wrong_use_is_one_line(exported, tmp_path, args, why):
    project, (first, *_) = exported
    jpeg = first.read_bytes()
    model = (project.export / 'model.onnx').read_bytes()
    for name, data in {'model.onnx': model, 'bird.jpg': jpeg, 'half.jpg': jpeg[:5000]}.items():
        (tmp_path / name).write_bytes(data)
    done = label(*args, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout == ''
    assert done.stderr.startswith(f'label: {why}')
    assert done.stderr.count('\n') == 1
