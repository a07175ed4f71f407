"How many processor threads are used: on a free machine, beside another program, and as one was told."

import random

import pytest
import torch

from birdsort.aviary.sample_project import lesson_project
from birdsort.core.threads import Threads, candidates, given_threads, processor_threads
from birdsort.deploy.inference import _FasterSession
from birdsort.split import split
from birdsort.train import train
from birdsort.training.runs import open_run

FREE = {1: 0.020, 2: 0.011, 4: 0.006}
BUSY = {1: 0.022, 2: 0.120, 4: 0.300}


class Machine:
    "A clock, on which measuring takes its time, and what each number of threads costs at the moment."

    def __init__(self, state):
        self.second, self.state, self.measured = 0.0, state, 0.0

    def clock(self):
        return self.second

    def measure(self, counts):
        now = self.state(self.second)
        seconds = {count: now[count] for count in counts}
        self.second += sum(seconds.values())
        self.measured += sum(seconds.values())
        return seconds

    def run(self, until, most=4, step=0.1):
        "The number in use at each step, with the second in which it was."
        threads = Threads(
            most=most, measure=self.measure, apply=lambda count: None, clock=self.clock
        )
        while self.second < until:
            yield self.second, threads.look()
            self.second += step


def test_all_threads_on_a_free_machine():
    machine = Machine(lambda second: FREE)
    used = list(machine.run(60))
    assert {count for second, count in used if second > 1} == {4}
    assert machine.measured < 0.03 * 60


def test_one_beside_another_training_and_all_again_afterwards():
    machine = Machine(lambda second: BUSY if 20 <= second < 40 else FREE)
    used = list(machine.run(60))
    assert {count for second, count in used if 23 < second < 40} == {1}
    assert {count for second, count in used if 1 < second < 20 or second > 44} == {4}


def test_half_of_them_where_half_of_the_processors_are_taken():
    machine = Machine(lambda second: {1: 0.020, 2: 0.011, 4: 0.080})
    assert {count for second, count in machine.run(20) if second > 1} == {2}


@pytest.mark.parametrize('state, stays', [(FREE, 4), (BUSY, 1)], ids=['free', 'busy'])
def test_noise_changes_nothing(state, stays):
    rng = random.Random(0)

    def noisy(second):
        return {count: seconds * rng.uniform(0.9, 1.1) for count, seconds in state.items()}

    assert {count for second, count in Machine(noisy).run(300) if second > 1} == {stays}


@pytest.mark.parametrize(
    'state, other', [(FREE, BUSY), (BUSY, FREE)], ids=['an unlucky one', 'a lucky one']
)
def test_a_single_measurement_changes_nothing(state, other):
    calls = iter(range(10_000))

    def mostly(second):
        return other if next(calls) % 5 == 4 else state  # Every fifth measurement

    assert len({count for second, count in Machine(mostly).run(120) if second > 1}) == 1


def test_a_number_stays_and_nothing_is_measured():
    threads = Threads(3, measure=None, apply=lambda count: None)
    assert [threads.look() for _ in range(5)] == [3] * 5 and threads.used == {3}


@pytest.mark.parametrize('told, most', [('3', 3), ('4,2', 4), ('1', 1)])
def test_never_more_than_the_process_was_told(monkeypatch, told, most):
    monkeypatch.setenv('OMP_NUM_THREADS', told)
    assert given_threads() == most and Threads().counts == candidates(most)


def test_a_session_of_onnx_runtime_gives_way_and_comes_back():
    second, used = [0.0], []

    def open_session(count):
        def network(x):
            busy = 100 <= len(used) < 200
            second[0] += {1: 0.004, 2: 0.012 if busy else 0.003}[count]
            used.append(count)

        return network

    sessions = _FasterSession(open_session, (2, 1), clock=lambda: second[0])
    for _ in range(400):
        sessions([0])
    assert used[:9] == [2] * 9, 'the second one is not opened for a few images'
    for part, count in ((used[20:100], 2), (used[110:200], 1), (used[250:], 2)):
        assert part.count(count) == pytest.approx(0.9 * len(part), abs=2)


def test_a_real_training_notes_what_it_used_and_leaves_the_rest_alone(tmp_path, monkeypatch):
    monkeypatch.setenv('OMP_NUM_THREADS', '2')
    project, before = lesson_project(12, tmp_path / 'birds', epochs=(1, 0)), torch.get_num_threads()
    split(project, quiet=True)
    used = train(project, quiet=True)['threads']
    assert used == open_run(project).note['threads'] and used and set(used) <= {1, 2}
    assert torch.get_num_threads() == before


def test_a_network_is_left_as_it_was():
    net, before = torch.nn.Linear(2, 2), torch.get_num_threads()
    with pytest.raises(ZeroDivisionError), processor_threads(net, 2):
        net(torch.zeros(1, 2))
        assert torch.get_num_threads() == 2
        _ = 1 / 0
    assert torch.get_num_threads() == before and not net._forward_pre_hooks
