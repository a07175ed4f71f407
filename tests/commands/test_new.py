"`birdsort new`: labels from names, from a folder, from an answer; a script is never kept waiting."

import os
import pty
import subprocess
import sys
import time

import pytest
from PIL import Image

from birdsort import Project
from birdsort.core.scaffold import new_project
from conftest import CLI, ENV, as_json, birdsort, one_line

FEW = {'images_per_label', 'source', 'architecture', 'image_size', 'epochs', 'stork', 'heron'}


@pytest.fixture
def photos(tmp_path):
    "A folder with three storks and a heron."
    for name in ('stork/1', 'stork/2', 'stork/3', '002.Grey_Heron/1'):
        file = tmp_path / 'photos' / f'{name}.png'
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (40, 40), 'navy').save(file)
    (tmp_path / 'photos' / 'empty').mkdir()
    return tmp_path / 'photos'


def test_a_folder_brings_its_labels(photos, tmp_path):
    made = as_json('new', tmp_path / 'ten', '--source', f'folder={photos}')
    assert made['labels'] == {'002.Grey_Heron': ['Grey Heron'], 'stork': ['stork']}
    settings = Project(tmp_path / 'ten').folder.settings
    assert settings.images_per_label == 3 and settings.source == (f'folder={photos}',)
    typed = as_json('new', tmp_path / 'two', '--source', f'google,folder={photos}', '-n', 9)
    assert typed['labels'] == made['labels']
    assert Project(tmp_path / 'two').folder.settings.images_per_label == 9
    named = as_json('new', tmp_path / 'named', 'owl', 'stork', '--source', f'folder={photos}')
    assert list(named['labels']) == ['owl', 'stork']
    one_line(birdsort('new', tmp_path / 'three', photos), '--source folder=')
    one_line(birdsort('new', tmp_path / 'four', '--source', 'folder=nowhere'), 'nowhere')
    one_line(birdsort('new', tmp_path / 'five', '--source', f'folder={photos / "stork"}'), 'stork')
    assert Project.new(tmp_path / 'six', source=f'folder={photos}').folder.settings == settings


def test_a_folder_that_is_split_is_trained_on_as_it_is(photos, tmp_path):
    photos.rename(tmp_path / 'train')
    (tmp_path / 'data').mkdir()
    (tmp_path / 'train').rename(tmp_path / 'data' / 'train')
    made = as_json('new', tmp_path / 'ten', '--source', f'folder={tmp_path / "data"}')
    assert len(made['labels']) == 2
    assert Project(tmp_path / 'ten').folder.settings.train.data == str(tmp_path / 'data')


def test_a_script_is_told_what_to_type(tmp_path):
    words = ['stork heron', '--source folder=FOLDER', '--example']
    for source in ([], ['--source', 'aviary']):
        one_line(birdsort('new', tmp_path / 'a', *source), *words)
    with pytest.raises(ValueError, match='example=True'):
        Project.new(tmp_path / 'a')
    assert not (tmp_path / 'a').exists()
    one_line(birdsort('new', tmp_path / 'a', 'owl', '--example'), 'leave out')


def test_a_newcomer_sees_what_a_newcomer_needs(tmp_path):
    text = (
        new_project(tmp_path / 'a', labels=dict(stork=['stork'], heron=['heron'])).path
        / 'birdsort.toml'
    ).read_text()
    lines = [line for line in text.splitlines() if '=' in line and line[0] not in '#[']
    assert {line.split(' ')[0].strip('"') for line in lines} == FEW
    assert text.splitlines().index('"heron" = ["heron"]') < 30


def on_a_terminal(argv, answers, env=None):
    "Run a verb on a terminal where somebody types -> (exit code, what the terminal shows)."
    main, side = pty.openpty()
    process = subprocess.Popen(
        [*CLI, *map(str, argv)], stdin=side, stdout=side, stderr=side, env=ENV | (env or {})
    )
    os.close(side)
    os.write(main, ''.join(answers).encode())
    said, end = b'', time.monotonic() + 60
    while time.monotonic() < end:
        try:
            piece = os.read(main, 4096)
        except OSError:  # Everybody has closed the terminal
            break
        if not piece:
            break
        said += piece
    return process.wait(60), said.decode()


@pytest.mark.skipif(sys.platform == 'win32', reason='has no such terminals')
def test_on_a_terminal_it_asks(photos, tmp_path):
    code, said = on_a_terminal(['new', tmp_path / 'a'], ['owl\n', 'white stork, grey heron\n'])
    assert code == 0 and 'tell apart?' in said and 'two labels' in said
    assert list(Project(tmp_path / 'a').folder.settings.labels) == ['white stork', 'grey heron']
    code, _ = on_a_terminal(['new', tmp_path / 'b'], [f'{photos}\n'])
    assert code == 0 and Project(tmp_path / 'b').folder.settings.source == (f'folder={photos}',)
    code, said = on_a_terminal(['new', tmp_path / 'c'], ['\x04'])
    assert code == 1 and '--example' in said
    code, said = on_a_terminal(['new', tmp_path / 'c'], [], dict(JPY_PARENT_PID='1'))
    assert code == 1 and 'tell apart?' not in said, 'nobody can answer behind the ! of a notebook'


LAB = """
import sys, os
print(os.getcwd(), *sys.argv[1:], sep='|', flush=True)
sys.exit(7 if 'fail' in os.getcwd() else 0)"""


def test_lab_opens_the_first_notebook(tmp_path, photos):
    "A stand-in for JupyterLab says how it was called."
    (tmp_path / 'jupyterlab').mkdir()
    (tmp_path / 'jupyterlab' / '__main__.py').write_text(LAB)
    (tmp_path / 'jupyterlab' / '__init__.py').touch()
    env = {'PYTHONPATH': f'{tmp_path}{os.pathsep}{ENV["PYTHONPATH"]}'}
    for name in ('birds', 'fail'):
        as_json('new', tmp_path / name, '--source', f'folder={photos}')
    done = birdsort('lab', '--project', tmp_path / 'birds', '--port', 8899, env=env)
    assert done.returncode == 0, done.stderr
    where, first, *options = done.stdout.split('|')
    assert where == str(tmp_path / 'birds') and first.endswith('notebooks/00_start_here.ipynb')
    assert {'--port=8899', f'--ServerApp.root_dir={where}'} <= {o.strip() for o in options}
    done = birdsort('lab', '--project', tmp_path / 'fail', env=env)
    assert done.returncode == 1 and 'exit code 7' in done.stderr
