"""SpAM with more than two classes."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import logsumexp, softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from edgenet.bench.results.spam_simulation import draw
from edgenet.estimators import SpAM
from edgenet.estimators.backfitting import Fit, _Newton, backfit, largest_penalty, null
from edgenet.estimators.losses import Logistic, Multinomial
from edgenet.estimators.smoother import KernelSmoother, SplineSmoother

QUICK = {"penalties": 12, "min_ratio": 0.05}


def classes(n, p, seed, noise=0.5):
    """Three classes, of which the first two columns decide."""
    x = draw(n, max(p, 4), seed)[0][:, :p]
    score = np.stack([x[:, 0] ** 2, 2 * np.sin(x[:, 1]), np.full(n, 0.5)])
    score += noise * np.random.default_rng(seed).gumbel(size=score.shape)
    return x, np.array(["a", "b", "c"])[score.argmax(0)]


def indicators(labels):
    return (np.unique(labels)[:, None] == labels).astype(float)


def proximal_gradient(u, y, penalty, rounds=4000):
    """The minimum of the multinomial loss + penalty * sum_j ||c_j||, by accelerated proximal gradient steps.

    Args:
        u: (n, p, v) columns; y: (C, n) indicators.

    Returns:
        (C,) intercepts, (C, p, v) coefficients, the objective.
    """
    n, p, v = u.shape
    flat = u.reshape(n, p * v)
    step = 2 * n / np.linalg.norm(np.hstack([np.ones((n, 1)), flat]), 2) ** 2
    a, c = np.zeros(len(y)), np.zeros((len(y), p, v))
    at, momentum = (a, c), 1.0
    for _ in range(rounds):
        r = (softmax(at[0][:, None] + at[1].reshape(len(y), -1) @ flat.T, axis=0) - y) / n
        new_a, z = at[0] - step * r.sum(1), at[1] - step * (r @ flat).reshape(c.shape)
        size = np.sqrt((z**2).sum((0, 2)))[:, None]
        new_c = z * np.maximum(1 - step * penalty / np.maximum(size, 1e-300), 0)
        following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        share = (momentum - 1) / following
        at, a, c, momentum = (new_a + share * (new_a - a), new_c + share * (new_c - c)), new_a, new_c, following
    total = a[:, None] + c.reshape(len(y), -1) @ flat.T
    loss = np.mean(logsumexp(total, axis=0) - (y * total).sum(0))
    return a, c, loss + penalty * np.sqrt((c**2).sum((0, 2))).sum()


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_a_fit_is_that_of_proximal_gradient_steps(share):
    x, labels = classes(60, 5, 0)
    y, smoother = indicators(labels), SplineSmoother(x, df=3, degree=2)
    penalty = share * largest_penalty(smoother, y)
    fit = backfit(smoother, y, Multinomial, penalty, tolerance=1e-9)
    a, c, least = proximal_gradient(smoother.design.transpose(2, 0, 1), y, penalty)
    got = Multinomial.value(y, fit.total) + penalty * sum(fit.norms().values())
    assert got == pytest.approx(least, rel=1e-10)
    assert fit.support == np.flatnonzero(np.abs(c).sum((0, 2))).tolist() and 0 < len(fit.support) < 6
    np.testing.assert_allclose(fit.intercept, a - a.mean(), atol=1e-6)
    for j in fit.support:
        np.testing.assert_allclose(fit.coefficients[j], c[:, j], atol=1e-6)


@pytest.mark.parametrize("newton", [0, 2000])
def test_a_fit_meets_the_conditions_of_a_minimum(monkeypatch, newton):
    monkeypatch.setattr("edgenet.estimators.backfitting._NEWTON", newton)
    x, labels = classes(80, 8, 1)
    y, smoother = indicators(labels), SplineSmoother(x, df=4, degree=2)
    penalty = 0.2 * largest_penalty(smoother, y)
    fit = backfit(smoother, y, Multinomial, penalty, tolerance=1e-9, max_sweeps=20000)
    r = y - softmax(fit.total, axis=0)
    assert 0 < len(fit.support) < 8 and np.abs(r.mean(1)).max() < 1e-8
    for j in range(8):
        gradient = r @ smoother.design[j].T / 80
        if j in fit.support:
            c = fit.coefficients[j]
            np.testing.assert_allclose(gradient, penalty * c / np.linalg.norm(c), atol=1e-7)
            np.testing.assert_allclose(c.sum(0), 0, atol=1e-7)
        else:
            assert np.linalg.norm(gradient) <= penalty + 1e-8


def test_without_a_penalty_it_is_the_multinomial_regression_of_scikit_learn():
    x, labels = classes(200, 3, 2, noise=2.0)
    model = SpAM("classification", penalty=0.0, df=3, tol=1e-10).fit(x, labels)
    u = model._smoother.basis(x).reshape(200, -1)
    other = LogisticRegression(C=np.inf, tol=1e-10, max_iter=10_000).fit(u, labels)
    np.testing.assert_allclose(model.predict_proba(x), other.predict_proba(u), atol=1e-6)


def test_two_classes_are_those_of_the_logistic_loss_at_another_penalty():
    x, labels = classes(90, 5, 3)
    y, smoother = (labels == "a") * 1.0, SplineSmoother(x)
    penalty = 0.2 * largest_penalty(smoother, y)
    one = backfit(smoother, y, Logistic, penalty, tolerance=1e-9)
    two = backfit(smoother, np.stack([1 - y, y]), Multinomial, np.sqrt(2) * penalty, tolerance=1e-9)
    np.testing.assert_allclose(two.total, np.stack([-one.total, one.total]) / 2, atol=1e-6)


def test_a_newton_step_from_anywhere_does_not_raise_the_objective():
    x, labels = classes(80, 4, 4)
    y, smoother, rng = indicators(labels), SplineSmoother(x), np.random.default_rng(0)
    coefficients = {j: rng.normal(size=(3, 6)) for j in range(4)}
    values = {j: smoother.values(j, c) for j, c in coefficients.items()}
    fit = Fit(np.zeros(3), sum(values.values()), coefficients, values)

    def objective():
        return Multinomial.value(y, fit.total) + 0.05 * sum(fit.norms().values())

    before = objective()
    _Newton(smoother, y, Multinomial, 0.05).step(fit)
    assert objective() < before
    np.testing.assert_allclose(fit.total, fit.intercept[:, None] + sum(fit.values.values()), atol=1e-9)


def test_a_kernel_fit_is_a_fixed_point_of_backfitting():
    x, labels = classes(80, 4, 5)
    y, smoother = indicators(labels), KernelSmoother(x)
    penalty = 0.3 * largest_penalty(smoother, y)
    fit = backfit(smoother, y, Multinomial, penalty, tolerance=1e-9)
    r = (y - softmax(fit.total, axis=0)) * 2
    assert 0 < len(fit.support) < 4
    for j in range(4):
        f = fit.values.get(j, np.zeros((3, 80)))
        p = (f + r) @ smoother.matrices[j].T
        new = max(0, 1 - 2 * penalty / np.sqrt((p**2).sum() / 80)) * p
        np.testing.assert_allclose(new, f, atol=1e-6)


def test_the_second_derivatives_are_those_of_differences():
    rng = np.random.default_rng(6)
    y, total, step = np.eye(3)[:, rng.integers(0, 3, 5)], rng.normal(size=(3, 5)), 1e-6
    for c in range(3):
        moved = total.copy()
        moved[c] += step
        difference = (Multinomial.residual(y, total) - Multinomial.residual(y, moved)) / step
        np.testing.assert_allclose(Multinomial.curvature(total)[:, c], difference, atol=1e-5)
    assert np.linalg.eigvalsh(Multinomial.curvature(total).transpose(2, 0, 1)).max() <= Multinomial.bound


@pytest.mark.parametrize("smoother", ["spline", "kernel"])
def test_predictions_are_of_sums_of_contributions_and_need_the_right_columns(smoother):
    x, labels = classes(150, 6, 7)
    model = SpAM("classification", smoother=smoother, **QUICK).fit(x, labels)
    assert {0, 1} <= set(model.support_) and model.classes_.tolist() == ["a", "b", "c"]
    parts = model.contributions(x)
    assert parts.shape == (150, 6, 3)
    np.testing.assert_allclose(parts, model.components_, atol=1e-8)
    np.testing.assert_allclose(parts.sum(2), 0, atol=1e-6)
    total = model.intercept_ + parts.sum(1)
    np.testing.assert_allclose(model.decision_function(x), total, atol=1e-9)
    np.testing.assert_allclose(model.predict_proba(x), softmax(total, axis=1), atol=1e-9)
    assert (model.predict(x) == model.classes_[total.argmax(1)]).all() and model.score(x, labels) > 0.7
    assert model.predict_path(x).shape == (len(model.path_.fits), 150, 3)


def test_no_penalty_is_missed_by_the_largest():
    x, labels = classes(60, 5, 8)
    smoother, y = SplineSmoother(x), indicators(labels)
    assert backfit(smoother, y, Multinomial, largest_penalty(smoother, y) * 1.0001).support == []
    assert len(backfit(smoother, y, Multinomial, largest_penalty(smoother, y) * 0.99, tolerance=1e-9).support) == 1
    np.testing.assert_allclose(softmax(null(y, Multinomial).total, axis=0).mean(1), y.mean(1))


def test_degrees_of_freedom_are_counted_for_all_classes_but_one():
    x, labels = classes(150, 6, 9)
    model = SpAM("classification", criterion="cv", cv=3, **QUICK).fit(x, labels)
    np.testing.assert_allclose(model.path_.df, [2 * 6 * len(s) for s in model.path_.supports])
    assert model.scores_.shape == (len(model.path_.fits),)


def test_every_class_has_a_curve_in_the_picture():
    x, labels = classes(90, 3, 10)
    model = SpAM("classification", **QUICK).fit(pd.DataFrame(x, columns=["age", "size", "c"]), labels)
    figure = model.plot(["age"])
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["a", "b", "c"]


def test_three_classes_told_apart_without_a_penalty_have_no_minimum_and_it_says_so():
    x, _ = classes(60, 3, 0)
    with pytest.warns(ConvergenceWarning, match="grow without end"):
        SpAM("classification", penalty=0.0, max_iter=200).fit(x, np.digitize(x[:, 0], [-1, 1]))
