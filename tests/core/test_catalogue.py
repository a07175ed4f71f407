"Versions of the catalogue: a newer one is refused, an older one is upgraded, even if the upgrade is killed."

import json
import os
import signal
import sqlite3
import subprocess
import sys

import pytest

from birdsort.core.catalogue import SCHEMA_VERSION, Catalogue
from birdsort.core.project import Project
from birdsort.core.scaffold import new_project
from conftest import ENV, birdsort, one_line
from helpers.old_catalogue import TABLES

# Opens a catalogue and is killed when SQLite begins the statement of the given number. With a cache of one page,
# changed pages reach the file before the transaction ends, so that a kill leaves work for SQLite's own journal.
OPEN_UNTIL = """
import os, signal, sqlite3, sys
path, kill_at = sys.argv[1], int(sys.argv[2])
connect, statements = sqlite3.connect, []

def count(statement):
    statements.append(statement)
    if len(statements) == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)

def connect_counted(*args, **kwargs):
    db = connect(*args, **kwargs)
    db.execute('pragma cache_size = 1')
    db.set_trace_callback(count)
    return db

sqlite3.connect = connect_counted
from birdsort.core.catalogue import Catalogue
Catalogue(path)
print(len(statements))
"""


def make_version_0(path):
    "A catalogue of birdsort 0.1 with rows in every table; big enough for its pages not to fit in the cache."
    db = sqlite3.connect(path)
    db.executescript(TABLES)
    images = [
        (i, ('stork', 'heron')[i % 2], f'http://photos/{i}', 'kept', f'{i}.jpg')
        for i in range(1, 201)
    ]
    db.executemany(
        'insert into picture (id, label, address, state, name) values (?, ?, ?, ?, ?)', images
    )
    result = json.dumps({'sides': {'test': {'n': 3}}, 'pictures': ['a.png'] * 500})
    stages = [(stage, '0123', result, 'then') for stage in ('split', 'train', 'evaluate')]
    db.executemany('insert into stage values (?, ?, ?, ?)', stages)
    db.execute("insert into step values (1, 'clean', 'then', null)")
    db.execute("insert into move values (1, 1, 7, 'images/a', 'removed/a', '{}', '{}', 1)")
    db.execute("insert into choice values (1, 0, 8, 'keep', null)")
    db.commit()
    db.close()


def content(path, image_table='image'):
    "The rows of every table."
    db = sqlite3.connect(path)
    tables = (image_table, 'stage', 'step', 'move', 'choice')
    rows = {table: db.execute(f'select * from {table} order by 1').fetchall() for table in tables}
    db.close()
    return rows


def open_until(path, kill_at):
    "Open the catalogue in a process that is killed at one statement; 0 lets it finish."
    command = [sys.executable, '-c', OPEN_UNTIL, str(path), str(kill_at)]
    return subprocess.run(command, capture_output=True, text=True, env=ENV)


def check_upgraded(path, before):
    "It opens, it has the version of today, and every row is there."
    catalogue = Catalogue(path)
    assert catalogue.execute('pragma user_version')[0][0] == SCHEMA_VERSION
    assert catalogue.execute('pragma integrity_check')[0][0] == 'ok'
    assert catalogue.add([dict(label='owl', address='http://photos/owl')]) == 1
    catalogue.execute("delete from image where label = 'owl'")
    catalogue.db.close()
    after = content(path)
    assert after['image'] == before['picture']
    for table in ('step', 'move', 'choice'):
        assert after[table] == before[table]
    assert [row[:2] for row in after['stage']] == [row[:2] for row in before['stage']]
    for _, _, result, _ in after['stage']:
        assert json.loads(result) == {'splits': {'test': {'n': 3}}, 'images': ['a.png'] * 500}


def test_an_upgrade_that_is_killed_at_any_statement_loses_nothing(tmp_path):
    make_version_0(tmp_path / 'old.sqlite')
    before = content(tmp_path / 'old.sqlite', image_table='picture')
    original = (tmp_path / 'old.sqlite').read_bytes()
    (tmp_path / 'whole.sqlite').write_bytes(original)
    whole = open_until(tmp_path / 'whole.sqlite', 0)
    assert whole.returncode == 0, whole.stderr
    check_upgraded(tmp_path / 'whole.sqlite', before)

    statements = int(whole.stdout)
    assert statements > 10
    unfinished, half_written = 0, 0
    for kill_at in range(1, statements + 1):
        path = tmp_path / f'{kill_at}.sqlite'
        path.write_bytes(original)
        killed = open_until(path, kill_at)
        assert killed.returncode == -signal.SIGKILL, (kill_at, killed.stderr)
        journal = path.with_name(f'{path.name}-journal')
        unfinished += journal.exists()
        half_written += journal.exists() and path.read_bytes() != original
        check_upgraded(path, before)
    assert unfinished  # Some kills came in the middle of the transaction …
    assert half_written  # … and some of them when part of it was in the file already


def test_an_upgraded_catalogue_is_left_alone(tmp_path):
    make_version_0(tmp_path / 'old.sqlite')
    Catalogue(tmp_path / 'old.sqlite').db.close()
    upgraded = (tmp_path / 'old.sqlite').read_bytes()
    Catalogue(tmp_path / 'old.sqlite').db.close()
    assert (tmp_path / 'old.sqlite').read_bytes() == upgraded


@pytest.fixture
def newer(tmp_path):
    "A project whose catalogue a newer birdsort has written."
    project = new_project(
        tmp_path / 'birds', labels={'stork': ['white stork'], 'heron': ['grey heron']}
    )
    project.catalogue.add([dict(label='stork', address='http://photos/1')])
    project.catalogue.execute(f'pragma user_version = {SCHEMA_VERSION + 1}')
    project.catalogue.db.close()
    return Project(project.path)


def test_a_catalogue_of_a_newer_version_is_refused_and_not_touched(newer):
    file = newer.path / 'catalogue.sqlite'
    before = file.read_bytes()
    with pytest.raises(ValueError) as refused:
        _ = newer.catalogue
    message = str(refused.value)
    assert '\n' not in message
    for part in (
        str(file),
        f'version {SCHEMA_VERSION + 1}',
        f'to {SCHEMA_VERSION}:',
        'upgrade birdsort',
    ):
        assert part in message
    assert file.read_bytes() == before
    assert not [f for f in os.listdir(newer.path) if f.startswith('catalogue.sqlite-')]


def test_the_command_line_refuses_it_in_one_line(newer):
    one_line(birdsort('status', '--project', newer.path), 'upgrade birdsort')
