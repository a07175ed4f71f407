"Which files of a folder are images: one list for every stage, and nothing is left out without a word."

import json
import os

import numpy as np
import pytest
from PIL import Image

import birdsort.core.images
import birdsort.files.listing
from birdsort.cli import main, status
from birdsort.core.images import ImageError, decode
from birdsort.core.inventory import sync
from birdsort.core.moves import Move, move_images, undo
from birdsort.core.scaffold import new_project
from birdsort.deploy.inputs import expand, read, read_each
from birdsort.evaluation.predictions import unknown_images
from birdsort.files.listing import NO_HEIC, list_folder, list_images, list_labels, place, summarise
from birdsort.recipes.gan.datasets import read_images
from birdsort.sources.local import folder, read_own
from birdsort.split import find_leaks, split

FORMATS = {
    'a.jpg': 'JPEG',
    'b.JPG': 'JPEG',
    'c.jpe': 'JPEG',
    'd.jfif': 'JPEG',
    'e.pjpeg': 'JPEG',
    'f.mpo': 'MPO',
    'g.tif': 'TIFF',
    'h.TIFF': 'TIFF',
    'i.png': 'PNG',
    'j.apng': 'PNG',
    'k.dib': 'BMP',
    'l.webp': 'WEBP',
    'm.avif': 'AVIF',
    'n.HEIC': 'HEIF',
    'o.heif': 'HEIF',
    'without_suffix': 'JPEG',
    'p.jpg_large': 'JPEG',
    'batch2/deeper/a.jpg': 'JPEG',
}
LEFT_OUT = {
    'IMG_1.CR2': 'a camera raw file',
    'IMG_2.dng': 'a camera raw file',
    'logo.svg': 'a drawing',
    'clip.MOV': 'a video',
    'more.zip': 'an archive',
    'x.jpg.crdownload': 'an unfinished download',
    'y.jxl': 'a format that is not read',
    'z.psd': 'a format that is not read',
    '.stork.jpg.icloud': 'an iCloud placeholder',
    '._stork.jpg': 'metadata of macOS',
    'notes.txt': 'not an image',
    'labels.csv': 'not an image',
    'a.jpg~': 'a backup copy',
    'b.jpg.bak': 'a backup copy',
    'c.JPG_original': 'a backup copy',
    'd.png.orig': 'a backup copy',
    'e.jpeg.old': 'a backup copy',
}
BY_NATURE = {
    'pipe.jpg': 'a FIFO',
    'lost.jpg': 'a link to nothing',
    'elsewhere': 'a link to a folder',
}


JPEG = b'\xff\xd8\xff\xe0 as a JPEG begins'


def noise(seed, side=64):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8))


def write(file, seed, kind='JPEG'):
    file.parent.mkdir(parents=True, exist_ok=True)
    if kind == 'HEIF':
        pytest.importorskip('pillow_heif').register_heif_opener()
    noise(seed).save(file, kind)


@pytest.fixture(scope='module')
def card(tmp_path_factory):
    "A folder of label folders; everything that can be an image, or looks like one, is under crane."
    card = tmp_path_factory.mktemp('card')
    for seed, (name, kind) in enumerate(FORMATS.items()):
        write(card / 'crane' / name, seed, kind)
    for name in LEFT_OUT:
        (card / 'crane' / name).write_bytes(
            JPEG if LEFT_OUT[name] == 'a backup copy' else b'of another kind'
        )
    os.mkfifo(card / 'crane' / 'pipe.jpg')
    (card / 'crane' / 'lost.jpg').symlink_to('nowhere')
    (card / 'crane' / 'elsewhere').symlink_to(card)
    for seed in range(100, 114):
        write(card / 'stork' / 'day1' / f'{seed}.jpg', seed)
    write(card / 'loose.png', 200, 'PNG')
    return card


def names(files, home):
    return sorted(str(f.relative_to(home)) for f in files)


@pytest.mark.parametrize('name', FORMATS)
def test_a_format_is_listed_and_read(card, name):
    file = card / 'crane' / name
    assert file in list_folder(card).images
    assert decode(file).size == decode(file.read_bytes()).size == (64, 64)


@pytest.mark.parametrize('name', LEFT_OUT | BY_NATURE)
def test_what_is_left_out_is_named_with_the_reason(card, name):
    reasons = list_folder(card / 'crane').left_out
    assert reasons[card / 'crane' / name].startswith((LEFT_OUT | BY_NATURE)[name])
    assert any((LEFT_OUT | BY_NATURE)[name] in line for line in summarise(reasons))


def test_every_stage_finds_the_same_images(card, tmp_path):
    listed = names(list_folder(card / 'crane').images, card / 'crane')
    assert listed == sorted(FORMATS)
    assert names(list_images(card)['crane'], card / 'crane') == listed
    told = []
    sources = expand([card / 'crane'], tell=told.append)
    rows = read_each([source for _, source in sources], lambda source: read(source).size)
    assert (
        names(
            [source for _, source in sources if not isinstance(source, ValueError)], card / 'crane'
        )
        == listed
    )
    assert sum(error is None for _, error in rows) == len(listed)
    assert [line.split(' (')[0] for line in told] == ['left out 2 files']
    hits = [hit.address for hit in folder('crane', 9, None, card)]
    readable = [
        hit
        for hit in hits
        if hit.rpartition('#')[0] in {str(card / 'crane' / name) for name in listed}
    ]
    assert len(readable) == len(listed) and all(read_own(hit) for hit in readable)
    for hit in set(hits) - set(readable):
        with pytest.raises(ValueError, match='format not read: '):
            read_own(hit)
    images = read_images(card, size=32, quiet=True)
    assert len(images.train) + len(images.held) == len(listed) + 14
    assert any(why.startswith('a camera raw') for _, why in images.broken)


def test_a_format_without_its_plugin_is_left_out_with_what_to_do(card, monkeypatch):
    for module in (birdsort.files.listing, birdsort.core.images):
        monkeypatch.setattr(module, 'find_spec', lambda name: None)
    birdsort.core.images._has_heic.cache_clear()
    reasons = list_folder(card / 'crane').left_out
    assert reasons[card / 'crane' / 'n.HEIC'] == reasons[card / 'crane' / 'o.heif'] == NO_HEIC
    with pytest.raises(ValueError, match=r"pip install 'birdsort\[heic\]'"):
        decode((card / 'crane' / 'n.HEIC').read_bytes())
    monkeypatch.undo()
    birdsort.core.images._has_heic.cache_clear()
    assert decode(card / 'crane' / 'n.HEIC').size == (64, 64)


CONTENTS = {
    b'<!DOCTYPE html><html><body>404</body></html>': 'not an image: an HTML page',
    b'\xef\xbb\xbf\n  <HTML lang="en">': 'not an image: an HTML page',
    b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>': 'not an image: an SVG drawing',
    b'version https://git-lfs.github.com/spec/v1\noid sha256:4d\n': 'not an image: a Git LFS pointer: run `git lfs',
    b'bplist00\xd4\x01\x02': 'not an image: an iCloud placeholder',
    b'%PDF-1.7\n': 'not an image: a PDF file',
    b'PK\x03\x04\x14\0': 'not an image: a ZIP archive',
    b'': 'empty file',
    b'seen at noon': 'not an image',
    b'BMW, Audi, Opel': 'not an image',
}


@pytest.mark.parametrize('data', CONTENTS)
def test_a_file_that_only_calls_itself_an_image_is_called_what_it_is(tmp_path, data):
    (tmp_path / 'a.jpg').write_bytes(data)
    for source in (data, tmp_path / 'a.jpg'):
        with pytest.raises(ImageError) as error:
            decode(source)
        assert error.value.reason.startswith(CONTENTS[data])


MODES = [
    'L',
    'I;16',
    'CMYK',
    'P',
    'RGBA',
    '1',
    'F',
    'LA',
    'LAB',
]


@pytest.mark.parametrize('mode', MODES)
def test_a_tiff_of_any_mode_becomes_rgb(tmp_path, mode):
    image = noise(1)
    image = (
        image.convert('L').convert('I').point(lambda v: v * 200).convert(mode)
        if mode == 'I;16'
        else image
    )
    image = image.convert('RGB').convert(mode) if mode not in ('I;16', 'LAB') else image
    image.save(tmp_path / 'a.tif')
    assert (decode(tmp_path / 'a.tif').mode, decode(tmp_path / 'a.tif').size) == ('RGB', (64, 64))


NESTED = (
    'a.jpg',
    'b.tif',
    'day1/a.jpg',
    'day1/c.jpe',
    'day2/a.jpg',
    'day2/x/a.jfif',
    'd.HEIC',
    'e.png',
)


@pytest.fixture
def project(tmp_path):
    "A project with images in folders inside a label's folder, of one name with others."
    project = new_project(tmp_path / 'birds', labels=dict(crane=['crane'], stork=['stork']))
    seed = 0
    for label in ('crane', 'stork'):
        for name in NESTED:
            write(
                project.images / label / name,
                seed := seed + 1,
                dict(tif='TIFF', HEIC='HEIF').get(name[-3:], 'JPEG'),
            )
    return project


def test_a_project_keeps_folders_inside_a_label(project, capsys):
    (project.images / 'crane' / 'day1' / 'd.nef').write_bytes(b'raw')
    write(project.path / 'unknown' / 'deep' / 'u.jfif', 99)
    (project.path / 'unknown' / 'v.cr3').write_bytes(b'raw')
    assert [f.name for f in unknown_images(project)] == ['u.jfif']
    told = status(str(project.path))
    assert {label: counts['kept'] for label, counts in told['labels'].items()} == dict(
        crane=8, stork=8
    )
    assert told['left_out'] == [
        'images/: left out 1 file (d.nef): a camera raw file: export it as JPEG',
        'unknown/: left out 1 file (v.cr3): a camera raw file: export it as JPEG',
    ]
    assert split(project)['train'] == dict(crane=5, stork=5)
    assert 'images/: left out 1 file (d.nef)' in capsys.readouterr().err
    copies = {
        place(project.split / s, f)
        for s in ('train', 'val', 'test')
        for f in list_folder(project.split / s).images
    }
    assert (
        copies == {place(project.images, f) for f in list_folder(project.images).images}
        and len(copies) == 16
    )
    rows = project.catalogue.rows(state='kept')
    assert {(row['label'], row['name']) for row in rows} == copies and all(
        row['split'] for row in rows
    )
    assert find_leaks(project, quiet=True) == []


def test_an_image_in_a_folder_inside_a_label_is_moved_and_comes_back(project):
    before = names(list_folder(project.images).images, project.images)
    sync(project)
    (row,) = project.catalogue.rows(label='crane', name='day2/a.jpg')
    move_images(project, [Move(row['id'], 'removed', 'crane')])
    sync(project)
    (moved,) = project.catalogue.rows(id=row['id'])
    assert (project.removed / 'crane' / moved['name']).is_file() and len(
        project.catalogue.rows()
    ) == 16
    assert undo(project)['moved'] == 1
    assert names(list_folder(project.images).images, project.images) == before
    assert project.catalogue.rows(id=row['id'])[0]['name'] == 'day2/a.jpg'


def test_predict_that_could_read_nothing_says_so(exported_birds, tmp_path, capsys):
    (tmp_path / 'a.svg').write_text('<svg/>')
    (tmp_path / 'b.jpg').write_text('<html>')
    (tmp_path / 'c.txt').write_text('notes')
    options = ['--json', '--project', str(exported_birds.path)]
    assert main(['predict', str(tmp_path), *options]) == 1
    out, err = capsys.readouterr()
    errors = [row['error'] for row in json.loads(out)['result']['predictions']]
    assert errors == ['a drawing: export it as PNG', 'not an image: an HTML page']
    assert 'left out 1 file (c.txt): not an image' in err
    write(tmp_path / 'd.tif', 1, 'TIFF')
    assert main(['predict', str(tmp_path), *options]) == 0
    assert main(['predict', str(tmp_path / 'a.svg'), *options]) == 1


def test_images_beside_the_label_folders_are_told(card):
    assert list_labels(card).left_out[card / 'loose.png'].startswith('outside the label folders')
