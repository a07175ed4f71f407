"Caches that several processes fill, damaged cache files, and tables with mistakes."

import os
from dataclasses import replace

import pytest
import torch

from birdsort.aviary.sample_project import lesson_project
from birdsort.core.settings import Training
from birdsort.data import dataloaders
from birdsort.datasets.cache import (
    KeyedRows,
    RowFile,
    cache_dataloaders,
    cached_loader,
    fill_cache,
    prune_cache,
)
from birdsort.datasets.splits import load_splits
from birdsort.split import split
from conftest import SERVER

ROWS = 40


def numbers(first, last):
    return torch.arange(first, last, dtype=torch.float32)[:, None]


def fill(file, log):
    "Fill a cache and write down each step that this process computes."

    def make(first, last):
        with open(log, 'a') as f:
            f.write(f'{first}\n')
        return numbers(first, last)

    fill_cache(RowFile(file, (1,), torch.float32), ROWS, make, step=4, quiet=True)


def test_processes_that_fill_one_cache_compute_each_row_once(tmp_path):
    file, log = tmp_path / 'rows', tmp_path / 'log'
    processes = [SERVER.Process(target=fill, args=(file, log)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert [int(line) for line in log.read_text().split()] == list(range(0, ROWS, 4))
    assert RowFile(file, (1,), torch.float32)[range(ROWS)].tolist() == numbers(0, ROWS).tolist()


@pytest.mark.parametrize('name', ['rows', 'rows.part'])
def test_a_truncated_cache_file_is_filled_again(tmp_path, name):
    "In the middle of a row, whether the file was complete before or not."
    damaged = tmp_path / name
    damaged.write_bytes(numbers(0, 10).numpy().tobytes()[:-2])
    fill(tmp_path / 'rows', tmp_path / 'log')
    assert (
        RowFile(tmp_path / 'rows', (1,), torch.float32)[range(ROWS)].tolist()
        == numbers(0, ROWS).tolist()
    )


@pytest.fixture(scope='module')
def project():
    return lesson_project(0)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('file,colour\na.jpg,garza\n', 'it has file, colour'),
        ('', 'it has no rows'),
        ('file,label\na.jpg,garza\n', "line 2: no file 'a.jpg'"),
        ('file,label\n,garza\n', "line 2: no file ''"),
        ('file,label\nbirds.csv\n', "line 2: 'birds.csv' has no label"),
        (
            'file,label,split\nbirds.csv,garza,exam\n',
            "line 2: the column split looks like a split, and 'exam' is none of",
        ),
    ],
)
def test_a_table_with_a_mistake_is_refused_in_one_line(tmp_path, project, text, message):
    table = tmp_path / 'birds.csv'
    table.write_text(text)
    settings = replace(project.settings, train=Training(data=str(table)))
    with pytest.raises(ValueError) as error:
        load_splits(project, settings)
    assert message in str(error.value)
    assert str(table) in str(error.value) and '\n' not in str(error.value)


@pytest.fixture(scope='module')
def birds_split():
    "A project with a split, and its plain loaders."
    project = lesson_project(40)
    split(project, quiet=True)
    return project, dataloaders(project)


def test_cached_loaders_give_the_batches_and_targets_of_the_plain_ones(birds_split):
    project, plain = birds_split
    fast = cache_dataloaders(project, plain, quiet=True)
    rebuilt = cached_loader(plain.valid, fast.valid.rows, fast.valid.targets)
    assert torch.equal(rebuilt.one_batch()[0], fast.valid.one_batch()[0])
    assert torch.equal(fast.valid.one_batch()[0], plain.valid.one_batch()[0])
    targets = [plain.train.dataset.tls[1][i].item() for i in range(84)]
    assert sorted(fast.train.targets.tolist()) == sorted(targets)


def test_a_second_call_uses_the_files_and_removes_old_ones(birds_split):
    project, plain = birds_split
    first = cache_dataloaders(project, plain, quiet=True)
    used = first.train.rows.file
    assert not used.exists(), 'images are decoded when the first one is wanted'
    for dl in first.loaders:
        dl.one_batch()
    filled = used.read_bytes()
    others = [project.path / '.cache' / f'other{i}' for i in range(20)]
    for i, other in enumerate(others):
        other.touch()
        if i < 15:
            os.utime(other, (0, 0))  # Last used long ago
    again = cache_dataloaders(project, plain, quiet=True)
    assert again.train.rows.file == used and used.read_bytes() == filled
    prune_cache(project.path / '.cache')
    left = {other for other in others if other.exists()}
    assert set(others[15:]) <= left
    assert len(left) == 8, 'ten files with the two in use'


def test_a_folder_its_splits_and_a_table_are_read_alike(birds_split, tmp_path):
    project, _ = birds_split

    def read(data):
        return load_splits(project, replace(project.settings, train=Training(data=str(data))))

    own = load_splits(project)
    assert [len(pairs) for pairs in read(project.split)] == [len(pairs) for pairs in own]
    whole = read(project.images)
    assert len({file for pairs in whole for file, _ in pairs}) == 120
    rows = [f'{file},{label}' for pairs in own for file, label in pairs]
    table = tmp_path / 'birds.csv'
    table.write_text('\n'.join(['file,label', *rows]))
    assert [len(pairs) for pairs in read(table)] == [len(pairs) for pairs in whole]
    table.write_text('\n'.join(['file,label', *rows, rows[0]]))
    with pytest.raises(ValueError, match='twice'):
        read(table)


def test_a_key_without_its_row_is_forgotten(tmp_path):
    "A killed prune may have removed the rows alone; then no key may find a row of another image."
    rows = KeyedRows(tmp_path / 'rows', (1,), torch.float32)
    old, new = ([KeyedRows.key(f'{name}.jpg') for name in names] for names in ('ab', 'cd'))
    rows.add(old, torch.tensor([[1.0], [2.0]]))
    rows.file.unlink()
    assert rows.numbers() == {}
    rows.add(new, torch.tensor([[3.0], [4.0]]))
    assert list(rows.numbers()) == new and rows[[0, 1]].flatten().tolist() == [3, 4]
