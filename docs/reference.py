"The reference: every public name of the package with its docments, as Markdown that Sphinx reads."

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from fastcore.docments import docments

from birdsort.commands.project import StageMethod

ROOT = Path(__file__).parent.parent


def exported_module(notebook: str) -> str:
    "The module that a notebook, as JSON, is exported to; '' where it is exported to none."
    found = re.search(r'#\| default_exp ([\w.]+)', notebook)
    return f'birdsort.{found[1]}' if found else ''


@cache
def notebooks() -> dict[str, Path]:
    "Each module that a notebook is exported to, and the notebook's path in the site: `/nbs/50_train.ipynb`."
    found = {}
    for notebook in sorted((ROOT / 'nbs').rglob('*.ipynb')):
        module = exported_module(notebook.read_text(encoding='utf-8'))
        if module:
            found[module] = Path('/') / notebook.relative_to(ROOT)
    return found


def public_names(module: ModuleType) -> dict[str, Any]:
    "What a module exports, and what each name is."
    return {name: getattr(module, name) for name in getattr(module, '__all__', [])}


@cache
def known_names() -> dict[str, str]:
    "Where each public name stands that only one module has, or the module called after it: `{'train': 'birdsort.train'}`."
    homes: dict[str, list[str]] = {}
    for module in notebooks():
        for name in public_names(import_module(module)):
            homes.setdefault(name, []).append(module)
    for name, modules in homes.items():
        homes[name] = [module for module in modules if module == f'birdsort.{name}'] or modules
    return {name: modules[0] for name, modules in homes.items() if len(modules) == 1}


def linked(text: str) -> str:
    "Markdown in which `name` leads to its entry in the reference; code blocks stay as they are."
    parts = re.split(r'(^```.*?^```)', text, flags=re.M | re.S)
    return ''.join(part if part.startswith('```') else _linked(part) for part in parts)


def _linked(text):
    def to_entry(found):
        home = '' if _is_plain_word(found) else known_names().get(found[1])
        return f'{{py:obj}}`{found[1]} <{home}.{found[1]}>`' if home else found[0]

    return re.sub(r'(?<![`\[}])`([A-Za-z_]\w*)`(?![`\]])', to_entry, text)


def _is_plain_word(found):
    "Whether a name is a word like others: `folder`, and `train` beside `val`; the stages' names mean their functions."
    if not re.fullmatch('[a-z]+', found[1]):
        return False
    before, after = found.string[: found.start()], found.string[found.end() :]
    paragraph = before.rpartition('\n\n')[2] + after.partition('\n\n')[0]
    is_stage = known_names().get(found[1]) == f'birdsort.{found[1]}'
    return not is_stage or '`val`' in paragraph


def _cell(value) -> str:
    "A value in a cell of a Markdown table."
    return ' '.join(str(value).split()).replace('|', '\\|')


def _type(annotation) -> str:
    "A type as a person writes it: `Path | None`, not `pathlib.Path | None`."
    if annotation is inspect.Parameter.empty:
        return ''
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return re.sub(r'\b(?:[a-z_]\w*\.)+(?=[A-Z\w])', '', text)


def _default(value) -> str:
    "A default as it is typed; objects without such a form are dots."
    text = repr(value)
    return re.sub(r'<.*>', '…', text) if len(text) < 60 else '…'


def signature(thing: Any) -> str:
    "The parameters with their defaults, without the types, which stand in the table: `(project, *, force=False)`."
    try:
        known = inspect.signature(thing)
    except (TypeError, ValueError):
        return '()'
    bare = []
    for parameter in known.parameters.values():
        if parameter.name in {'self', 'cls'}:
            continue
        given = parameter.replace(annotation=inspect.Parameter.empty)
        if given.default is not inspect.Parameter.empty:
            given = given.replace(default=_Typed(_default(given.default)))
        bare.append(given)
    return str(inspect.Signature(bare))


class _Typed:
    "Shows itself as the text that somebody types."

    def __init__(self, text):
        self.text = text

    def __repr__(self):
        return self.text


def parameter_table(thing: Any) -> str:
    """A Markdown table of parameters, or of a class's fields: name, type, default, and what the docments say.

    It is empty where they say nothing."""
    rows = []
    for name, about in docments(thing, full=True, returns=not inspect.isclass(thing)).items():
        said = about['docment'] or ''
        if name in {'self', 'cls'} or (name == 'return' and not said):
            continue
        default = '' if about['default'] is inspect.Parameter.empty else f'`{_cell(_default(about["default"]))}`'
        kind = _cell(_type(about['anno']))
        shown = '*returns*' if name == 'return' else f'`{name}`'
        rows.append([shown, f'`{kind}`' if kind and kind != 'None' else '', default, linked(_cell(said))])
    if not any(said for *_, said in rows):
        return ''
    columns = [0, 1, 2, 3] if any(row[2] for row in rows) else [0, 1, 3]
    head = ['parameter', 'type', 'default', 'what it is']
    lines = [' | '.join(row[i] for i in columns) for row in (head, ['---'] * 4, *rows)]
    return '\n'.join(f'| {line} |' for line in lines)


def _body(thing) -> str:
    "The docstring and the table of parameters."
    own = vars(thing).get('__doc__') if inspect.isclass(thing) else thing.__doc__
    doc = linked(inspect.cleandoc(own)) if isinstance(own, str) else ''
    table = parameter_table(thing)
    return '\n\n'.join(part for part in (doc, table) if part)


def _method_body(member):
    "Of a project's stage only what it does: its parameters stand with the stage's function."
    if isinstance(member, StageMethod):
        return linked(f'{member.__doc__.splitlines()[0]} See `{member.__name__}`.')
    return _body(member)


def _directive(kind, name, module, body, fence='```') -> str:
    return f'{fence}{{py:{kind}}} {name}\n:module: {module}\n\n{body}\n{fence}\n'


def methods(thing: type) -> Iterator[tuple[str, Any]]:
    "The public methods that a class has of its own, or from a private base, with what each is."
    of_birdsort = [base for base in thing.__mro__ if base is thing or base.__name__.startswith('_')]
    members = {name: member for base in reversed(of_birdsort) for name, member in vars(base).items()}
    for name, member in members.items():
        if isinstance(member, (staticmethod, classmethod)):
            member = member.__func__
        is_method = inspect.isfunction(member) or isinstance(member, StageMethod)
        if not name.startswith('_') and is_method and member.__doc__:
            yield name, member


def entry(module: str, name: str, thing: Any) -> str:
    "One public name as Sphinx reads it: a function, a class with its methods, or a value."
    if inspect.isclass(thing):
        inner = [
            _directive('method', f'{name}.{method}{signature(member)}', module, _method_body(member))
            for method, member in methods(thing)
        ]
        return _directive(
            'class', f'{name}{_class_signature(thing)}', module, '\n\n'.join([_body(thing), *inner]), '````'
        )
    if callable(thing) and hasattr(thing, '__doc__') and hasattr(inspect.unwrap(thing), '__code__'):
        return _directive('function', f'{name}{signature(thing)}', module, _body(inspect.unwrap(thing)))
    return _directive('data', name, module, linked(value_comment(module, name)))


def _class_signature(thing) -> str:
    "The fields of a small class; the many fields of a large one stand in its table alone."
    text = signature(thing)
    return text if len(text) < 200 else ''


@cache
def _statements(module) -> dict[str, str]:
    "The source of each value of a module, by its name."
    path = Path(sys.modules[module].__file__)
    source = path.read_text(encoding='utf-8')
    lines = source.splitlines()
    found = {}
    for node in ast.parse(source).body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        above = lines[node.lineno - 2] if node.lineno > 1 else ''
        comment = above if above.startswith('# ') and not above.startswith('# %%') else ''
        text = '\n'.join([comment, *lines[node.lineno - 1 : node.end_lineno]])
        for target in targets:
            if isinstance(target, ast.Name):
                found[target.id] = text.strip('\n')
    return found


def value_comment(module: str, name: str) -> str:
    "What the source says of a value: the comments beside and above it, and the value where it is short."
    source = _statements(module).get(name, '')
    comments = re.findall(r'(?:^|\s)# (.+)$', source, flags=re.M)
    code = '\n'.join(re.sub(r'\s+# .+$', '', line) for line in source.splitlines() if not line.startswith('# '))
    shown = f'~~~python\n{code}\n~~~' if code and len(code) < 400 else ''
    return '\n\n'.join(part for part in (' '.join(comments[:2]), shown) if part)


def module_section(module: str) -> str:
    "A module's heading, where it is told, and an entry for each of its public names."
    loaded = import_module(module)
    named = public_names(loaded)
    if not named:
        return ''
    entries = '\n'.join(entry(module, name, thing) for name, thing in named.items())
    return (
        f'({module})=\n## {module}\n\nNotebook: {{doc}}`{notebooks()[module].with_suffix("").as_posix()}`.\n\n{entries}'
    )


def reference_pages() -> dict[str, str]:
    "A Markdown page for each stage and each package, by its name."
    pages: dict[str, list[str]] = {}
    for module in notebooks():
        section = module_section(module)
        if section:
            pages.setdefault(module.split('.')[1], []).append(section)
    return {name: f'# {name}\n\n' + '\n'.join(sections) for name, sections in pages.items()}
