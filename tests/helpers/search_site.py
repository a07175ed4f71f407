"A search site on loopback whose answers a test decides."

import http.server
from contextlib import contextmanager
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

from helpers.serving import serving


class Visit(NamedTuple):
    path: str
    query: dict
    agent: str  # What the visitor calls itself
    cookies: str


@contextmanager
def search_site(answer):
    """Serve what `answer(visit)` returns, a text or a status and a text -> (address without a path, the visits)."""
    visits = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            at = urlsplit(self.path)
            visit = Visit(
                at.path,
                dict(parse_qsl(at.query)),
                self.headers['User-Agent'],
                self.headers['Cookie'] or '',
            )
            if at.path != '/favicon.ico':
                visits.append(visit)
            said = answer(visit)
            status, text = (200, said) if isinstance(said, str) else said
            self.send_response(status)
            self.send_header('Content-Type', 'text/html; charset=utf-8')
            self.send_header('Content-Length', str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def do_POST(self):
            self.rfile.read(int(self.headers['Content-Length']))
            self.do_GET()

        def log_message(self, *args):
            pass

    with serving(Handler) as host:
        yield f'http://{host}', visits
