"A cache that does not hold what was written is made again, and gives the same numbers."

import os

import pytest
import torch

from birdsort.datasets import cache
from birdsort.datasets.cache import KeyedRows, RowFile, fill_cache, fill_keyed

N, STEP = 10, 4
KEYS = [KeyedRows.key(i) for i in range(N)]


def numbers(first, last):
    return torch.arange(first, last, dtype=torch.float32)[:, None] + 1


def zeros(file, other):
    file.write_bytes(bytes(file.stat().st_size))


def first_block_is_zero(file, other):
    file.write_bytes(bytes(STEP * 4) + file.read_bytes()[STEP * 4 :])


def one_bit(file, other):
    data = bytearray(file.read_bytes())
    data[9] ^= 1
    file.write_bytes(data)


def last_byte(file, other):
    file.write_bytes(file.read_bytes()[:-1] + b'x')


def swapped(file, other):
    data = file.read_bytes()
    file.write_bytes(data[16:32] + data[:16] + data[32:])


def cut_off(file, other):
    os.truncate(file, 13)


def sparse(file, other):
    os.truncate(file, 8)
    os.truncate(file, N * 4)


def no_sums(file, other):
    other.unlink()


def zero_sums(file, other):
    other.write_bytes(bytes(other.stat().st_size))


def short_sums(file, other):
    os.truncate(other, 5)


def gone(file, other):
    file.unlink()


def empty(file, other):
    os.truncate(file, 0)


HARM = [
    zeros,
    first_block_is_zero,
    one_bit,
    last_byte,
    swapped,
    cut_off,
    sparse,
    no_sums,
    zero_sums,
    short_sums,
    gone,
    empty,
]


@pytest.fixture(autouse=True)
def another_process(monkeypatch):
    "Nothing was looked at before."
    monkeypatch.setattr(cache, '_sound', set())
    monkeypatch.setattr(cache, '_checked', {})


@pytest.mark.parametrize('harm', HARM)
def test_a_file_of_rows_is_checked(tmp_path, harm, monkeypatch):
    rows = RowFile(tmp_path / 'rows', (1,), torch.float32)
    fill_cache(rows, N, numbers, STEP, quiet=True)
    harm(rows.file, tmp_path / 'rows.sums')
    cache._sound.clear()
    fill_cache(rows, N, numbers, STEP, quiet=True)
    assert rows[range(N)].flatten().tolist() == numbers(0, N).flatten().tolist()


@pytest.mark.parametrize('harm', HARM)
def test_rows_with_keys_are_checked(tmp_path, harm):
    def make(positions):
        return torch.tensor(positions, dtype=torch.float32)[:, None] + 1

    rows = KeyedRows(tmp_path / 'rows', (1,), torch.float32)
    fill_keyed(rows, KEYS, make, STEP, quiet=True)
    harm(rows.file, tmp_path / 'rows.keys')
    cache._checked.clear()
    found = fill_keyed(rows, KEYS, make, STEP, quiet=True)
    assert rows[found].flatten().tolist() == numbers(0, N).flatten().tolist()


def test_a_whole_file_is_not_made_again(tmp_path):
    rows = RowFile(tmp_path / 'rows', (1,), torch.float32)
    fill_cache(rows, N, numbers, STEP, quiet=True)
    for looked_at in (True, False):
        if not looked_at:
            cache._sound.clear()
        fill_cache(rows, N, lambda *_: pytest.fail('made again'), STEP, quiet=True)


def test_only_what_is_missing_is_made(tmp_path):
    made = []

    def make(positions):
        made.extend(positions)
        return torch.tensor(positions, dtype=torch.float32)[:, None] + 1

    rows = KeyedRows(tmp_path / 'rows', (1,), torch.float32)
    for keys in (KEYS[::3], KEYS):
        found = fill_keyed(rows, keys, make, STEP, whole=False, quiet=True)
    assert len(made) == N and len(rows) == N
    assert [rows[[i]].item() for i in found[1:3]] == [2, 3]
