"""Step through a project's notebooks in a real JupyterLab and photograph each: `python docs/screens.py`.

A project of drawn birds is made, its notebooks are opened in their order, and every cell is run, as a person does with
*Run All Cells*. A notebook is at fault where an output is an error or stands in a red box, is a bare dict, or where a bar is
not full at the end; the faults are told, and the exit code is 1. The screenshots go to `docs/screens/`.
"""

import argparse
import base64
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from birdsort.aviary.pencil import draw_bird
from birdsort.sources.browser import browser

BIRDS = 'cockatoo', 'grey heron', 'white stork'
HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
WIDTHS = 1280, 768  # Of the window in pixels: a laptop, and a tablet held upright
HIGHEST = 1500  # Pixels: what is further down is left out
READY = """
const panel = window.jupyterapp?.shell.currentWidget;
return panel?.sessionContext?.session?.kernel?.status === 'idle' && panel.content.widgets.length > 0"""
STILL_TO_RUN = """
const panel = jupyterapp.shell.currentWidget;
const cells = panel.content.widgets.filter(c => c.model.type === 'code' && c.model.sharedModel.source.trim());
const failed = cells.some(c => c.model.outputs.toJSON().some(o => o.output_type === 'error'));
const waiting = failed ? 0 : cells.filter(c => !c.model.executionCount).length;
return waiting + (panel.sessionContext.session.kernel.status === 'idle' ? 0 : 1)"""
FAULTS = r"""
const found = [];
for (const cell of jupyterapp.shell.currentWidget.content.widgets)
  for (const output of cell.model.outputs?.toJSON() ?? []) {
    const text = [].concat(output.text ?? output.data?.['text/plain'] ?? output.evalue ?? '').join('').slice(0, 200);
    if (output.output_type === 'error' || output.name === 'stderr') found.push('red: ' + text);
    if (!output.data?.['text/html'] && /^\s*(\{|Result\()/.test(text)) found.push('a bare dict: ' + text);
  }
for (const bar of document.querySelectorAll('progress, [role=progressbar], .widget-hprogress .progress-bar')) {
  const now = bar.value ?? bar.getAttribute('aria-valuenow'), most = bar.max ?? bar.getAttribute('aria-valuemax');
  if (now !== null && Number(now) < Number(most)) found.push(`a bar at ${now} of ${most}`);
}
return found"""
HEIGHT = """
const heights = [...document.querySelectorAll('.jp-Notebook .jp-Cell')].map(c => c.getBoundingClientRect().height + 8);
return heights.reduce((a, b) => a + b, 120)"""


def make_project(folder: Path) -> None:
    "A project of three drawn birds as `birdsort new` makes it, and a folder of images without labels."
    how = ['--source', 'aviary', '-n', '40', '--arch', 'pip:efficientnet_lite0']
    subprocess.run([BIN / 'birdsort', 'new', folder, *BIRDS, *how], check=True, stdout=subprocess.DEVNULL)
    unlabelled = folder / 'unlabelled'
    unlabelled.mkdir()
    for number in range(18):
        draw_bird(BIRDS[number % 3], 9000 + number).save(unlabelled / f'card_{number:02}.jpg')


@contextmanager
def jupyterlab(folder: Path) -> Iterator[str]:
    "JupyterLab on a folder; gives its address."
    options = ['--no-browser', '--allow-root', '--port=0', '--IdentityProvider.token=']
    options.append('--LabApp.expose_app_in_browser=True')  # The page's commands can be called
    quiet = folder.parent / 'lab' / '@jupyterlab' / 'apputils-extension' / 'notification.jupyterlab-settings'
    quiet.parent.mkdir(parents=True)
    quiet.write_text('{"fetchNews": "false"}', encoding='utf-8')  # Else it asks, in front of everything
    env = os.environ | {'JUPYTERLAB_SETTINGS_DIR': str(folder.parent / 'lab')}
    log = folder.parent / 'lab.log'
    with log.open('w') as written:
        server = subprocess.Popen([BIN / 'jupyter', 'lab', *options], cwd=folder, stderr=written, env=env)
    try:
        yield _address(server, log)
    finally:
        server.terminate()
        server.wait()


def _address(server, log):
    "What a starting JupyterLab writes of its address; `RuntimeError` with its last words where it ends instead."
    while not (found := re.search(r'http://localhost:\d+(?=/lab)', log.read_text())):
        if server.poll() is not None:
            raise RuntimeError(log.read_text()[-2000:])
        time.sleep(0.2)
    return found[0]


def wait_for(driver, question: str, answer: object, seconds: float = 600) -> None:
    "Ask the page until it gives an answer; `TimeoutError` where it does not."
    end = time.monotonic() + seconds
    while driver.execute_script(question) != answer:
        if time.monotonic() > end:
            raise TimeoutError(f'not {answer!r} after {seconds} s: {question.strip()[:80]}')
        time.sleep(0.5)


def resize(driver, width: int, height: int) -> None:
    "Give the page a size in pixels."
    size = {'width': width, 'height': height, 'deviceScaleFactor': 1, 'mobile': False}
    driver.execute_cdp_cmd('Emulation.setDeviceMetricsOverride', size)


def photograph(driver, width: int, path: Path) -> None:
    "A WebP image of the whole notebook, or of its beginning where it is longer than `HIGHEST`."
    resize(driver, width, HIGHEST)
    time.sleep(1.5)
    resize(driver, width, int(min(HIGHEST, driver.execute_script(HEIGHT))))
    time.sleep(1.5)
    shot = driver.execute_cdp_cmd('Page.captureScreenshot', {'format': 'webp', 'quality': 60})
    path.write_bytes(base64.b64decode(shot['data']))


def step_through(driver, address: str, notebook: str) -> list[str]:
    "Open a notebook, run all of its cells, and say what is at fault."
    resize(driver, WIDTHS[0], HIGHEST)
    driver.get(f'{address}/doc/tree/notebooks/{notebook}?reset')
    wait_for(driver, READY, True)
    driver.execute_script("jupyterapp.commands.execute('runmenu:run-all')")
    time.sleep(1)
    wait_for(driver, STILL_TO_RUN, 0)
    time.sleep(3)  # Widgets and plots are drawn after the kernel has fallen silent
    return driver.execute_script(FAULTS)


def main() -> int:
    "Run it; the exit code is the answer to: is anything at fault?"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--out', type=Path, default=HERE / 'screens', help='where the screenshots go')
    parser.add_argument('--only', default='', help='photograph only notebooks whose names begin so; all are run')
    asked = parser.parse_args()
    asked.out.mkdir(exist_ok=True, parents=True)
    at_fault = 0
    with tempfile.TemporaryDirectory() as scratch:
        project = Path(scratch) / 'birds'
        make_project(project)
        notebooks = sorted(path.name for path in (project / 'notebooks').glob('*.ipynb'))
        if not any(name.startswith(asked.only) for name in notebooks):
            parser.error(f'--only {asked.only}: none of {", ".join(notebooks)} begins so')
        with jupyterlab(project) as address, browser() as driver:
            for notebook in notebooks:
                began = time.monotonic()
                faults = step_through(driver, address, notebook)
                if notebook.startswith(asked.only):
                    for width in WIDTHS:
                        photograph(driver, width, asked.out / f'{Path(notebook).stem}-{width}.webp')
                print(f'{notebook}: {time.monotonic() - began:.0f} s', *faults, sep='\n  ', flush=True)
                at_fault += len(faults)
    return int(at_fault > 0)


if __name__ == '__main__':
    sys.exit(main())
