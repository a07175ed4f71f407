"One name in two Unicode forms is one label, wherever labels are compared or stored."

import unicodedata

import pytest

from birdsort.aviary.sample_project import lesson_project
from birdsort.cleaning.decisions import Choice, read_decisions
from birdsort.core.inventory import sync
from birdsort.core.scaffold import new_project
from birdsort.core.settings import Training, parse_settings
from birdsort.datasets.splits import load_splits
from birdsort.sources.local import folder, urls
from birdsort.split import count_labels

# A label, and the same from a Mac
NAMES = [
    'cigüeña',
    'Ångström',
    'déjà vu',
    'việt',
    'ガン',
    'Ünïcödé',
    'ñandú',
    'ö',
    'Česko',
    'ά',
    'é (ad.)',
    'naïve_1',
]


def apart(name):
    return unicodedata.normalize('NFD', name)


@pytest.fixture(scope='module')
def proj(tmp_path_factory):
    return new_project(
        tmp_path_factory.mktemp('forms') / 'p', labels={name: [name] for name in NAMES}
    )


def test_settings_hold_one_form():
    written = '\n'.join(f'"{apart(name)}" = "x"' for name in NAMES)
    assert [*parse_settings(f'[labels]\n{written}').labels] == NAMES


def test_folders_from_a_mac_are_those_of_the_labels(proj):
    for name in NAMES:
        for home, files in ((proj.images, 'ab'), (proj.removed, 'c')):
            (home / apart(name)).mkdir(parents=True)
            for file in files:
                (home / apart(name) / f'{file}.jpg').write_text(name)
    (proj.images / NAMES[0]).mkdir()
    (proj.images / NAMES[0] / 'a.jpg').write_text('another')
    proj.catalogue.add(
        [dict(label=apart(name), address='http://a', state='rejected') for name in NAMES[:2]]
    )
    assert {label: len(files) for label, files in sync(proj).items()} == dict.fromkeys(NAMES, 2) | {
        NAMES[0]: 3
    }
    assert count_labels(proj)[NAMES[0]] == 3
    rows = proj.catalogue.counts('label', 'state')
    assert rows == {(n, s): c for n in NAMES for s, c in (('kept', 2), ('removed', 1))} | {
        (NAMES[0], 'kept'): 3,
        (NAMES[0], 'rejected'): 1,
        (NAMES[1], 'rejected'): 1,
    }
    assert not any((proj.images / apart(name)).exists() for name in NAMES)


def test_decisions_are_read_in_either_form(proj):
    file = proj.images / NAMES[0] / f'{NAMES[3]}.jpg'
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text('x')
    sync(proj)
    table = proj.path / 'decisions.csv'
    for name in NAMES[1:]:
        table.write_text(
            f'label,name,decision\n{apart(NAMES[0])},{apart(file.name)},{apart(name)}\n'
        )
        assert [choice for _, choice in read_decisions(proj, table)] == [Choice('move', name)]


def test_a_label_called_keep_is_moved_to(tmp_path):
    p = new_project(
        tmp_path / 'p', labels=dict(keep=['castle'], remove=['x'], distinct=['x'], moat=['x'])
    )
    (p.images / 'moat').mkdir(parents=True)
    for name in 'abcd':
        (p.images / 'moat' / f'{name}.jpg').touch()
    sync(p)
    words = {
        'a.jpg': 'keep',
        'b.jpg': 'move to keep',
        'c.jpg': 'move to remove',
        'd.jpg': 'move to distinct',
    }
    (p.path / 'd.csv').write_text(
        'label,name,decision\n' + ''.join(f'moat,{k},{v}\n' for k, v in words.items())
    )
    choices = [choice for _, choice in read_decisions(p, p.path / 'd.csv')]
    assert choices == [Choice('keep')] + [
        Choice('move', label) for label in ('keep', 'remove', 'distinct')
    ]


@pytest.mark.parametrize('name', NAMES)
def test_sources_of_ones_own_know_either_form(name, tmp_path):
    (tmp_path / 'mac' / apart(name)).mkdir(parents=True)
    (tmp_path / 'mac' / apart(name) / 'a.jpg').write_bytes(b'x')
    (tmp_path / 'urls.csv').write_text(f'label,address\n{apart(name)},https://example.com/a.jpg\n')
    assert len([*folder(name, 9, None, tmp_path / 'mac')]) == 1
    assert len([*urls(name, 9, None, tmp_path / 'urls.csv')]) == 1


def test_images_from_elsewhere_have_one_label_for_both_forms(tmp_path):
    p = lesson_project(12, tmp_path / 'p')
    data, rows = tmp_path / 'data', []
    for label, name in zip(p.settings.labels, NAMES, strict=False):
        for i, file in enumerate(sorted((p.images / label).iterdir())):
            form = apart(name) if i % 2 else name
            target = data / form / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
            rows.append(f'{form}/{file.name},{form}')
    (data / 'all.csv').write_text('file,label\n' + '\n'.join(rows))
    for path in (data, data / 'all.csv'):
        settings = p.settings.__class__(train=Training(data=str(path)), pretrained=False)
        assert load_splits(p, settings).labels == sorted(NAMES[: len(p.settings.labels)])
    other = data / NAMES[1].upper()
    other.mkdir()
    (other / 'a.jpg').write_bytes(file.read_bytes())
    with pytest.raises(ValueError, match='differ only in capitals'):
        load_splits(p, settings.__class__(train=Training(data=str(data))))
