"Everything that describes the package stands in settings.ini; this file only hands it to setuptools."
import re
from configparser import ConfigParser
from pathlib import Path
from setuptools import find_packages, setup

here = Path(__file__).parent
parser = ConfigParser(delimiters=['='])
parser.read(here/'settings.ini', encoding='utf-8')
cfg = parser['DEFAULT']
source = f"{cfg['git_url']}/%s/{cfg['branch']}"

def description():
    "The README for the page of the package, which is in no folder: links and images get the addresses that they have at GitHub."
    text = (here/'README.md').read_text(encoding='utf-8')
    text = re.sub(r'(!\[[^\]]*\]\()(?!https?:|#)', rf"\1{source % 'raw'}/", text)
    return re.sub(r'(\]\()(?!https?:|#)', rf"\1{source % 'blob'}/", text)

def opened():
    "The notebooks that `birdsort new` copies from: those with a section for the user's own images."
    stages = sorted((here/'nbs').glob('[0-9]*.ipynb'))
    return [file.name for file in stages if '## On your own images' in file.read_text(encoding='utf-8')]

extras = {name: cfg[f'{name}_requirements'].split() for name in ('heic', 'jupyter', 'serve', 'distributed', 'tensorboard', 'ray')}
extras['all'] = sorted({requirement for requirements in extras.values() for requirement in requirements})

setup(
    name=cfg['lib_name'], version=cfg['version'], description=cfg['description'], keywords=cfg['keywords'],
    author=cfg['author'], author_email=cfg['author_email'], license='Apache-2.0', url=cfg['git_url'],
    project_urls={
        'Documentation': cfg['doc_host'] + cfg['doc_baseurl'], 'Source': cfg['git_url'], 'Issues': f"{cfg['git_url']}/issues",
        'Changelog': f"{source % 'blob'}/CHANGELOG.md"},
    long_description=description(), long_description_content_type='text/markdown',
    python_requires=f">={cfg['min_python']}", zip_safe=False,
    # `birdsort new` copies from notebooks and `birdsort study` runs some: these travel in the wheel as birdsort/notebooks, and no others
    packages=[*find_packages(include=['birdsort', 'birdsort.*']), 'birdsort.notebooks', 'birdsort.notebooks.studies'],
    package_dir={'birdsort': 'birdsort', 'birdsort.notebooks': 'nbs', 'birdsort.notebooks.studies': 'nbs/studies'},
    package_data={
        'birdsort': ['assets/*', 'py.typed'], 'birdsort.notebooks': opened(), 'birdsort.notebooks.studies': ['*.ipynb']},
    include_package_data=False, # Of nbs/ only what is named here
    install_requires=cfg['requirements'].split(),
    extras_require=extras | dict(dev=cfg['dev_requirements'].split(), docs=cfg['docs_requirements'].split()),
    entry_points={'console_scripts': cfg['console_scripts'].split(), 'nbdev': ['birdsort=birdsort._modidx:d'], 'birdsort.recipes': cfg['recipes'].split()},
    classifiers=[
        'Development Status :: 3 - Alpha', 'Environment :: Console', 'Framework :: Jupyter', 'Intended Audience :: Developers',
        'Intended Audience :: Education', 'Intended Audience :: Science/Research', 'Natural Language :: English',
        'Operating System :: MacOS', 'Operating System :: Microsoft :: Windows', 'Operating System :: POSIX :: Linux',
        'Programming Language :: Python :: 3', 'Programming Language :: Python :: 3 :: Only',
        *[f'Programming Language :: Python :: 3.{minor}' for minor in range(10, 14)],
        'Topic :: Scientific/Engineering :: Artificial Intelligence', 'Topic :: Scientific/Engineering :: Image Recognition',
        'Typing :: Typed'])
