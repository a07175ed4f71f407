"What people call their labels and files: taken as it is, or refused with the name and what is allowed."

import itertools
import os
import unicodedata
from types import SimpleNamespace

import pytest

from birdsort.cli import new
from birdsort.core.inventory import sync
from birdsort.core.project import free_path, write_whole
from birdsort.core.scaffold import new_project, to_toml
from birdsort.core.settings import RENAMED, Catalogues, Settings, Training, parse_settings
from birdsort.files.listing import list_labels, summarise
from birdsort.files.names import check_label, check_labels, is_text, label_key, numbered_names
from birdsort.predict import sort_into
from birdsort.sources.local import folder

LABELS = [
    "Steller's jay",
    "Anna's hummingbird",
    'St. Bernard',
    'raven (juvenile)',
    '001.Black_footed_Albatross',
    'M&Ms',
    'heron, grey',
    'C#',
    '50% cotton',
    'AT&T',
    'AC-DC [live]',
    "'Iʻiwi",
    '~tilde',
    '$5',
    'sem~colon; too',
    'a + b',
    'naïve café',
    '白鷺',
    'می‌خواهم',
    'ශ්‍රී',
    'Ångström',
    '🦜 parrot',
    'console',
    'auxiliary',
    'com',
    'nulla',
    '0',
    '_',
    'train',
    'val',
    'images',
    'keep',
    'remove',
    'label',
    'none',
    'null',
    'true',
    'nan',
    '鸟' * 80,
]
REFUSED = [
    '',
    ' ',
    ' heron',
    'heron ',
    'heron.',
    '.heron',
    '..',
    'a/b',
    'a\\b',
    'a:b',
    'what?',
    'a*',
    '"heron"',
    '<heron>',
    'a|b',
    'a\nb',
    'a\tb',
    'a\0b',
    '\x1b[31mred',
    '\u202egnp',
    'a\u200bb',
    'a\u00a0b',
    '\ud800',
    '\udcff',
    'CON',
    'aux.png',
    'com1',
    'LPT¹',
    'nul .x',
    'conin$',
    '-rf',
    '=1+1',
    '+49',
    '@home',
    'none of these',
    'None_Of_These',
    '鸟' * 81,
    '🦜' * 61,
    7,
    None,
]


@pytest.mark.parametrize('label', LABELS)
def test_a_name_as_people_write_it_is_a_label(label):
    assert check_label(label) == unicodedata.normalize('NFC', label)


def test_a_project_file_holds_any_label():
    written = to_toml(Settings(labels={label: ['x'] for label in LABELS}))
    assert [*parse_settings(written).labels] == check_labels(LABELS)


@pytest.mark.parametrize('label', REFUSED)
def test_a_name_that_no_folder_can_have_everywhere_is_refused(label):
    with pytest.raises(ValueError, match='cannot be used: a label is 1 to 80 characters'):
        check_label(label)


@pytest.mark.parametrize(
    'a, b',
    [
        ('Heron', 'heron'),
        ('HERON', 'Heron'),
        ('Éider', 'éider'),
        ('STRASSE', 'straße'),
        ('Σίσυφος', 'ΣΊΣΥΦΟΣ'),
        *[
            (name, unicodedata.normalize('NFD', name))
            for name in ('cigüeña', 'Ångström', 'déjà', 'việt', '한국', 'ガ')
        ],
        ('Éider', unicodedata.normalize('NFD', 'éider')),
    ],
)
def test_labels_that_would_share_a_folder_are_told_once(a, b):
    assert label_key(a) == label_key(b)
    with pytest.raises(ValueError, match='would share a folder') as e:
        check_labels([a, 'stork', b])
    with pytest.raises(ValueError, match='would share a folder'):
        Settings(labels={a: ['x'], b: ['x']})
    assert str(e.value).count('differ only') == 1


def test_the_name_of_a_setting_is_a_label(recwarn):
    words = [
        *RENAMED,
        *Settings.__dataclass_fields__,
        *Training.__dataclass_fields__,
        *Catalogues.__dataclass_fields__,
    ]
    labels = {word: [word] for word in words if word != 'n'} | dict(
        n=['letter n'], source=['spring']
    )
    written = '\n'.join(f'{label} = "{queries[0]}"' for label, queries in labels.items())
    assert parse_settings(f'[labels]\n{written}').labels == labels
    assert list(recwarn) == []


@pytest.mark.parametrize(
    'line, home',
    [
        ('seed = 42', 'above'),
        ('n = 100', 'above'),
        ('images_per_label = 5', 'above'),
        ('pretrained = false', 'above'),
        ('ratio = [0.7, 0.2, 0.1]', 'above'),
        ('epochs = [1, 1]', 'above'),
        ('source = ["google"]', 'above'),
        ('licence = ["cc0", "cc-by"]', 'above'),
        ('train = {lr = 0.1}', 'above'),
        ('lr = "auto"', 'below .train.'),
        ('schedule = "step"', 'below .train.'),
        ('mixup = 0.4', 'below .train.'),
        ('place = 6774', 'below .catalogues.'),
        ('quality_grade = "any"', 'below .catalogues.'),
        ('unfreeze = "all"', 'below .train.'),
        ('batch_size = "16"', 'above'),
        ('image_size = ["224"]', 'above'),
        ('epochs = "[1, 1]"', 'above'),
        ('pretrained = "false"', 'above'),
        ('lr = "1e-3"', 'below .train.'),
    ],
)
def test_a_setting_below_labels_is_told_by_its_value(line, home):
    with pytest.raises(ValueError, match=f'is a setting: it stands {home}'):
        parse_settings(f'[labels]\nstork = "stork"\nheron = "heron"\n{line}\n')


@pytest.mark.parametrize(
    'line', ['architecture = "resnet18"', 'data = "../images"', 'allow = ["10.0.0.1"]']
)
def test_what_could_be_either_is_warned_of(line):
    with pytest.warns(UserWarning, match='stands below .labels.'):
        parse_settings(f'[labels]\nstork = "stork"\n{line}\n')


def test_a_name_becomes_a_query(tmp_path):
    made = new(
        tmp_path / 'p',
        ['001.Black_footed_Albatross', 'heron, grey', 'owl=barn owl,tawny owl', '2 euro'],
    )
    assert [*made['labels'].values()] == [
        ['Black footed Albatross'],
        ['heron, grey'],
        ['barn owl', 'tawny owl'],
        ['2 euro'],
    ]


LONG = ['x' * 251, '鸟' * 83, 'é' * 125, '🦜' * 62, 'x' * 250, 'a' + '鸟' * 83]


@pytest.mark.parametrize('stem', LONG)
def test_a_long_name_makes_room_for_its_number(stem, tmp_path):
    names = [*itertools.islice(numbered_names(f'{stem}.jpg'), 120)]
    assert max(len(os.fsencode(name)) for name in names) <= 255 and len({*names}) == 120
    file = tmp_path / f'{stem}.jpg'
    file.touch()
    assert free_path(file, tmp_path).name == names[2]
    assert write_whole(file, 'whole').read_text() == 'whole' and [*tmp_path.iterdir()] == [file]


# Names of files from other systems
ODD = [
    *(f'{stem}.jpg' for stem in LONG),
    'a\nb.jpg',
    '-rf.jpg',
    'aux.jpg',
    'con',
    '[1].jpg',
    '%s.jpg',
    "it's.jpg",
    '"q".jpg',
    ' .jpg',
    'a\\b.jpg',
    'a:b.jpg',
    '~.jpg',
    '$HOME.jpg',
    '=1+1.jpg',
    'é\u0301.jpg',
    '\x1b[31m.jpg',
    os.fsdecode(b'\xff\xfe.jpg'),
    'x.',
]


def test_odd_names_are_sorted_and_what_cannot_be_is_said(tmp_path):
    here, sorted_ = tmp_path / 'in', tmp_path / 'sorted'
    here.mkdir(), (tmp_path / 'far').mkdir(), sorted_.mkdir()
    for name in ODD:
        (here / name).write_bytes(os.fsencode(name))
    (sorted_ / 'linked').symlink_to(tmp_path / 'far')
    (sorted_ / 'nowhere').symlink_to(tmp_path / 'gone')
    (sorted_ / 'file').touch()
    (
        os.mkfifo(here / 'fifo.jpg'),
        (here / 'link.jpg').symlink_to(here / ODD[0]),
        (here / 'lost.jpg').symlink_to('gone'),
    )
    rows = [dict(file=str(here / name), label='linked') for name in ODD]
    bad = [('fifo.jpg', 'owl'), ('lost.jpg', 'owl'), ('gone.jpg', 'owl'), ('.', 'owl')]
    bad += [('con', label) for label in ('nowhere', 'file', 'a/b', '..', 'aux', 'x' * 81)]
    wrong = [dict(file=str(here / name), label=label) for name, label in bad]
    none = [dict(file='?', label=None, error='not an image')]
    good = [
        dict(file=str(here / 'link.jpg'), label='owl'),
        dict(file=str(here / 'con'), label='none of these'),
    ]
    for _ in range(2):
        assert sort_into([*wrong, *none, *rows, *good], sorted_) == dict(
            linked=len(ODD), owl=1, none_of_these=1
        )
    assert {f.name: f.read_bytes() for f in (tmp_path / 'far').iterdir()} == {
        n: os.fsencode(n) for n in ODD
    }
    assert not (sorted_ / 'owl/link.jpg').is_symlink()
    assert all(row['error'] for row in wrong) and not any('error' in row for row in rows + good)


def test_a_full_disk_stops_the_sorting(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, 'No space left on device')

    (tmp_path / 'a.jpg').touch()
    monkeypatch.setattr('shutil.copy2', full)
    with pytest.raises(OSError, match='No space left'):
        sort_into([dict(file=str(tmp_path / 'a.jpg'), label='owl')], tmp_path / 'sorted')


def test_odd_names_in_a_project_are_taken_or_set_aside_and_named(tmp_path):
    proj = new_project(tmp_path / 'p', labels=dict(owl=['owl'], stork=['stork']))
    (proj.images / 'owl').mkdir(parents=True)
    names = [name for name in ODD if name.endswith('.jpg')]
    for name in (*names, '._x.jpg'):
        (proj.images / 'owl' / name).touch()
    os.mkfifo(proj.images / 'owl/fifo.jpg'), (proj.images / 'owl/lost.jpg').symlink_to('gone')
    (proj.images / 'stork').symlink_to(proj.images / 'owl')
    taken = {name for name in names if is_text(name)}
    assert {f.name for f in sync(proj)['owl']} == taken == {f.name for f in sync(proj)['stork']}
    assert proj.catalogue.counts('state') == {('kept',): 2 * len(taken)}
    left_out = list_labels(proj.images / '..' / 'images').left_out
    assert {f.name for f in left_out} == {
        os.fsdecode(b'\xff\xfe.jpg'),
        '._x.jpg',
        'fifo.jpg',
        'lost.jpg',
    }
    assert all(line.isprintable() for line in summarise(left_out))
    told = []
    hits = [*folder('owl', 9, SimpleNamespace(label=None, tell=told.append), proj.images)]
    assert {hit.title for hit in hits} - {'._x'} == {os.path.splitext(name)[0] for name in taken}
    assert any('not UTF-8' in line for line in told) and any('FIFO' in line for line in told)
