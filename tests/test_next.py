"Images without labels: what is asked about, what is not, and how what was accepted joins the project."

import csv
import os
import shutil

import numpy as np
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

import birdsort.next as queueing
from birdsort.core.project import Project
from birdsort.next import NextView, accept_next, choose_images, find_new, next_images, open_queue
from birdsort.sources.browser import browser
from conftest import as_json, birdsort, one_line, until
from helpers.birds import between, tinted


@pytest.fixture(scope='module')
def card(tmp_path_factory):
    "Clear birds, birds between two labels, copies, what is no bird, and what is no image."
    folder = tmp_path_factory.mktemp('card')
    (folder / '100CANON').mkdir()
    for i, label in enumerate(['cacatua', 'garza', 'buitre'] * 4):
        tinted(label, 500 + i).save(folder / '100CANON' / f'clear_{i:02}.png')
    for i in range(6):
        between('garza', 'buitre', 0.5, 600 + i).save(folder / f'between_{i}.png')
    image = between('garza', 'buitre', 0.5, 600)
    image.resize((image.width // 2, image.height // 2)).save(folder / 'small.jpg', quality=80)
    (folder / 'page.jpg').write_text('<html></html>')
    return folder


@pytest.fixture
def project(exported_birds, tmp_path):
    return Project(shutil.copytree(exported_birds.path, tmp_path / 'birds'))


def table_of(result):
    with open(result['table'], encoding='utf-8') as file:
        return list(csv.DictReader(file))


def origin(row):
    "The file of the user from which an image of the catalogue is."
    return (row['address'] or '').rpartition('#')[0].rpartition('/')[2]


def joined(project, card):
    "Images of the catalogue that are from the card."
    rows = project.catalogue.rows(state='kept')
    return {origin(row): row for row in rows if str(card) in (row['address'] or '')}


def test_doubt_is_asked_about_and_copies_are_not(project, card):
    before = project.catalogue.rows()
    result = next_images(project, card, 6, quiet=True)
    assert len(result['waiting']) == 6
    assert result['copies'] == 1
    assert result['left_out'] == ['left out 1 file (page.jpg): not an image: an HTML page']
    assert project.catalogue.rows() == before, 'nothing joins before somebody has decided'
    rows = table_of(result)
    assert len(rows) == 18
    assert {row['kind'] for row in rows} <= {'ask', 'sure', 'none of these'}
    asked, sure = (
        [
            float(row['probability']) - float(row['second_probability'])
            for row in rows
            if row['kind'] == kind
        ]
        for kind in ('ask', 'sure')
    )
    assert max(asked) <= np.median(asked + sure)


def test_what_was_removed_or_refused_is_not_asked_about_again(project, card):
    next_images(project, card, 4, quiet=True)
    view = NextView(project)
    waiting = [row['id'] for row in view.project.catalogue.rows(state='kept')]
    view.decisions.choose(waiting[:2], 'remove')
    view.decisions.choose(waiting[2:], 'keep')
    view.apply_all()
    assert view.message.startswith('2 images have joined images/')
    again = find_new(project, card, quiet=True)
    assert len(again.files) == 14
    assert len(again.copies) == 1 + 4
    for row in joined(project, card).values():
        (project.images / row['label'] / row['name']).unlink()
    assert len(find_new(project, card, quiet=True).files) == 16


@pytest.mark.parametrize('step', range(1, 5))
def test_killed_at_any_step_it_goes_on(project, card, monkeypatch, step):
    next_images(project, card, 4, quiet=True)
    queue = open_queue(project)
    view = NextView(project)
    view.decisions.choose([row['id'] for row in queue.catalogue.rows(state='kept')], 'keep')
    calls = []

    def killed(folder):
        calls.append(folder)
        if len(calls) == step:
            raise KeyboardInterrupt

    monkeypatch.setattr(queueing, 'sync_folder', killed)
    with pytest.raises(KeyboardInterrupt):
        accept_next(project)
    monkeypatch.undo()
    accept_next(project)
    found = joined(project, card)
    assert len(found) == 4
    assert {row['source'] for row in found.values()} == {'folder'}
    for row in found.values():
        assert (project.images / row['label'] / row['name']).is_file()
    assert len(project.catalogue.rows(state='asked')) == 0
    assert open_queue(project).catalogue.rows(state='kept') == []
    attribution = (project.path / 'attribution.csv').read_text()
    assert all(row['title'] in attribution for row in found.values())


def test_killed_before_the_file_has_moved(project, card, monkeypatch):
    next_images(project, card, 2, quiet=True)
    view = NextView(project)
    view.decisions.choose([row['id'] for row in view.project.catalogue.rows(state='kept')], 'keep')
    with monkeypatch.context() as patch:
        patch.setattr(queueing.Path, 'replace', lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            accept_next(project)
    assert accept_next(project)['accepted'] != {}
    assert len(joined(project, card)) == 2


def test_the_page_is_clicked_and_its_table_is_taken(project, card, tmp_path):
    p = ('--project', project.path)
    done = birdsort('next', card, '-n', '4', *p)
    assert done.returncode == 0, done.stderr
    assert '4 wait in' in done.stdout and 'birdsort next --decisions FILE' in done.stdout
    assert '4 images wait in next/' in birdsort('status', *p).stdout
    saved = tmp_path / 'decisions.csv'
    download = dict(behavior='allow', downloadPath=str(tmp_path))
    with browser() as page:
        page.execute_cdp_cmd('Browser.setDownloadBehavior', download)
        page.get((project.path / 'next' / 'next.html').as_uri())
        tiles = page.find_elements(By.TAG_NAME, 'figure')
        assert len(tiles) == 4
        assert tiles[0].get_attribute('data-label') in tiles[0].text
        tiles[0].click()  # Accepts
        brush = Select(page.find_element(By.TAG_NAME, 'select'))
        labels = project.settings.labels
        other = next(label for label in labels if label != tiles[1].get_attribute('data-label'))
        brush.select_by_visible_text(other)
        tiles[1].click()
        brush.select_by_visible_text('remove')
        tiles[2].click()
        assert '--decisions' in page.find_element(By.TAG_NAME, 'header').text
        page.find_element(By.TAG_NAME, 'button').click()
        until(saved.exists)
    result = as_json('next', '--decisions', saved, *p)
    assert (sum(result['accepted'].values()), result['refused'], result['waiting']) == (2, 1, 1)
    assert result['corrected'] == 1 and result['accepted'][other] >= 1
    assert as_json('next', '--decisions', saved, *p)['accepted'] == {}
    assert len(joined(project, card)) == 2


def test_bad_input_is_one_line(project, card, tmp_path):
    p = ('--project', project.path)
    (tmp_path / 'empty').mkdir()
    one_line(birdsort('next', tmp_path / 'empty', *p), 'there is no image in it')
    one_line(birdsort('next', tmp_path / 'nowhere', *p), 'nowhere', 'is not a folder')
    one_line(birdsort('next', project.images, *p), 'are in the project already')
    one_line(birdsort('next', *p), 'name a folder')
    one_line(birdsort('next', card, card, *p), 'one folder at a time')
    one_line(birdsort('next', card, '-n', '0', *p), 'n = 0')
    one_line(birdsort('next', card, '--run', '009_x', *p), '009_x')
    (tmp_path / 'mine.csv').write_text('label,name,decision\ngarza,1.jpg,grazza\n')
    one_line(birdsort('next', '--decisions', tmp_path / 'mine.csv', *p), "'grazza'", 'line 2')
    assert not list((project.path / 'next').glob('images/*/*'))


def undecided(queue):
    return sorted(row['id'] for row in queue.catalogue.rows(state='kept'))


def test_what_is_marked_and_not_applied_is_not_accepted(project, card, tmp_path):
    next_images(project, card, 4, quiet=True)
    view = NextView(project)
    first, second, third, _ = queue_rows = view.project.catalogue.rows(state='kept')
    view.decisions.choose([first['id']], 'remove')
    other = next(label for label in project.settings.labels if label != second['label'])
    view.decisions.choose([second['id']], 'move', other)
    table = tmp_path / 'mine.csv'
    table.write_text(f"label,name,decision\n{third['label']},{third['name']},keep\n")
    result = accept_next(project, table)
    assert (sum(result['accepted'].values()), result['refused'], result['waiting']) == (1, 0, 3)
    result = accept_next(project)
    assert (result['accepted'], result['refused'], result['corrected']) == ({other: 1}, 1, 1)
    assert len(queue_rows) == 4 and result['waiting'] == 1


def test_asked_again_each_image_waits_once_under_a_new_number(project, card):
    next_images(project, card, 4, quiet=True)
    queue = open_queue(project)
    before = undecided(queue)
    view = NextView(project)
    view.decisions.choose(before[:1], 'keep')
    assert accept_next(project)['waiting'] == 3
    [accepted] = joined(project, card).values()
    (project.images / accepted['label'] / accepted['name']).unlink()
    for _ in range(2):
        result = next_images(project, card, 17, quiet=True)
        waiting = [(row['label'], row['name']) for row in result['waiting']]
        assert len(waiting) == len(set(waiting)) > 4
        page = (project.path / 'next' / 'next.html').read_text()
        assert page.count('<figure') == len(waiting)
    assert accept_next(project)['accepted'] == {}, 'the old choice is of an earlier time'


def test_a_mistake_leaves_the_queue_as_it_was(project, card, tmp_path):
    next_images(project, card, 4, quiet=True)
    queue = open_queue(project)
    before = undecided(queue)
    mine = queue.images / 'garza' / 'mine.jpg'
    mine.parent.mkdir(exist_ok=True)
    tinted('garza', 999).save(mine)
    with pytest.raises(FileNotFoundError):
        next_images(project, tmp_path / 'typo', quiet=True)
    (tmp_path / 'empty').mkdir()
    with pytest.raises(ValueError, match='no image'):
        next_images(project, tmp_path / 'empty', quiet=True)
    assert set(before) <= set(undecided(queue))
    rows = (project.path / 'next' / 'next.csv').read_text().splitlines()
    rows[1] = rows[1].replace(',,', ',keep,', 1)
    (project.path / 'next' / 'next.csv').write_text('\n'.join(rows) + '\n')
    next_images(project, card, 4, quiet=True)
    assert 'keep' in (project.path / 'next' / 'decided.csv').read_text()
    assert accept_next(project)['accepted'] == {} and mine.is_file()


def test_equal_files_are_known_whatever_counts_as_a_copy(project, card):
    file = project.path / 'birdsort.toml'
    file.write_text(file.read_text().replace('#duplicates = "standard"', 'duplicates = "off"'))
    assert project.settings.duplicates == 'off'
    next_images(project, card, 4, quiet=True)
    view = NextView(project)
    waiting = undecided(view.project)
    view.decisions.choose(waiting[:2], 'remove')
    view.decisions.choose(waiting[2:], 'keep')
    view.apply_all()
    found = find_new(project, card, quiet=True)
    assert (len(found.files), len(found.copies)) == (19 - 4, 4)
    assert find_new(project, project.images, quiet=True).files == []


def test_the_project_itself_is_no_folder_of_new_images(project, tmp_path):
    (project.reports / 'plot').mkdir(parents=True, exist_ok=True)
    tinted('garza', 77).save(project.reports / 'plot' / 'plot.png')
    assert find_new(project, project.path.parent, quiet=True).files == []
    odd = tmp_path / 'odd'
    odd.mkdir()
    (project.reports / 'plot' / 'plot.png').rename(odd / 'plot.png')
    with open(os.fsencode(odd) + b'/caf\xe9.png', 'wb') as out:
        out.write((odd / 'plot.png').read_bytes())
    found = find_new(project, odd, quiet=True)
    assert [file.name for file in found.files] == ['plot.png']
    assert len(found.left_out) == 1


def test_labels_of_yesterday(project, card):
    next_images(project, card, 6, quiet=True)
    gone = next(row['label'] for row in open_queue(project).catalogue.rows(state='kept'))
    view = NextView(project)
    view.decisions.choose(undecided(view.project), 'keep')
    file = project.path / 'birdsort.toml'
    lines = file.read_text().splitlines()
    file.write_text(
        '\n'.join(line for line in lines if not line.startswith((gone, f'"{gone}"'))) + '\n'
    )
    assert gone not in project.settings.labels
    assert gone not in accept_next(project)['accepted']
    assert not [row for row in joined(project, card).values() if row['label'] == gone]
    with pytest.raises(ValueError, match='no label in birdsort.toml any more'):
        next_images(project, card, 6, quiet=True)


def test_a_row_without_a_name_and_one_that_has_left_are_told(project, card, tmp_path):
    result = next_images(project, card, 3, quiet=True)
    first, second, _ = [row for row in table_of(result) if row['name']]
    rows = [f'{row["label"]},{row["name"]},keep' for row in (first, second)]
    table = tmp_path / 'mine.csv'
    table.write_text('\n'.join(['label,name,decision', rows[0]]) + '\n')
    assert accept_next(project, table)['skipped'] == []
    table.write_text('\n'.join(['label,name,decision', *rows, 'garza,,keep']) + '\n')
    done = birdsort('next', '--decisions', table, '--project', project.path)
    assert done.returncode == 0, done.stderr
    accepted, nameless, gone = done.stdout.splitlines()
    assert accepted.startswith('1 image has joined images/')
    assert 'mine.csv, line 4: left out' in nameless
    assert gone.startswith('1 decision left out') and first['name'] in gone


@pytest.mark.parametrize('n', [1, 7, 60, 100])
def test_as_many_are_chosen_as_there_are(n):
    rng = np.random.default_rng(n)
    probabilities = rng.dirichlet(np.ones(5), 60)
    chosen = choose_images(probabilities, rng.normal(size=(60, 8)), n)
    assert len(chosen) == len(set(chosen.tolist())) == min(n, 60)


def test_a_table_alone(project, card):
    result = as_json('next', card, '-n', '3', '--no-look', '--project', project.path)
    assert result['page'] == '' and not (project.path / 'next' / 'next.html').exists()
    assert len([row for row in table_of(result) if row['name']]) == 3
