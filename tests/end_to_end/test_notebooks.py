"The notebooks that `birdsort new` copies, stepped through in order, as Jupyter would."

import nbformat
from jupyter_client import KernelManager
from nbclient import NotebookClient

from birdsort.core.project import Project
from conftest import ENV, as_json


def step_through(nb, kernel):
    "Run a notebook as if its kernel were new; a new one would load torch again."
    nb.cells.insert(0, nbformat.v4.new_code_cell('%reset -f'))
    NotebookClient(nb, timeout=300, km=kernel).execute(cleanup_kc=False)
    del nb.cells[0]


def test_step_through_the_copied_notebooks(tmp_path, monkeypatch):
    for k in ('OMP_NUM_THREADS', 'PYTHONPATH'):
        monkeypatch.setenv(k, ENV[k])
    folder = tmp_path / 'birds'
    as_json(
        'new',
        folder,
        'garza=grey heron',
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
        .replace('pretrained = true', 'pretrained = false')
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
    assert list(seen) == [
        '10_scrape',
        '20_clean',
        '30_split',
        '40_data',
        '45_choose',
        '50_train',
        '60_evaluate',
        '62_report',
        '63_next',
        '70_export',
        '80_predict',
    ]
    outputs = [(name, output) for name, outs in seen.items() for output in outs]
    red = [(name, o['text']) for name, o in outputs if o.get('name') == 'stderr']
    assert not red, 'Jupyter shows standard error in red'
    texts = [(name, o.get('data', {}).get('text/plain', '')) for name, o in outputs]
    assert not [found for found in texts if found[1].startswith('{')], 'a raw dict is shown'
    shown = {
        name: {kind for o in outs for kind in o.get('data', {})} for name, outs in seen.items()
    }
    assert 'application/vnd.jupyter.widget-view+json' in shown['20_clean'], (
        'the Cleaner was not shown'
    )
    assert 'application/vnd.jupyter.widget-view+json' in shown['80_predict'], (
        'the Predictor was not shown'
    )
    assert all(
        {'image/png', 'image/jpeg'} & shown[n]
        for n in ('10_scrape', '40_data', '50_train', '60_evaluate')
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
