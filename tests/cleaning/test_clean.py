"""Cleaning: which issues are found, that a kill loses nothing, that undo restores every byte, and that copies of an
image are never in two splits."""

import csv
import os
import shutil
import signal
import time
from itertools import product
from pathlib import Path

import pytest
from PIL import Image
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from birdsort.aviary.sample_project import lesson_project
from birdsort.clean import clean, find_issues, set_aside
from birdsort.cleaning import image_stats
from birdsort.cleaning.decisions import Choice, Decisions, apply, proposals
from birdsort.core import moves
from birdsort.core.inventory import sync
from birdsort.core.moves import undo
from birdsort.core.project import Project
from birdsort.sources.browser import browser
from conftest import as_json, birdsort, files, forked, one_line, started, until


def crop(im):
    w, h = im.size
    return im.crop((w // 10, h // 8, w * 9 // 10, h * 15 // 16))


def mirror(im):
    return im.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def stamp(im):
    w, h = im.size
    top = h * 3 // 4
    stamped = im.copy()
    stamped.paste('white', (w // 8, top, w * 7 // 8, top + 14))
    return stamped


CHANGES = dict(
    crop=crop,
    mirror=mirror,
    jpeg_30=lambda im: im,
    half=lambda im: im.reduce(2),
    rotated=lambda im: im.rotate(5),
    watermark=stamp,
)


def copy_of(file, how, label=None):
    "Save a changed copy next to an image, or under another label -> its path."
    folder = file.parent if label is None else file.parent.parent / label
    copy = folder / f'{how}_{file.stem}.jpg'
    quality = 30 if how == 'jpeg_30' else 85
    with Image.open(file) as im:
        CHANGES[how](im.convert('RGB')).save(copy, quality=quality)
    return copy


def images_of(project, label='garza'):
    return sorted((project.images / label).iterdir())


def on_project(project, *args):
    "Run a command on a project; it must succeed."
    done = birdsort(*args, '--project', project.path)
    assert done.returncode == 0, done.stderr
    return done


def folders(project):
    "The content of all files of `images/`, and of `removed/`."
    return files(project.images), files(project.removed)


def state(project):
    "Everything that counts: the files, and what the catalogue says of each."
    columns = ['label', 'name', 'state', 'reason', 'address', 'sha256']
    rows = [tuple(r[c] for c in columns) for r in project.catalogue.rows()]
    rows.sort(key=str)
    choices = Decisions(project).choices()
    return *folders(project), rows, choices


def test_every_kind_of_copy_is_found_and_nothing_else(birds):
    first = sorted(birds.images.glob('*/*'))
    planted = []
    changes = [*CHANGES] * 3
    for how, file in zip(changes, first[::3], strict=False):
        copy = copy_of(file, how)
        planted.append((copy.name, file.name))
    file = first[1]
    other_label = 'garza' if file.parent.name != 'garza' else 'buitre'
    planted.append((copy_of(file, 'crop', other_label).name, file.name))
    table = find_issues(birds, quiet=True)
    near = table[table.kind == 'near-duplicate']
    originals = [evidence.split('/')[1] for evidence in near.evidence]
    found = zip(near.name, originals, strict=True)
    assert {frozenset(pair) for pair in found} == {frozenset(pair) for pair in planted}
    assert set(table[table.kind == 'exact duplicate'].name) == set()


def test_statistics_are_computed_for_new_images_only(birds, monkeypatch):
    find_issues(birds, quiet=True)
    for file in images_of(birds)[:3]:
        copy_of(file, 'half')
    computed = []
    compute_stats = image_stats.compute_stats

    def counted(data):
        computed.append(1)
        return compute_stats(data)

    monkeypatch.setattr(image_stats, 'compute_stats', counted)
    kinds = set(find_issues(birds, quiet=True).kind)
    assert 'near-duplicate' in kinds
    assert len(computed) == 3
    find_issues(birds, quiet=True)
    assert len(computed) == 3


@pytest.fixture
def dirty(birds):
    "Twenty images of each of three labels, among them copies and a broken file, with choices of every kind."
    garza = images_of(birds)
    for file in garza[:3]:
        copy_of(file, 'mirror')
    shutil.copy(garza[4], garza[4].with_name('again.jpg'))
    half = garza[5].read_bytes()[:3000]
    garza[5].with_name('cut.jpg').write_bytes(half)
    for label, colour in (('garza', 'teal'), ('cacatua', 'navy')):
        square = Image.new('RGB', (99, 99), colour)
        square.save(birds.images / label / 'same_name.jpg')
    first = images_of(birds, 'cacatua')[0]
    away = set_aside(birds, 'cacatua', first.name)
    ids = {(r['label'], r['name']): r['id'] for r in birds.catalogue.rows()}
    to_remove = [ids['garza', file.name] for file in garza[8:11]]
    to_move = [ids['garza', name] for name in ('same_name.jpg', garza[12].name)]
    decisions = Decisions(birds)
    decisions.choose(to_remove, 'remove')
    decisions.choose(to_move, 'move', 'cacatua')
    decisions.choose([ids['cacatua', away.name]], 'restore')
    return birds


def apply_until(folder, at, when, certain):
    "Apply choices and these proposals, killed before or after move number `at`; print the number of moves."
    project = Project(folder)
    replace = os.replace
    moved = []

    def kill_if(moment):
        if (len(moved), when) == (at, moment):
            os.kill(os.getpid(), signal.SIGKILL)

    def counted(source, target):
        if '/.' in str(source):
            return replace(source, target)
        moved.append(source)
        kill_if('before')
        replace(source, target)
        kill_if('after')

    moves.os.replace = counted
    apply(project, also=certain)
    print(len(moved))


def test_apply_is_killed_at_every_move_and_ends_the_same(dirty, tmp_path):
    certain = proposals(dirty, find_issues(dirty, quiet=True))
    dirty.catalogue.db.close()

    def run(project, at, when):
        return forked(apply_until, project.path, at, when, certain)

    def fresh(name):
        shutil.copytree(dirty.path, tmp_path / name)
        return Project(tmp_path / name)

    start = state(fresh('start'))
    whole = fresh('whole')
    number = int(run(whole, 0, 'never').stdout)
    assert number == 11
    end = state(whole)
    for at, when in product(range(1, number + 1), ('before', 'after')):
        project = fresh(f'{when}-{at}')
        assert run(project, at, when).returncode == -signal.SIGKILL
        if at % 3 == 0:
            sync(project)  # Another stage runs first
        assert run(project, 0, 'never').returncode == 0
        assert state(project) == end, f'killed {when} move {at}'
        assert undo(project)['moved'] == number
        undone = (*start[:3], {})
        assert state(project) == undone, f'undone after being killed {when} move {at}'
        project.catalogue.db.close()
        shutil.rmtree(project.path)


def contents(project):
    "The content of all files of `images/` and `removed/`."
    images, removed = folders(project)
    every = images | removed
    return sorted(every.values())


def killed_after(seconds, folder, *args):
    "Run a command and kill it -> whether it was still running."
    process = started(args, [folder / 'out', folder / 'err'])
    process.join(seconds)
    running = process.is_alive()
    process.kill()
    process.join()
    return running


def test_a_kill_at_any_moment_loses_nothing(dirty, tmp_path):
    every = contents(dirty)
    dirty.catalogue.db.close()
    undisturbed = Project(shutil.copytree(dirty.path, tmp_path / 'undisturbed'))
    start = time.monotonic()
    on_project(undisturbed, 'clean', '--apply')
    seconds = time.monotonic() - start
    hits = 0
    # The first kill comes at once; how long the others have depends on what else the machine does
    for i, moment in enumerate((0.05, seconds / 4, seconds / 2, seconds * 3 / 4)):
        project = Project(shutil.copytree(dirty.path, tmp_path / f'run-{i}'))
        before = folders(project)
        hits += killed_after(moment, tmp_path, 'clean', '--apply', '--project', project.path)
        on_project(project, 'clean', '--apply')
        assert contents(project) == every
        copies = project.catalogue.rows(state='removed', reason='near-duplicate')
        assert len(copies) == 3
        on_project(project, 'clean', '--undo')
        assert folders(project) == before
    assert hits, 'no kill came in time'


def test_nothing_is_unlinked(dirty, monkeypatch):
    before = contents(dirty)
    unlinked = []
    unlink = Path.unlink

    def recorded(path, **kwargs):
        unlinked.append(path)
        return unlink(path, **kwargs)

    monkeypatch.setattr(Path, 'unlink', recorded)
    apply(dirty)
    clean(dirty, apply=True, quiet=True)
    assert contents(dirty) == before
    folders = {'images', 'removed'}
    assert [path for path in unlinked if folders & {*path.parts}] == []


def test_a_moved_image_is_not_scraped_back(tmp_path):
    project = lesson_project(0, tmp_path / 'birds', images_per_label=4)
    on_project(project, 'scrape')
    row = project.catalogue.rows(label='garza', state='kept')[0]
    move = Choice('move', 'buitre')
    apply(project, {row['id']: move})
    on_project(project, 'scrape')
    kept = project.catalogue.rows(label='garza', state='kept')
    assert len(kept) == 4
    hashes = [r['sha256'] for r in kept]
    assert row['sha256'] not in hashes
    undo(project)
    restored = project.catalogue.rows(id=row['id'])
    assert restored == [row]


def test_the_command_line_finds_decides_and_undoes(dirty):
    p = ('--project', dirty.path)
    before = folders(dirty)
    shown = on_project(dirty, 'clean')
    assert folders(dirty) == before
    words = ['again.jpg', 'corrupt', 'near-duplicate', 'birdsort clean --apply', 'reports/clean']
    for word in words:
        assert word in shown.stdout
    sheet = (dirty.reports / 'clean' / 'garza.html').read_text()
    thumbnails = sheet.count('<img src="data:image/jpeg;base64,')
    assert thumbnails == len(images_of(dirty))
    sheet = sheet.replace('http-equiv', '')
    assert 'http' not in sheet
    with open(dirty.reports / 'issues.csv') as f:
        rows = list(csv.DictReader(f))
    assert rows[0].keys() == {'label', 'name', 'kind', 'score', 'evidence', 'decision'}
    for row in rows:
        assert 0 <= float(row['score']) <= 1
    mine = dirty.path / 'mine.csv'
    mine.write_text('label,name,decision\ngarza,again.jpg,keep\ngarza,same_name.jpg,buitre\n')
    done = as_json('clean', '--apply', '--decisions', mine, *p)
    assert done['did'] == dict(removed=4, moved=1, restored=0)
    assert (dirty.images / 'garza' / 'again.jpg').exists()
    assert (dirty.images / 'buitre' / 'same_name.jpg').exists()
    done = as_json('clean', '--apply', *p)
    assert done['did']['removed'] == 0, 'kept by hand is kept'
    done = as_json('clean', '--decisions', mine, *p)
    nothing = dict(removed=0, moved=0, restored=0)
    assert done['did'] == nothing, 'the same file again changes nothing'
    done = as_json('clean', '--undo', *p)
    assert done['undone']['moved'] == 5
    images, _ = before
    assert files(dirty.images) == images
    as_json('clean', '--undo', *p)  # What the fixture set aside
    done = as_json('clean', '--undo', *p)
    assert done['undone'] is None


@pytest.mark.parametrize(
    'text, words',
    [
        (
            'label,name,decision\ngarza,nobody.jpg,remove\n',
            ['line 2', 'nobody.jpg'],
        ),
        (
            'label,name,decision\ngarza,again.jpg,grazza\n',
            ['line 2', "did you mean 'garza'"],
        ),
        (
            'a,b\n1,2\n',
            ['with the columns label and name and decision'],
        ),
    ],
)
def test_wrong_decisions_are_refused_before_anything_is_done(dirty, text, words):
    before = files(dirty.images)
    p = ('--project', dirty.path)
    mine = dirty.path / 'mine.csv'
    mine.write_text(text)
    refused = birdsort('clean', '--decisions', mine, '--apply', *p)
    one_line(refused, *words)
    assert files(dirty.images) == before
    refused = birdsort('clean', '--undo', '--apply', *p)
    one_line(refused, 'alone', code=2)


def test_contact_sheets_are_clicked_and_saved_as_one_table(dirty, tmp_path):
    clean(dirty, quiet=True)
    saved = tmp_path / 'decisions.csv'
    download = dict(behavior='allow', downloadPath=str(tmp_path))
    with browser() as page:
        page.execute_cdp_cmd('Browser.setDownloadBehavior', download)
        phone = dict(width=390, height=844, deviceScaleFactor=1, mobile=True)
        page.execute_cdp_cmd('Emulation.setDeviceMetricsOverride', phone)
        page.get((dirty.reports / 'clean.html').as_uri())
        page.find_element(By.LINK_TEXT, 'garza').click()
        wide = 'return document.documentElement.scrollWidth'
        assert page.execute_script(wide) == 390, 'nothing hangs out of the page of a phone'
        tiles = page.find_elements(By.TAG_NAME, 'figure')
        names = [t.get_attribute('data-name') for t in tiles]
        alt = tiles[0].find_element(By.TAG_NAME, 'img').get_attribute('alt')
        assert alt.startswith('an image of garza, ')
        for i in (0, 2, 3):
            tiles[i].click()
        tiles[3].click()  # A second click clears the mark
        brush = Select(page.find_element(By.TAG_NAME, 'select'))
        brush.select_by_visible_text('buitre')
        tiles[5].click()

        def press(*keys):
            ActionChains(page).send_keys(*keys).perform()

        press('p')
        until(lambda: page.current_url.endswith('cacatua.html'))
        other = page.find_element(By.TAG_NAME, 'figure').get_attribute('data-name')
        press(Keys.ENTER, 'x', Keys.ENTER, Keys.ARROW_RIGHT, 'x', 'u')
        assert page.find_element(By.ID, 'n').text == '1'
        assert not page.find_element(By.TAG_NAME, 'dialog').is_displayed()
        page.find_element(By.LINK_TEXT, 'all labels').click()
        decided = page.find_elements(By.CSS_SELECTOR, '[data-decided]')
        assert [cell.text for cell in decided] == ['1', '3', '0']
        page.find_element(By.TAG_NAME, 'button').click()
        until(saved.exists)
    done = clean(dirty, decisions=saved, quiet=True)
    assert done['did'] == dict(removed=3, moved=1, restored=0)
    garza = [file.name for file in images_of(dirty)]
    for i in (0, 2, 5):
        assert names[i] not in garza
    buitre = [file.name for file in images_of(dirty, 'buitre')]
    assert names[5] in buitre
    assert other not in [file.name for file in images_of(dirty, 'cacatua')]


def split_of(project, file):
    "Name of the split that an image is in."
    label = file.parent.name
    for split in ('train', 'val', 'test'):
        place = project.split / split / label / file.name
        if place.exists():
            return split


def test_copies_stay_in_one_split(birds):
    p = ('--project', birds.path)
    first = sorted(birds.images.glob('*/*'))
    for how, file in zip([*CHANGES] * 5, first[::2], strict=False):
        copy_of(file, how)
    across = {}
    for file in (first[1], first[3]):
        across[file] = copy_of(file, 'half', 'garza')
    as_json('split', *p)
    checked = birdsort('split', '--check', *p)
    assert (checked.returncode, checked.stdout) == (0, '')
    for file, copy in across.items():
        assert split_of(birds, file) == split_of(birds, copy)
    rows = birds.catalogue.rows(state='kept')
    recorded = {birds.images / r['label'] / r['name']: r['split'] for r in rows}
    on_disk = birds.images.glob('*/*')
    assert recorded == {file: split_of(birds, file) for file in on_disk}
    train, test = birds.split / 'train', birds.split / 'test'
    copy = next(train.glob('*/crop_*'))
    leaked = test / copy.relative_to(train)
    copy.rename(leaked)
    checked = birdsort('split', '--check', *p)
    assert checked.returncode == 1
    assert copy.name in checked.stdout
    original = copy.name.removeprefix('crop_')
    assert original in checked.stdout
    splits = as_json('split', '--force', '--folds', 5, '--fold', 2, *p)
    assert splits['test']
    on_project(birds, 'split', '--check')
    refused = birdsort('split', '--folds', 2, '--force', *p)
    one_line(refused, 'folds must be 3 to 100')


def test_many_copies_of_the_same_pixels_stay_together(birds):
    p = ('--project', birds.path)
    one = images_of(birds)[0]
    data = one.read_bytes()
    copies = [one.with_name(f'comment_{i}.jpg') for i in range(12)]
    for i, copy in enumerate(copies):
        comment = b'\xff\xfe\x00\x06' + bytes(
            [65 + i, 66]
        )  # A comment in the JPEG file changes its hash
        copy.write_bytes(data[:2] + comment + data[2:])
    as_json('split', *p)
    on_project(birds, 'split', '--check')
    splits = {split_of(birds, file) for file in (one, *copies)}
    assert len(splits) == 1
    cleaned = as_json('clean', '--apply', *p)
    assert 'garza' not in cleaned['removed'], 'more than a fifth of the label'
    assert cleaned['copies']['garza']['most'] == 12


def test_an_image_may_be_kept_under_a_name_and_another_removed(birds):
    catalogue = birds.catalogue
    one = images_of(birds)[0]
    away = set_aside(birds, 'garza', one.name)
    one.write_bytes(b'another image of the same name')
    sync(birds)
    rows = catalogue.rows(label='garza', name=one.name)
    states = {(r['state'], r['source']) for r in rows}
    assert states == {('removed', 'pencil'), ('kept', 'folder')}
    removed = catalogue.rows(label='garza', name=away.name, state='removed')
    image = removed[0]['id']
    apply(birds, {image: Choice('restore')})
    assert len(images_of(birds)) == 21
    restored = catalogue.rows(id=image)[0]
    assert restored['state'] == 'kept'


def test_a_copy_stays_when_the_best_one_is_removed(dirty):
    table = find_issues(dirty, quiet=True)
    near = table[table.kind == 'near-duplicate'].iloc[0]
    copy = near['name']
    best = near['evidence'].split('/')[1]
    mine = dirty.path / 'mine.csv'
    mine.write_text(f'label;name;decision\r\ngarza;{best};remove\r\n', encoding='utf-8-sig')
    clean(dirty, apply=True, decisions=mine, quiet=True)
    garza = dirty.images / 'garza'
    assert (garza / copy).exists()
    assert not (garza / best).exists()


@pytest.mark.parametrize('n', [1, 2, 3, 5])
def test_small_projects_are_cleaned_too(tmp_path, n):
    project = lesson_project(n, tmp_path / 'birds')
    for size in ((2000, 1), (1, 300), (1, 1)):
        image = Image.new('RGB', size, 'teal')
        image.save(project.images / 'garza' / f'{size[0]}.png')
    kinds = set(find_issues(project, quiet=True).kind)
    assert 'too small' in kinds
    on_project(project, 'clean', '--apply')
