"Everything that describes the package stands in settings.ini; this file only hands it to setuptools."
from configparser import ConfigParser
from pathlib import Path
from setuptools import find_packages, setup

here = Path(__file__).parent
parser = ConfigParser(delimiters=['='])
parser.read(here/'settings.ini', encoding='utf-8')
cfg = parser['DEFAULT']
extras = {name: cfg[f'{name}_requirements'].split() for name in ('heic', 'jupyter', 'serve', 'distributed', 'tensorboard', 'ray')}
extras['all'] = sorted({requirement for requirements in extras.values() for requirement in requirements})

setup(
    name=cfg['lib_name'], version=cfg['version'], description=cfg['description'], keywords=cfg['keywords'],
    author=cfg['author'], author_email=cfg['author_email'], license='Apache-2.0', url=cfg['git_url'],
    long_description=(here/'README.md').read_text(encoding='utf-8'), long_description_content_type='text/markdown',
    python_requires=f">={cfg['min_python']}", zip_safe=False,
    # `birdsort new` copies the stage notebooks and `birdsort study` runs the studies, so nbs/ travels in the wheel as birdsort/notebooks
    packages=[*find_packages(include=['birdsort', 'birdsort.*']), 'birdsort.notebooks', 'birdsort.notebooks.studies'],
    package_dir={'birdsort': 'birdsort', 'birdsort.notebooks': 'nbs', 'birdsort.notebooks.studies': 'nbs/studies'},
    package_data={'birdsort': ['assets/*', 'py.typed'], 'birdsort.notebooks': ['*.ipynb'], 'birdsort.notebooks.studies': ['*.ipynb']},
    install_requires=cfg['requirements'].split(),
    extras_require=extras | dict(dev=cfg['dev_requirements'].split(), docs=cfg['docs_requirements'].split()),
    entry_points={'console_scripts': cfg['console_scripts'].split(), 'nbdev': ['birdsort=birdsort._modidx:d'], 'birdsort.recipes': cfg['recipes'].split()},
    classifiers=['Development Status :: 3 - Alpha', 'Intended Audience :: Developers', 'Programming Language :: Python :: 3'])
