"Names in, a trustworthy image classifier out."
__version__ = "0.1.0"

import sys
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING
from warnings import filterwarnings, warn

if TYPE_CHECKING:
    from .commands.project import Project

__all__ = ['Project']

# What other libraries say of each other, and a user of birdsort can do nothing about. Each by its words: others are shown.
SILENCED = (
    r'`torch\.jit\.script', # fastai decorates its layers with it, and timm its activations
    r"The 'mode\.chained_assignment' option is deprecated", # fastai.tabular sets it
)
for message in SILENCED: filterwarnings('ignore', message=message)

# The notebooks that were copied into a project of birdsort 0.1 import these modules under their old names. For one
# release an old name gives the module of today, with a warning that says what to write instead.
MOVED = {
    'birdsort.commands.formatting': 'birdsort.results.formatting',
    'birdsort.lesson': 'birdsort.aviary.sample_project',
    'birdsort.picture': 'birdsort.core.images',
    'birdsort.project': 'birdsort.core.project',
    'birdsort.runs': 'birdsort.training.runs',
    'birdsort.say': 'birdsort.results.formatting',
}
RENAMED = {'say': 'format_result'}


class _MovedModule(ModuleType):
    "Stands for a module that has moved; its attributes are those of the new one."
    def __getattr__(self, name):
        if name.startswith('__'): raise AttributeError(name)
        return getattr(import_module(MOVED[self.__name__]), RENAMED.get(name, name))


class _MovedFinder(MetaPathFinder, Loader):
    "Finds the modules of `MOVED` under their old names."
    def find_spec(self, fullname, path=None, target=None):
        return ModuleSpec(fullname, self) if fullname in MOVED else None

    def create_module(self, spec):
        warn(f'{spec.name} is now {MOVED[spec.name]}: import from there', FutureWarning, stacklevel=2)
        return _MovedModule(spec.name)

    def exec_module(self, module): pass


sys.meta_path.append(_MovedFinder())


# Importing birdsort loads nothing else: its front door is loaded when somebody asks for it.
def __getattr__(name):
    if name != 'Project': raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    from .commands.project import Project
    return Project


def __dir__(): return sorted([*globals(), 'Project'])
