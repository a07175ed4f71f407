"Copies: what differs by content is none, whatever the view; a person and the settings have the last word."

import io
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageOps

from birdsort.aviary.sample_project import lesson_project
from birdsort.cleaning import duplicates
from birdsort.cleaning.decisions import Decisions, proposals
from birdsort.cleaning.duplicates import LIKELY, Pair, group_pairs, near_duplicates
from birdsort.cleaning.image_stats import ScannedFile, compute_stats
from birdsort.cleaning.issues import certain as is_certain
from birdsort.cleaning.issues import find_issues, from_groups
from birdsort.core.inventory import sync
from birdsort.core.project import Project
from birdsort.split import current_split, find_copies, find_leaks, group_files, split
from conftest import as_json, birdsort, one_line
from helpers.views import VIEWS, bird_table


def stats_of(im, quality=90):
    out = io.BytesIO()
    im.save(out, 'JPEG', quality=quality)
    return compute_stats(out.getvalue())


@pytest.mark.parametrize('view', VIEWS, ids=lambda view: view.__name__)
def test_images_of_one_view_are_no_copies(view):
    images = [view(np.random.default_rng(i)) for i in range(6)]
    copies = [stats_of(images[0], 50), stats_of(ImageOps.mirror(images[0]))]
    pairs = near_duplicates([*map(stats_of, images), *copies])
    certain = [pair[:2] for pair in pairs if pair.score > LIKELY]
    assert [pair for pair in certain if max(pair) < 6] == []
    groups = group_pairs(8, pairs)
    assert len(set(groups[:6])) >= 5
    assert groups[0] in groups[6:]


def test_a_row_of_nearly_equal_images_is_not_compared_pair_by_pair(monkeypatch):
    "Each with those most like it; and what is equal is found in the middle of it."
    rng = np.random.default_rng(0)
    fog = np.linspace(90, 160, 128 * 128).reshape(128, 128)
    frames = [Image.fromarray(np.uint8(fog + rng.normal(0, 1, fog.shape))) for _ in range(60)]
    stats = [stats_of(im) for im in frames] + [stats_of(im, 75) for im in frames[:3]]
    compared, differs = [], duplicates._plain_differs
    counted = lambda *a, **kw: compared.append(1) or differs(*a, **kw)  # noqa: E731
    monkeypatch.setattr(duplicates, '_plain_differs', counted)
    pairs = {pair[:2] for pair in near_duplicates(stats, 'strict')}
    assert len(compared) <= 9 * len(stats)
    assert {(0, 60), (1, 61), (2, 62)} <= pairs


def camera(path):
    "A label of which every image shows the same, and one in which birds come and go before the same camera."
    project = lesson_project(0, path)
    nothing = [bird_table(np.random.default_rng(0))] * 12
    birds = [bird_table(np.random.default_rng(i)) for i in range(1, 13)]
    for label, images in dict(cacatua=birds, garza=birds, buitre=nothing).items():
        (project.images / label).mkdir(parents=True, exist_ok=True)
        for i, im in enumerate(images):
            im = ImageOps.mirror(im) if label == 'garza' else im
            im.crop((0, label == 'garza', *im.size)).save(
                project.images / label / f'{i:02}.jpg', quality=80 + i
            )
    return project


def test_what_counts_as_a_copy_is_said_and_can_be_overruled(tmp_path):
    project = camera(tmp_path / 'camera')
    for file in (project.images / 'garza').iterdir():
        Image.effect_noise((300, 200), 90 + int(file.stem)).convert('RGB').save(file)
    p = ('--project', project.path)
    said = one_line(
        birdsort('split', *p), "'buitre' count as 1", '11 of them as copies of buitre/00.jpg', 'off'
    )
    assert 'cacatua' not in said.split('; ', 2)[2]
    cleaned = as_json('clean', '--apply', *p)
    assert (cleaned['did']['removed'], cleaned['certain']) == (0, 0)
    assert cleaned['copies'].keys() == {'buitre'}
    assert cleaned['copies']['buitre']['different'] == 1
    as_json('split', '--duplicates', 'off', *p)
    assert current_split(Project(project.path))
    assert find_leaks(project, quiet=True)
    assert find_leaks(Project(project.path, dict(duplicates='off')), quiet=True) == []
    rows = project.catalogue.rows(label='buitre', state='kept')
    Decisions(project).choose([r['id'] for r in rows], 'distinct')
    assert set(find_issues(project, quiet=True).query("kind == 'near-duplicate'").label) == set()
    assert (
        sum(
            split(project, force=True, quiet=True)[part]['buitre']
            for part in ('train', 'val', 'test')
        )
        == 12
    )


def test_copies_beyond_a_fifth_of_a_label_are_not_certain(birds):
    first = sorted((birds.images / 'garza').iterdir())
    for n, certain in ((4, 4), (7, 0)):
        for file in first[:n]:
            with Image.open(file) as im:
                ImageOps.mirror(im.convert('RGB')).save(file.with_name(f'copy_{file.stem}.jpg'))
        assert len(proposals(birds, find_issues(birds, quiet=True))) == certain


@pytest.mark.parametrize(
    'given', [dict(duplicates='on'), dict(duplicate_threshold=2), dict(duplicate_threshold='x')]
)
def test_a_wrong_setting_is_refused(birds, given):
    with pytest.raises(ValueError, match=next(iter(given))):
        _ = Project(birds.path, given).settings


def test_a_file_without_copies_is_a_group_of_its_own(birds):
    files = sorted(birds.images.glob('*/*'))
    assert len(set(group_files(files, []).values())) == len(files)


def test_only_what_is_a_copy_of_the_one_that_stays_is_certain():
    "Two copies of one image, and a third that differs by content and is kept: the two do not both leave."
    size = SimpleNamespace(width=9, height=9)
    images = [ScannedFile(Path('heron', f'{n}.jpg'), str(n), 9 - n, size, None) for n in range(3)]
    pairs = [Pair(0, 1, LIKELY), Pair(0, 2, LIKELY), Pair(1, 2, 0.999)]
    assert not any(is_certain(issue) for issue in from_groups(images, pairs))
    assert [is_certain(issue) for issue in from_groups(images[1:], [Pair(0, 1, 0.999)])] == [True]


def test_a_person_overrules_copies_in_folders_of_a_label(birds):
    folder = birds.images / 'garza' / 'second day'
    folder.mkdir()
    for n, file in enumerate(sorted((birds.images / 'garza').glob('*.jpg'))[:2]):
        Image.open(file).save(folder / f'{n}.jpg', quality=60)
    files = sorted((birds.images / 'garza').rglob('*.jpg'))
    sync(birds)
    before = len(find_copies(birds, files, quiet=True))
    rows = [r for r in birds.catalogue.rows(state='kept') if r['name'].startswith('second day')]
    Decisions(birds).choose([r['id'] for r in rows], 'distinct')
    assert before - len(find_copies(birds, files, quiet=True)) >= len(rows) == 2
