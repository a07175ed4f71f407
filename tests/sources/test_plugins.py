"A source and an architecture of another package: its entry point makes them known, without a change of birdsort."

import subprocess

from birdsort.aviary.sample_project import lesson_project
from conftest import CLI, ENV, one_line

PLUGIN = """
from birdsort.sources.base import Hit, Source
from birdsort.sources.registry import register_source

def postcards(query, n, context, address='https://cards.example'):
    yield Hit(f'{address}/{query}.jpg')

register_source(Source('postcards', postcards, 'Scanned postcards', limits='a few'))
"""


def birdsort_with(plugin, *args):
    "A verb, in a process that finds the packages in a folder."
    env = ENV | dict(PYTHONPATH=f'{ENV["PYTHONPATH"]}:{plugin}')
    return subprocess.run([*CLI, *map(str, args)], capture_output=True, text=True, env=env)


def test_a_source_of_another_package(tmp_path):
    project = lesson_project(0, tmp_path / 'birds')
    plugin = tmp_path / 'site'
    (plugin / 'cards-1.dist-info').mkdir(parents=True)
    (plugin / 'cards.py').write_text(PLUGIN)
    info = {
        'METADATA': 'Name: cards\nVersion: 1\n',
        'entry_points.txt': '[birdsort.plugins]\ncards = cards\n',
    }
    for name, text in info.items():
        (plugin / 'cards-1.dist-info' / name).write_text(text)
    asked = ('scrape', '--dry-run', '--source', 'postcards', '-p', project.path)
    plan = birdsort_with(plugin, *asked)
    assert plan.returncode == 0 and 'postcards: a few' in plan.stdout, plan
    missing = birdsort_with(tmp_path, *asked)
    one_line(missing, "unknown source 'postcards'", 'wikimedia', code=2)
