"Which backbone suits: candidates compete by cross-validated probes, and nothing is done twice."

import json
import os
import shutil
import signal
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from torch import nn

import birdsort.choose as choosing
from birdsort.aviary.sample_project import lesson_project
from birdsort.choose import cheapest_of_the_best, choose_architecture, judge_backbone, known_choice
from birdsort.core.architectures import FALLBACK, _answers_once, architectures, licence
from birdsort.core.project import Project
from birdsort.core.settings import TIERS, Settings, Training, change
from birdsort.datasets.signatures import choice_signature, kept_choice, trained_settings
from birdsort.evaluation.cross_validation import cross_validate
from birdsort.split import split
from birdsort.train import train
from birdsort.training.runs import open_run
from conftest import as_json, birdsort, forked, one_line

SEVERAL = f'resnet10t/random,{FALLBACK},squeezenet1_1/random'


LESSON = dict(pretrained=True, image_size=96, epochs=(1, 0), train=Training(precision='fp32'))


@pytest.fixture(scope='module')
def divided(tmp_path_factory):
    "A project that is split; each test has a copy."
    project = lesson_project(
        24, tmp_path_factory.mktemp('divided') / 'birds', architecture=SEVERAL, **LESSON
    )
    split(project, quiet=True)
    return project


@pytest.fixture(scope='module')
def decided(divided, tmp_path_factory):
    "A project whose architecture is chosen; each test has a copy."
    project = Project(shutil.copytree(divided.path, tmp_path_factory.mktemp('decided') / 'birds'))
    choose_architecture(project, project.settings, quiet=True)
    return project


@pytest.fixture
def birds(divided, tmp_path):
    return Project(shutil.copytree(divided.path, tmp_path / 'birds'))


@pytest.fixture
def chosen(decided, tmp_path):
    return Project(shutil.copytree(decided.path, tmp_path / 'birds'))


def row(name, accuracy, milliseconds, error=0.01):
    return dict(
        architecture=name,
        pretrained=True,
        accuracy=accuracy,
        error=error,
        milliseconds=milliseconds,
        left_out='',
    )


@pytest.mark.parametrize(
    'rows,winner',
    [
        ([row('a', 0.90, 50), row('b', 0.90, 5)], 'b'),  # Equal: the faster
        ([row('a', 0.90, 50), row('b', 0.89, 5)], 'b'),  # Exactly one standard error below
        ([row('a', 0.90, 50), row('b', 0.889, 5)], 'a'),
        ([row('a', 0.90, 50, 0.02), row('b', 0.889, 5), row('c', 0.895, 3)], 'c'),
        ([row('a', 0.2, 50, 0.0)], 'a'),
        (
            [row('a', 0.0, 50, 0.0), row('b', 0.0, 3, 0.0)],
            'b',
        ),  # Nothing is right: still one of them
    ],
)
def test_the_fastest_within_one_standard_error_wins(rows, winner):
    assert cheapest_of_the_best(rows)['architecture'] == winner


@pytest.mark.parametrize('tier', ['', *TIERS])
def test_each_tier_has_candidates_with_a_licence_and_needs_no_network(tier):
    names = [
        name
        for name, pretrained in architectures([f'auto:{tier}' if tier else 'auto'])
        if pretrained
    ]
    assert len(names) >= 4 and FALLBACK in names
    assert {licence(name) for name in names} <= {'apache-2.0', 'mit'}
    assert not any('dinov3' in name for name in names)


def test_the_winner_is_trained_and_told(birds):
    result = train(birds, quiet=True)
    note = open_run(birds, result['run']).note
    assert (
        note['settings']['architecture'] == FALLBACK
        and note['choice']['words'] == result['choice']['words']
    )
    rows = {r['architecture']: r for r in result['choice']['rows']}
    assert (
        rows[FALLBACK]['accuracy'] > rows['resnet10t']['accuracy']
        and rows[FALLBACK]['licence'] == 'apache-2.0'
    )
    assert all(
        r['milliseconds'] > 0 and r['megabytes'] > 0 and not r['left_out'] for r in rows.values()
    )
    assert train(birds, quiet=True) == result, 'nothing is trained twice'
    assert trained_settings(birds).architecture == FALLBACK
    assert 'train' in as_json('status', '--project', birds.path)['done']
    assert cross_validate(birds, folds=3, quiet=True)['of'] == note['signature']


def die_after_the_first(path):
    def judge(*args, **kw):
        if (path / 'judged').exists():
            os.kill(os.getpid(), signal.SIGKILL)
        (path / 'judged').touch()
        return judge_backbone(*args, **kw)

    choosing.judge_backbone = judge
    project = choosing.Project(path)
    choose_architecture(project, project.settings, quiet=True)


def test_killed_in_the_middle_it_does_nothing_twice(birds, monkeypatch):
    killed = forked(die_after_the_first, birds.path)
    assert killed.returncode == -signal.SIGKILL
    first = kept_choice(birds, choice_signature(birds, birds.settings))['rows']
    judged = []
    monkeypatch.setattr(
        choosing, 'judge_backbone', lambda *a: judged.append(a[1]) or judge_backbone(*a)
    )
    assert choose_architecture(birds, birds.settings, quiet=True).architecture == FALLBACK
    assert [s.architecture for s in judged] == [FALLBACK, 'squeezenet1_1']
    assert known_choice(birds, birds.settings)['rows'][:1] == first
    choose_architecture(birds, birds.settings, quiet=True)
    assert len(judged) == 2


def feature_stores(project):
    "Name -> size of the files of features."
    return {
        f.name: f.stat().st_size
        for f in (project.path / '.cache').glob('features-*')
        if not f.suffix
    }


def test_the_winners_features_are_those_that_training_uses(chosen):
    before = feature_stores(chosen)
    train(chosen, quiet=True)
    assert before and feature_stores(chosen) == before


def test_other_images_are_another_choice(chosen):
    next((chosen.split / 'test').glob('*/*')).unlink()
    assert known_choice(chosen, chosen.settings)
    next((chosen.split / 'val').glob('*/*')).unlink()
    assert known_choice(chosen, chosen.settings) is None


def test_what_cannot_be_had_is_left_out_and_named(birds, tmp_path):
    (tmp_path / 'broken').mkdir()
    (tmp_path / 'broken' / 'config.json').write_text(json.dumps(dict(architecture='resnet18')))
    settings = change(birds.settings, architecture=f'local-dir:{tmp_path}/broken,{FALLBACK}')
    assert choose_architecture(birds, settings, quiet=True).architecture == FALLBACK
    rows = {r['architecture']: r['left_out'] for r in known_choice(birds, settings)['rows']}
    assert rows[FALLBACK] == '' and 'no pretrained weights' in rows[f'local-dir:{tmp_path}/broken']


def test_weights_of_a_host_that_does_not_answer_are_left_out(birds, monkeypatch):
    monkeypatch.setattr('birdsort.core.architectures._answers_once', lambda url: False)
    names = [name for name, _ in architectures(['auto:fast'])]
    settings = change(birds.settings, architecture='auto:fast')
    assert choose_architecture(birds, settings, quiet=True).architecture == FALLBACK
    rows = known_choice(birds, settings)['rows']
    assert [r['architecture'] for r in rows] == names
    assert all('cannot be reached' in r['left_out'] for r in rows[1:])
    alone = change(birds.settings, architecture=','.join(names[1:3]))
    with pytest.raises(ValueError, match='no architecture can compete.*pip:efficientnet_lite0'):
        choose_architecture(birds, alone, quiet=True)


@pytest.mark.parametrize(
    'given,words,code',
    [
        (['--arch', 'auto:fats'], 'fast', 2),
        (['--arch', 'resnet18,resnet1'], 'resnet1', 1),
        (['--arch', 'auto', '--no-pretrained'], 'pretrained = true', 1),
        (['--arch', 'local-dir:nowhere,resnet18'], 'no config.json', 1),
    ],
)
def test_bad_input_is_one_line(birds, given, words, code):
    one_line(birdsort('train', '--project', birds.path, *given), words, code=code)


def test_the_default_that_cannot_be_had_is_one_run_for_everybody(tmp_path, monkeypatch):
    default = Settings().architecture
    project = lesson_project(14, tmp_path / 'birds', architecture=default, **LESSON)
    split(project, quiet=True)
    monkeypatch.setattr(
        'birdsort.choose.within_reach', lambda name: FALLBACK if name == default else name
    )
    result = train(project, quiet=True)
    assert open_run(project).settings.architecture == FALLBACK and result['choice'] is None
    assert 'train' in as_json('status', '--project', project.path)['done']
    monkeypatch.setattr('birdsort.choose.within_reach', lambda name: pytest.fail('asked again'))
    assert train(project, quiet=True) == result
    other = replace(project.settings, architecture='resnet10t', pretrained=False)
    assert choose_architecture(project, other, quiet=True).architecture == 'resnet10t'


def test_choices_among_others_are_kept_apart(chosen, monkeypatch):
    kept = known_choice(chosen, chosen.settings)
    train(
        chosen,
        quiet=True,
        settings=change(chosen.settings, architecture='test_resnet', pretrained=False),
    )
    choose_architecture(chosen, change(chosen.settings, architecture=FALLBACK), quiet=True)
    monkeypatch.setattr(choosing, 'judge_backbone', lambda *a: pytest.fail('judged again'))
    assert choose_architecture(chosen, chosen.settings, quiet=True).architecture == FALLBACK
    assert kept and known_choice(chosen, chosen.settings) == kept


def test_a_broken_image_is_named_and_no_architecture_blamed(birds):
    broken = next((birds.split / 'train').glob('*/*'))
    broken.write_bytes(b'no image')
    with pytest.raises(ValueError, match=broken.name):
        choose_architecture(birds, birds.settings, quiet=True)


def test_a_network_of_your_own_needs_no_choice(birds):
    pool = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    train(
        birds,
        quiet=True,
        model=nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), *pool, nn.Linear(8, 3)),
    )
    assert known_choice(birds, birds.settings) is None


def test_several_processes_are_told_that_one_chooses(birds, monkeypatch):
    monkeypatch.setenv('WORLD_SIZE', '2')
    with pytest.raises(ValueError, match='one process chooses'):
        choose_architecture(birds, birds.settings, quiet=True)


@pytest.mark.parametrize('status,there', [(200, True), (403, True), (404, True), (None, False)])
def test_a_host_that_answers_at_all_is_there(status, there):
    class Host(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(status)
            self.end_headers()

        def log_message(self, *args):
            pass

    server = HTTPServer(('127.0.0.1', 0), Host)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    if status is None:
        server.shutdown()
        server.server_close()
    assert _answers_once(f'http://127.0.0.1:{server.server_port}/{status}') == there
    server.shutdown() if status else None
