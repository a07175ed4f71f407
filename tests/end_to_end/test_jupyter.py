"The Cleaner in a real JupyterLab, clicked by a real browser: Jupyter answers clicks in a thread of its own."

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from birdsort.sources.browser import browser
from conftest import ENV, files, until


@pytest.fixture
def lab(birds):
    "JupyterLab on a project's folder -> its address."
    jupyter = Path(sys.executable).parent / 'jupyter'
    server = subprocess.Popen(
        [
            jupyter,
            'lab',
            '--no-browser',
            '--allow-root',
            '--port=0',
            '--IdentityProvider.token=',
            '--LabApp.expose_app_in_browser=True',
            '--LabApp.news_url=',
        ],
        cwd=birds.path,
        stderr=subprocess.PIPE,
        text=True,
        env=ENV,
    )
    address = next(m[0] for l in server.stderr if (m := re.search(r'http://localhost:\d+/lab', l)))
    yield address
    server.terminate()
    server.communicate(timeout=30)


class Page:
    "What a person does to the Cleaner: every click and key is the browser's own."

    def __init__(self, driver):
        self.driver = driver

    def open(self, address):
        self.driver.get(address)
        until(
            lambda: self.driver.execute_script(
                "return window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
                " && document.querySelector('.jp-Notebook .jp-Cell') !== null"
            )
        )
        self.run_all()

    def run_all(self):
        self.driver.execute_script("jupyterapp.commands.execute('runmenu:run-all')")
        until(lambda: len(self.tiles()) == 20)
        until(
            lambda: self.driver.execute_script(
                "return [...document.querySelectorAll('.birdsort-grid img')].every(i => i.naturalWidth > 50)"
            )
        )  # all thumbnails are shown

    def tiles(self):
        return self.driver.find_elements(By.CSS_SELECTOR, '.birdsort-grid [data-id]')

    def ids(self):
        return self.driver.execute_script(
            "return [...document.querySelectorAll('.birdsort-grid [data-id]')].map(t => t.dataset.id)"
        )

    def marks(self):
        return self.driver.execute_script(
            "return [...document.querySelectorAll('.birdsort-grid [data-id]')].map(t => t.dataset.mark)"
        )

    def click(self, place, shift=False):
        tile, act = self.tiles()[place], ActionChains(self.driver)
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", tile)
        (
            act.key_down(Keys.SHIFT).click(tile).key_up(Keys.SHIFT) if shift else act.click(tile)
        ).perform()

    def keys(self, *keys):
        ActionChains(self.driver).send_keys(*keys).perform()

    def press(self, words):  # A button of the Cleaner, by how its text begins
        button = next(
            b
            for b in self.driver.find_elements(By.CSS_SELECTOR, '.jupyter-widgets button')
            if b.text.strip().startswith(words)
        )
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", button)
        button.click()

    def enlarge(self, place):  # And back -> what is said of the image
        tile = self.tiles()[place]
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", tile)
        ActionChains(self.driver).double_click(tile).perform()
        large = self.driver.find_element(By.CSS_SELECTOR, '.birdsort-large')
        until(lambda: large.is_displayed() and large.find_element(By.TAG_NAME, 'p').text)
        text = large.find_element(By.TAG_NAME, 'p').text
        self.keys(Keys.ENTER)
        until(lambda: not large.is_displayed())
        return text

    def top_of(self, what):
        return self.driver.execute_script(
            'return document.querySelector(arguments[0]).getBoundingClientRect().top', what
        )

    def choose(self, box, text):  # 0 label, 1 show, 2 target
        before = self.ids()
        Select(
            self.driver.find_elements(By.CSS_SELECTOR, '.jupyter-widgets select')[box]
        ).select_by_visible_text(text)
        if box == 0:
            until(lambda: self.ids() and self.ids() != before)


def test_the_cleaner_in_jupyterlab(birds, lab):
    nb = json.loads((birds.path / 'notebooks/02_clean.ipynb').read_text())
    assert any(''.join(c['source']) == 'Cleaner(project)' for c in nb['cells'])
    before, address = files(birds.images), f'{lab}/tree/notebooks/02_clean.ipynb?reset'
    with browser() as driver:
        page = Page(driver)
        page.open(address)
        page.choose(0, 'garza')
        chosen = [page.ids()[i] for i in (1, 3, 4, 5)]
        page.click(1)
        until(lambda: page.marks()[1] == 'remove')
        page.click(3)
        until(lambda: page.marks()[3] == 'remove')
        page.click(5, shift=True)
        until(lambda: page.marks()[3:6] == ['remove'] * 3)
        page.keys(Keys.ARROW_RIGHT, 'x')
        until(lambda: page.marks()[6] == 'remove')
        page.keys('u')
        until(lambda: page.marks()[6] == '')
        page.press('move')
        page.choose(2, 'buitre')
        page.click(8)
        until(lambda: page.marks()[8] == 'move')
        moved = page.ids()[8]
        page.press('undo')
        until(lambda: page.marks()[8] == '')
        assert page.enlarge(8).startswith('garza/')
        assert page.marks()[8] == '', 'a double click decides nothing'
        bar, first = page.top_of('.jupyter-widgets select'), page.top_of('.birdsort-grid [data-id]')
        driver.execute_script("document.querySelector('.birdsort-grid').scrollTop += 50")
        assert page.top_of('.birdsort-grid [data-id]') == first - 50
        assert page.top_of('.jupyter-widgets select') == bar, 'the controls stay in sight'
        page.click(8)
        until(lambda: page.marks()[8] == 'move')
        marks = page.marks()
        page.choose(0, 'cacatua')
        assert set(page.marks()) == {''}
        page.choose(0, 'garza')
        until(lambda: page.marks() == marks)
        assert files(birds.images) == before, 'nothing is moved before apply'
        driver.execute_async_script(
            "jupyterapp.serviceManager.sessions.shutdownAll().then(() => arguments[0]())"
        )
        page.open(address)  # and so a kernel that is started anew
        page.choose(0, 'garza')
        until(lambda: page.marks() == marks)
        page.press('apply 5')
        until(lambda: len(page.ids()) == 15)
        assert (
            len(files(birds.images / 'garza')) == 15
            and len(files(birds.removed / 'garza')) == 4
            and len(files(birds.images / 'buitre')) == 21
        )
        page.press('undo')
        until(lambda: len(page.ids()) == 20)
        assert files(birds.images) == before
        for i in range(len(page.ids())):
            if page.ids()[i] in chosen:
                page.press('remove')
                page.click(i)
                until(lambda i=i: page.marks()[i] == 'remove')
        page.press('apply 4')
        until(lambda: len(page.ids()) == 16)
    rows = {r['id']: r for r in birds.catalogue.rows()}
    assert {
        (rows[int(i)]['state'], rows[int(i)]['label'], rows[int(i)]['reason']) for i in chosen
    } == {('removed', 'garza', 'by hand')}
    assert rows[int(moved)]['label'] == 'garza' and all(
        (birds.removed / 'garza' / rows[int(i)]['name']).is_file() for i in chosen
    )
    assert files(birds.images) | files(birds.removed) == before
