"Write README.md from nbs/index.ipynb: its prose, its code and its outputs, without the hidden cells."
import re, sys
from pathlib import Path
from nbconvert import MarkdownExporter
from nbformat import read

def readme(notebook):
    nb = read(notebook, as_version=4)
    nb.cells = [c for c in nb.cells if '#| hide' not in c.source]
    text = MarkdownExporter().from_notebook_node(nb)[0]
    text = re.sub(r'(\]\(|src=")(images/|[\w/]+\.ipynb)', r'\1nbs/\2', text)
    note = '<!-- Written from nbs/index.ipynb by `make readme`; edit that. -->\n\n'
    return note + re.sub(r'\n{3,}', '\n\n', text).strip() + '\n'

if __name__ == '__main__':
    root = Path(__file__).parent.parent
    Path(sys.argv[1] if len(sys.argv) > 1 else root/'README.md').write_text(readme(root/'nbs/index.ipynb'), encoding='utf-8')
