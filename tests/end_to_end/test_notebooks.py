"The notebooks that `birdsort new` copies, stepped through in order, as Jupyter would."

import re

import nbformat
from jupyter_client import KernelManager
from nbclient import NotebookClient

from birdsort.core.project import Project
from birdsort.core.scaffold import project_notebooks
from conftest import ENV, as_json

STEPS = (
    'start_here', 'scrape', 'clean', 'split', 'data', 'choose', 'train', 'evaluate', 'report', 'next', 'export', 'predict',
)  # fmt: skip


def step_through(nb, kernel):
    "Run a notebook as if its kernel were new; a new one would load torch again."
    nb.cells.insert(0, nbformat.v4.new_code_cell('%reset -f'))
    NotebookClient(nb, timeout=300, km=kernel).execute(cleanup_kc=False)
    del nb.cells[0]


def test_the_first_notebook_names_all_the_others():
    made = project_notebooks()
    text = ''.join(''.join(c['source']) for c in made['00_start_here.ipynb']['cells'])
    links = re.findall(r'\]\((\w+\.ipynb)\)', text)
    assert links == [name for name in sorted(made) if name != '00_start_here.ipynb']


def test_step_through_the_copied_notebooks(tmp_path, monkeypatch):
    for k in ('OMP_NUM_THREADS', 'PYTHONPATH'):
        monkeypatch.setenv(k, ENV[k])
    folder = tmp_path / 'birds'
    as_json(
        'new',
        folder,
        'garza',
        'buitre=griffon vulture,Egyptian vulture',
        '-n',
        14,
        '--source',
        'aviary',
        '--arch',
        'test_resnet',
    )
    toml = folder / 'birdsort.toml'
    toml.write_text(
        toml.read_text()
        .replace('#pretrained = true', 'pretrained = false')
        .replace('image_size = 224', 'image_size = 64')
        .replace('epochs = [10, 10]', 'epochs = [1, 1]')
    )
    seen, kernel = {}, KernelManager()
    kernel.start_kernel(cwd=str(folder / 'notebooks'))
    for file in sorted((folder / 'notebooks').glob('*.ipynb')):
        nb = nbformat.read(file, 4)
        assert not any(c.get('outputs') for c in nb.cells) and not any(
            '#|' in c.source for c in nb.cells
        )
        step_through(nb, kernel)
        seen[file.stem] = [o for c in nb.cells if c.cell_type == 'code' for o in c.outputs]
    kernel.shutdown_kernel()
    steps = [f'{i:02}_{name}' for i, name in enumerate(STEPS)]
    assert list(seen) == [*steps, 'app']
    outputs = [(name, output) for name, outs in seen.items() for output in outs]
    red = [(name, o['text']) for name, o in outputs if o.get('name') == 'stderr']
    assert not red, 'Jupyter shows standard error in red'
    texts = [(name, o.get('data', {}).get('text/plain', '')) for name, o in outputs]
    assert not [found for found in texts if found[1].startswith('{')], 'a raw dict is shown'
    shown = {
        name: {kind for o in outs for kind in o.get('data', {})} for name, outs in seen.items()
    }
    assert 'application/vnd.jupyter.widget-view+json' in shown['02_clean'], (
        'the Cleaner was not shown'
    )
    assert 'application/vnd.jupyter.widget-view+json' in shown['11_predict'] & shown['app'], (
        'the Predictor was not shown'
    )
    assert all(
        {'image/png', 'image/jpeg'} & shown[n]
        for n in ('01_scrape', '04_data', '06_train', '07_evaluate')
    ), 'an image is missing'
    project = Project(folder)
    assert project.catalogue.counts('label', 'split') == {
        ('buitre', 'test'): 3,
        ('buitre', 'train'): 9,
        ('buitre', 'val'): 2,
        ('garza', 'test'): 3,
        ('garza', 'train'): 9,
        ('garza', 'val'): 2,
    } | {k: n for k, n in project.catalogue.counts('label', 'split').items() if k[1] is None}
    assert (project.export / 'learner.pkl').is_file()
