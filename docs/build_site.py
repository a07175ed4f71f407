"""Stage the site's pages and build it: `make docs` calls this.

The pages are Markdown in this folder, the notebooks of `nbs/` with the outputs that they hold, and the reference, which
is written from the docments. Sphinx reads them from one folder, makes HTML, and turns each warning into an error;
afterwards every link inside the site is looked up.
"""

import json
import re
import shutil
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from urllib.parse import unquote, urlsplit

from reference import (
    ROOT,
    exported_module,
    linked,
    notebooks,
    parameter_table,
    public_names,
    reference_pages,
    signature,
)

HERE = Path(__file__).parent
SITE = ROOT / '_docs'


def stage(source: Path) -> None:
    "Write everything that Sphinx reads into a folder."
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(HERE, source, ignore=shutil.ignore_patterns('*.py', '__pycache__'))
    for page in source.rglob('*.md'):
        page.write_text(_from_site(page.read_text(encoding='utf-8')), encoding='utf-8')
    shutil.copytree(ROOT / 'nbs' / 'images', source / 'nbs' / 'images')
    for path in sorted((ROOT / 'nbs').rglob('*.ipynb')):
        staged = source / path.relative_to(ROOT)
        if path.name == 'index.ipynb' or '.ipynb_checkpoints' in path.parts:
            continue
        staged.parent.mkdir(parents=True, exist_ok=True)
        staged.write_text(json.dumps(staged_notebook(json.loads(path.read_text(encoding='utf-8')))), encoding='utf-8')
    listed = {source / 'nbs', source / 'nbs' / 'howto', source / 'nbs' / 'studies'}  # In pages of this folder
    for folder in sorted({path.parent for path in (source / 'nbs').rglob('*.ipynb')} - listed):
        (folder / 'index.md').write_text(folder_page(folder), encoding='utf-8')
    (source / 'api').mkdir()
    pages = reference_pages()
    for name, text in pages.items():
        (source / 'api' / f'{name}.md').write_text(text, encoding='utf-8')
    (source / 'api' / 'index.md').write_text(_reference_index(pages), encoding='utf-8')


def folder_page(folder: Path) -> str:
    "A page that lists the notebooks of a folder, each with the line below its title."
    lines, pages = [], []
    for path in sorted(folder.glob('*.ipynb')):
        first = ''.join(json.loads(path.read_text(encoding='utf-8'))['cells'][0]['source'])
        title, said = re.search(r'# (.+)', first), re.search(r'^> (.+)', first, flags=re.M)
        lines.append(f'- [{title[1]}]({path.name})' + (f': {said[1]}' if said else ''))
        pages.append(path.stem)
    pages += [f'{inner.name}/index' for inner in sorted(folder.iterdir()) if inner.is_dir()]
    return '\n'.join(
        [f'# {folder.name.replace("_", " ")}', '', *lines, '', '```{toctree}', ':hidden:', '', *pages, '```', '']
    )


def _reference_index(pages):
    said = 'Every public name, from the docments in the code. The stages come first, then the packages behind them.'
    listed = [
        f'- [{name}]({name}.md): {", ".join(re.findall(r"^## birdsort[.](.+)", text, flags=re.M))}'
        for name, text in pages.items()
    ]
    return '\n'.join(['# Reference', '', said, '', *listed, '', '```{toctree}', ':hidden:', '', *pages, '```', ''])


def _from_site(text):
    "Links from `docs/` to `nbs/`, which are neighbours in the repository, where the site has `nbs/` inside."
    return re.sub(r'(?<=[\s(])((?:\.\./)*)\.\./nbs/', r'\1nbs/', text)


def staged_notebook(notebook: dict) -> dict:
    "A notebook as a page: hidden cells are gone, exported code is folded under what it defines."
    module = exported_module(json.dumps(notebook))
    cells = [page_cell for cell in notebook['cells'] for page_cell in _staged_cells(cell, module)]
    return {**notebook, 'cells': cells}


def _staged_cells(cell, module) -> Iterator[dict]:
    source = ''.join(cell['source'])
    if cell['cell_type'] == 'markdown':
        yield {**cell, 'source': linked(source)}
    elif cell['cell_type'] == 'code' and not re.search(r'^#\| *(hide|default_exp)\b', source, flags=re.M):
        bare = re.sub(r'^#\|.*\n?', '', source, flags=re.M).strip('\n')
        if re.search(r'^#\| *export', source, flags=re.M):
            defined = definitions(bare, module)
            if defined:
                yield {'cell_type': 'markdown', 'id': f'{cell["id"]}-docs', 'metadata': {}, 'source': defined}
            cell = {**cell, 'metadata': {**cell['metadata'], 'tags': ['hide-input']}}
        if bare or cell['outputs']:
            yield {**cell, 'source': bare}


def definitions(source: str, module: str) -> str:
    "What a cell of exported code defines for others, as Markdown: name, parameters with their docments."
    loaded = public_names(import_module(module)) if module else {}
    shown = []
    for name in re.findall(r'^(?:def|class) ([A-Za-z]\w*)', source, flags=re.M):
        if name not in loaded:
            continue
        head = f'{{py:obj}}`{name} <{module}.{name}>`'
        typed = signature(loaded[name])
        shown.append('\n\n'.join(part for part in (f'**{head}**`{typed}`', parameter_table(loaded[name])) if part))
    return '\n\n'.join(shown)


class _Links(HTMLParser):
    "Collects what a page points to, and the anchors that it has."

    def __init__(self):
        super().__init__()
        self.targets, self.anchors = [], set()

    def handle_starttag(self, tag, attrs):
        named = dict(attrs)
        self.anchors.add(named.get('id') or '')
        self.anchors.add(named.get('name') or '')
        self.targets += [named[key] for key in ('href', 'src') if named.get(key)]


def _read_links(page):
    parser = _Links()
    parser.feed(page.read_text(encoding='utf-8'))
    return parser


def dead_links(html: Path) -> list[str]:
    "Links of a built site that lead to no file of it, or to no anchor on a page, each as 'page -> link'."
    pages = {page.resolve(): _read_links(page) for page in html.rglob('*.html')}
    dead = []
    for page, links in pages.items():
        for target in links.targets:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            file = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            file = file / 'index.html' if file.is_dir() else file
            anchors = pages[file].anchors if file in pages else None
            inside = file.is_file() and file.is_relative_to(html.resolve())
            lost = not inside or (parts.fragment and anchors is not None and unquote(parts.fragment) not in anchors)
            if lost:
                dead.append(f'{page.relative_to(html.resolve())} -> {target}')
    return dead


def main() -> int:
    "Build the site into `_docs/html`; the exit code is 0 where Sphinx warned of nothing and no link is dead."
    from sphinx.cmd.build import main as sphinx_build

    stage(SITE / 'source')
    shutil.rmtree(SITE / 'html', ignore_errors=True)  # Pages that are gone would hide dead links
    options = ['-c', str(HERE), '-b', 'html', '-d', str(SITE / 'doctrees'), '-j', 'auto', '-q', '-W', '--keep-going']
    failed = sphinx_build([*options, str(SITE / 'source'), str(SITE / 'html')])
    if failed:
        return failed
    dead = dead_links(SITE / 'html')
    for link in dead:
        print(f'dead link: {link}', file=sys.stderr)
    if dead:
        return 1
    pages = list((SITE / 'html').rglob('*.html'))
    print(f'{SITE / "html" / "index.html"}: {len(pages)} pages, {len(notebooks())} modules')
    return 0


if __name__ == '__main__':
    sys.exit(main())
