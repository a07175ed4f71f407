"Who says little, slowly, holds nobody up: bodies, streams, crowds, and the names a server answers to."

import asyncio
import socket
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from itertools import chain, repeat

import pytest
import uvicorn

from birdsort.deploy.guard import (
    ANY_ADDRESS,
    LOOPBACK,
    Crowd,
    Refusal,
    RequestGuard,
    error_response,
    make_connection,
    own_names,
)

TIMEOUT = 0.2  # Seconds for the next piece


def piece(n=1, more=True):
    return dict(type='http.request', body=b'x' * n, more_body=more)


def arriving(pieces):
    "A body of which the pieces come one after the other, each after so many seconds."
    coming = iter(pieces)

    async def receive():
        seconds, message = next(coming)
        await asyncio.sleep(seconds)
        return message

    return receive


def ask(receive, *, method='POST', most=128, app=None, host='localhost'):
    "The status that a request gets, where nobody stands behind the guard but one who reads it."

    async def read_all(scope, receive, send):
        while (await receive()).get('more_body'):
            pass
        await send(dict(type='http.response.start', status=200, headers=[]))

    async def asked():
        sent = []

        async def send(message):
            sent.append(message)

        guard = RequestGuard(app or read_all, 1000, LOOPBACK, TIMEOUT, most)
        path = '/predict' if method == 'POST' else '/gradio_api/queue/data'
        headers = [(b'host', host.encode())]
        try:
            await guard(dict(type='http', method=method, path=path, headers=headers), receive, send)
        except Refusal as e:
            return e.status
        return sent[0]['status']

    return asyncio.run(asked())


NEVER = (60, None)
BODIES = {
    'at once': ([(0, piece(more=False))], 200),
    'in pieces': ([(0, piece(100))] * 9 + [(0, piece(more=False))], 200),
    'late, but whole': ([(0.1, piece(more=False))], 200),
    'nothing': ([NEVER], 408),
    'half of it': ([(0, piece(500)), NEVER], 408),
    'all but the end': ([(0, piece(1000)), NEVER], 408),
    'a byte now and then': (repeat((0.05, piece())), 408),
    'empty pieces': (repeat((0.02, piece(0))), 408),
    'too much at once': ([(0, piece(2000)), NEVER], 413),
    'too much in pieces': (repeat((0, piece(100))), 413),
    'fast, and then slow': (chain([(0, piece(500))], repeat((0.05, piece(1)))), 408),
}


@pytest.mark.parametrize('name', BODIES)
def test_a_body_comes_at_a_walking_pace_or_is_refused(name):
    pieces, status = BODIES[name]
    assert ask(arriving(pieces)) == status


@pytest.mark.parametrize('method', ['GET', 'POST'])
def test_a_stream_of_news_outlasts_every_deadline(method):
    "An app that has read its request waits for the end of the connection, for as long as it likes."

    async def tell(scope, receive, send):
        if method == 'POST':
            await receive()
        await asyncio.sleep(2 * TIMEOUT)
        gone = await receive()
        await send(dict(type='http.response.start', status=200, headers=[]))
        assert gone['type'] == 'http.disconnect'

    body = [(0, piece(more=False))] if method == 'POST' else []
    receive = arriving([*body, (2 * TIMEOUT, dict(type='http.disconnect'))])
    assert ask(receive, method=method, app=tell) == 200


def test_whoever_came_first_makes_room_for_a_newcomer():
    crowd, gone = Crowd(3), []
    for i in range(5):
        crowd.enter(i, lambda i=i: gone.append(i))
    crowd.enter(2, lambda: gone.append('twice'))
    crowd.leave(3)
    crowd.leave('nobody')
    assert (gone, len(crowd)) == ([0, 1], 2)


def test_a_full_crowd_of_bodies_lets_the_next_one_in():
    async def both():
        guard = RequestGuard(reading, 1000, LOOPBACK, 60, most=1)
        scope = dict(type='http', method='POST', path='/predict', headers=[(b'host', b'localhost')])
        client = asyncio.create_task(guard(scope, arriving([NEVER]), None))
        await asyncio.sleep(0)
        await guard(scope, arriving([(0.01, piece(more=False))]), None)
        with pytest.raises(Refusal, match='did not arrive'):
            await client

    async def reading(scope, receive, send):
        await receive()

    asyncio.run(both())


@pytest.mark.parametrize(
    'listens, others, host, answered',
    [
        ('127.0.0.1', (), '127.0.0.1:7860', True),
        ('127.0.0.1', (), 'LOCALHOST:7860', True),
        ('127.0.0.1', (), '[::1]:7860', True),
        ('127.0.0.1', (), '192.168.1.7:7860', False),
        ('127.0.0.1', (), 'elsewhere.example', False),
        ('127.0.0.1', ('birds.lan',), 'birds.lan', True),
        ('0.0.0.0', (), '192.168.1.7:7860', True),
        ('0.0.0.0', (), '[fd00::7]:7860', True),
        ('0.0.0.0', (), 'elsewhere.example:7860', False),
        ('0.0.0.0', (), '192.168.1.7.elsewhere.example', False),
        ('0.0.0.0', (), ANY_ADDRESS, False),
        ('0.0.0.0', (), '', False),
        ('0.0.0.0', ('birds.lan',), 'birds.lan:443', True),
        ('0.0.0.0', (), socket.gethostname(), True),
        ('0.0.0.0', (), f'{socket.gethostname()}.local.:7860', True),
        ('192.168.1.7', (), '192.168.1.7', True),
        ('birds.lan', (), 'birds.lan', True),
    ],
)
def test_a_name_that_is_not_ours_is_not_answered(listens, others, host, answered):
    async def here(scope, receive, send):
        await send(dict(type='http.response.start', status=200, headers=[]))

    async def asked():
        sent = []

        async def send(message):
            sent.append(message)

        guard = RequestGuard(here, 1000, own_names(listens, others))
        headers = [(b'host', host.encode())]
        await guard(dict(type='http', method='GET', path='/', headers=headers), arriving([]), send)
        return sent

    sent = asyncio.run(asked())
    assert sent[0]['status'] == (200 if answered else 421)
    if not answered:
        assert b'serve --hostname' in sent[1]['body']


@contextmanager
def served(app, most=16):
    "The app on loopback, with little room and short deadlines -> its address, its server."
    options = dict(
        http=make_connection(0.15, most), ws='none', lifespan='off', log_level='critical'
    )
    guard = RequestGuard(app, 1_000_000, LOOPBACK, 0.15, most // 4)
    server = uvicorn.Server(uvicorn.Config(guard, timeout_keep_alive=1, **options))
    with socket.create_server(('127.0.0.1', 0)) as listening:
        run = dict(target=server.run, kwargs=dict(sockets=[listening]), daemon=True)
        (thread := threading.Thread(**run)).start()
        yield listening.getsockname(), server
        server.should_exit = True
        thread.join(20)


async def stork(scope, receive, send):
    "Reads what is sent; a page is long, and an answer is short."
    try:
        while scope['method'] == 'POST' and (await receive()).get('more_body'):
            pass
    except Refusal as e:
        return await error_response(e)(scope, receive, send)
    await send(dict(type='http.response.start', status=200, headers=[]))
    for _ in range(1 if scope['method'] == 'POST' else 200):
        await send(dict(type='http.response.body', body=b'stork' * 20_000, more_body=True))
    await send(dict(type='http.response.body'))


def post(path, *more, length=500, host='localhost'):
    lines = [f'POST {path} HTTP/1.1', f'Host: {host}', f'Content-Length: {length}', *more]
    return '\r\n'.join([*lines, '', '']).encode()


def answered(place):
    "How the answer to a person begins; empty where this machine was so slow that they were sent away."
    with suppress(ConnectionError), socket.create_connection(place, timeout=20) as person:
        person.sendall(post('/predict', 'Connection: close', length=5) + b'stork')
        return person.recv(12)


PAGE = b'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'
STRANGERS = {
    'says nothing': b'',
    'half a head': PAGE[:-2],
    'a head that never ends': PAGE[:-2] + b'x: stork\r\n' * 20_000,
    'half a body': post('/predict') + b'x' * 100,
    'no body': post('/predict'),
    'a body for nobody': post('/nowhere'),
    'a body that is too large': post('/predict', length=10**9),
    'a body for another host': post('/predict', host='elsewhere.example'),
    'a body after a refusal': post('/nowhere', length=5) + b'stork' + post('/nowhere'),
    'a body that is waited for': post('/predict', 'Expect: 100-continue'),
    'does not read the answer': PAGE,
    'does not read any of the answers': PAGE * 20,
}


@pytest.mark.parametrize('said', STRANGERS.values(), ids=STRANGERS)
def test_a_person_gets_an_answer_and_every_stranger_is_sent_away(said):
    with ExitStack() as stack:
        place, server = stack.enter_context(served(stork))
        for _ in range(40):
            stranger = stack.enter_context(socket.create_connection(place, timeout=20))
            with suppress(ConnectionError):
                stranger.sendall(said)
        assert b'HTTP/1.1 200' in (answered(place) for _ in range(20))
        assert len(server.server_state.connections) <= 16
        end = time.monotonic() + 20
        while server.server_state.connections:
            assert time.monotonic() < end
            time.sleep(0.02)


def test_who_is_answered_for_long_is_not_sent_away():
    "A stream of news, as the page reads it: longer than every deadline, with a pause before each piece."

    async def news(scope, receive, send):
        await send(dict(type='http.response.start', status=200, headers=[]))
        for _ in range(4):
            await asyncio.sleep(0.2)
            await send(dict(type='http.response.body', body=b'stork', more_body=True))
        await send(dict(type='http.response.body'))

    with served(news) as (place, _), socket.create_connection(place, timeout=20) as person:
        person.sendall(PAGE.replace(b'\r\n\r\n', b'\r\nConnection: close\r\n\r\n'))
        assert b''.join(iter(lambda: person.recv(4096), b'')).count(b'stork') == 4
