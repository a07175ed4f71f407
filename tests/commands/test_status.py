"What `birdsort status` says comes next can be typed as it stands, from the first image on, and in a copy, too."

import shlex
import shutil

from birdsort.aviary.sample_project import lesson_project
from conftest import birdsort


def next_words(project):
    "The words of the command that `status` names."
    said = birdsort('status', '-p', project).stdout.splitlines()
    (line,) = [line for line in said if line.startswith('next: birdsort ')]
    return shlex.split(line.removeprefix('next: birdsort '))


def test_next_can_be_typed_in_every_state(tmp_path):
    gallery = lesson_project(14, tmp_path / 'my birds').images
    home = tmp_path / 'birds of mine'  # A space has to be quoted
    source = (f'folder={gallery}',)
    lesson_project(0, home, images_per_label=14, source=source, epochs=(1, 0))
    stages = []
    while not stages or stages[-1] != 'predict':
        words = next_words(home)
        assert words[0] not in stages, stages
        stages.append(words[0])
        done = birdsort(*words)
        assert done.returncode == 0, (words, done.stderr)
    assert stages == ['scrape', 'clean', 'split', 'train', 'evaluate', 'export', 'predict']
    copied = tmp_path / 'copied'
    shutil.copytree(
        home, copied, copy_function=shutil.copyfile
    )  # As from an archive, with times of today
    shutil.rmtree(home)
    assert next_words(copied)[0] == 'predict'
