"The Cleaner in a real JupyterLab, clicked by a real browser: Jupyter answers clicks in a thread of its own."
import json, re, subprocess, sys, time
from pathlib import Path

import pytest
from conftest import ENV, files
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

from birdsort.browser import browser


@pytest.fixture
def lab(birds):
    "JupyterLab on a project's folder -> its address."
    jupyter = Path(sys.executable).parent/'jupyter'
    server = subprocess.Popen([jupyter, 'lab', '--no-browser', '--allow-root', '--port=0', '--IdentityProvider.token=', '--LabApp.expose_app_in_browser=True', '--LabApp.news_url='],
                              cwd=birds.path, stderr=subprocess.PIPE, text=True, env=ENV)
    address = next(m[0] for l in server.stderr if (m := re.search(r'http://localhost:\d+/lab', l)))
    yield address
    server.terminate()
    server.communicate(timeout=30)


def until(ask, seconds=60):
    "Wait for a true answer."
    end = time.monotonic()+seconds
    while not (answer := ask()):
        assert time.monotonic() < end, 'waited in vain'
        time.sleep(.2)
    return answer


def test_clicks_in_jupyterlab_move_files(birds, lab):
    nb = json.loads((birds.path/'notebooks/20_clean.ipynb').read_text())
    assert any(''.join(c['source']) == 'Cleaner(project)' for c in nb['cells'])
    before = files(birds.images)
    with browser() as page:
        page.get(f'{lab}/tree/notebooks/20_clean.ipynb?reset')
        until(lambda: page.execute_script("return window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle' && document.querySelector('.jp-Notebook .jp-Cell') !== null"))
        page.execute_script("jupyterapp.commands.execute('runmenu:run-all')")
        js = "const b = [...document.querySelectorAll('.jupyter-widgets button')].filter(b => b.innerText.trim() === arguments[0]); "
        count = lambda word: page.execute_script(js + "return b.length", word)
        click = lambda word, i: page.execute_script(js + "b[arguments[1]].scrollIntoView({block: 'center'}); b[arguments[1]].click()", word, i)
        until(lambda: count('remove') == 20)
        until(lambda: page.execute_script("return [...document.querySelectorAll('.jupyter-widgets img')].every(i => i.naturalWidth > 50)")) # all thumbnails are shown
        Select(page.find_element(By.CSS_SELECTOR, '.jupyter-widgets select')).select_by_visible_text('garza')
        time.sleep(2) # the other label has as many pictures: nothing to wait for
        click('remove', 3); until(lambda: count('put back') == 1)
        click('remove', 5); until(lambda: count('put back') == 2)
        until(lambda: '18 kept, 2 removed by hand' in page.find_element(By.TAG_NAME, 'body').text)
        assert len(files(birds.images/'garza')) == 18 and len(files(birds.removed/'garza')) == 2
        click('put back', 0); until(lambda: count('put back') == 1)
    assert len(files(birds.images/'garza')) == 19 and len(files(birds.removed/'garza')) == 1
    assert files(birds.images) | files(birds.removed) == before
