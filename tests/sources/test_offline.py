"Without a network: said at once, by one question to the hosts that will be asked, and not because of a flaky second."

import socket
import time

import pytest

from birdsort import pipeline
from birdsort import scrape as stage
from birdsort.aviary.sample_project import lesson_project
from birdsort.core import architectures
from birdsort.core.architectures import NoWeights, need_weights, within_reach
from birdsort.core.settings import DEFAULT_SOURCES, Settings
from birdsort.network import reach
from birdsort.network.reach import NoConnection, unreached
from birdsort.scrape import scrape
from conftest import birdsort, one_line

AWAY = 'gbif=http://nowhere.invalid/v1'
NO_NAMES = socket.gaierror(socket.EAI_AGAIN, 'Temporary failure in name resolution')
PROXIES = ('http_proxy', 'https_proxy', 'all_proxy')


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def server():
    "A server that never says a word, as behind a log-in page."
    with socket.create_server(('127.0.0.1', 0)) as s:
        yield s.getsockname()


def names(monkeypatch, *answers):
    "Let the name server answer so, the last answer for ever: an exception, or a function."
    left = list(answers)

    def look_up(*args, **kwargs):
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return answer()

    monkeypatch.setattr(reach.socket, 'getaddrinfo', look_up)


def at(where):
    return lambda: [(socket.AF_INET, socket.SOCK_STREAM, 0, '', where)]


def test_a_search_without_a_network_is_refused_before_anything_starts(tmp_path, monkeypatch):
    project = lesson_project(1, tmp_path / 'birds', images_per_label=2)
    names(monkeypatch, NO_NAMES)
    monkeypatch.setattr(stage, '_open_run', lambda *a, **k: pytest.fail('the search has begun'))
    with pytest.raises(NoConnection) as e:
        scrape(project, source=DEFAULT_SOURCES, quiet=True)
    for words in ('www.google.com and 4 other hosts', 'Temporary failure', 'source aviary'):
        assert words in str(e.value)
    one_line(birdsort('scrape', '--project', project.path, '--source', AWAY), '--source aviary')


def test_nobody_is_asked_where_nothing_is_needed(tmp_path, monkeypatch):
    project = lesson_project(1, tmp_path / 'birds', images_per_label=1)
    asked = []
    monkeypatch.setattr(
        'birdsort.sources.registry.unreached', lambda hosts, *a: asked.extend(hosts)
    )
    assert 'short' not in scrape(project, source=[AWAY], quiet=True)
    own = [f'folder={project.images}', AWAY]
    assert scrape(project, images_per_label=2, source=own, quiet=True)['short']
    assert not asked


def test_run_goes_on_with_the_images_that_are_here(tmp_path, capsys):
    project = lesson_project(3, tmp_path / 'birds', images_per_label=4, source=(AWAY,))
    result = pipeline.STAGES['scrape'](project)
    assert result['short'] == dict.fromkeys(project.settings.labels, 1)
    assert 'going on' in capsys.readouterr().err
    empty = lesson_project(0, tmp_path / 'empty', source=(AWAY,))
    with pytest.raises(NoConnection):
        pipeline.STAGES['scrape'](empty)


def test_a_flaky_second_and_a_slow_name_server_are_no_refusal(server, monkeypatch, capsys):
    names(monkeypatch, NO_NAMES, NO_NAMES, at(server))
    assert unreached(['https://photos.example/']) == ''
    monkeypatch.setattr(reach, 'CERTAIN', 0.1)
    names(monkeypatch, lambda: time.sleep(0.4) or at(server)())
    assert unreached(['https://photos.example/']) == ''
    assert 'no answer from photos.example yet' in capsys.readouterr().err


def test_a_name_server_that_never_answers_holds_nobody_up(monkeypatch):
    names(monkeypatch, lambda: time.sleep(20))
    start = time.monotonic()
    assert 'no answer in 0.5 seconds' in unreached(['https://photos.example/'], 0.5, quiet=True)
    assert time.monotonic() - start < 10


def test_the_host_that_will_be_asked_is_asked(server, monkeypatch):
    here = 'http://{}:{}/'.format(*server)
    assert unreached([here, 'http://nowhere.invalid/']) == ''
    monkeypatch.setenv('http_proxy', here)
    monkeypatch.setenv('no_proxy', '')
    assert unreached(['http://nowhere.invalid/']) == ''
    monkeypatch.setenv('http_proxy', 'http://nowhere.invalid:3128')
    assert 'no connection to nowhere.invalid' in unreached(['http://a.example/'], 0.3)
    assert unreached(['no address']) == '', 'who asks for it says what is wrong'


def test_weights_that_cannot_be_had_name_those_that_are_here(tmp_path, monkeypatch):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    names(monkeypatch, NO_NAMES)
    for cached in (within_reach, architectures._answers_once):
        cached.cache_clear()
    assert within_reach(Settings().architecture) == architectures.FALLBACK
    for name in ('resnet34', 'vit_tiny_patch16_224.augreg_in21k_ft_in1k'):
        with pytest.raises(NoWeights, match='cannot be reached.*pip:efficientnet_lite0'):
            need_weights(name)
    here = tmp_path / 'hub' / 'checkpoints' / 'resnet34-b627a593.pth'
    here.parent.mkdir(parents=True)
    here.touch()
    need_weights('resnet34')
    assert 'resnet34' in architectures.local_weights()
    for cached in (within_reach, architectures._answers_once):
        cached.cache_clear()
