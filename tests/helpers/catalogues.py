"iNaturalist and Wikimedia Commons on loopback: they know the seven birds of the study, and serve drawn photos."

import http.server
import json
from contextlib import contextmanager
from urllib.parse import parse_qsl, urlsplit

from birdsort.aviary.pencil import draw_bird
from helpers.hostile import encode
from helpers.serving import serving

SPECIES = {
    'cockatoo': ('Cacatuidae', 'family'),
    'parrot': ('Psittaciformes', 'order'),
    'black kite': ('Milvus migrans', 'species'),
    'budgerigar': ('Melopsittacus undulatus', 'species'),
    'white stork': ('Ciconia ciconia', 'species'),
    'grey heron': ('Ardea cinerea', 'species'),
    'griffon vulture': ('Gyps fulvus', 'species'),
    'Egyptian vulture': ('Neophron percnopterus', 'species'),
}
NAMES = list(SPECIES)


def taxa(query):
    "What iNaturalist answers to `/v1/taxa`."
    records = [
        dict(
            id=NAMES.index(name),
            name=scientific,
            preferred_common_name=name,
            rank=rank,
            observations_count=9,
        )
        for name, (scientific, rank) in SPECIES.items()
        if name == query['q']
    ]
    return dict(results=records, total_results=len(records))


def observations(query, host, n):
    "What it answers to `/v1/observations`: `n` photos of a taxon."
    name = NAMES[int(query['taxon_id'])]
    records = [
        dict(
            uri=f'http://{host}/observation/{i}',
            taxon=dict(name=SPECIES[name][0], preferred_common_name=name),
            photos=[
                dict(
                    id=i,
                    url=f'http://{host}/photo/{NAMES.index(name)}/{i}/square.jpg',
                    license_code='cc-by',
                    attribution='(c) Ada, some rights reserved (CC BY)',
                )
            ],
        )
        for i in range(n)
    ]
    return dict(results=records if query['page'] == '1' else [], total_results=n)


def commons(query, host, n):
    "What Commons answers to a search."
    name = query['gsrsearch'].removesuffix(' filetype:bitmap')
    if name not in SPECIES:
        return dict(batchcomplete='')
    pages = {}
    for i in range(n):
        address = f'http://{host}/photo/{NAMES.index(name)}/{100 + i}/large.jpg'
        licence = dict(LicenseShortName=dict(value='CC BY-SA 4.0'), Artist=dict(value='Bea'))
        info = dict(
            thumburl=address,
            url=address,
            descriptionurl=address,
            mime='image/jpeg',
            extmetadata=licence,
        )
        pages[str(i)] = dict(index=i, title=f'File:{name} {i}.jpg', imageinfo=[info])
    return dict(batchcomplete='', query=dict(pages=pages))


@contextmanager
def catalogues(inaturalist=2, wikimedia=8):
    """Serve both, with so many photos for each query -> (host, the paths that were asked)."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            at = urlsplit(self.path)
            asked.append(at.path)
            query, host = dict(parse_qsl(at.query)), self.headers['Host']
            if at.path.startswith('/photo/'):
                name, seed = at.path.split('/')[2:4]
                body = encode(
                    draw_bird(NAMES[int(name)], int(seed)).resize((96, 64)).convert('RGB')
                )
            elif at.path == '/v1/taxa':
                body = json.dumps(taxa(query)).encode()
            elif at.path == '/v1/observations':
                body = json.dumps(observations(query, host, inaturalist)).encode()
            else:
                body = json.dumps(commons(query, host, wikimedia)).encode()
            self.send_response(200)
            self.send_header('Content-Length', str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    with serving(Handler) as host:
        yield host, asked
