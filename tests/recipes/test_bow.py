"""The bag of words: every extractor with every classifier, what scikit-learn promises of a pipeline, wrong input,
and what a kill leaves behind."""

import pickle
import sqlite3
from pathlib import Path

import joblib
import numpy as np
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.metrics.pairwise import chi2_kernel
from sklearn.model_selection import GridSearchCV

from birdsort.aviary.sample_project import lesson_project
from birdsort.recipes.bow import descriptors
from birdsort.recipes.bow.descriptors import Descriptors
from birdsort.recipes.bow.kernels import chi2_distance, intersection
from birdsort.recipes.bow.recipe import bow, make_bow, open_bow
from birdsort.split import split
from birdsort.training.runs import open_run

SMALL = dict(words=20, side=96, step=12, pca=16)


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
    pipe = make_bow(extractor, **SMALL | dict(step=step, side=160)).fit(*train)
    assert pipe.score(*train) > 0.8


@pytest.mark.parametrize('classifier', ['linear', 'rbf', 'intersection', 'chi2', 'forest'])
def test_every_classifier_gives_probabilities(train, classifier):
    pipe = make_bow(classifier=classifier, **SMALL).fit(*train)
    assert np.allclose(pipe.predict_proba(train[0]).sum(1), 1) and pipe.score(*train) > 0.8


def test_scikit_learn_keeps_its_promises(train, tmp_path):
    pipe = make_bow(**SMALL, cache=tmp_path)
    search = GridSearchCV(
        pipe, dict(words__soft=[1, 3], words__assign=['brute', 'flann'], classifier__C=[1.0]), cv=2
    ).fit(*train)
    assert set(search.cv_results_['rank_test_score']) and clone(search.best_estimator_).get_params()['words__n'] == 20
    force = pickle.loads(pickle.dumps(search.best_estimator_))
    assert (force.predict(train[0]) == search.predict(train[0])).all()
    assert np.array_equal(pipe.fit(*train).predict_proba(train[0]), clone(pipe).fit(*train).predict_proba(train[0]))


def test_kernels_are_their_formulas():
    rng = np.random.default_rng(1)
    a, b = (rng.random((n, 300), dtype='float32') * (rng.random((n, 300)) < 0.3).astype('float32') for n in (7, 130))
    assert np.allclose(intersection(a, b), np.minimum(a[:, None], b).sum(2), atol=1e-3)
    assert np.allclose(np.exp(-0.01 * chi2_distance(a, b)), chi2_kernel(a, b, gamma=0.01), atol=1e-5)


def test_images_are_told_once(train, tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(
        descriptors, 'decode', lambda f, side=0, real=descriptors.decode: opened.append(f) or real(f, side)
    )
    look = Descriptors(step=12, side=96, cache=tmp_path)
    first = look.transform(train[0]).each(lambda what, where: what.sum())
    assert look.transform(train[0]).each(lambda what, where: what.sum()) == first and len(opened) == len(train[0])
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:5000])  # Cut off
    assert look.transform(train[0]).each(lambda what, where: what.sum()) == first and len(opened) > len(train[0])


def test_half_a_row_is_made_anew(train, tmp_path):
    look = Descriptors(step=12, side=96, cache=tmp_path)
    want, _ = look.transform(train[0][:1])[0]
    db = sqlite3.connect(next(tmp_path.iterdir()))
    with db:
        db.execute('update patches set what = substr(what, 1, 100)')
    db.close()
    assert np.array_equal(look.transform(train[0][:1])[0][0], want)


def test_a_run_is_kept_once_and_opened(project, train):
    assert bow(project, **SMALL, quiet=True)['run'] == bow(project, **SMALL, quiet=True)['run']
    other = bow(project, **SMALL, quiet=True, force=True)
    assert other['run'].endswith('_bow') and not list(project.models.glob('.bow-*'))
    bag = open_bow(open_run(project, other['run']))
    said = bag.ask([(f, f.parent.name) for f in train[0][:3]], quiet=True)
    assert said.probs.dtype == 'float32' and said.vocab == sorted(set(train[1])) and (said.targets >= 0).all()
    plain, drawn = bag.look(train[0][0], 100, 0)
    assert plain.size == drawn.size and plain.tobytes() != drawn.tobytes()


def test_a_kill_leaves_nothing_in_the_way(project, monkeypatch):
    def killed(*args, **kw):
        raise KeyboardInterrupt

    with monkeypatch.context() as m:
        m.setattr(joblib, 'dump', killed)
        with pytest.raises(KeyboardInterrupt):
            bow(project, **SMALL | dict(words=21), quiet=True)
    assert list(project.models.glob('.bow-*.part'))
    run = bow(project, **SMALL | dict(words=21), quiet=True)['run']
    assert (project.models / run / 'bow.pkl').is_file() and not list(project.models.glob('.bow-*'))


def test_grid_is_judged_by_validation(project):
    made = bow(
        project,
        dict(classifier=['linear', 'chi2'], words=[10, 20]),
        **{k: v for k, v in SMALL.items() if k != 'words'},
        quiet=True,
    )
    assert len(made['tried']) == 4 and made['validation'] == max(r['validation'] for r in made['tried'])


def test_wrong_input_in_one_line(project, train, tmp_path):
    for options, words in (
        (dict(extractor='sfit'), "did you mean 'sift'"),
        (dict(classifier='forrest'), "did you mean 'forest'"),
        (dict(words=10**6), 'cannot be learned from'),
        (dict(vords=1), "did you mean 'words'"),
    ):
        with pytest.raises(ValueError, match=words) as e:
            bow(project, **SMALL | options, quiet=True)
        assert '\n' not in str(e.value)
    pipe = make_bow('sift', **SMALL | dict(step=0)).fit(*train)
    Image.new('RGB', (90, 90), 'white').save(tmp_path / 'blank.png')
    assert pipe.predict([tmp_path / 'blank.png'])[0] in train[1]
    (tmp_path / 'broken.jpg').write_bytes(b'nothing')
    with pytest.raises(ValueError, match='broken.jpg'):
        pipe.predict([tmp_path / 'broken.jpg'])


def test_evaluate_and_report_judge_it(project):
    from birdsort.evaluate import evaluate
    from birdsort.report import report

    run = bow(project, **SMALL, quiet=True, force=True)['run']
    assert evaluate(project, run, quiet=True)['run'] == run
    assert run in Path(report(project, run, quiet=True)['report']).read_text(encoding='utf-8')
