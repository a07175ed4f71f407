"""Cleaning: what is found, that nothing is lost at any kill, that undo brings every byte back, and that copies
never stand on two splits."""

import csv
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from PIL import Image
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

from birdsort.aviary.sample_project import lesson_project
from birdsort.clean import clean, find_issues, set_aside
from birdsort.cleaning.decisions import Choice, Decisions, apply, proposals
from birdsort.core.inventory import sync
from birdsort.core.moves import undo
from birdsort.core.project import Project
from birdsort.sources.browser import browser
from conftest import CLI, ENV, as_json, birdsort, files, forked, one_line

CHANGES = dict(
    crop=lambda im: im.crop((im.width // 10, im.height // 8, im.width * 9 // 10, im.height * 15 // 16)),
    mirror=lambda im: im.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    jpeg_30=lambda im: im,
    half=lambda im: im.reduce(2),
    rotated=lambda im: im.rotate(5),
    watermark=lambda im: stamp(im.copy()),
)


def stamp(im):
    im.paste('white', (im.width // 8, im.height * 3 // 4, im.width * 7 // 8, im.height * 3 // 4 + 14))
    return im


def copy_of(file, how, label=None):
    "Save a changed copy beside an image, or under another label -> its path."
    to = (
        file.with_name(f'{how}_{file.stem}.jpg')
        if label is None
        else file.parent.parent / label / f'{how}_{file.stem}.jpg'
    )
    with Image.open(file) as im:
        CHANGES[how](im.convert('RGB')).save(to, quality=30 if how == 'jpeg_30' else 85)
    return to


def state(project):
    "Everything that counts: the files, and what the catalogue says of each."
    rows = [
        (r['label'], r['name'], r['state'], r['reason'], r['address'], r['sha256']) for r in project.catalogue.rows()
    ]
    return files(project.images), files(project.removed), sorted(rows, key=str), Decisions(project).choices()


def test_every_kind_of_copy_is_found_and_nothing_else(birds):
    first = sorted(birds.images.glob('*/*'))
    planted = {copy_of(f, how).name: f.name for how, f in zip([*CHANGES] * 3, first[::3], strict=False)}
    across = copy_of(first[1], 'crop', 'garza' if first[1].parent.name != 'garza' else 'buitre')
    table = find_issues(birds, quiet=True)
    near = {(r.name, r.evidence.split('/')[1]) for r in table[table.kind == 'near-duplicate'].itertuples()}
    pairs = {tuple(sorted(p)) for p in near}
    assert pairs == {tuple(sorted(p)) for p in [*planted.items(), (across.name, first[1].name)]}
    assert set(table[table.kind == 'exact duplicate'].name) == set()


def test_new_images_alone_are_looked_at(birds, monkeypatch):
    import birdsort.cleaning.image_stats

    find_issues(birds, quiet=True)
    for f in sorted((birds.images / 'garza').iterdir())[:3]:
        copy_of(f, 'half')
    seen, look = [], birdsort.cleaning.image_stats.compute_stats
    monkeypatch.setattr(birdsort.cleaning.image_stats, 'compute_stats', lambda data: seen.append(1) or look(data))
    assert set(find_issues(birds, quiet=True).kind) >= {'near-duplicate'}
    assert len(seen) == 3
    find_issues(birds, quiet=True)
    assert len(seen) == 3


@pytest.fixture
def dirty(birds):
    "Twenty images of each of three labels, and things to remove, to move and to restore among them."
    garza = sorted((birds.images / 'garza').iterdir())
    for f in garza[:3]:
        copy_of(f, 'mirror')
    shutil.copy(garza[4], garza[4].with_name('again.jpg'))
    garza[5].with_name('cut.jpg').write_bytes(garza[5].read_bytes()[:3000])
    for label in ('garza', 'cacatua'):
        Image.new('RGB', (99, 99), 'teal' if label == 'garza' else 'navy').save(birds.images / label / 'same_name.jpg')
    away = set_aside(birds, 'cacatua', sorted((birds.images / 'cacatua').iterdir())[0].name)
    ids = {(r['label'], r['name']): r['id'] for r in birds.catalogue.rows()}
    chosen = Decisions(birds)
    chosen.choose([ids['garza', f.name] for f in garza[8:11]], 'remove')
    chosen.choose([ids['garza', 'same_name.jpg'], ids['garza', garza[12].name]], 'move', 'cacatua')
    chosen.choose([ids['cacatua', away.name]], 'restore')
    return birds


def apply_until(folder, at, when):
    """Apply what is certain and decided, killed before or after move number `at`; at the end, say how many moves
    there were."""
    import birdsort.core.moves as journal

    project, moved, replace = Project(folder), [], os.replace

    def counted(a, b):
        if '/.' in str(a):
            return replace(a, b)
        moved.append(a)
        if (len(moved), when) == (at, 'before'):
            os.kill(os.getpid(), signal.SIGKILL)
        replace(a, b)
        if (len(moved), when) == (at, 'after'):
            os.kill(os.getpid(), signal.SIGKILL)

    sure = proposals(project, find_issues(project, quiet=True))
    journal.os.replace = counted
    apply(project, also=sure)
    print(len(moved))


def test_apply_is_killed_at_every_move_and_ends_the_same(dirty, tmp_path):
    find_issues(dirty, quiet=True)
    dirty.catalogue.db.close()

    def run(project, at, when):
        return forked(apply_until, project.path, at, when)

    def fresh(name):
        shutil.copytree(dirty.path, tmp_path / name)
        return Project(tmp_path / name)

    start, whole = state(fresh('start')), fresh('whole')
    moves = int(run(whole, 0, 'never').stdout)
    assert moves == 11
    end = state(whole)
    for at in range(1, moves + 1):
        for when in ('before', 'after'):
            project = fresh(f'{when}-{at}')
            assert run(project, at, when).returncode == -signal.SIGKILL
            if at % 3 == 0:
                sync(project)  # another verb comes first
            assert run(project, 0, 'never').returncode == 0
            assert state(project) == end, f'killed {when} move {at}'
            assert undo(project)['moved'] == moves
            assert state(project) == (*start[:3], {}), f'undone after being killed {when} move {at}'
            project.catalogue.db.close()
            shutil.rmtree(project.path)


def test_a_kill_at_any_moment_loses_nothing(dirty, tmp_path):
    every, r = sorted((files(dirty.images) | files(dirty.removed)).values()), random.Random(4)
    dirty.catalogue.db.close()
    hit = 0
    for i in range(6):
        project = Project(shutil.copytree(dirty.path, tmp_path / f'run-{i}'))
        before = files(project.images), files(project.removed)
        process = subprocess.Popen(
            [*CLI, 'clean', '--apply', '--project', str(project.path)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=ENV,
        )
        time.sleep(1 + 4 * r.random())
        if process.poll() is None:
            hit += 1
        process.kill()
        process.wait()
        assert birdsort('clean', '--apply', '--project', project.path).returncode == 0
        assert sorted((files(project.images) | files(project.removed)).values()) == every
        assert len(project.catalogue.rows(state='removed', reason='near-duplicate')) == 3
        assert birdsort('clean', '--undo', '--project', project.path).returncode == 0
        assert (files(project.images), files(project.removed)) == before
    assert hit >= 2, 'too few kills came in time'


def test_nothing_is_unlinked(dirty, monkeypatch):
    before, gone = sorted((files(dirty.images) | files(dirty.removed)).values()), []
    unlink = Path.unlink
    monkeypatch.setattr(Path, 'unlink', lambda self, **kw: gone.append(self) or unlink(self, **kw))
    apply(dirty)
    clean(dirty, apply=True, quiet=True)
    assert sorted((files(dirty.images) | files(dirty.removed)).values()) == before
    assert [g for g in gone if 'images' in g.parts or 'removed' in g.parts] == []


def test_a_moved_image_is_not_scraped_back(tmp_path):
    project = lesson_project(0, tmp_path / 'birds', images_per_label=4)
    assert birdsort('scrape', '--project', project.path).returncode == 0
    row = project.catalogue.rows(label='garza', state='kept')[0]
    apply(project, {row['id']: Choice('move', 'buitre')})
    assert birdsort('scrape', '--project', project.path).returncode == 0
    assert len(project.catalogue.rows(label='garza', state='kept')) == 4
    assert not [r for r in project.catalogue.rows(label='garza', state='kept') if r['sha256'] == row['sha256']]
    undo(project)
    assert project.catalogue.rows(id=row['id'])[0] == row


def test_the_command_line_finds_decides_and_undoes(dirty):
    p = ('--project', dirty.path)
    before = files(dirty.images), files(dirty.removed)
    shown = birdsort('clean', *p)
    assert shown.returncode == 0 and (files(dirty.images), files(dirty.removed)) == before
    for word in ('again.jpg', 'corrupt', 'near-duplicate', 'birdsort clean --apply', 'reports/clean'):
        assert word in shown.stdout, shown.stdout
    sheet = (dirty.reports / 'clean' / 'garza.html').read_text()
    assert sheet.count('<img src="data:image/jpeg;base64,') == len(
        list((dirty.images / 'garza').iterdir())
    ) and 'http' not in sheet.replace('http-equiv', '')
    with open(dirty.reports / 'issues.csv') as f:
        rows = list(csv.DictReader(f))
    assert rows[0].keys() == {'label', 'name', 'kind', 'score', 'evidence', 'decision'} and all(
        0 <= float(r['score']) <= 1 for r in rows
    )
    (mine := dirty.path / 'mine.csv').write_text(
        'label,name,decision\ngarza,again.jpg,keep\ngarza,same_name.jpg,buitre\n'
    )
    done = as_json('clean', '--apply', '--decisions', mine, *p)
    assert (
        done['did'] == dict(removed=4, moved=1, restored=0)
        and (dirty.images / 'garza' / 'again.jpg').exists()
        and (dirty.images / 'buitre' / 'same_name.jpg').exists()
    )
    assert as_json('clean', '--apply', *p)['did']['removed'] == 0, 'kept by hand is kept'
    assert as_json('clean', '--decisions', mine, *p)['did'] == dict(removed=0, moved=0, restored=0), (
        'the same file again asks for nothing new'
    )
    assert as_json('clean', '--undo', *p)['undone']['moved'] == 5
    assert files(dirty.images) == before[0]
    as_json('clean', '--undo', *p)  # what the fixture set aside
    assert as_json('clean', '--undo', *p)['undone'] is None


@pytest.mark.parametrize(
    'text, words',
    [
        ('label,name,decision\ngarza,nobody.jpg,remove\n', ['line 2', 'nobody.jpg']),
        ('label,name,decision\ngarza,again.jpg,grazza\n', ['line 2', "did you mean 'garza'"]),
        ('a,b\n1,2\n', ["no column 'label'"]),
    ],
)
def test_wrong_decisions_are_refused_before_anything_is_done(dirty, text, words):
    before = files(dirty.images)
    (dirty.path / 'mine.csv').write_text(text)
    one_line(birdsort('clean', '--decisions', dirty.path / 'mine.csv', '--apply', '--project', dirty.path), *words)
    assert files(dirty.images) == before
    one_line(birdsort('clean', '--undo', '--apply', '--project', dirty.path), 'alone')


def test_a_contact_sheet_is_clicked_and_saved(dirty, tmp_path):
    clean(dirty, quiet=True)
    with browser() as page:
        page.execute_cdp_cmd('Browser.setDownloadBehavior', dict(behavior='allow', downloadPath=str(tmp_path)))
        page.get((dirty.reports / 'clean' / 'garza.html').as_uri())
        tiles = page.find_elements(By.TAG_NAME, 'figure')
        names = [t.get_attribute('data-name') for t in tiles]
        for i in (0, 2, 3):
            tiles[i].click()
        tiles[3].click()  # and back
        Select(page.find_element(By.TAG_NAME, 'select')).select_by_visible_text('buitre')
        tiles[5].click()
        page.find_element(By.TAG_NAME, 'button').click()
        end = time.monotonic() + 20
        while not (tmp_path / 'decisions.csv').exists():
            assert time.monotonic() < end
            time.sleep(0.1)
    done = clean(dirty, decisions=tmp_path / 'decisions.csv', quiet=True)
    assert done['did'] == dict(removed=2, moved=1, restored=0)
    assert (
        not any((dirty.images / 'garza' / names[i]).exists() for i in (0, 2, 5))
        and (dirty.images / 'buitre' / names[5]).exists()
    )


def test_copies_stay_on_one_side(birds):
    first = sorted(birds.images.glob('*/*'))
    for how, f in zip([*CHANGES] * 5, first[::2], strict=False):
        copy_of(f, how)
    across = [copy_of(first[i], 'half', 'garza') for i in (1, 3)]
    as_json('split', '--project', birds.path)
    silent = birdsort('split', '--check', '--project', birds.path)
    assert (silent.returncode, silent.stdout) == (0, '')

    def side(f):
        return next(d for d in ('train', 'val', 'test') if (birds.split / d / f.parent.name / f.name).exists())

    assert [side(a) for a in across] == [side(first[i]) for i in (1, 3)]
    assert {(r['label'], r['name']): r['split'] for r in birds.catalogue.rows(state='kept')} == {
        (f.parent.name, f.name): side(f) for f in birds.images.glob('*/*')
    }
    copy = next((birds.split / 'train').glob('*/crop_*'))
    copy.rename(birds.split / 'test' / copy.parent.name / copy.name)
    loud = birdsort('split', '--check', '--project', birds.path)
    assert loud.returncode == 1 and copy.name in loud.stdout and copy.name.removeprefix('crop_') in loud.stdout
    assert as_json('split', '--force', '--folds', 5, '--fold', 2, '--project', birds.path)['test']
    assert birdsort('split', '--check', '--project', birds.path).returncode == 0
    one_line(birdsort('split', '--folds', 2, '--force', '--project', birds.path), 'folds must be 3 to 100')


def test_many_copies_of_the_same_pixels_stay_together(birds):
    one = sorted((birds.images / 'garza').iterdir())[0]
    data = one.read_bytes()
    for i in range(12):
        one.with_name(f'comment_{i}.jpg').write_bytes(
            data[:2] + b'\xff\xfe\x00\x06note'[:4] + bytes([65 + i, 66]) + data[2:]
        )
    as_json('split', '--project', birds.path)
    assert birdsort('split', '--check', '--project', birds.path).returncode == 0
    assert (
        len(
            {
                d
                for d in ('train', 'val', 'test')
                for f in (birds.split / d / 'garza').iterdir()
                if f.name.startswith('comment_') or f.name == one.name
            }
        )
        == 1
    )
    assert as_json('clean', '--apply', '--project', birds.path)['removed']['garza'] == {'near-duplicate': 12}


def test_a_name_may_be_kept_under_one_state_and_removed_under_another(birds):
    one = sorted((birds.images / 'garza').iterdir())[0]
    away = set_aside(birds, 'garza', one.name)
    one.write_bytes(b'another image of the same name')
    sync(birds)
    assert {(r['state'], r['source']) for r in birds.catalogue.rows(label='garza', name=one.name)} == {
        ('removed', 'pencil'),
        ('kept', 'folder'),
    }
    row = birds.catalogue.rows(label='garza', name=away.name, state='removed')[0]
    apply(birds, {row['id']: Choice('restore')})
    assert (
        len(list((birds.images / 'garza').iterdir())) == 21 and birds.catalogue.rows(id=row['id'])[0]['state'] == 'kept'
    )


def test_a_copy_stays_where_the_best_one_goes(dirty):
    table = find_issues(dirty, quiet=True)
    copy, kept = next((r.name, r.evidence.split('/')[1]) for r in table.itertuples() if r.kind == 'near-duplicate')
    (dirty.path / 'mine.csv').write_text(f'label;name;decision\r\ngarza;{kept};remove\r\n', encoding='utf-8-sig')
    clean(dirty, apply=True, decisions=dirty.path / 'mine.csv', quiet=True)
    assert (dirty.images / 'garza' / copy).exists() and not (dirty.images / "garza" / kept).exists()


@pytest.mark.parametrize('n', [1, 2, 3, 5])
def test_small_projects_are_cleaned_too(tmp_path, n):
    project = lesson_project(n, tmp_path / 'birds')
    for size in ((2000, 1), (1, 300), (1, 1)):
        Image.new('RGB', size, 'teal').save(project.images / 'garza' / f'{size[0]}.png')
    assert set(find_issues(project, quiet=True).kind) >= {'too small'}
    assert birdsort('clean', '--apply', '--project', project.path).returncode == 0
