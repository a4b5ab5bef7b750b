"""SpAM: what its fits are, and what it refuses."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn.base import is_classifier, is_regressor
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from stored import oracle

from edgenet.bench.results.spam_simulation import RELEVANT, draw
from edgenet.errors import ConfigError, ShapeError
from edgenet.estimators import SpAM
from edgenet.estimators.backfitting import Fit, _Newton, backfit, largest_penalty
from edgenet.estimators.losses import Logistic, Squared
from edgenet.estimators.smoother import KernelSmoother, SplineSmoother

QUICK = {"penalties": 12, "min_ratio": 0.05}


def classes(n, p, seed, noise=0.3):
    x, y = draw(n, p, seed)
    return x, np.where(y - np.median(y) + noise * np.random.default_rng(seed).normal(size=n) > 0, "yes", "no")


def test_its_task_says_what_it_is():
    assert is_regressor(SpAM()) and not is_classifier(SpAM())
    assert is_classifier(SpAM("classification")) and not hasattr(SpAM(), "predict_proba")


# ------------------------------------------------------------------- independent fits
@oracle("estimators/spam_samQL*.npz")
def test_predictions_are_those_of_the_r_package(stored):
    r = np.load(stored)
    model = SpAM(basis="natural", df=3, penalties=r["lambda_spam"], tol=1e-9).fit(r["X"], r["y"])
    # the package stops at 1e-5 or so: its own predictions are no better
    np.testing.assert_allclose(model.predict_path(r["X"]).T, r["pred_train"], atol=1e-5)
    np.testing.assert_allclose(model.predict_path(r["Xtest"]).T, r["pred_test"], atol=1e-5)
    want = [np.flatnonzero(norms).tolist() for norms in r["func_norm"].T]
    assert model.path_.supports[1:] == want[1:]

    def objective(total, norms, penalty):
        return np.mean((r["y"] - total) ** 2) / 2 + penalty * norms.sum()

    norms = model.path_.norms(12)
    r_norms = r["func_norm"] / 10  # Euclidean norms over 100 points there
    for i, penalty in enumerate(r["lambda_spam"][1:], 1):
        theirs = objective(r["pred_train"][:, i], r_norms[:, i], penalty)
        ours = objective(model.path_.fits[i].total, norms[i], penalty)
        assert abs(ours - theirs) < 1e-9 * theirs


@oracle("estimators/spam_logistic*.npz")
def test_log_odds_are_those_of_grplasso(stored):
    r = np.load(stored)
    model = SpAM("classification", df=5, penalties=r["lams"], tol=1e-9).fit(r["X"], r["y"])
    got = model.predict_path(r["X"])
    want = (r["grplasso_coef"][0] + r["design"] @ r["grplasso_coef"][1:]).T
    np.testing.assert_allclose(got, want, atol=1e-4)
    norms = np.sqrt((r["f"] ** 2).mean(2))  # (penalties, p)
    for i, penalty in enumerate(r["lams"]):
        exact = r["mu"][i] + r["f"][i].sum(0)
        theirs = np.mean(np.logaddexp(0, exact) - r["y"] * exact) + penalty * norms[i].sum()
        ours = np.mean(np.logaddexp(0, got[i]) - r["y"] * got[i]) + penalty * model.path_.norms(10)[i].sum()
        assert abs(ours - theirs) < 1e-10


@pytest.mark.parametrize("loss", [Squared, Logistic])
@pytest.mark.parametrize("share", [0.5, 0.1, 0.01])
def test_a_spline_fit_meets_the_conditions_of_a_minimum(loss, share):
    x, y = draw(60, 8, 0)
    y = y if loss is Squared else (y > np.median(y)) * 1.0
    smoother = SplineSmoother(x, df=4, degree=2)
    penalty = share * largest_penalty(smoother, y)
    fit = backfit(smoother, y, loss, penalty, tolerance=1e-9)
    r = y - (fit.total if loss is Squared else expit(fit.total))
    assert 0 < len(fit.support) < 9 and abs(r.mean()) < 1e-8
    for j in range(8):
        gradient = smoother.design[j] @ r / 60
        if j in fit.support:
            c = fit.coefficients[j]
            np.testing.assert_allclose(gradient, penalty * c / np.linalg.norm(c), atol=1e-8)
        else:
            assert np.linalg.norm(gradient) <= penalty + 1e-8


def test_plain_sweeps_reach_the_same_minimum_as_newton_steps(monkeypatch):
    x, y = draw(80, 12, 1)
    smoother = SplineSmoother(x)
    quick = backfit(smoother, y, Squared, 0.05, tolerance=1e-9)
    monkeypatch.setattr("edgenet.estimators.backfitting._NEWTON", 0)
    plain = backfit(smoother, y, Squared, 0.05, tolerance=1e-9, max_sweeps=20000)
    assert quick.sweeps < plain.sweeps and quick.support == plain.support
    np.testing.assert_allclose(quick.total, plain.total, atol=1e-6)


@pytest.mark.parametrize("far", [1, 30, 300])
def test_a_newton_step_from_anywhere_does_not_raise_the_objective(far):
    x, y = draw(80, 6, 1)
    y = (y > np.median(y)) * 1.0
    smoother, rng = SplineSmoother(x), np.random.default_rng(far)
    coefficients = {j: far * rng.normal(size=6) for j in range(6)}
    values = {j: smoother.values(j, c) for j, c in coefficients.items()}
    fit = Fit(0.0, sum(values.values()), coefficients, values)

    def objective():
        return Logistic.value(y, fit.total) + 0.05 * sum(fit.norms().values())

    before = objective()
    _Newton(smoother, y, Logistic, 0.05).step(fit)
    assert objective() <= before
    np.testing.assert_allclose(fit.total, fit.intercept + sum(fit.values.values()), atol=1e-9)


def test_no_penalty_is_least_squares():
    x, y = draw(80, 4, 2)
    model = SpAM(penalty=0.0, df=5, tol=1e-10).fit(x, y)
    u = model._smoother.basis(x).reshape(80, -1)
    want = u @ np.linalg.lstsq(u, y - y.mean(), rcond=None)[0] + y.mean()
    np.testing.assert_allclose(model.predict(x), want, atol=1e-7)


# ------------------------------------------------------------------- kernels
def test_a_kernel_smooth_is_a_weighted_line_at_every_point():
    x = np.random.default_rng(3).normal(size=(40, 2))
    smoother, r = KernelSmoother(x), np.random.default_rng(4).normal(size=40)
    at = np.array([-0.7, 0.1, 1.2])
    h = 0.6 * x[:, 1].std() * 40**-0.2

    def line(t):
        w = np.exp(-(((x[:, 1] - t) / h) ** 2) / 4)  # polyfit squares its weights
        return np.polyval(np.polyfit(x[:, 1] - t, r, 1, w=w), 0)

    mean = np.mean([line(t) for t in x[:, 1]])
    np.testing.assert_allclose(smoother.evaluate(1, r, at), [line(t) - mean for t in at], atol=1e-7)
    np.testing.assert_allclose(smoother.values(1, r), [line(t) - mean for t in x[:, 1]], atol=1e-7)


def test_a_kernel_smooth_is_a_local_mean_where_no_line_can_be_drawn():
    x = np.repeat([0.0, 1.0], 10)[:, None]
    x[-1] = 1e6  # far from all others
    r = np.arange(20.0)
    values = KernelSmoother(x, bandwidth=1e-6)._rows(0, np.array([0.0, 1.0, 1e6, 5e5])) @ r
    np.testing.assert_allclose(values[:3], [r[:10].mean(), r[10:19].mean(), 19.0], atol=1e-6)
    assert np.isfinite(values).all()


@pytest.mark.parametrize("loss", [Squared, Logistic])
def test_a_kernel_fit_is_a_fixed_point_of_backfitting(loss):
    x, y = draw(80, 5, 5)
    y = y if loss is Squared else (y > np.median(y)) * 1.0
    smoother = KernelSmoother(x)
    penalty = 0.3 * largest_penalty(smoother, y)
    fit = backfit(smoother, y, loss, penalty, tolerance=1e-9)
    r = loss.residual(y, fit.total) / loss.bound
    assert 0 < len(fit.support) < 5
    for j in range(5):
        f = fit.values.get(j, np.zeros(80))
        p = smoother.matrices[j] @ (f + r)
        new = max(0, 1 - penalty / loss.bound / np.sqrt(np.mean(p**2))) * p
        np.testing.assert_allclose(new, f, atol=1e-6)
    assert abs(r.mean()) < 1e-8
    np.testing.assert_allclose(fit.total, fit.intercept + sum(fit.values.values()), atol=1e-9)


# ------------------------------------------------------------------- predictions
@pytest.mark.parametrize("smoother", ["spline", "kernel"])
@pytest.mark.parametrize("task", ["regression", "classification"])
def test_predictions_are_sums_of_contributions(task, smoother):
    x, y = draw(90, 6, 6) if task == "regression" else classes(90, 6, 6)
    model = SpAM(task, smoother=smoother, **QUICK).fit(x, y)
    parts = model.contributions(x)
    np.testing.assert_allclose(parts, model.components_, atol=1e-8)
    np.testing.assert_allclose(parts.mean(0), 0, atol=1e-8)
    assert model.support_.tolist() == np.flatnonzero(np.abs(parts).sum(0)).tolist() and len(model.support_)
    total = model.intercept_ + parts.sum(1)
    if task == "regression":
        np.testing.assert_allclose(model.predict(x), total)
    else:
        np.testing.assert_allclose(model.decision_function(x), total)
        np.testing.assert_allclose(model.predict_proba(x)[:, 1], expit(total))
        assert model.classes_.tolist() == ["no", "yes"]
        assert (model.predict(x) == np.where(total > 0, "yes", "no")).all()
    inside = np.clip(x * 100, x.min(0), x.max(0))
    assert np.array_equal(model.predict(x * 100), model.predict(inside))


def test_the_functions_found_are_those_that_made_the_data():
    x, y = draw(400, 10, 7)
    model = SpAM(refit=True).fit(x, y)
    truth = [-2 * np.sin(2 * x[:, 0]), x[:, 1] ** 2, x[:, 2], np.exp(-x[:, 3])]
    for j, f in enumerate(truth):
        assert np.corrcoef(model.components_[:, j], f)[0, 1] > 0.98


def test_classes_are_told_apart_out_of_sample():
    x, y = classes(600, 20, 8)
    model = SpAM("classification").fit(x[:300], y[:300])
    assert model.score(x[300:], y[300:]) > 0.8 and set(model.support_) >= set(RELEVANT)


# ------------------------------------------------------------------- path and choice
@pytest.mark.parametrize("seed", range(3))
def test_the_relevant_features_appear_on_the_path(seed):
    model = SpAM().fit(*draw(150, 200, seed))
    assert RELEVANT in model.path_.supports and set(model.support_) >= set(RELEVANT)


def test_the_path_begins_empty_falls_and_ends_before_the_data_are_used_up():
    x, y = draw(60, 40, 9)
    path = SpAM().fit(x, y).path_
    assert path.supports[0] == [] and (np.diff(path.penalties) < 0).all() and (np.diff(path.deviance) < 0).all()
    assert path.df[-1] > 48 >= path.df[-2] and len(path.fits) < 100
    np.testing.assert_allclose(path.df, [6 * len(s) for s in path.supports])


def test_a_penalty_that_is_given_is_the_one_on_the_path():
    x, y = draw(80, 10, 10)
    path = SpAM(**QUICK, tol=1e-9).fit(x, y)
    alone = SpAM(penalty=path.path_.penalties[5], tol=1e-9).fit(x, y)
    assert alone.penalty_ == path.path_.penalties[5] and alone.scores_ is None
    assert (np.diff(alone.path_.penalties) < 0).all()
    np.testing.assert_allclose(alone.predict(x), path.predict_path(x)[5], atol=1e-6)
    assert len(SpAM(penalty=1e9).fit(x, y).support_) == 0


def test_the_criteria_are_their_formulas():
    x, y = draw(100, 10, 11)
    gcv, cp = SpAM().fit(x, y), SpAM(criterion="cp").fit(x, y)
    path, n = gcv.path_, 100
    rss = np.array([np.mean((y - fit.total) ** 2) for fit in path.fits])
    np.testing.assert_allclose(gcv.scores_, rss / (1 - path.df / n) ** 2)
    best = np.argmin(gcv.scores_)
    assert gcv.penalty_ == path.penalties[best]
    variance = rss[best] * n / (n - path.df[best])
    np.testing.assert_allclose(cp.scores_, rss + 2 * variance * path.df / n)


def test_cross_validation_measures_on_points_that_were_left_out():
    x, y = draw(120, 6, 12)
    model = SpAM(criterion="cv", cv=3, **QUICK).fit(x, y)
    folds = np.zeros(12)
    from sklearn.model_selection import KFold

    for a, b in KFold(3, shuffle=True, random_state=0).split(x):
        part = SpAM(penalties=model.path_.penalties).fit(x[a], y[a])
        folds += ((part.predict_path(x[b]) - y[b]) ** 2).sum(1) / 120
    np.testing.assert_allclose(model.scores_, folds, rtol=1e-6)
    assert SpAM("classification", criterion="cv", cv=3, **QUICK).fit(*classes(90, 4, 0)).scores_.shape == (12,)


def test_a_refit_keeps_the_support_and_undoes_the_shrinkage():
    x, y = draw(100, 10, 13)
    plain, refit = SpAM(penalty=0.3).fit(x, y), SpAM(penalty=0.3, refit=True, tol=1e-9).fit(x, y)
    assert plain.support_.tolist() == refit.support_.tolist()
    u = refit._smoother.basis(x)[:, refit.support_].reshape(100, -1)
    np.testing.assert_allclose(u.T @ (y - refit.predict(x)) / 100, 0, atol=1e-7)


def test_scale_and_origin_of_a_feature_do_not_matter():
    x, y = draw(80, 5, 14)
    a, b = SpAM(**QUICK).fit(x, y), SpAM(**QUICK).fit(x * [1e-8, 1e8, 1, -3, 1] + [5, -1e9, 0, 1, 0], y)
    np.testing.assert_allclose(a.predict(x), b.predict(x * [1e-8, 1e8, 1, -3, 1] + [5, -1e9, 0, 1, 0]), atol=1e-4)


# ------------------------------------------------------------------- picture
@pytest.mark.parametrize("task", ["regression", "classification"])
def test_the_picture_shows_every_function_that_is_not_zero(task):
    x, y = draw(80, 5, 15) if task == "regression" else classes(80, 5, 15)
    frame = pd.DataFrame(x, columns=["age", "b", "c", "d", "e"])
    model = SpAM(task, **QUICK).fit(frame, y)
    figure = model.plot()
    assert len(figure.axes) == len(model.support_) and figure.axes[0].get_xlabel() == "age"
    curve = max(figure.axes[0].lines, key=lambda line: line.get_linestyle() == "-")
    at = np.zeros((200, 5))
    at[:, 0] = curve.get_xdata()
    parts = model.contributions(pd.DataFrame(at, columns=frame.columns))
    np.testing.assert_allclose(curve.get_ydata(), parts[:, 0], atol=1e-12)
    assert len(model.plot([4, 1]).axes) == 2
    assert model.plot(["d", 0]).axes[0].get_xlabel() == "d"
    for column in (5, -1, "size"):
        with pytest.raises(ConfigError, match=f"columns go from 0 to 4, got {column!r}"):
            model.plot([column])
    assert SpAM(penalty=1e9).fit(frame.to_numpy(), x[:, 0]).plot().axes == []
    with pytest.raises(NotFittedError):
        SpAM().plot()


# ------------------------------------------------------------------- refusals
@pytest.mark.parametrize(
    "change, says",
    [
        (lambda x: x[:, 2].fill(1), "column 2 is constant"),
        (lambda x: np.copyto(x[:, 3], x[:, 1]), "column 3 repeats column 1"),
        (lambda x: np.put(x, 7 * 4 + 2, np.nan), r"column 2 has NaN in 1 of 30 rows, first in row 7"),
        (lambda x: x[:, 1:3].fill(np.inf), r"column 1 has inf in 30 of 30 rows.*1 more column"),
    ],
)
@pytest.mark.parametrize("task", ["regression", "classification"])
def test_columns_that_cannot_be_used_are_named(task, change, says):
    x, y = draw(30, 4, 16)
    change(x)
    with pytest.raises(ShapeError, match=says):
        SpAM(task).fit(x, y > 0 if task == "classification" else y)


def test_columns_have_names_where_the_data_have_and_new_points_are_looked_at_too():
    x, y = draw(30, 4, 16)
    frame = pd.DataFrame(x, columns=list("abcd"))
    model = SpAM(**QUICK).fit(frame, y)
    frame.loc[3, "c"] = np.nan
    with pytest.raises(ShapeError, match=r"column 2 \('c'\) has NaN in 1 of 30 rows, first in row 3"):
        model.predict(frame)
    with pytest.raises(ShapeError, match=r"column 3 \('d'\) is constant"):
        SpAM().fit(frame.assign(c=0.5 * y, d=1.0), y)


def test_useless_columns_can_be_dropped_instead():
    x, y = draw(100, 4, 17)
    want = SpAM(**QUICK).fit(x, y)
    more = np.column_stack([x, np.ones(100), x[:, 0]])
    got = SpAM(degenerate="drop", **QUICK).fit(more, y)
    np.testing.assert_allclose(got.predict(more), want.predict(x), atol=1e-9)
    assert (got.components_[:, 4:] == 0).all()
    assert len(SpAM(degenerate="drop").fit(np.ones((9, 2)), y[:9]).support_) == 0


@pytest.mark.parametrize("change", [list, np.asarray, lambda y: np.asarray(y, dtype=object)])
@pytest.mark.parametrize("missing", [None, float("nan"), float("inf")])
def test_responses_that_are_missing_are_refused_by_row(missing, change):
    x, y = draw(30, 4, 18)
    y = [*y[:7], missing, *y[8:]]
    with pytest.raises(ShapeError, match=r"y has (nan|inf) in row 7"):
        SpAM().fit(x, change(y))


def test_a_single_class_is_refused():
    x, _ = draw(30, 4, 18)
    with pytest.raises(ShapeError, match="single class, 'a'"):
        SpAM("classification").fit(x, ["a"] * 30)


@pytest.mark.parametrize(
    "options, says",
    [
        ({"penalty": -0.1}, "-0.1"),
        ({"penalty": float("nan")}, "nan"),
        ({"task": "ranking"}, "'ranking'"),
        ({"smoother": "loess"}, "'loess'"),
        ({"criterion": "aic"}, "'aic'"),
        ({"degenerate": "ignore"}, "'ignore'"),
        ({"penalties": 0}, "at least 1"),
        ({"penalties": [1.0, 2.0]}, "falling"),
        ({"penalties": [1.0, -1.0]}, "falling"),
        ({"penalties": [float("inf"), 1.0]}, "falling"),
        ({"penalties": "a"}, "falling"),
        ({"penalty": "1"}, "penalty is a number, got '1'"),
        ({"df": 6.5}, r"df is a whole number, got 6\.5"),
        ({"max_iter": 1.5}, "max_iter is a whole number"),
        ({"cv": None, "criterion": "cv"}, "cv is a whole number"),
        ({"task": ["regression"]}, "task is one of"),
        ({"bandwidth": "a", "smoother": "kernel"}, "bandwidth is a number"),
        ({"min_ratio": 1.0}, "min_ratio"),
        ({"cv": 1}, "cv >= 2"),
        ({"tol": 0}, "tol > 0"),
        ({"smoother": "kernel", "bandwidth": 0}, "above 0, got 0"),
        ({"df": 1}, "df 1"),
    ],
)
def test_options_out_of_range_are_refused(options, says):
    with pytest.raises(ConfigError, match=says):
        SpAM(**options).fit(*draw(30, 4, 19))


def test_folds_without_enough_samples_are_refused():
    x, _ = draw(30, 4, 20)
    with pytest.raises(ShapeError, match="5 folds"):
        SpAM("classification", criterion="cv").fit(x, np.arange(30) < 3)


@pytest.mark.parametrize("options", [{"penalty": 0.0}, {"refit": True, **QUICK}], ids=str)
def test_classes_told_apart_without_a_penalty_have_no_minimum_and_it_says_so(options):
    x, _ = draw(100, 4, 0)
    with pytest.warns(ConvergenceWarning, match="grow without end"):
        SpAM("classification", **options).fit(x, x[:, 0] > 0)


@pytest.mark.parametrize("unit", [1e-200, 1e200])
def test_responses_whose_squares_are_no_numbers_are_refused(unit):
    x, y = draw(30, 4, 0)
    with pytest.raises(ShapeError, match="another unit"):
        SpAM().fit(x, unit * y)


def test_a_fit_that_was_cut_short_says_so():
    with pytest.warns(ConvergenceWarning, match="after 1 sweeps"):
        backfit(SplineSmoother(draw(50, 4, 0)[0]), draw(50, 4, 0)[1], Squared, 0.1, max_sweeps=1)
