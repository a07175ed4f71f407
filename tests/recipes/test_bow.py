"""The bag of words: every extractor with every classifier, what scikit-learn expects of a pipeline, wrong input,
interrupted trainings, and runs that only a pickle holds."""

import io
import json
import pickle
import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.metrics.pairwise import chi2_kernel
from sklearn.model_selection import GridSearchCV

from birdsort.aviary.sample_project import lesson_project
from birdsort.core.project import stable_hash
from birdsort.datasets.splits import generated_images, splits_signature
from birdsort.evaluate import evaluate
from birdsort.recipes.bow import descriptors
from birdsort.recipes.bow.descriptors import Descriptors
from birdsort.recipes.bow.kernels import chi2_distance, intersection
from birdsort.recipes.bow.recipe import bow, make_bow, open_bow
from birdsort.recipes.bow.settings import BowSettings
from birdsort.report import report
from birdsort.split import split
from birdsort.training.runs import open_run
from conftest import birdsort, one_line

SMALL = BowSettings(vocab_size=20, max_side=96, step=12, pca=16)
# The same options, as a run of birdsort 0.1 has them in its note
SMALL_01 = dict(
    extractor='sift',
    step=12,
    words=20,
    classifier='intersection',
    C=3.0,
    pyramid=(1, 2, 4),
    root=True,
    pca=16,
    assign='brute',
    soft=1,
    kmeans='mini-batch',
    side=96,
)


@pytest.fixture(scope='module')
def project(tmp_path_factory):
    made = lesson_project(12, path=tmp_path_factory.mktemp('bow') / 'birds')
    split(made, quiet=True)
    return made


@pytest.fixture(scope='module')
def train(project):
    files = sorted(project.split.glob('train/*/*'))
    return files, [f.parent.name for f in files]


@pytest.mark.parametrize('extractor', ['sift', 'kaze', 'orb', 'freak'])
@pytest.mark.parametrize('step', [0, 12])
def test_every_extractor_learns_its_own_images(train, extractor, step):
    # Key points need more pixels than a grid does
    settings = replace(SMALL, extractor=extractor, step=step, max_side=96 if step else 160)
    pipe = make_bow(settings).fit(*train)
    assert pipe.score(*train) > 0.8


@pytest.mark.parametrize('classifier', ['linear', 'rbf', 'intersection', 'chi2', 'forest'])
def test_every_classifier_gives_probabilities(train, classifier):
    pipe = make_bow(replace(SMALL, classifier=classifier)).fit(*train)
    assert np.allclose(pipe.predict_proba(train[0]).sum(1), 1)
    assert pipe.score(*train) > 0.8


def test_grid_search_clone_and_pickle_work(train, tmp_path):
    files, _ = train
    pipe = make_bow(SMALL, cache=tmp_path)
    grid = dict(words__soft=[1, 3], words__assign=['brute', 'flann'], classifier__C=[1.0])
    search = GridSearchCV(pipe, grid, cv=2).fit(*train)
    best = search.best_estimator_
    assert set(search.cv_results_['rank_test_score'])
    assert clone(best).get_params()['words__size'] == 20
    restored = pickle.loads(pickle.dumps(best))
    assert (restored.predict(files) == search.predict(files)).all()
    again = clone(pipe).fit(*train)
    assert np.array_equal(pipe.fit(*train).predict_proba(files), again.predict_proba(files))


def test_kernels_are_their_formulas():
    rng = np.random.default_rng(1)

    def histograms(n):
        values = rng.random((n, 300), dtype='float32')
        return values * (rng.random((n, 300)) < 0.3).astype('float32')

    a, b = histograms(7), histograms(130)
    assert np.allclose(intersection(a, b), np.minimum(a[:, None], b).sum(2), atol=1e-3)
    assert np.allclose(
        np.exp(-0.01 * chi2_distance(a, b)), chi2_kernel(a, b, gamma=0.01), atol=1e-5
    )


def total(vectors, positions):
    return vectors.sum()


def test_images_are_described_once(train, tmp_path, monkeypatch):
    files, _ = train
    opened = []
    decode = descriptors.decode

    def counted(file, side=0):
        opened.append(file)
        return decode(file, side)

    monkeypatch.setattr(descriptors, 'decode', counted)
    step = Descriptors(step=12, max_side=96, cache=tmp_path)
    first = step.transform(files).each(total)
    assert step.transform(files).each(total) == first
    assert len(opened) == len(files)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:5000])  # Cut off
    assert step.transform(files).each(total) == first
    assert len(opened) > len(files)


def test_half_a_row_of_the_cache_is_computed_again(train, tmp_path):
    first = train[0][:1]
    step = Descriptors(step=12, max_side=96, cache=tmp_path)
    expected, _ = step.transform(first)[0]
    db = sqlite3.connect(next(tmp_path.iterdir()))
    with db:
        db.execute('update patches set what = substr(what, 1, 100)')
    db.close()
    assert np.array_equal(step.transform(first)[0][0], expected)


def test_a_run_is_saved_once_and_opened(project, train):
    files, labels = train
    first = bow(project, settings=SMALL, quiet=True)
    assert bow(project, settings=SMALL, quiet=True)['run'] == first['run']
    other = bow(project, settings=SMALL, quiet=True, force=True)
    assert other['run'] != first['run']
    assert other['run'].endswith('_bow')
    assert not list(project.models.glob('.bow-*'))
    bag = open_bow(open_run(project, other['run']))
    predictions = bag.predict_probs([(f, f.parent.name) for f in files[:3]], quiet=True)
    assert predictions.probs.dtype == 'float32'
    assert predictions.vocab == sorted(set(labels))
    assert (predictions.targets >= 0).all()
    plain, drawn = bag.explain(files[0], 100, 0)
    assert plain.size == drawn.size
    assert plain.tobytes() != drawn.tobytes()


def test_the_seed_is_that_of_the_project_unless_another_is_given(project):
    assert project.settings.seed == 42
    own = bow(project, settings=SMALL, quiet=True)['run']
    assert bow(project, settings=replace(SMALL, seed=42), quiet=True)['run'] == own
    assert bow(project, settings=replace(SMALL, seed=7), quiet=True)['run'] != own


class Touch:
    "In a pickle, code that leaves a file behind."

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return Path.touch, (self.file,)


def test_the_pickle_of_a_run_is_never_opened(project, tmp_path):
    settings = replace(SMALL, vocab_size=22)
    run = open_run(project, bow(project, settings=settings, quiet=True)['run'])
    (run.folder / 'bow.npz').unlink()
    (run.folder / 'bow.pkl').write_bytes(pickle.dumps(Touch(tmp_path / 'ran')))
    for command in ('evaluate', 'report'):
        one_line(
            birdsort(command, '--run', run.name, '--project', project.path),
            'no pickle',
            'birdsort bow --force',
        )
    again = bow(project, settings=settings, quiet=True)['run']
    assert again != run.name, 'a run that cannot be opened is trained again'
    for damaged in (
        pickle.dumps(Touch(tmp_path / 'ran')),
        archive(labels=np.array([Touch(tmp_path / 'ran')])),
        b'',
    ):
        (project.models / again / 'bow.npz').write_bytes(damaged)
        with pytest.raises(ValueError, match='bow --force'):
            open_bow(open_run(project, again))
    assert not (tmp_path / 'ran').exists()


def archive(**arrays):
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def test_a_run_of_birdsort_01_is_known_by_its_old_names(project):
    run = open_run(project, bow(project, settings=SMALL, quiet=True)['run'])
    note = json.loads((run.folder / 'run.json').read_text())
    note['sides'] = note.pop('splits')
    scores = {name: note['bow'][name] for name in ('train', 'validation', 'loss', 'seconds')}
    note['bow'] = SMALL_01 | scores
    note['tried'] = [note['bow']]
    (run.folder / 'run.json').write_text(json.dumps(note))
    images = splits_signature(project), generated_images(project)
    signature_01 = stable_hash('bow', 1, *images, [SMALL_01], project.settings.seed)
    result = bow(project, settings=SMALL, quiet=True)
    assert result['run'] == run.name, 'the training is known, and nothing is trained'
    assert open_run(project, run.name).signature == signature_01
    assert result['options']['vocab_size'] == 20
    assert result['options']['max_side'] == 96
    assert 'words' not in result['tried'][0]


def test_an_interrupted_training_leaves_nothing_in_the_way(project, monkeypatch):
    settings = replace(SMALL, vocab_size=21)

    def killed(*args, **kw):
        raise KeyboardInterrupt

    with monkeypatch.context() as m:
        m.setattr(np, 'savez_compressed', killed)
        with pytest.raises(KeyboardInterrupt):
            bow(project, settings=settings, quiet=True)
    assert list(project.models.glob('.bow-*.part'))
    run = bow(project, settings=settings, quiet=True)['run']
    assert (project.models / run / 'bow.npz').is_file()
    assert not list(project.models.glob('.bow-*'))


def test_a_grid_is_judged_by_validation(project):
    grid = dict(classifier=['linear', 'chi2'], vocab_size=[10, 20])
    made = bow(project, grid, settings=SMALL, quiet=True)
    assert len(made['tried']) == 4
    assert made['validation'] == max(row['validation'] for row in made['tried'])


@pytest.mark.parametrize(
    'grid, words',
    [
        (dict(extractor=['sfit']), "did you mean 'sift'"),
        (dict(classifier=['forrest']), "did you mean 'forest'"),
        (dict(vocab_size=[10**6]), 'cannot be learned from'),
        (dict(vocabsize=[1]), "did you mean 'vocab_size'"),
        (dict(words=[10]), 'words is now vocab_size'),
        (dict(pyramid=[(0,)]), 'pyramid = \\(0,\\)'),
    ],
)
def test_a_wrong_option_is_answered_in_one_line(project, grid, words):
    with pytest.raises(ValueError, match=words) as e:
        bow(project, grid, settings=SMALL, quiet=True)
    assert '\n' not in str(e.value)


def test_the_command_line_names_the_new_flag(project):
    at = ['bow', '--project', project.path]
    one_line(birdsort(*at, '--words', 20), '--words is now --vocab-size')
    one_line(
        birdsort(*at, '--vocab-size', 1), 'vocab_size = 1: must be a whole number from 2', code=2
    )
    one_line(birdsort(*at, '--pyramid', 'one'), 'such as 1,2,4')
    one_line(birdsort(*at, '--grid', 'words=10,20'), 'words is now vocab_size')


def test_blank_and_broken_images(train, tmp_path):
    pipe = make_bow(replace(SMALL, step=0)).fit(*train)
    Image.new('RGB', (90, 90), 'white').save(tmp_path / 'blank.png')
    assert pipe.predict([tmp_path / 'blank.png'])[0] in train[1]
    (tmp_path / 'broken.jpg').write_bytes(b'nothing')
    with pytest.raises(ValueError, match=r'broken\.jpg'):
        pipe.predict([tmp_path / 'broken.jpg'])


def test_evaluate_and_report_judge_it(project):
    run = bow(project, settings=SMALL, quiet=True, force=True)['run']
    assert evaluate(project, run, quiet=True)['run'] == run
    page = Path(report(project, run, quiet=True)['report'])
    assert run in page.read_text(encoding='utf-8')
