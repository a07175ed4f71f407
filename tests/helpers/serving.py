"A server on loopback, up inside a `with`."

import threading
from contextlib import contextmanager
from http.server import ThreadingHTTPServer


@contextmanager
def serving(handler):
    "A server whose requests a handler answers -> its host and port."
    server = ThreadingHTTPServer(('127.0.0.1', 0), handler)
    threading.Thread(
        target=server.serve_forever, kwargs=dict(poll_interval=0.05), daemon=True
    ).start()
    try:
        yield f'127.0.0.1:{server.server_port}'
    finally:
        server.shutdown()
        server.server_close()
