"A dataclass parameter of a verb: one option per field, its help, its type, its mistakes, and how the verb is called."

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from birdsort import cli
from birdsort.commands.options import Parser, add_verb, verb_arguments
from birdsort.results.formatting import FORMATTERS


@dataclass(frozen=True)
class Brush:
    "A brush."

    width: int = 3  # How wide, pixels
    wet_share: float = 0.5  # Water in the paint, 0 to 1; 50 % is common
    hair: str = 'hog'  # Of which animal
    strength: str | float = 'auto'  # auto, or a number
    levels: tuple = (1, 2, 4)  # Sizes, fine to coarse
    weights: tuple = (0.5, 0.5)  # Of two colours
    names: tuple = ()  # Of the colours
    paper: Path | None = None  # A file to paint on
    dry: bool = False  # Wait until it is dry
    varnish: bool = True  # Put varnish on it
    seed: int = field(default=42, metadata=dict(option=False))  # Not an option

    def __post_init__(self):
        if self.width < 1:
            raise ValueError(f'width = {self.width}: must be 1 or more')


def paint(
    what: str,  # What to paint
    brush: Brush | None = None,  # The brush
    often: int = 1,  # How often
):
    "Paint."
    return dict(what=what, often=often, brush=brush)


WIDE = Brush(width=9)


def with_default(
    brush: Brush = WIDE,  # The brush
):
    "Paint with a wide brush."
    return brush


def parser_of(verb):
    parser = Parser(prog='easel')
    add_verb(parser.add_subparsers(dest='verb', parser_class=Parser), verb)
    return parser


def call(verb, *argv):
    options = vars(parser_of(verb).parse_args([verb.__name__, *argv]))
    for name in ('verb', *Parser.everywhere):
        del options[name]
    return verb(**verb_arguments(verb, options))


def mistake(capsys, *argv):
    with pytest.raises(SystemExit) as stopped:
        call(paint, *argv)
    err = capsys.readouterr().err
    assert stopped.value.code == 2 and err.count('\n') == 1
    assert err.startswith('birdsort: ') and err.endswith(' --help` lists what is allowed\n')
    return err


def test_each_field_is_an_option_with_its_comment_as_help(capsys):
    with pytest.raises(SystemExit):
        call(paint, '--help')
    out = capsys.readouterr().out
    group = out.partition('brush:\n')[2]
    assert group.startswith('  The brush\n')
    for flag, note in [
        ('--width WIDTH', 'How wide, pixels'),
        ('--wet-share WET_SHARE', '50 % is common'),
        ('--levels 1,2,4', 'Sizes, fine to coarse'),
        ('--dry', 'Wait until it is dry'),
        ('--varnish, --no-varnish', 'Put varnish on it'),
        ('--paper PAPER', 'A file to paint on'),
    ]:
        assert f'  {flag}' in group and note in ' '.join(group.split())
    assert '--no-dry' not in out and '--seed' not in out and '--brush' not in out


def test_without_options_the_defaults_of_the_dataclass_hold():
    assert call(paint, 'a heron') == dict(what='a heron', often=1, brush=Brush())


@pytest.mark.parametrize(
    'argv, expected',
    [
        (['--width', '7'], dict(width=7)),
        (['--wet-share', '1'], dict(wet_share=1.0)),
        (['--hair', '12'], dict(hair='12')),
        (['--strength', '0.5'], dict(strength=0.5)),
        (['--strength', 'auto'], dict(strength='auto')),
        (['--levels', '1, 8'], dict(levels=(1, 8))),
        (['--weights', '1,0.25'], dict(weights=(1.0, 0.25))),
        (['--names', 'red,sea green'], dict(names=('red', 'sea green'))),
        (['--levels', ''], dict(levels=())),
        (['--paper', 'a/b.png'], dict(paper=Path('a/b.png'))),
        (['--dry', '--no-varnish'], dict(dry=True, varnish=False)),
        (['--varnish', '--width=2', '--width=4'], dict(width=4)),
    ],
)
def test_text_becomes_a_value_of_the_field_s_type(argv, expected):
    brush = call(paint, 'a heron', *argv)['brush']
    assert brush == Brush(**expected)
    for name, value in expected.items():
        assert type(getattr(brush, name)) is type(value)


@pytest.mark.parametrize(
    'argv, words',
    [
        (['--width', '2.5'], ['--width', "'2.5' is not a whole number"]),
        (['--wet-share', 'half'], ['--wet-share', "'half' is not a number"]),
        (
            ['--levels', '1,two'],
            ['--levels', 'whole numbers with commas, such as 1,2,4', "'1,two'"],
        ),
        (['--weights', 'x'], ['--weights', 'numbers with commas, such as 0.5,0.5', "'x'"]),
        (['--no-dry'], ['--no-dry']),
        (['--seed', '1'], ['--seed']),
    ],
)
def test_a_value_of_another_type_is_one_clear_line(capsys, argv, words):
    err = mistake(capsys, 'a heron', *argv)
    assert all(word in err for word in words), err


def test_an_instance_as_default_is_changed_only_where_an_option_says_so():
    assert call(with_default) == Brush(width=9)
    assert call(with_default, '--hair', 'sable') == Brush(width=9, hair='sable')


def test_what_the_dataclass_refuses_is_one_line_of_the_command_line(capsys, monkeypatch):
    monkeypatch.setitem(cli.VERBS, 'paint', paint)
    monkeypatch.setitem(FORMATTERS, 'paint', lambda result: f"{result['brush'].width} wide")
    assert cli.main(['paint', 'a heron', '--width', '5']) == 0
    assert capsys.readouterr().out == '5 wide\n'
    assert cli.main(['paint', 'a heron', '--width', '0']) == 2
    out, err = capsys.readouterr()
    assert out == '' and err.splitlines() == ['birdsort: width = 0: must be 1 or more']


def test_settings_of_training_share_the_mechanism(capsys, tmp_path):
    for argv, words in [
        (['--patience', 'long'], ["argument --patience: 'long' is not a whole number"]),
    ]:
        with pytest.raises(SystemExit):
            cli.main(['train', '--project', str(tmp_path), *argv])
        err = capsys.readouterr().err
        assert all(word in err for word in words), err
    args = cli.parse(
        ['train', '--lr', 'auto', '--epochs', '5,5', '--no-cache', '--unfreeze', '1 group']
    )
    assert (args.lr, args.epochs, args.cache, args.unfreeze) == ('auto', (5, 5), False, '1 group')
    assert not hasattr(args, 'mixup')


def test_a_renamed_flag_is_answered_only_where_a_verb_has_none_of_that_name(capsys):
    def draw(
        n: int = 1,  # How many
    ):
        "Draw."

    parser = parser_of(draw)
    for argv, words in [
        (['-n', 'x'], "'x' is not a whole number"),
        (['--again'], '--again is now --force'),
    ]:
        with pytest.raises(SystemExit):
            parser.parse_args(['draw', *argv])
        assert words in capsys.readouterr().err
