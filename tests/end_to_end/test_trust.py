"Results are of the images and settings that are there now, and nothing of the user's is lost."

import signal
import subprocess
import time

import pytest

from birdsort.aviary.pencil import draw_bird
from birdsort.aviary.sample_project import lesson_project
from birdsort.core.inventory import sync
from birdsort.core.project import hold
from birdsort.core.scaffold import new_project
from birdsort.datasets.signatures import train_signature
from birdsort.split import split
from conftest import CLI, ENV, as_json, birdsort, one_line


def edit(project, old, new):
    toml = project.path / 'birdsort.toml'
    assert old in toml.read_text()
    toml.write_text(toml.read_text().replace(old, new))


def test_changed_images_under_old_names_change_every_signature(split_birds):
    before = train_signature(split_birds)
    for i, f in enumerate((split_birds.images / 'garza').iterdir()):
        draw_bird('owl', i).save(f)
    one_line(birdsort('split', '--project', split_birds.path), '--force')
    split(split_birds, force=True)
    assert train_signature(split_birds) != before


def test_a_run_is_never_judged_on_another_split(split_birds):
    p = ['--project', split_birds.path]
    as_json('train', *p)
    edit(split_birds, '#seed = 42', 'seed = 7')
    as_json('split', '--force', *p)
    for verb in ('evaluate', 'export'):
        one_line(birdsort(verb, *p), 'another split', 'birdsort train')
    assert 'train' not in as_json('status', *p)['done']


def test_a_run_keeps_its_own_settings(split_birds):
    p = ['--project', split_birds.path]
    as_json('train', *p)
    first = as_json('evaluate', *p)
    edit(split_birds, 'image_size = 64', 'image_size = 96')
    edit(split_birds, '"test_resnet"', '"resnet34"')
    assert as_json('export', '--formats', 'pickle', *p)['run'] == first['run'] == '001_test_resnet'


def test_two_at_once(split_birds):
    with hold(split_birds):
        for verb in ('scrape -n 30', 'train', 'clean --apply', 'clean --undo'):
            one_line(birdsort(*verb.split(), '--project', split_birds.path), 'another birdsort')
        for verb in ('status', 'clean'):
            as_json(verb, '--project', split_birds.path)  # looking is allowed
    as_json('train', '--project', split_birds.path)


def test_run_leaves_a_split_of_the_users_alone(birds):
    mine = birds.split / 'train' / 'garza' / 'only_copy.jpg'
    mine.parent.mkdir(parents=True)
    draw_bird('owl', 1).save(mine)
    one_line(birdsort('run', '--project', birds.path), '--force')
    assert mine.is_file()


def test_origins_survive_the_file_manager(birds):
    rows = birds.catalogue.rows(state='kept')
    birds.images.rename(birds.path / 'elsewhere')
    sync(birds)
    assert not birds.catalogue.rows(state='kept')
    (birds.path / 'elsewhere').rename(birds.images)
    sync(birds)
    assert {(r['label'], r['name'], r['address']) for r in birds.catalogue.rows(state='kept')} == {
        (r['label'], r['name'], r['address']) for r in rows
    }
    name = rows[0]['name']
    (birds.images / rows[0]['label'] / name).rename(birds.images / 'garza' / name)
    sync(birds)
    (moved,) = birds.catalogue.rows(name=name)
    assert (moved['label'], moved['address']) == ('garza', rows[0]['address'])


def test_a_image_moved_to_a_label_that_knows_its_address(birds):
    row = birds.catalogue.rows(label='cacatua')[0]
    birds.catalogue.add(
        [dict(label='garza', address=row['address'], state='rejected', reason='http 404')]
    )
    (birds.images / 'cacatua' / row['name']).rename(birds.images / 'garza' / row['name'])
    for _ in range(2):
        sync(birds)
    (moved,) = birds.catalogue.rows(label='garza', name=row['name'], state='kept')
    assert moved['query'] == row['query'] and len(birds.catalogue.rows(state='kept')) == 60


def test_a_stale_split_is_not_trained_on(split_birds):
    sorted((split_birds.images / 'garza').iterdir())[0].unlink()
    one_line(birdsort('train', '--project', split_birds.path), 'birdsort split --force')


def test_edited_notebooks_are_kept(tmp_path):
    project = new_project(tmp_path / 'birds')
    notebook = project.path / 'notebooks/02_clean.ipynb'
    notebook.write_text('MY WORK')
    (project.path / 'birdsort.toml').unlink()
    new_project(tmp_path / 'birds')
    assert notebook.read_text() == 'MY WORK'


@pytest.mark.parametrize('how', ['SIGTERM', 'SIGHUP'])
def test_a_closed_terminal_leaves_no_browser(tmp_path, short, how):
    project = lesson_project(0, tmp_path / 'birds', images_per_label=120)
    run = subprocess.Popen(
        [*CLI, 'scrape', '--project', str(project.path)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**ENV, 'TMPDIR': str(short)},
    )
    while not list(short.glob('birdsort-browser-*/*')):
        time.sleep(0.05)
        assert run.poll() is None
    time.sleep(1)
    run.send_signal(getattr(signal, how))
    said = run.communicate(timeout=60)[1]
    assert run.returncode == 130, said
    assert not list(short.glob('birdsort-browser-*'))
    left = subprocess.run(
        ['pgrep', '-f', f'{tmp_path}|{short}'], capture_output=True, text=True
    ).stdout.split()
    assert left == []


def test_a_broken_image_is_named_before_it_stops_training(split_birds):
    broken = sorted((split_birds.split / 'train' / 'garza').iterdir())[0]
    broken.write_bytes(broken.read_bytes()[:2000])
    one_line(birdsort('train', '--project', split_birds.path), broken.name, 'birdsort clean')


def test_lying_and_transparent_images_are_split_as_they_are_seen(birds):
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6
    draw_bird('grey heron', 5).resize((90, 60)).save(
        birds.images / 'garza' / 'lying.jpg', exif=exif
    )
    Image.new('RGBA', (50, 50), (0, 0, 0, 0)).save(birds.images / 'garza' / 'clear.png')
    (birds.images / 'leer').mkdir()
    split(birds)
    lying, clear = next(birds.split.rglob('lying.jpg')), next(birds.split.rglob('clear.png'))
    assert Image.open(lying).size == (60, 90) and Image.open(clear).convert('RGB').getpixel(
        (9, 9)
    ) == (255, 255, 255)
    assert sorted(d.name for d in (birds.split / 'train').iterdir()) == [
        'buitre',
        'cacatua',
        'garza',
    ]


@pytest.mark.parametrize(
    'text, words',
    [
        (
            '[labels]\na = ["x"]\nb = ["y"]\nbatch_size = 16',
            ['batch_size = 16', 'above the first [table]'],
        ),
        ('ratio = [nan, 0.5, 0.5]', ['ratio', 'at least 0.01']),
        ('labels = {con = ["x"], b = ["b"]}', ["'con'", 'Windows']),
    ],
)
def test_more_settings_that_make_no_sense(tmp_path, text, words):
    (tmp_path / 'birdsort.toml').write_text(text)
    one_line(birdsort('status', '--project', tmp_path), *words)


def test_names_after_options_and_named_twice(tmp_path):
    assert set(as_json('new', tmp_path / 'a', '-n', 30, 'stork', 'heron')['labels']) == {
        'stork',
        'heron',
    }
    one_line(birdsort('new', tmp_path / 'b', 'stork', 'stork', 'heron'), "'stork' is named twice")
    one_line(
        birdsort('scrape', '-n', 0, '--project', tmp_path / 'a'), 'images_per_label = 0', code=2
    )
    one_line(
        birdsort('scrape', '--source', 'google=www.google.com', '--project', tmp_path / 'a'),
        'source',
        'https://',
        code=2,
    )
    one_line(birdsort('demo', '--out', tmp_path / 'a'), 'no demo', '--out')


def test_letters_that_a_terminal_lacks(tmp_path):
    new_project(tmp_path / 'birds', labels={'журавль': ['crane'], 'हिन्दी': ['x']})
    for extra in ([], ['--json']):
        done = birdsort(
            'status', '--project', tmp_path / 'birds', *extra, env={'PYTHONIOENCODING': 'cp1252'}
        )
        assert done.returncode == 0, done.stderr
