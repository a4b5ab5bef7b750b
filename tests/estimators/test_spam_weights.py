"""SpAM with weights of samples."""

import numpy as np
import pytest
from sklearn.model_selection import KFold

from edgenet.bench.results.spam_simulation import draw
from edgenet.errors import ConfigError, ShapeError
from edgenet.estimators import QuantilePath, SpAM
from edgenet.estimators.backfitting import backfit, largest_penalty
from edgenet.estimators.losses import Logistic, Multinomial, Squared
from edgenet.estimators.smoother import SplineSmoother

EXACT = {"tol": 1e-12, "penalties": [0.3, 0.1, 0.03]}


def sample(task, n=60, p=4):
    """Data, and weights of which some are zero."""
    x, y = draw(n, p, 1)
    counts = np.random.default_rng(2).integers(0, 4, n)
    counts[:9] = [0, 1, 2, 3, 1, 1, 2, 1, 0]
    y = y + np.random.default_rng(3).normal(size=n)
    labels = {"regression": y, "two": y > np.median(y), "three": np.digitize(y, np.quantile(y, [0.3, 0.7]))}
    return x, labels[task], counts


@pytest.mark.parametrize("criterion", ["gcv", "cp"])
@pytest.mark.parametrize("smoother", ["spline", "kernel"])
@pytest.mark.parametrize("task", ["regression", "two", "three"])
def test_whole_weights_are_repeated_rows_and_a_weight_of_zero_leaves_out(task, smoother, criterion):
    x, y, counts = sample(task)
    kind = "regression" if task == "regression" else "classification"
    options = {"smoother": smoother, "criterion": criterion, "df": 4, **EXACT}
    weighted = SpAM(kind, **options).fit(x, y, counts)
    repeated = SpAM(kind, **options).fit(np.repeat(x, counts, axis=0), np.repeat(y, counts))
    assert weighted.penalty_ == repeated.penalty_ and weighted.support_.tolist() == repeated.support_.tolist()
    np.testing.assert_allclose(weighted.path_.df, repeated.path_.df, rtol=1e-10)
    np.testing.assert_allclose(weighted.scores_, repeated.scores_, rtol=1e-10)
    np.testing.assert_allclose(weighted.predict_path(x), repeated.predict_path(x), atol=1e-10)
    np.testing.assert_allclose(np.repeat(weighted.components_, counts, axis=0), repeated.components_, atol=1e-10)
    without = SpAM(kind, **options).fit(x[counts > 0], y[counts > 0], counts[counts > 0])
    np.testing.assert_array_equal(without.predict_path(x), weighted.predict_path(x))
    np.testing.assert_allclose(weighted.contributions(x), weighted.components_, atol=1e-10)  # those left out, too


@pytest.mark.parametrize("loss", [Squared, Logistic, Multinomial])
def test_a_weighted_fit_meets_the_conditions_of_a_minimum(loss):
    x, y, _ = sample({Squared: "regression", Logistic: "two", Multinomial: "three"}[loss], p=9)
    y = np.eye(3)[:, y] if loss is Multinomial else y.astype(float)
    weight = 10.0 ** np.random.default_rng(0).uniform(-1, 1, len(x))
    smoother = SplineSmoother(x, df=4, weight=weight)
    penalty = 0.5 * largest_penalty(smoother, y)
    fit = backfit(smoother, y, loss, penalty, tolerance=1e-9)
    share, r = weight / weight.sum(), loss.residual(y, fit.total)
    assert 0 < len(fit.support) < 9 and np.abs(r @ share).max() < 1e-8
    for j in range(9):
        gradient = (r * share) @ smoother.design[j].T
        if j in fit.support:
            c = fit.coefficients[j]
            np.testing.assert_allclose(gradient, penalty * c / np.linalg.norm(c), atol=1e-8)
        else:
            assert np.linalg.norm(gradient) <= penalty + 1e-8


def test_multiplied_weights_change_nothing_at_a_penalty():
    x, y, counts = sample("regression")
    one, other = SpAM(penalty=0.2).fit(x, y, counts), SpAM(penalty=0.2).fit(x, y, 7.5 * counts)
    np.testing.assert_allclose(one.predict(x), other.predict(x), atol=1e-10)


def test_multiplied_weights_narrow_a_kernel():
    x, y, counts = sample("regression")
    one, other = (SpAM(smoother="kernel", penalty=0.1).fit(x, y, times * counts)._smoother for times in (1, 32))
    np.testing.assert_allclose(other.h, one.h / 2)


@pytest.mark.parametrize("criterion", ["gcv", "cp"])
def test_weights_with_sum_1_are_refused_where_they_stand_for_the_number_of_samples(criterion):
    x, y, counts = sample("regression")
    weight = counts / counts.sum()
    with pytest.raises(ConfigError, match=r"sums to 1, which.*mean 1"):
        SpAM(criterion=criterion).fit(x, y, weight)
    assert len(SpAM(criterion="cv").fit(x, y, weight).support_)
    assert len(SpAM(penalty=0.1).fit(x, y, weight).support_)


@pytest.mark.parametrize("model", [SpAM(penalty=0.1), QuantilePath()], ids=["SpAM", "QuantilePath"])
def test_weights_whose_sum_is_no_number_are_refused(model):
    x, y, _ = sample("regression")
    with pytest.raises(ShapeError, match="too far for a sum"):
        model.fit(x, y, np.full(len(y), 1e308))
    assert np.isfinite(model.fit(x, y, np.full(len(y), 1e300)).predict(x)).all()


def test_folds_weigh_what_they_hold_out():
    x, y, counts = sample("regression")
    folds = list(KFold(3).split(x))
    rows = np.repeat(np.arange(len(x)), counts)
    again = [tuple(np.flatnonzero(np.isin(rows, part)) for part in pair) for pair in folds]
    weighted = SpAM(criterion="cv", cv=folds, **EXACT).fit(x, y, counts)
    repeated = SpAM(criterion="cv", cv=again, **EXACT).fit(x[rows], y[rows])
    np.testing.assert_allclose(weighted.scores_, repeated.scores_, rtol=1e-10)
    splitter = SpAM(criterion="cv", cv=KFold(3), **EXACT).fit(x, y, counts)
    np.testing.assert_array_equal(splitter.scores_, weighted.scores_)


def test_what_are_no_weights_is_refused():
    x, y, _ = sample("regression")
    with pytest.raises(ShapeError, match="a single sample has a weight"):
        SpAM().fit(x, y, np.arange(60) == 3)
    with pytest.raises(ShapeError, match=r"-1\.0 in row 0"):
        SpAM().fit(x, y, np.full(60, -1))
    with pytest.raises(ShapeError, match="single class"):
        SpAM("classification").fit(x, y > 0, y > 0)
    with pytest.raises(ConfigError, match="a splitter, or a list"):
        SpAM(criterion="cv", cv="5").fit(x, y)
