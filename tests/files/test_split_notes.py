"The note that lies with a split may be somebody else's: what birdsort cannot have written counts as no note."

import json

import pytest

from birdsort.split import NOTE, current_split, split
from conftest import birdsort, one_line


@pytest.mark.parametrize(
    'change',
    [
        dict(given=dict(seed=7)),
        dict(given=dict(labels={'a': ['b']})),
        dict(given=['duplicates']),
        dict(given='off'),
        dict(folds='5'),
        dict(fold=True),
        dict(folds=2.5),
        dict(signature=7),
        dict(counts=[1, 2]),
        dict(counts=dict(train=3)),
        dict(counts=dict(train=dict(garza='many'))),
        dict(unknown=1),
    ],
    ids=str,
)
def test_a_note_that_is_not_ours_is_no_note(split_birds, change):
    counts, note = current_split(split_birds), split_birds.split / NOTE
    assert counts
    note.write_text(json.dumps(json.loads(note.read_text()) | change))
    assert current_split(split_birds) is None
    with pytest.raises(FileExistsError, match='--force'):
        split(split_birds, quiet=True)
    assert split(split_birds, force=True, quiet=True) == counts == current_split(split_birds)


@pytest.mark.parametrize(
    'text', ['', '[]', '7', '{', '[' * 5000, '{"signature": "x"}', '{"counts": {}}']
)
def test_a_note_that_cannot_be_read_is_told_in_one_line(split_birds, text):
    (split_birds.split / NOTE).write_text(text)
    one_line(birdsort('split', '--project', split_birds.path), '--force')


def test_the_rule_for_copies_that_was_given_is_kept(split_birds):
    done = birdsort('split', '--duplicates', 'off', '--force', '--project', split_birds.path)
    assert done.returncode == 0, done.stderr
    assert json.loads((split_birds.split / NOTE).read_text())['given'] == {'duplicates': 'off'}
    assert current_split(split_birds)
