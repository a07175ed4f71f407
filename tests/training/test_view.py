"One view of a training: the same lines in a log and on a terminal, with numbers that run on, and nothing of fastai's."

import fcntl
import os
import pty
import re
import signal
import struct
import termios

import pytest

from birdsort.aviary.sample_project import lesson_project
from birdsort.progress.bars import progress_bar
from birdsort.split import split
from birdsort.train import train
from conftest import CLI, ENV, birdsort, forked

CHATTER = 'Better model', 'No improvement', 'reducing lr', 'train_loss', 'jit.script'


@pytest.fixture(scope='module')
def project(tmp_path_factory):
    made = lesson_project(20, tmp_path_factory.mktemp('view') / 'birds', epochs=(2, 1))
    split(made, quiet=True)
    return made


def numbers(lines):
    "The numbers of the epochs that are shown."
    return [int(m[1]) for line in lines if (m := re.match(r' +(\d+)  [a-z-]+ +\d', line))]


def on_terminal(*args):
    "What a terminal of a hundred columns is sent by a verb."
    pid, terminal = pty.fork()
    if not pid:
        os.execvpe(CLI[0], [*CLI, *map(str, args)], ENV)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack('HHHH', 40, 100, 0, 0))
    sent = b''
    try:
        while data := os.read(terminal, 65536):
            sent += data
    except OSError:  # Its other end is closed
        pass
    assert os.waitpid(pid, 0)[1] == 0, sent.decode()
    return sent.decode()


def on_screen(sent):
    "The lines that stay, of what a terminal was sent: after a carriage return a line is written over."
    lines = []
    for line in sent.replace('\r\n', '\n').split('\n'):
        shown = ''
        for written in line.split('\r'):
            shown = written + shown[len(written) :]
        lines.append(shown.rstrip())
    return lines


def check(lines):
    text = '\n'.join(lines)
    assert not [word for word in CHATTER if word in text], text
    assert [line for line in lines if line.startswith('stage ')] == [
        'stage 1 of 2, whole network, 42 images',
        'stage 2 of 2, whole network, 42 images',
    ]
    found = numbers(lines)
    assert found == list(range(1, len(found) + 1)) and len(found) >= 3, text
    assert re.search(
        r'^[\d.]+ % on validation \(95 % interval .*\), stage \w+, epoch \d+$', text, re.M
    )


def test_a_log_has_a_line_for_each_epoch(project):
    done = birdsort('train', '--force', '--project', project.path)
    assert done.returncode == 0, done.stderr
    assert '\r' not in done.stderr and '|' not in done.stderr
    check(done.stderr.splitlines())


def test_a_terminal_keeps_the_same_lines_below_a_bar_that_goes(project):
    sent = on_terminal('train', '--force', '--project', project.path)
    assert '\r' in sent.replace('\r\n', '') and '100 %' in sent
    lines = on_screen(sent)
    check(lines)
    assert not [line for line in lines if '|' in line], 'the bar was left behind'


def test_quiet_says_nothing(project, capsys):
    train(project, force=True, quiet=True)
    assert capsys.readouterr() == ('', '')


def die_with_the_lock():
    progress_bar(range(3)).get_lock().acquire()
    os.kill(os.getpid(), signal.SIGKILL)


def draw():
    list(progress_bar(range(3)))


def test_a_process_that_is_killed_while_it_draws_stops_no_other():
    assert forked(die_with_the_lock).returncode == -signal.SIGKILL
    assert forked(draw, timeout=60).returncode == 0
