"What the tests share: the command line as a process of its own, a project of drawn birds, and quiet threads."

import gc
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from multiprocessing import forkserver, resource_tracker
from pathlib import Path

import jsonschema
import pytest

from birdsort.commands.outcome import json_schema

ROOT = Path(__file__).parent.parent
CLI = [sys.executable, '-c', 'import sys; from birdsort.cli import main; sys.exit(main())']
signal.signal(
    signal.SIGINT, signal.default_int_handler
)  # In the background of a shell Ctrl-C is turned off, and so it would be for what the tests start
os.environ['OMP_NUM_THREADS'] = '1'
os.environ |= dict(  # No test needs the web, or weights that this machine has downloaded
    HF_HUB_OFFLINE='1', HF_HOME=os.path.join(tempfile.gettempdir(), 'birdsort-tests-hub')
)
ENV = {**os.environ, 'PYTHONPATH': str(ROOT)}

# Loading torch takes longer than most tests: one process loads it, and others are forked from it, each for one call.
SERVER = multiprocessing.get_context('forkserver')
VERBS = 'cli scrape clean train evaluate compare evaluation.cross_validation report export predict recipes.sweep study'
# What verbs load when they need it; loaded here once, it is not loaded again in every fork
NEEDED = """
    pytest filelock onnxscript torch.onnx._internal.exporter._compat onnxruntime.quantization accelerate
    sklearn.linear_model sklearn.neighbors sklearn.decomposition sklearn.cluster sklearn.tree
    cleanlab.filter cleanlab.rank birdsort.cleaning.label_issues torchmetrics.functional.classification
    pandas.plotting._matplotlib matplotlib.backends.backend_agg pyarrow.pandas_compat IPython nbclient splitfolders
    PIL.BmpImagePlugin PIL.GifImagePlugin PIL.PpmImagePlugin PIL.ImageMath encodings.utf_8_sig"""
SERVER.set_forkserver_preload([*NEEDED.split(), *(f'birdsort.{verb}' for verb in VERBS.split())])


# Files that take minutes go first, so that no worker is left with one of them at the end.
LONGEST_FIRST = [
    'test_training', 'test_google', 'test_sources', 'test_sweep', 'test_evaluate', 'test_serve', 'test_scrape',
    'test_probe', 'test_studies', 'test_clean', 'test_pipeline', 'test_next', 'test_local', 'test_choose',
    'test_export', 'test_hostile', 'test_chain', 'test_predict', 'test_javascript', 'test_jupyter', 'test_notebooks',
]  # fmt: skip


def pytest_collection_modifyitems(items):
    place = {name: i for i, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(place)))


def pytest_collection_finish():
    "What has been imported stays: the garbage collector need not walk through it again and again."
    gc.collect(), gc.freeze()


def share_server():
    "Let processes of this one come from a server that runs already; Python would start another."
    forkserver._forkserver.ensure_running = resource_tracker.ensure_running


SERVER_ADDRESS = 'BIRDSORT_TEST_SERVER'  # Of the server that pytest's workers share

if 'PYTEST_XDIST_WORKER' in os.environ:
    forkserver._forkserver._forkserver_address = os.environ[SERVER_ADDRESS]
    forkserver._forkserver._forkserver_alive_fd = os.open(
        os.devnull, os.O_WRONLY
    )  # The server outlives the workers
    share_server()


def pytest_configure(config):
    if config.getoption('numprocesses', None):
        forkserver.ensure_running()
        os.environ[SERVER_ADDRESS] = forkserver._forkserver._forkserver_address


def alone(func, args, cwd, environ, said):
    gc.freeze()  # Else the collector looks at, and so copies, all that the server has loaded
    share_server()
    os.chdir(cwd)
    os.environ.clear(), os.environ.update(environ)
    for fd, file in zip((1, 2), said, strict=False):
        os.dup2(os.open(file, os.O_WRONLY), fd)
    sys.exit(func(*args))


def forked(func, *args, cwd=None, env=None, timeout=300):
    """Call a function of a test module in a process of its own -> the finished process; its exit code is what the
    function returns."""
    with tempfile.TemporaryDirectory() as folder:
        for f in (said := [Path(folder) / 'out', Path(folder) / 'err']):
            f.touch()
        environ = {**os.environ, **(env or {})}
        process = SERVER.Process(target=alone, args=(func, args, cwd or os.getcwd(), environ, said))
        process.start(), process.join(timeout)
        if process.exitcode is None:
            process.kill(), process.join()
            raise subprocess.TimeoutExpired(args, timeout, *(f.read_text() for f in said))
        return subprocess.CompletedProcess(
            args, process.exitcode, *(f.read_text(errors='replace') for f in said)
        )


def predict_without_birdsort(learner, image):
    "Predict with fastai alone, in a process for this alone: what imports birdsort fails."
    from fastai.learner import load_learner

    for name in [name for name in sys.modules if name.split('.')[0] == 'birdsort']:
        sys.modules[name] = None
    learn = load_learner(learner)
    with learn.no_bar(), learn.no_logging():
        print(learn.predict(image)[0])


def verb(argv):
    from birdsort.cli import main

    return main(argv)


def started(argv, said):
    """A verb in a process and a session of its own, as from a terminal, that writes into two files -> the process,
    under way."""
    for f in said:
        f.write_text('')
    process = SERVER.Process(
        target=alone,
        args=(own_session, (list(map(str, argv)),), os.getcwd(), dict(os.environ), said),
    )
    process.start()
    return process


def own_session(argv):
    os.setsid()
    return verb(argv)


READ_AT_START = (
    'PYTHON',
    'HF_',
)  # Variables that Python and the hub's client read once, before any of our code runs


def birdsort(*args, cwd=None, env=None, timeout=300):
    """Run a verb in a process of its own -> the finished process. It is forked, or wholly new where the environment
    has to be another from the start."""
    argv = list(map(str, args))
    if not any(name.startswith(READ_AT_START) for name in env or {}):
        return forked(verb, argv, cwd=cwd, env=env, timeout=timeout)
    return subprocess.run(
        [*CLI, *argv], capture_output=True, text=True, cwd=cwd, env=ENV | env, timeout=timeout
    )


SEVERAL = """
import contextlib, io, json, sys
from birdsort.cli import main
for line in sys.stdin:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try: code = main(json.loads(line))
        except SystemExit as stop: code = stop.code
    print(json.dumps([code or 0, out.getvalue(), err.getvalue()]), flush=True)"""


@contextmanager
def birdsort_with(env):
    "One new process with an environment of its own for several verbs -> the function that runs one, as `birdsort`."
    with subprocess.Popen(
        [sys.executable, '-W', 'ignore', '-c', SEVERAL],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=ENV | env,
    ) as process:

        def run(*args):
            process.stdin.write(json.dumps(list(map(str, args))) + '\n')
            process.stdin.flush()
            code, out, err = json.loads(process.stdout.readline())
            return subprocess.CompletedProcess(args, code, out, err)

        yield run
        process.stdin.close()


def one_object(done):
    "The result in the one JSON object that a verb with --json has printed, if its schema fits."
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1
    told = json.loads(done.stdout)
    if 'torch' in sys.modules:  # To load it for this alone would take seconds
        jsonschema.validate(told, json_schema(told['verb']))
    return told['result']


def as_json(*args, **kw):
    "Run a verb with --json -> the one object on stdout."
    return one_object(birdsort(*args, '--json', **kw))


def one_line(done, *words, code=1):
    "A user's mistake: this exit code, nothing on stdout, one last line on stderr that holds these words, no traceback."
    lines = [l for l in done.stderr.splitlines() if l.startswith('birdsort: ')]
    assert len(lines) == 1 and 'Traceback' not in done.stderr, done.stderr
    code = 2 if lines[0].endswith('lists what is allowed') else code
    assert done.returncode == code and done.stdout == '', (
        done.returncode,
        done.stdout,
        done.stderr,
    )
    assert all(w in lines[0] for w in words), lines[0]
    return lines[0]


def files(folder):
    "Every file below a folder, relative -> bytes."
    return {
        str(f.relative_to(folder)): f.read_bytes()
        for f in sorted(Path(folder).rglob('*'))
        if f.is_file()
    }


def until(ask, seconds=60):
    "Wait for a true answer."
    end = time.monotonic() + seconds
    while not (answer := ask()):
        assert time.monotonic() < end, 'waited in vain'
        time.sleep(0.2)
    return answer


@pytest.fixture
def short():
    "A temporary folder whose path leaves Chromium room for a socket, wherever the tests run."
    with tempfile.TemporaryDirectory(prefix='b-', dir='/tmp') as folder:
        yield Path(folder)


@pytest.fixture
def birds(tmp_path):
    "A project of three labels with twenty drawn birds each."
    from birdsort.aviary.sample_project import lesson_project

    return lesson_project(20, tmp_path / 'birds')


def make_exported(folder):
    "A project of tinted birds that was split, trained on and exported for other programs."
    from birdsort.aviary.sample_project import lesson_project
    from birdsort.core.settings import Training
    from helpers.birds import tinted

    project = lesson_project(
        20, folder, architecture='resnet18', epochs=(3, 2), train=Training(precision='fp32')
    )
    for label in project.settings.labels:
        for seed, file in enumerate(sorted((project.images / label).iterdir())):
            tinted(label, seed).save(file, 'JPEG')
    for stage in (['split'], ['train'], ['export', '--formats', 'onnx,safetensors']):
        as_json(*stage, '--project', project.path)


def shared_project(tmp_path_factory, name, make, done):
    "The folder of a project that is made once for all workers; `done` is the file or folder by which it is whole."
    base = tmp_path_factory.getbasetemp()
    shared = (
        base.parent if 'PYTEST_XDIST_WORKER' in os.environ else base
    )  # Workers have folders side by side
    from filelock import FileLock

    with FileLock(shared / f'{name}.lock'):
        if not (shared / name / done).exists():
            make(shared / name)
    return shared / name


@pytest.fixture(scope='module')
def exported_birds(tmp_path_factory):
    "A project with an exported model, made once for all test files: a copy for each of them."
    from birdsort.core.project import Project

    made = shared_project(tmp_path_factory, 'exported', make_exported, 'export/model.onnx')
    return Project(shutil.copytree(made, tmp_path_factory.mktemp('exported') / 'birds'))


def make_split(folder):
    from birdsort.aviary.sample_project import lesson_project
    from birdsort.split import split

    project = lesson_project(20, folder)
    split(project, quiet=True)
    project.catalogue.db.close()


@pytest.fixture
def split_birds(tmp_path_factory, tmp_path):
    "The project of `birds` after its split: a copy of one that is made once for all test files."
    from birdsort.core.project import Project

    made = shared_project(tmp_path_factory, 'split', make_split, 'split/.split.json')
    return Project(shutil.copytree(made, tmp_path / 'birds'))
