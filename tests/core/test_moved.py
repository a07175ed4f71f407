"What was written for birdsort 0.1 works for one release more, and says once what to write instead."

import sys
import warnings
from importlib import import_module

import pytest

import birdsort
from birdsort.core.project import Project
from birdsort.core.scaffold import new_project
from birdsort.core.settings import RENAMED, Settings, Training, parse_settings

# A value for each old name that is not the default
VALUES = dict(
    n=7,
    noai=False,
    views=3,
    lr_mult=50,
    rest_batch_norm=False,
    keep_memory=False,
    small_first=False,
)


def toml(key, value):
    "A `birdsort.toml` with this one setting, in the table that it belongs to."
    table = '[train]\n' if RENAMED.get(key, key) in Training.__dataclass_fields__ else ''
    return f'{table}{key} = {str(value).lower()}\n'


def value_of(settings, name):
    return getattr(settings if name in Settings.__dataclass_fields__ else settings.train, name)


def test_there_is_a_value_for_every_old_setting():
    assert set(VALUES) == set(RENAMED)


@pytest.mark.parametrize('old', VALUES)
def test_an_old_setting_is_read_as_its_new_one_and_says_so_once(old):
    new, where = RENAMED[old], f'{old}/birdsort.toml'
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        read = [parse_settings(toml(old, VALUES[old]), where) for _ in range(3)]
    assert value_of(read[0], new) == VALUES[old] != value_of(Settings(), new)
    assert read[0] == read[2] == parse_settings(toml(new, VALUES[old]))
    assert [w.category for w in caught] == [FutureWarning]
    message = str(caught[0].message)
    assert message.startswith(f'{where}: {old} is now {new}')


def test_the_old_schedule_is_read_as_its_new_one_and_says_so_once():
    text = '[train]\nschedule = "halve"'
    with pytest.warns(FutureWarning, match='"halve" is now schedule = "step-half"') as caught:
        read = [parse_settings(text, 'halve/birdsort.toml') for _ in range(2)]
    assert read[0].train.schedule == 'step-half'
    assert len(caught) == 1


def test_new_names_are_read_without_a_word():
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        for old, value in VALUES.items():
            parse_settings(toml(RENAMED[old], value))


def test_a_project_with_an_old_setting_opens_and_says_so_once(tmp_path):
    new_project(tmp_path / 'birds')
    (tmp_path / 'birds' / 'birdsort.toml').write_text('n = 9\n')
    project = Project(tmp_path / 'birds')
    with pytest.warns(FutureWarning, match='n is now images_per_label') as caught:
        assert [project.settings.images_per_label for _ in range(3)] == [9, 9, 9]
    assert len(caught) == 1


def import_fresh(name):
    "Import an old module as if for the first time; it is forgotten again."
    sys.modules.pop(name, None)
    try:
        return import_module(name)
    finally:
        sys.modules.pop(name, None)


@pytest.mark.parametrize('old', birdsort.MOVED)
def test_an_old_module_imports_with_a_warning_and_is_the_new_one(old):
    with pytest.warns(FutureWarning, match=f'{old} is now {birdsort.MOVED[old]}'):
        moved = import_fresh(old)
    today = import_module(birdsort.MOVED[old])
    names = today.__all__
    assert names
    assert all(getattr(moved, name) is getattr(today, name) for name in names)


def test_an_old_function_is_the_new_one():
    with pytest.warns(FutureWarning):
        moved = import_fresh('birdsort.say')
    assert moved.say is import_module('birdsort.results.formatting').format_result
