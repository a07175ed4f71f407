"What a shell and a program get of birdsort: exit codes, one JSON envelope with its schema, completion, quiet."

import json
import re
import subprocess

import jsonschema
import pytest

from birdsort.aviary.sample_project import lesson_project
from birdsort.cli import VERBS, parser
from birdsort.commands.outcome import RESULTS, json_schema
from conftest import CLI, ENV, as_json, birdsort, forked


def test_birdsort_alone_shows_its_help():
    alone = birdsort()
    assert alone.returncode == 0 and alone.stdout == birdsort('--help').stdout
    assert 'Exit codes: 0 success; 1 a fault' in ' '.join(alone.stdout.split())


def options_of(name):
    "The options of a verb."
    verbs = next(a for a in parser(name)._actions if a.dest == 'verb').choices
    return [action for action in verbs[name]._actions if action.option_strings]


def test_choices_and_defaults_stand_in_the_help():
    for name in VERBS:
        for option in options_of(name):
            if option.default in (None, False, '', (), [], '==SUPPRESS=='):
                continue
            assert '(default: ' in option.help, (name, option.option_strings)
    shown = birdsort('train', '--help').stdout
    assert '--augmentation {none,light,standard,strong,camera}' in shown
    assert '(default: 224)' in shown and '(default: standard)' in shown
    assert '{auto,onnx,int8,torch,pickle}' in birdsort('predict', '--help').stdout


def test_a_flag_means_the_same_in_every_verb():
    switches, words = {}, {}
    for name in VERBS:
        for option in options_of(name):
            for flag in option.option_strings:
                is_switch = option.nargs == 0
                assert switches.setdefault(flag, is_switch) == is_switch, (name, flag)
                here = set(option.choices or ())
                there = words.setdefault(flag, here)
                assert here <= there or there < here, (name, flag)


def print_schemas():
    print(json.dumps({verb: json_schema(verb) for verb in RESULTS}))


def test_every_verb_has_a_schema():
    assert set(RESULTS) == set(VERBS)
    for verb, schema in json.loads(forked(print_schemas).stdout).items():
        jsonschema.Draft202012Validator.check_schema(schema)
        assert schema['required'] == ['project', 'result', 'verb', 'version'], verb
    shown = json.loads(birdsort('--schema', 'split').stdout)
    assert shown == json_schema('split')


def test_one_envelope_for_all_verbs(tmp_path):
    project = lesson_project(8, tmp_path / 'birds')
    told = json.loads(birdsort('split', '-p', project.path, '--json').stdout)
    assert list(told) == ['verb', 'project', 'version', 'result']
    assert (told['verb'], told['project']) == ('split', str(project.path))
    assert set(told['result']) == {'train', 'val', 'test'}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(told | dict(result=dict(train=3)), json_schema('split'))


def test_quiet_and_verbose(tmp_path):
    project = lesson_project(8, tmp_path / 'birds')
    birdsort('split', '-q', '-p', project.path)
    for image in (project.images / 'garza').iterdir():
        image.unlink()
    loud = birdsort('split', '--force', '-v', '-p', project.path)
    assert loud.returncode == 1 and 'Traceback' in loud.stderr
    quiet = birdsort('split', '--force', '-q', '-p', project.path)
    assert quiet.stderr.count('\n') == 1 and quiet.stderr.startswith('birdsort: ')


COMPLETE = """
source {script}
COMP_WORDS=(birdsort {words}) COMP_CWORD={at}
_shtab_birdsort
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def test_bash_completes_verbs_options_and_their_words(tmp_path):
    script = tmp_path / 'birdsort.bash'
    script.write_text(birdsort('--completion', 'bash').stdout)

    def complete(*words):
        text = COMPLETE.format(script=script, words=' '.join(words) or '""', at=len(words))
        done = subprocess.run(['bash', '-c', text], capture_output=True, text=True, cwd=tmp_path)
        return {word.strip() for word in done.stdout.split()}

    assert complete('tra') == {'train'}
    assert '--augmentation' in complete('train', '--aug')
    assert complete('train', '--fine-tune', 'a') == {'auto', 'always'}


def test_a_project_is_looked_up_before_torch_is_loaded(tmp_path):
    code = f"{CLI[2].replace('sys.exit(main())', 'main()')}; assert 'torch' not in sys.modules"
    for verb in ('train', 'evaluate', 'report', 'export', 'predict x.jpg', 'serve', 'run'):
        done = subprocess.run(
            [CLI[0], '-c', code, *verb.split(), '-p', 'nowhere'],
            capture_output=True,
            text=True,
            env=ENV,
            cwd=tmp_path,
        )
        assert done.returncode == 0 and re.match('birdsort: no birdsort.toml', done.stderr), verb


def test_run_takes_what_the_stages_take(birds):
    again = ('run', '-p', birds.path, '-n', 0)
    assert "images_per_label = 0: must be" in birdsort(*again).stderr
    assert birdsort(*again).returncode == 2
    unknown = birdsort('run', '-p', birds.path, '--source', 'gogle')
    assert "did you mean 'google'" in unknown.stderr and unknown.returncode == 2
    assert birdsort('run', '-p', birds.path, '--arch', 'resnet81').returncode == 1


def test_a_folder_that_holds_no_more_is_no_shortfall(tmp_path):
    gallery = lesson_project(6, tmp_path / 'mine').images
    project = lesson_project(
        0, tmp_path / 'birds', images_per_label=20, source=(f'folder={gallery}',)
    )
    result = as_json('scrape', '-p', project.path)
    assert 'short' not in result and {c['kept'] for c in result['labels'].values()} == {6}
