"What is handed to users: the page of the package, and what its wheel holds."

import email
import re
import subprocess
import sys

import pytest

from birdsort.core.scaffold import project_notebooks
from conftest import ROOT


@pytest.fixture(scope='module')
def built(tmp_path_factory):
    "What setuptools puts into the wheel, and the package's metadata."
    to, about = tmp_path_factory.mktemp('package'), tmp_path_factory.mktemp('about')
    command = ['setup.py', '-q', 'egg_info', '-e', about, 'build_py', '-d', to]
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (info,) = about.glob('*.egg-info/PKG-INFO')
    return to / 'birdsort', email.message_from_string(info.read_text(encoding='utf-8'))


def test_only_notebooks_that_a_user_opens_are_in_the_wheel(built):
    notebooks = {str(f.relative_to(built[0])) for f in built[0].rglob('*.ipynb')}
    copied = {name.partition('_')[2] for name in project_notebooks()} - {'', 'start_here.ipynb'}
    stages = {f for f in notebooks if re.fullmatch(r'notebooks/\d+_\w+\.ipynb', f)}
    assert {f.partition('_')[2] for f in stages} == copied
    studies = {f'notebooks/studies/{f.name}' for f in (ROOT / 'nbs' / 'studies').glob('*.ipynb')}
    own = {'assets/00_start_here.ipynb', 'assets/app.ipynb'}
    assert notebooks == stages | studies | own


def test_the_page_of_the_package_leads_to_real_addresses(built):
    page = built[1].get_payload()
    links = re.findall(r'\]\(([^)\s]+)\)', page)
    assert len(links) > 30
    assert [link for link in links if not link.startswith(('https://', '#'))] == []
    here = [re.search(r'/(?:blob|raw)/main/([^#]+)', link) for link in links]
    assert [found[1] for found in here if found and not (ROOT / found[1]).exists()] == []


def test_classifiers_and_links_of_the_project(built):
    classifiers = built[1].get_all('Classifier')
    assert (
        'Programming Language :: Python :: 3.13' in classifiers and 'Typing :: Typed' in classifiers
    )
    assert {line.partition(',')[0] for line in built[1].get_all('Project-URL')} >= {
        'Documentation',
        'Source',
        'Issues',
        'Changelog',
    }
