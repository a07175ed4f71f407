"Tables as people have them, and the split that a data set brings along."

import unicodedata
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from birdsort.core.scaffold import new_project
from birdsort.core.settings import Training
from birdsort.datasets.splits import load_splits, splits_signature
from birdsort.files.tables import find_file, read_table
from birdsort.sources.local import urls

ROWS = [(f'owls/{label}{i}.png', label) for label in ('búho', 'emu') for i in range(12)]


def text(head='file,label', sep=',', end='\n', path=str, more=lambda i: ''):
    lines = [head, *(f'{path(file)}{sep}{label}{more(i)}' for i, (file, label) in enumerate(ROWS))]
    return end.join([*lines, ''])


def windows(path):
    return path.replace('/', '\\')


TABLES = {
    'comma': text().encode(),
    'semicolon': text('file;label', ';').encode(),
    'tab': text('file\tlabel', '\t').encode(),
    'bar': text('file|label', '|').encode(),
    'told separator': ('sep=;\n' + text('file;label', ';')).encode(),
    'mark': text().encode('utf-8-sig'),
    'utf-16': text().encode('utf-16'),
    'utf-16 without mark': text().encode('utf-16-le'),
    'utf-32': text().encode('utf-32'),
    'windows': text(end='\r\n', path=windows).encode('cp1252'),
    'capitals and spaces': text(' File , LABEL ').encode(),
    'other names': text('Image Name,Class').encode(),
    'quotes': text(path=lambda p: f'"{p}"').encode(),
    'blank lines': text(end='\n\n').encode(),
    'empty columns': text('file,label,,', more=lambda i: ',,').encode(),
    'quoted newline': text('file,label,note', more=lambda i: ',"two\nlines"').encode(),
}


@pytest.fixture(scope='module')
def project(tmp_path_factory):
    "A project beside twelve images of each of two labels."
    home = tmp_path_factory.mktemp('tables')
    (home / 'owls').mkdir()
    rng = np.random.default_rng(0)
    for file, _ in ROWS:
        Image.fromarray(rng.integers(0, 256, (48, 48, 3), np.uint8)).save(home / file)
    return new_project(home / 'project', labels=dict(owl=['owl'], emu=['emu']))


def load(project, data, **train):
    settings = replace(project.settings, train=Training(data=str(data), **train))
    assert splits_signature(project, settings)
    return load_splits(project, settings)


def write(project, content, name='table.csv'):
    table = project.path.parent / name
    table.write_bytes(content if isinstance(content, bytes) else content.encode())
    return table


@pytest.mark.parametrize('on_disk', ['NFC', 'NFD'])
@pytest.mark.parametrize('in_table', ['NFC', 'NFD'])
def test_a_file_is_found_in_either_form_of_its_accents(tmp_path, in_table, on_disk):
    (tmp_path / unicodedata.normalize(on_disk, 'Büsche')).mkdir()
    (tmp_path / unicodedata.normalize(on_disk, 'Büsche/Käuzchen.jpg')).write_bytes(b'x')
    for name in ('Büsche/Käuzchen.jpg', 'Büsche\\Käuzchen.jpg'):
        assert find_file(unicodedata.normalize(in_table, name), tmp_path).read_bytes() == b'x'
    assert find_file('Büsche/Uhu.jpg', tmp_path) is None


@pytest.mark.parametrize('name', TABLES)
def test_a_table_is_read_however_it_is_written(project, name):
    splits = load(project, write(project, TABLES[name]))
    assert ([len(pairs) for pairs in splits], splits.labels) == ([16, 2, 6], ['búho', 'emu'])
    assert any('read as cp1252' in note for note in splits.notes) == (name == 'windows')


WRONG = {
    'file,label\nowls/emu0.png,e\0mu\n': 'line 2: a NUL byte',
    'file,label\nowls/emu0.png,"emu\n': 'line 2: unexpected end of data',
    'file,label\nowls/emu0.png,emu,large, brown\n': 'line 2 has 4 values for 2 columns',
    'file,label\nC:\\photos\\a.jpg,emu\n': 'line 2',
    'file,label\nhttps://a.example/1.jpg,emu\n': 'is an address',
    'file,Label,label\na.jpg,emu,emu\n': "two columns 'label'",
    'path,image,label\na,b,emu\n': 'might be the file',
    'owls/emu0.png,emu\n': 'needs a first line with the columns file and label',
    'file,label\n': 'no rows',
    '': 'no rows',
    'file,label\nowls/emu0.png,Emu\nowls/emu1.png,emu\n': 'differ only in capitals',
}


@pytest.mark.parametrize('content', WRONG)
def test_what_cannot_be_read_is_refused_with_the_file_and_the_line(project, content):
    with pytest.raises(ValueError, match=WRONG[content]):
        load(project, write(project, content))


@pytest.mark.parametrize(
    'data', [b'PK\3\4 a workbook', b'\x1f\x8b packed', b'file,label\n\x81\xfe\n']
)
def test_a_file_that_is_no_table_is_called_what_it_is(project, data):
    with pytest.raises(ValueError, match='table.csv is '):
        read_table(write(project, data))


def test_paths_start_at_the_root_that_is_named_or_are_absolute(project, tmp_path):
    table, home = tmp_path / 'elsewhere.csv', project.path.parent
    table.write_text(text())
    assert len(load(project, table, root=str(home)).train) == 16
    table.write_text(text(path=lambda p: str(home / p)))
    assert len(load(project, table).train) == 16


def test_addresses_come_from_the_same_reader(tmp_path):
    table = tmp_path / 'urls.tsv'
    table.write_bytes('Class\tImage URL\nbúho\thttps://a.example/1.jpg\n'.encode('utf-16'))
    assert [hit.address for hit in urls('búho', 1, None, table)] == ['https://a.example/1.jpg']


OWN = {
    'split': (['train', 'val', 'test'], [8, 8, 8]),
    'Set': (['Training', 'VALID', 'Testing'], [8, 8, 8]),
    'subset': (['train', 'dev', 'test'], [8, 8, 8]),
    'fold': (['train', 'validation', 'train'], [16, 8, 0]),
    'partition': (['train', 'test', 'train'], [14, 2, 8]),
    'usage': (['Training', 'Testing', 'Training'], [14, 2, 8]),
    'side': (['train', 'val', 'test'], [8, 8, 8]),
    'is_valid': (['True', 'False', 'false'], [16, 8, 0]),
    'IS TEST': (['1', '0', '0'], [14, 2, 8]),
    'is_train': (['yes', 'no', 'yes'], [14, 2, 8]),
    'test': (['0', '1', '0'], [14, 2, 8]),
}


@pytest.mark.parametrize('column', OWN)
def test_a_tables_own_split_is_taken_and_said(project, column):
    words, sizes = OWN[column]
    splits = load(
        project, write(project, text(f'file,label,{column}', more=lambda i: f',{words[i % 3]}'))
    )
    assert [len(pairs) for pairs in splits] == sizes
    assert f'its own split, from {column}' in splits.notes[0]


@pytest.mark.parametrize(
    'column', ['split', 'SET', 'subset', 'Fold', 'is_valid', 'is_test', 'isval', 'side']
)
def test_a_column_that_looks_like_a_split_and_is_none_is_refused_by_name(project, column):
    table = write(project, text(f'file,label,{column}', more=lambda i: f',{i % 5 + 3}'))
    with pytest.raises(ValueError, match=f'the column {column} looks like a split'):
        load(project, table)


FOLDERS = {
    'Train/a Train/b Valid/a Valid/b Test/a Test/b': ([8, 8, 8], 'ab', ''),
    'training/a training/b dev/a dev/b testing/a testing/b': ([8, 8, 8], 'ab', ''),
    'train/a train/b test/a test/b': ([6, 2, 8], 'ab', 'no validation split'),
    'train/a train/b val/a val/b': ([8, 8, 0], 'ab', 'no test split'),
    'train/a train/b val/a val/b test': ([8, 8, 0], 'ab', 'without label folders'),
    'train/a train/b val/a test/a test/b': ([8, 4, 8], 'ab', 'val has no image of b'),
    'train/a train/b val/a val/b test/a test/c': (
        [8, 8, 4],
        'ab',
        'test: 4 images of c are left out',
    ),
    'train/a train/b val/a val/b unlabelled': ([8, 8, 0], 'ab', 'beside the splits'),
    'train/a train/b': ([6, 2, 0], 'ab', 'no validation split'),
    'train bus plane': (None, ['bus', 'plane', 'train'], ''),
    'val control': (None, ['control', 'val'], ''),
    'test/day1 test/day2 exam/day3': (None, ['exam', 'test'], ''),
    'train/night bus/day': (None, ['bus', 'train'], ''),
    'train/a train/b test extras': 'are train and test splits or labels',
    'train/a train/b val bus/day': 'are train and val splits or labels',
    'train val': 'train holds no label folders',
    'train/a val/a': 'at least two are needed',
    'train/a train/b Training/a val/a': 'might be the train split',
}


@pytest.mark.parametrize('tree', FOLDERS)
def test_folders_are_read_by_what_they_hold(project, tmp_path, tree):
    rng = np.random.default_rng(1)
    for folder in tree.split():
        (tmp_path / folder).mkdir(parents=True)
        for i in range(4 if '/' in folder and FOLDERS[tree][0] else 12):
            Image.fromarray(rng.integers(0, 256, (48, 48, 3), np.uint8)).save(
                tmp_path / folder / f'{i}.png'
            )
    if isinstance(FOLDERS[tree], str):
        with pytest.raises(ValueError, match=FOLDERS[tree]):
            load(project, tmp_path)
        return
    sizes, labels, note = FOLDERS[tree]
    splits = load(project, tmp_path)
    assert splits.labels == list(labels) and note in ' '.join(splits.notes)
    assert sizes is None or [len(pairs) for pairs in splits] == sizes
