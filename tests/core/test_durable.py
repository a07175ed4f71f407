"""What was found out lasts: a kill at any step of moving, a damaged or emptied catalogue, a cache of zeros, a disk that
cannot be written, and a copy of the project."""

import ctypes
import os
import shutil
import signal
import sqlite3
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest

from birdsort.cli import status
from birdsort.core.catalogue import Catalogue, back_up
from birdsort.core.inventory import images_signature, read_attribution, sync, write_attribution
from birdsort.core.moves import Move, move_images, undo
from birdsort.core.project import Project, fingerprint_folder, record_stage, stage_result
from birdsort.core.scaffold import new_project
from birdsort.results.formatting import explain
from birdsort.scrape import scrape
from conftest import files, forked, verb

LABELS = {'stork': ['white stork'], 'heron': ['grey heron']}


def make(folder, n=4):
    "A project with downloaded images, whose authors are known."
    project = new_project(folder, labels=LABELS)
    for label in LABELS:
        (project.images / label).mkdir(parents=True)
        for i in range(n):
            (project.images / label / f'{i}.jpg').write_bytes(f'{label} {i}'.encode())
    origin = dict(source='gbif', licence='cc-by', state='kept')
    project.catalogue.add(
        origin
        | dict(
            label=label,
            name=f'{i}.jpg',
            author=f'Ada {i}',
            title='=x',
            address=f'http://photos/{label}/{i}',
        )
        for label in LABELS
        for i in range(n)
    )
    write_attribution(project)
    return project


@pytest.fixture
def project(tmp_path):
    return make(tmp_path / 'birds')


def state(project):
    rows = project.catalogue.rows()
    wanted = ('label', 'name', 'state', 'address', 'author')
    images = {k: v for k, v in files(project.path).items() if k.endswith('.jpg')}
    return images, sorted((tuple(r[c] for c in wanted) for r in rows), key=str)


def step_until(folder, at, verb):
    "Move or undo, killed at one step: a statement, a renaming, or a wait for the disk; how many there were."
    steps = count(1)

    def step(*_):
        if next(steps) == at:
            os.kill(os.getpid(), signal.SIGKILL)

    project = Project(folder)
    ids = {(r['label'], r['name']): r['id'] for r in project.catalogue.rows()}
    project.catalogue.db.set_trace_callback(step)
    for name in ('replace', 'fsync'):
        original = getattr(os, name)
        setattr(os, name, lambda *args, original=original: (step(), original(*args), step())[1])
    if verb == 'undo':
        undo(project)
    else:
        plan = [
            Move(ids['stork', '0.jpg'], 'kept', 'heron'),
            Move(ids['heron', '1.jpg'], 'removed', 'heron', 'x'),
        ]
        move_images(project, plan)
    return next(steps) - 1


def in_a_fork(function, *args):
    "Call a function in a fork of this process -> its exit code, or minus the signal that ended it."
    pid = os.fork()
    if not pid:
        with suppress(BaseException):
            os._exit(function(*args))
        os._exit(255)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_kill_at_every_step_of_moving_and_undoing_loses_nothing(project, tmp_path):
    start, old = state(project), project
    project.catalogue.db.close()
    for verb_ in ('move', 'undo'):
        whole = shutil.copytree(old.path, tmp_path / f'whole-{verb_}')
        steps = in_a_fork(step_until, whole, 0, verb_)
        end = state(Project(whole))
        assert 30 < steps < 250
        for at in range(1, steps + 1):
            at_hand = Project(shutil.copytree(old.path, tmp_path / f'{verb_}-{at}'))
            assert in_a_fork(step_until, at_hand.path, at, verb_) == -signal.SIGKILL
            sync(at_hand)
            assert state(at_hand) in (end, state(Project(old.path))), f'{verb_} killed at step {at}'
            in_a_fork(step_until, at_hand.path, 0, 'undo')
            assert state(Project(at_hand.path))[0].keys() == start[0].keys()
            at_hand.catalogue.db.close()
            shutil.rmtree(at_hand.path)
        old = Project(whole)


def zero_page(file):
    data = bytearray(file.read_bytes())
    data[4096:8192] = bytes(4096)
    file.write_bytes(data)


def garbage_page(file):
    data = bytearray(file.read_bytes())
    data[-4096:] = os.urandom(4096)
    file.write_bytes(data)


DAMAGE = dict(
    text=lambda f: f.write_text('not a database, not a database, not a database'),
    header=lambda f: f.write_bytes(b'x' * 16 + f.read_bytes()[16:]),
    half=lambda f: os.truncate(f, f.stat().st_size // 2),
    end=lambda f: os.truncate(f, f.stat().st_size - 4096),
    zeros=lambda f: f.write_bytes(bytes(f.stat().st_size)),
    zero_page=zero_page,
    garbage_page=garbage_page,
    first_page=lambda f: f.write_bytes(
        f.read_bytes()[:100] + os.urandom(3996) + f.read_bytes()[4096:]
    ),
    gzip=lambda f: f.write_bytes(b'\x1f\x8b' + f.read_bytes()),
    short=lambda f: os.truncate(f, 50),
    page_size=lambda f: f.write_bytes(f.read_bytes()[:16] + b'\xff\xff' + f.read_bytes()[18:]),
)


@pytest.mark.parametrize('damage', DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_catalogue_is_called_that(project, damage):
    move_images(project, [Move(1, 'removed', 'stork')])
    before = files(project.path)
    project.catalogue.db.close()
    file = project.path / 'catalogue.sqlite'
    damage(file)
    damaged = file.read_bytes()
    with pytest.raises(ValueError) as found:
        status(project.path)
    said = explain(found.value)
    assert 'is damaged' in said and 'catalogue.sqlite.bak' in said
    assert 'should not happen' not in said and '\n' not in said
    assert files(project.path) | {'.lock': b''} == before | {
        'catalogue.sqlite': damaged,
        '.lock': b'',
    }
    shutil.copy(f'{file}.bak', file)
    assert len(Project(project.path).catalogue.rows()) == 8


def run_sql(sql):
    def run(project):
        with sqlite3.connect(project.path / 'catalogue.sqlite') as db:
            db.executescript(sql)
        db.close()

    return run


def of_another_project(project):
    Catalogue(project.path.parent / 'other.sqlite').db.close()
    shutil.copy(project.path.parent / 'other.sqlite', project.path / 'catalogue.sqlite')


EMPTY = dict(
    gone=lambda p: (p.path / 'catalogue.sqlite').unlink(),
    zero_bytes=lambda p: os.truncate(p.path / 'catalogue.sqlite', 0),
    no_rows=run_sql('delete from image'),
    no_table=run_sql('drop table image'),
    one_label=run_sql("delete from image where label = 'stork'"),
    no_names=run_sql('update image set name = null'),
    no_authors=run_sql(
        'update image set author = null, licence = null, title = null, address = null'
    ),
    another=of_another_project,
    other_names=run_sql("update image set name = 'x' || name"),
    half=run_sql('delete from image where id % 2'),
    all_rejected=run_sql(
        "update image set state = 'rejected', reason = 'file is gone', name = null"
    ),
    emptied_texts=run_sql(
        "update image set author = '', licence = '', title = '', page = '', address = null"
    ),
)


@pytest.mark.parametrize('empty', EMPTY.values(), ids=EMPTY)
def test_a_look_never_writes_less_than_there_was(project, empty):
    before, table = (
        read_attribution(project),
        (project.path / 'attribution.csv').read_text().splitlines(),
    )
    assert len(before) == 8
    project.catalogue.db.close()
    empty(project)
    status(project.path)
    assert read_attribution(project) == before
    assert sorted((project.path / 'attribution.csv').read_text().splitlines()) == sorted(table)
    authors = {
        (r['label'], r['name']): r['author']
        for r in Project(project.path).catalogue.rows(state='kept')
    }
    if empty not in (EMPTY['no_authors'], EMPTY['emptied_texts']):
        assert authors == {key: origin['author'] for key, origin in before.items()}


def test_an_image_that_is_gone_leaves_the_table(project):
    (project.images / 'stork' / '0.jpg').unlink()
    sync(project)
    write_attribution(project)
    assert ('stork', '0.jpg') not in read_attribution(project) and len(
        read_attribution(project)
    ) == 7


def test_the_backup_is_of_the_time_before_and_never_of_an_emptied_catalogue(project):
    move_images(project, [Move(1, 'removed', 'stork')])
    backup = project.path / 'catalogue.sqlite.bak'
    assert Catalogue(backup).rows(id=1)[0]['state'] == 'kept'
    project.catalogue.execute('delete from image where id > 1')
    back_up(project.catalogue)
    assert len(Catalogue(backup.with_name(f'{backup.name}.1')).rows()) == 8


def touch(file):
    os.utime(file)


def copy_over(file):
    part = file.with_suffix('.part')
    shutil.copy(file, part)
    os.replace(part, file)


def away_and_back(file):
    os.replace(file, file.with_suffix('.x'))
    os.replace(file.with_suffix('.x'), file)


SAME = dict(
    touched=touch,
    long_ago=lambda f: os.utime(f, (0, 0)),
    copied=copy_over,
    renamed=away_and_back,
    rewritten=lambda f: f.write_bytes(f.read_bytes()),
    permissions=lambda f: f.chmod(0o600),
    linked=lambda f: os.link(f, f.with_suffix('.y')),
)


def same_time(file, data):
    at = file.stat()
    file.write_bytes(data)
    os.utime(file, ns=(at.st_atime_ns, at.st_mtime_ns))


OTHER = dict(
    longer=lambda f: f.write_bytes(f.read_bytes() + b'x'),
    same_size=lambda f: f.write_bytes(f.read_bytes()[:-1] + b'x'),
    same_size_and_time=lambda f: same_time(f, f.read_bytes()[:-1] + b'x'),
    empty=lambda f: f.write_bytes(b''),
    zeros=lambda f: same_time(f, bytes(f.stat().st_size)),
    swapped=lambda f: same_time(f, f.with_name('2.jpg').read_bytes()),
    gone=lambda f: f.unlink(),
    renamed=lambda f: f.rename(f.with_name('9.jpg')),
    new=lambda f: shutil.copy(f, f.with_name('8.jpg')),
)


@pytest.mark.parametrize('change', SAME.values(), ids=SAME)
def test_what_is_done_is_known_by_content(project, change):
    before = images_signature(project)
    change(project.images / 'stork' / '1.jpg')
    assert images_signature(project) == before


@pytest.mark.parametrize('change', OTHER.values(), ids=OTHER)
def test_another_content_is_another_signature(project, change):
    before = images_signature(project)
    change(project.images / 'stork' / '1.jpg')
    after = images_signature(project)
    assert after != before and images_signature(project) == after


def test_the_first_look_is_what_an_older_birdsort_had_seen(project):
    expected = [
        [f.parent.name, f.name, f.stat().st_size, f.stat().st_mtime_ns]
        for f in sorted(project.images.glob('*/*'))
    ]
    assert sorted(fingerprint_folder(project.images, project)) == expected


def test_a_copy_of_a_project_is_as_far_as_the_project(project, tmp_path):
    record_stage(project, 'clean', images_signature(project), dict(kept=8))
    project.catalogue.db.close()
    copied = Project(shutil.copytree(project.path, tmp_path / 'copy', copy_function=shutil.copy))
    assert stage_result(copied, 'clean', images_signature(copied)) == dict(kept=8)
    assert 'clean' in status(copied.path)['done']


def as_another_user(folder, argv):
    "Run a verb as a user who may not write into the project."
    if not os.geteuid():  # Root may write everywhere, but without its capabilities
        header, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
        assert ctypes.CDLL(None).capset(header, none) == 0
    return verb([*argv, '--project', str(folder)])


@pytest.mark.parametrize('argv', [['status'], ['clean']], ids=' '.join)
def test_a_project_that_cannot_be_written_can_be_looked_at(short, argv):
    short.chmod(0o755)
    project = make(short / 'birds')
    sync(project)
    project.catalogue.db.close()
    for folder in [project.path, *(f for f in project.path.rglob('*') if f.is_dir())]:
        folder.chmod(0o555)
    (project.path / 'catalogue.sqlite').chmod(0o444)
    before = files(project.path)
    done = forked(as_another_user, project.path, argv, env=dict(HOME=str(short)))
    for folder in [project.path, *(f for f in project.path.rglob('*') if f.is_dir())]:
        folder.chmod(0o755)
    assert done.returncode == 0, done.stderr
    assert files(project.path) == before


@pytest.fixture
def disk(monkeypatch):
    "What is asked of the disk, in order: syncs and renamings of files by name, and rows that are written."
    asked = []
    fsync, replace = os.fsync, os.replace

    def synced(fd):
        asked.append(('sync', Path(os.readlink(f'/proc/self/fd/{fd}')).name))
        fsync(fd)

    def replaced(source, target):
        asked.append(('rename', Path(source).name))
        replace(source, target)

    monkeypatch.setattr(os, 'fsync', synced)
    monkeypatch.setattr(os, 'replace', replaced)
    return asked


def test_an_image_is_on_the_disk_before_its_row(project, disk, monkeypatch):
    from birdsort import scrape
    from birdsort.aviary.pencil import draw_bird

    row = dict(id=1, label='stork')
    file = project.path / 'bird.png'
    draw_bird('owl', 1).save(file)
    part = project.images / 'stork' / '.1.part'
    update = project.catalogue.update
    monkeypatch.setattr(
        project.catalogue,
        'update',
        lambda i, **v: (disk.append(('row', v['state'])), update(i, **v)),
    )
    news = scrape._store(file.read_bytes(), project.settings, part)
    assert scrape._keep(project, row, news, part)
    assert disk == [
        ('sync', part.name),
        ('row', 'asked'),
        ('rename', part.name),
        ('sync', 'stork'),
        ('row', 'kept'),
    ]


def test_moved_files_are_on_the_disk_before_their_rows(project, disk):
    project.catalogue.db.set_trace_callback(
        lambda sql: disk.append(('row', 'moved')) if sql.startswith('update image') else None
    )
    move_images(project, [Move(1, 'removed', 'stork')])
    written = disk.index(('row', 'moved'))
    assert {('rename', '0.jpg'), ('sync', 'stork')} <= set(disk[:written])
    assert disk[:written].count(('sync', 'stork')) == 2, 'the old folder and the new one'


@pytest.mark.parametrize('change', ['move', 'undo', 'scrape'])
def test_nothing_is_done_that_the_catalogue_could_not_keep(short, change):
    "The catalogue may not be written, but its folder may: what is in memory alone would be forgotten."
    project = make(short / 'birds')
    (first, second, *_) = [row['id'] for row in project.catalogue.rows(state='kept')]
    move_images(project, [Move(first, 'removed', 'stork')])
    before, project.catalogue.is_read_only = files(project.path), True
    do = dict(
        move=lambda: move_images(project, [Move(second, 'removed', 'stork')]),
        undo=lambda: undo(project),
        scrape=lambda: scrape(project, quiet=True),
    )
    with pytest.raises(PermissionError, match='catalogue.sqlite'):
        do[change]()
    assert files(project.path) == before
