"""QuantilePath with weights of observations, and at several levels at once."""

import numpy as np
import pytest
from scipy.optimize import linprog

from edgenet.errors import ConfigError, ShapeError
from edgenet.estimators import QuantilePath
from edgenet.estimators.quantile_solution import Solution
from edgenet.estimators.quantile_trace import PathWarning

from estimators.quantile_program import KINDS  # isort: skip

LEVELS = (0.2, 0.5, 0.85)


def program(x, y, taus, groups, weight, penalty, sample_weight, intercept=True):
    """The least sum of the levels' losses + penalty * radius, one dense linear program by HiGHS, from the definition.

    Its variables are b0 and b of every level, the groups' radii, and both parts of every residual.
    """
    (n, p), t, g = x.shape, len(taus), len(weight)
    lines = np.hstack([np.ones((n, 1)) * intercept, x])
    fits = np.hstack([np.kron(np.eye(t), lines), np.zeros((t * n, g)), np.eye(t * n), -np.eye(t * n)])
    owner = np.tile(np.eye(g)[groups], (t, 1))
    coef = np.kron(np.eye(t), np.eye(1 + p)[1:])
    within = np.vstack([np.hstack([s * coef, -owner, np.zeros((t * p, 2 * t * n))]) for s in (1, -1)])
    above = np.concatenate([tau * sample_weight for tau in taus])
    below = np.concatenate([(1 - tau) * sample_weight for tau in taus])
    cost = np.concatenate([np.zeros(t * (1 + p)), penalty * weight, above, below])
    bounds = [(None, None)] * (t * (1 + p)) + [(0, None)] * (g + 2 * t * n)
    options = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}
    result = linprog(cost, within, np.zeros(2 * t * p), fits, np.tile(y, t), bounds, options=options)
    assert result.status == 0, result.message
    return result.fun


def objective(path, x, y, penalty, sample_weight):
    """What the path's solution reaches, by the definition."""
    coef, intercept = np.atleast_2d(path.coef(penalty)), np.atleast_1d(path.intercept(penalty))
    total = 0.0
    for tau, b0, b in zip(np.ravel(path.tau), intercept, coef, strict=True):
        r = y - b0 - x @ b
        total += sample_weight @ np.maximum(tau * r, (tau - 1) * r)
    weight = np.ones(len(path.groups_)) if path.group_weights is None else np.asarray(path.group_weights)
    return total + penalty * sum(w * np.abs(coef[:, path.group_of_ == g]).max() for g, w in enumerate(weight))


# --- several levels ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_several_levels_reach_the_least_objective_of_the_program(kind, weighted):
    rng = np.random.default_rng(5)
    x, y = KINDS[kind](rng, 18, 6)
    groups, weight = np.array([0, 1, 1, 2, 0, 2]), np.array([1.0, 0.5, 2.0])
    counts = rng.uniform(0.2, 3, 18) if weighted else np.ones(18)
    path = QuantilePath(LEVELS, groups, group_weights=weight).fit(x, y, counts)
    assert path.path_lambda_[-1] == 0 and (np.diff(path.path_t_) > 0).all()
    unit = max(np.abs(y - np.median(y)).mean(), 1e-300), np.abs(x).mean()  # tolerances of HiGHS are absolute
    for penalty in path.path_lambda_[0] * np.array([1.1, 0.6, 0.2, 0.03]):
        scaled = (x - np.median(x, axis=0)) / unit[1], (y - np.median(y)) / unit[0]
        least = program(*scaled, LEVELS, groups, weight, penalty / unit[1], counts) * unit[0]
        assert objective(path, x, y, penalty, counts) == pytest.approx(least, rel=1e-8, abs=1e-12 * np.abs(y).sum())


def test_without_groups_a_column_is_used_at_all_levels_or_at_none():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 8))
    y = x[:, 0] + (1 + 0.8 * x[:, 1]) * rng.standard_normal(60)  # the second column matters at the tails
    path = QuantilePath(LEVELS).fit(x, y)
    used = np.abs(path.path_coef_) > 0
    assert path.path_coef_.shape[1:] == (3, 8) and path.path_radius_.shape[1] == 8
    np.testing.assert_allclose(path.path_radius_, np.abs(path.path_coef_).max(1))
    early = used[: len(used) // 3]
    assert (early.any(1) == early.all(1)).mean() > 0.9  # a coefficient may pass through 0
    least = program(x, y, LEVELS, np.arange(8), np.ones(8), 3.0, np.ones(60))
    assert objective(path, x, y, 3.0, np.ones(60)) == pytest.approx(least, rel=1e-9)


def test_one_level_in_a_list_is_that_level():
    rng = np.random.default_rng(1)
    x, y = KINDS["random"](rng, 40, 6)
    one, alone = QuantilePath([0.3], [0, 0, 1, 1, 2, 2]).fit(x, y), QuantilePath(0.3, [0, 0, 1, 1, 2, 2]).fit(x, y)
    np.testing.assert_array_equal(one.path_coef_[:, 0], alone.path_coef_)
    np.testing.assert_array_equal(one.predict(x)[:, 0], alone.predict(x))
    assert one.penalty_ == alone.penalty_ and one.score(x, y) == alone.score(x, y)


def test_levels_have_an_axis_of_their_own_and_are_numbered_in_events():
    rng = np.random.default_rng(2)
    x, y = KINDS["random"](rng, 50, 6)
    path = QuantilePath((0.25, 0.75), [0, 0, 1, 1, 2, 2], cv=3).fit(x, y)
    assert path.coef_.shape == (2, 6) and path.intercept_.shape == (2,) and path.predict(x).shape == (50, 2)
    assert path.predict(x, lambda_=[1.0, 2.0, 3.0]).shape == (50, 3, 2)
    assert path.coef(t=np.zeros((4, 5))).shape == (4, 5, 2, 6)
    lines = np.stack([x @ path.coef_[k] + path.intercept_[k] for k in range(2)], axis=1)
    np.testing.assert_allclose(path.predict(x), lines)
    kinds = {event.kind: event.which for event in path.events_}
    assert kinds["enter"] in (0, 1, 2) and kinds["meet"][0] in (0, 1) and 0 <= kinds["meet"][1] < 50
    assert len(path.plot().axes[1].lines) == 2 * 6 + 1
    assert path.score(x, y) > 0


@pytest.mark.parametrize("levels", [(0.5, 0.2), (0.5, 0.5), (), [0.2, 1.0], [[0.2, 0.5]], ["0.2"]], ids=str)
def test_levels_that_do_not_rise_or_are_none_are_refused(levels):
    with pytest.raises(ConfigError, match="tau"):
        QuantilePath(levels).fit(np.eye(4), np.arange(4))


# --- weights ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("tau", [0.3, (0.3, 0.6)], ids=str)
@pytest.mark.parametrize("intercept", [True, False])
def test_whole_weights_are_repeated_rows_and_a_weight_of_zero_leaves_out(tau, intercept):
    rng = np.random.default_rng(3)
    x, y = KINDS["random"](rng, 40, 9)
    counts = rng.integers(0, 4, 40)
    assert (counts == 0).any()
    make = QuantilePath(tau, np.arange(9) // 3, fit_intercept=intercept)
    weighted, repeated = (make.fit(x, y, counts), QuantilePath(**make.get_params()))
    repeated.fit(np.repeat(x, counts, axis=0), np.repeat(y, counts))
    np.testing.assert_allclose(weighted.path_lambda_, repeated.path_lambda_, rtol=1e-10)
    np.testing.assert_allclose(weighted.path_t_, repeated.path_t_, rtol=1e-10)
    np.testing.assert_allclose(weighted.path_coef_, repeated.path_coef_, atol=1e-10)
    np.testing.assert_allclose(weighted.path_intercept_, repeated.path_intercept_, atol=1e-10)
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, atol=1e-10)  # the choice, too
    assert weighted.penalty_ == pytest.approx(repeated.penalty_, rel=1e-10)
    without = QuantilePath(**make.get_params()).fit(x[counts > 0], y[counts > 0], counts[counts > 0])
    np.testing.assert_array_equal(without.path_coef_, weighted.path_coef_)


@pytest.mark.parametrize("spread", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_any_weights_reach_the_least_objective_of_the_program(kind, spread):
    rng = np.random.default_rng(4)
    x, y = KINDS[kind](rng, 24, 6)
    counts, groups = 10.0 ** rng.uniform(-spread, spread, 24), np.array([0, 1, 1, 2, 0, 2])
    path = QuantilePath(0.4, groups).fit(x, y, counts)
    unit = max(np.abs(y - np.median(y)).mean(), 1e-300), np.abs(x).mean()
    for penalty in path.path_lambda_[0] * np.array([1.1, 0.6, 0.2, 0.03]):
        scaled, mean = ((x - np.median(x, axis=0)) / unit[1], (y - np.median(y)) / unit[0]), counts.mean()
        least = program(*scaled, [0.4], groups, np.ones(3), penalty / unit[1] / mean, counts / mean) * unit[0] * mean
        near = pytest.approx(least, rel=1e-8, abs=1e-12 * mean * np.abs(y).sum())
        assert objective(path, x, y, penalty, counts) == near


def test_folds_weigh_what_they_hold_out():
    rng = np.random.default_rng(6)
    x, y = KINDS["random"](rng, 60, 4)
    counts = rng.integers(1, 4, 60)
    owner, folds = np.arange(60) % 3, [(np.arange(60) % 3 != k, np.arange(60) % 3 == k) for k in range(3)]
    rows = np.repeat(np.arange(60), counts)
    again = [(np.flatnonzero(owner[rows] != k), np.flatnonzero(owner[rows] == k)) for k in range(3)]
    weighted = QuantilePath(0.371, cv=[(np.flatnonzero(a), np.flatnonzero(b)) for a, b in folds]).fit(x, y, counts)
    repeated = QuantilePath(0.371, cv=again).fit(x[rows], y[rows])
    assert weighted.penalty_ == pytest.approx(repeated.penalty_, rel=1e-10)
    assert weighted.cv_loss_.min() == pytest.approx(repeated.cv_loss_.min(), rel=1e-10)
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, atol=1e-10)
    with pytest.raises(ConfigError, match="fold 1 holds out observations of weight 0 only"):
        QuantilePath(0.371, cv=[(np.flatnonzero(a), np.flatnonzero(b)) for a, b in folds]).fit(x, y, owner != 1)


@pytest.mark.parametrize(
    "weight, says",
    [
        (np.ones(39), r"each of 40 samples, got shape \(39,\)"),
        (np.where(np.arange(40) == 3, -0.5, 1), r"-0\.5 in row 3"),
        (np.where(np.arange(40) == 3, np.nan, 1), "nan in row 3"),
        (np.zeros(40), "every sample_weight is zero"),
        (["a"] * 40, "holds numbers"),
        (np.full(40, 0.01), "sums to 0.4, which the criterion of Schwarz takes for the number"),
    ],
)
def test_what_are_no_weights_is_refused(weight, says):
    with pytest.raises((ShapeError, ConfigError), match=says):
        QuantilePath().fit(*KINDS["random"](np.random.default_rng(0), 40, 3), weight)


def test_weights_and_levels_are_proved_by_their_duals_too(monkeypatch):
    x, y = KINDS["random"](np.random.default_rng(8), 30, 6)
    vertex, passed = Solution.vertex, []

    def shifted(self):
        t, intercept, coef, *more = vertex(self)
        passed.append(self)
        return t, intercept + 1e-4 * (passed.count(self) == 21), coef, *more

    monkeypatch.setattr(Solution, "vertex", shifted)
    with pytest.warns(PathWarning, match="no longer optimal to 8 digits"):
        QuantilePath(LEVELS).fit(x, y, np.arange(1, 31))
