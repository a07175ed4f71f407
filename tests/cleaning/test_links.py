"Folders that are links: nothing is moved through them, nothing is said to be moved, and no decision is forgotten."

import shutil

import pytest

from birdsort.cleaning.decisions import Choice, Decisions, apply
from birdsort.core.inventory import sync
from birdsort.core.moves import Move, move_images, undo
from birdsort.core.project import Project
from birdsort.core.scaffold import new_project
from conftest import files

LABELS = {'stork': ['white stork'], 'heron': ['grey heron']}


@pytest.fixture
def project(tmp_path):
    project = new_project(tmp_path / 'birds', labels=LABELS)
    for label in LABELS:
        (project.images / label).mkdir(parents=True)
        for i in range(3):
            (project.images / label / f'{i}.jpg').write_bytes(f'{label} {i}'.encode())
    sync(project)
    return project


def by_link(project, folder):
    "Put a folder of the project elsewhere, and a link in its place."
    there = project.path.parent / 'disk' / folder
    there.parent.mkdir(parents=True, exist_ok=True)
    (project.path / folder).mkdir(parents=True, exist_ok=True)
    shutil.move(project.path / folder, there)
    (project.path / folder).symlink_to(there)


def ids(project):
    return {(r['label'], r['name']): r['id'] for r in project.catalogue.rows()}


@pytest.mark.parametrize('folder', ['images', 'removed', 'images/stork', 'removed/stork'])
@pytest.mark.parametrize('how', ['move', 'apply', 'clean'])
def test_nothing_is_moved_through_a_link(project, folder, how):
    by_link(project, folder)
    stork = ids(project)['stork', '0.jpg']
    before, disk = files(project.path), files(project.path.parent / 'disk')
    Decisions(project).choose([stork], 'remove')
    decided = Decisions(project).choices()
    with pytest.raises(ValueError, match='is a link to .*inside a project alone'):
        if how == 'move':
            move_images(project, [Move(stork, 'removed', 'stork')])
        elif how == 'apply':
            apply(project)
        else:
            apply(project, {stork: Choice('remove')})
    assert Decisions(project).choices() == decided
    after = {name: data for name, data in files(project.path).items() if name in before}
    assert [n for n in before if n.endswith('.jpg') and after.get(n) != before[n]] == []
    assert files(project.path.parent / 'disk') == disk


@pytest.mark.parametrize('folder', ['images', 'removed', 'images/stork', 'removed/stork'])
def test_what_was_moved_before_the_link_is_not_said_to_be_undone(project, folder):
    stork = ids(project)['stork', '0.jpg']
    assert move_images(project, [Move(stork, 'removed', 'stork')]) == 1
    by_link(project, folder)
    with pytest.raises(ValueError, match='is a link to'):
        undo(project)
    (project.path / folder).unlink()
    shutil.move(project.path.parent / 'disk' / folder, project.path / folder)
    assert undo(project)['moved'] == 1
    assert (project.images / 'stork' / '0.jpg').is_file()


def test_other_labels_are_moved(project):
    by_link(project, 'images/stork')
    assert move_images(project, [Move(ids(project)['heron', '0.jpg'], 'removed', 'heron')]) == 1


def test_a_project_may_be_a_link_itself(project, tmp_path):
    (tmp_path / 'elsewhere').symlink_to(project.path)
    linked = Project(tmp_path / 'elsewhere')
    Decisions(linked).choose([ids(linked)['heron', '1.jpg']], 'remove')
    assert apply(linked)['removed'] == 1
    assert undo(linked)['moved'] == 1


def test_a_file_that_goes_before_its_move_is_not_counted(project, monkeypatch, capsys):
    "Its decision stays, and the others are carried out."
    gone, moved = (ids(project)['stork', f'{i}.jpg'] for i in (0, 1))
    Decisions(project).choose([gone, moved], 'remove')

    def late(project, moves, name):
        (project.images / 'stork' / '0.jpg').unlink()
        return move_images(project, moves, name)

    monkeypatch.setattr('birdsort.cleaning.decisions.move_images', late)
    assert apply(project) == dict(removed=1, moved=0, restored=0)
    assert [*Decisions(project).choices()] == [gone]
    assert '1 images were not moved' in capsys.readouterr().err
