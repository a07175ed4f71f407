"What the tests share: the command line as a subprocess, a project of drawn birds, and quiet threads."
import json, os, subprocess, sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CLI = [sys.executable, '-c', 'import sys; from birdsort.cli import main; sys.exit(main())']
ENV = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT)}


def birdsort(*args, cwd=None, env=None, timeout=300):
    "Run a verb in a process of its own -> the finished process."
    return subprocess.run([*CLI, *map(str, args)], capture_output=True, text=True, cwd=cwd, env={**ENV, **(env or {})}, timeout=timeout)


def as_json(*args, **kw):
    "Run a verb with --json -> the one object on stdout."
    done = birdsort(*args, '--json', **kw)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1
    return json.loads(done.stdout)


def one_line(done, *words):
    "A user's mistake: exit code 1, nothing on stdout, one last line on stderr that holds these words, no traceback."
    assert done.returncode == 1 and done.stdout == '', (done.returncode, done.stdout, done.stderr)
    lines = [l for l in done.stderr.splitlines() if l.startswith('birdsort: ')]
    assert len(lines) == 1 and 'Traceback' not in done.stderr, done.stderr
    assert all(w in lines[0] for w in words), lines[0]
    return lines[0]


def files(folder):
    "Every file below a folder, relative -> bytes."
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(Path(folder).rglob('*')) if f.is_file()}


@pytest.fixture
def birds(tmp_path):
    "A project of three labels with twenty drawn birds each."
    from birdsort.lesson import lesson_project
    return lesson_project(20, tmp_path/'birds')
