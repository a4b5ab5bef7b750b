"""Every solution on the path of QuantilePath is that of the linear program, whatever the data."""

import time
import warnings
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from edgenet.estimators import QuantilePath
from edgenet.estimators.bordered import BorderedInverse
from edgenet.estimators.quantile_certificate import Certificate
from edgenet.estimators.quantile_solution import Solution
from edgenet.estimators.quantile_trace import PathWarning

from estimators.quantile_program import KINDS, least, loss, radius  # isort: skip


def problem(kind, seed, n, p, num_groups, weighted=False):
    rng = np.random.default_rng(seed)
    x, y = KINDS[kind](rng, n, p)
    groups = np.unique(rng.integers(0, num_groups, p), return_inverse=True)[1]
    weight = rng.uniform(0.5, 2.0, groups.max() + 1) if weighted else np.ones(groups.max() + 1)
    return x, y, groups, weight


def assert_optimal(path, x, y, penalties=(), radii=()):
    """The objectives at penalties and radii are those of the programs."""
    groups, weight, intercept = path.group_of_, np.array(path.group_weights), path.fit_intercept
    small = 1e-12 * np.abs(y).sum()  # an objective of 0 has no relative accuracy
    for penalty in penalties:
        coef = path.coef(penalty)
        got = loss(y - path.intercept(penalty) - x @ coef, path.tau) + penalty * radius(coef, groups, weight)
        wanted = least(x, y, path.tau, groups, weight, penalty=penalty, intercept=intercept)
        assert got == pytest.approx(wanted, rel=1e-8, abs=small), f"at the penalty {penalty}"
    for t in radii:
        coef = path.coef(t=t)
        assert radius(coef, groups, weight) <= t * (1 + 1e-9)
        got = loss(y - path.intercept(t=t) - x @ coef, path.tau)
        wanted = least(x, y, path.tau, groups, weight, t=t, intercept=intercept)
        assert got == pytest.approx(wanted, rel=1e-8, abs=small), f"at the radius {t}"


def check(kind, seed, n, p, num_groups, tau, intercept=True, weighted=False, some=None):
    x, y, groups, weight = problem(kind, seed, n, p, num_groups, weighted)
    path = QuantilePath(tau, groups, group_weights=weight, fit_intercept=intercept).fit(x, y)
    assert (np.diff(path.path_lambda_) <= 0).all() and (np.diff(path.path_t_) > 0).all()
    assert path.path_lambda_[-1] == 0
    rng = np.random.default_rng(seed + 1)
    top = path.path_lambda_[0] or 1.0
    penalties = np.concatenate([path.path_lambda_, rng.uniform(0, 1.2, 50) * top])
    radii = rng.uniform(0, 1.2, 10) * path.path_t_[-1]
    if some is not None:
        penalties, radii = rng.permutation(penalties)[:some], radii[:2]
    assert_optimal(path, x, y, penalties, radii)
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_objectives_at_every_breakpoint_and_at_fifty_penalties_are_those_of_the_program(kind):
    check(kind, seed=1, n=24, p=9, num_groups=4, tau=0.5)  # n tau is whole


@pytest.mark.parametrize("kind", KINDS)
def test_more_columns_than_observations(kind):
    check(kind, seed=2, n=10, p=24, num_groups=8, tau=0.3, weighted=True, some=25)


@pytest.mark.parametrize("kind", ["random", "whole numbers"])
@pytest.mark.parametrize("num_groups", [1, 100])
def test_one_group_and_groups_of_one(kind, num_groups):
    check(kind, seed=3, n=20, p=8, num_groups=num_groups, tau=0.75, some=25)


@pytest.mark.parametrize("kind", KINDS)
def test_without_an_intercept(kind):
    check(kind, seed=4, n=20, p=8, num_groups=3, tau=0.25, intercept=False, some=20)


PROBLEMS = {
    "kind": st.sampled_from(sorted(KINDS)),
    "n": st.integers(1, 30),
    "p": st.integers(1, 14),
    "num_groups": st.integers(1, 8),
    "tau": st.sampled_from([0.01, 0.05, 0.1, 0.25, 0.5, 0.618, 0.9, 0.99]),
    "intercept": st.booleans(),
    "weighted": st.booleans(),
}


@settings(max_examples=60)
@given(seed=st.integers(0, 10**6), **PROBLEMS)
def test_any_problem(seed, **problem):
    check(seed=seed, some=4, **problem)


@pytest.mark.slow
@settings(max_examples=1500)
@given(seed=st.integers(0, 10**9), **PROBLEMS)
def test_any_of_many_problems(seed, **problem):
    check(seed=seed, some=12, **problem)


def test_larger_data_whose_every_vertex_is_degenerate():
    """Where events that coincide are taken in the order of the data, some of these paths go round in circles."""
    check("zeros and ones", seed=5, n=150, p=20, num_groups=6, tau=0.5, some=6)
    check("repeated whole rows and columns", seed=6, n=150, p=20, num_groups=6, tau=0.1, some=6)
    for seed in range(20):
        check("few ones", seed=seed, n=190, p=20, num_groups=5, tau=(0.25, 0.5)[seed % 2], some=1)


def test_columns_that_almost_repeat_each_other():
    """Their coefficients are large and cancel, which a product with an inverse alone does not resolve. How far that
    goes is a matter of the last bits, which processors round differently; a path that ends early says so."""
    reached = 0
    for seed in range(6):
        rng = np.random.default_rng(seed)
        x = rng.standard_normal((30, 1)) + 1e-5 * rng.standard_normal((30, 8))
        y = rng.standard_normal(30)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            path = QuantilePath(0.3, np.arange(8) // 2, group_weights=np.ones(4)).fit(x, y)
        penalties = path.path_lambda_[0] * np.array([0.5, 1e-3, 1e-5, 1e-6])
        whole = path.path_lambda_[-1] <= penalties[-1]
        assert whole or [warning.category for warning in caught] == [PathWarning]
        assert_optimal(path, x, y, penalties[penalties >= path.path_lambda_[-1]])
        reached += whole
    assert reached >= 4


# --- the conditions of optimality, and what the events say ------------------------------------------------------------
def test_events_tell_the_active_groups_and_the_elbow():
    x, y, groups, weight = problem("random", 7, 40, 12, 4)
    path = QuantilePath(0.5, groups, group_weights=weight).fit(x, y)
    active, elbow, at = set(), 1, 0  # the median is one observation
    for event in path.events_:
        if event.kind in ("enter", "free", "leave"):  # events at a vertex: what is active there is known
            assert active == {g for g in range(4) if path.path_radius_[at, g] > 0}
            assert elbow == path.path_elbow_[at]
            assert event.lambda_ == pytest.approx(path.path_lambda_[at])
            assert event.t == pytest.approx(path.path_t_[at], abs=1e-12)
            at += 1
        active ^= {event.which} if event.kind in ("enter", "drop") else set()
        elbow += {"meet": 1, "leave": -1}.get(event.kind, 0)
    assert at == len(path.path_t_) - 1
    assert {event.kind for event in path.events_} >= {"enter", "free", "bound", "leave", "meet"}


def test_the_path_ends_at_the_unpenalised_problem():
    x, y, groups, weight = problem("random", 8, 30, 6, 3)
    path = QuantilePath(0.3, groups, group_weights=weight).fit(x, y)
    residual = y - path.predict(x, 0.0)
    assert (np.abs(residual) < 1e-12).sum() == 7  # as many as coefficients
    assert loss(residual, 0.3) == pytest.approx(least(x, y, 0.3, groups, weight, penalty=0.0), rel=1e-10)


@pytest.mark.parametrize(
    "limit, last",
    [
        ({"lambda_min": 2.0}, lambda path, whole: path.path_lambda_[-1] == pytest.approx(2.0)),
        ({"t_max": 0.7}, lambda path, whole: path.path_t_[-1] == pytest.approx(0.7)),
        ({"max_groups": 2}, lambda path, whole: (path.path_radius_ > 0).sum(1).max() == 2),
    ],
    ids=["lambda_min", "t_max", "max_groups"],
)
def test_a_path_that_ends_early_is_the_beginning_of_the_whole(limit, last):
    x, y, groups, weight = problem("random", 9, 40, 12, 5)
    whole = QuantilePath(0.5, groups, group_weights=weight).fit(x, y)
    path = QuantilePath(0.5, groups, group_weights=weight, **limit).fit(x, y)
    assert last(path, whole) and 1 < len(path.path_t_) < len(whole.path_t_)
    np.testing.assert_allclose(path.path_coef_, whole.coef(t=path.path_t_), atol=1e-12)
    t = np.linspace(0, path.path_t_[-1], 7)
    np.testing.assert_allclose(path.coef(t=t), whole.coef(t=t), atol=1e-12)


def test_the_inverse_is_updated_from_edge_to_edge_and_rebuilt_once_in_forty(monkeypatch):
    x, y, groups, weight = problem("random", 11, 60, 30, 10)
    rebuild, calls = BorderedInverse.rebuild, []
    monkeypatch.setattr(BorderedInverse, "rebuild", lambda self, matrix: (calls.append(1), rebuild(self, matrix)))
    path = QuantilePath(0.5, groups, group_weights=weight).fit(x, y)
    assert len(path.path_t_) > 100 and len(calls) <= 2 + len(path.path_t_) / 40


# --- speed ------------------------------------------------------------------------------------------------------------
def compare_times(n, p, size, seed=0):
    """(seconds of the path, seconds of 20 programs, vertices): processor time, one thread or nearly."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, p))
    y = x[:, :size].sum(1) + rng.standard_t(3, n)
    groups, weight = np.arange(p) // size, np.ones(p // size)
    path = QuantilePath(0.5, groups, group_weights=weight)
    start = time.process_time()
    path.fit(x, y)
    taken = time.process_time() - start
    programs = 0.0
    for penalty in np.linspace(0.02, 0.95, 5) * path.path_lambda_[0]:
        start = time.process_time()
        wanted = least(x, y, 0.5, groups, weight, penalty=penalty)
        programs += time.process_time() - start
        coef = path.coef(penalty)
        got = loss(y - path.intercept(penalty) - x @ coef, 0.5) + penalty * radius(coef, groups, weight)
        assert got == pytest.approx(wanted, rel=1e-8)
    return taken, 4 * programs, len(path.path_t_)


def test_the_whole_path_takes_less_time_than_twenty_programs():
    taken, programs, _ = compare_times(100, 20, 4)
    assert taken < programs


SIZES = [(100, 20, 4), (100, 100, 5), (100, 200, 5), (200, 40, 4), (400, 40, 4), (800, 40, 4), (200, 400, 10)]


@pytest.mark.slow
@pytest.mark.parametrize("n, p, size", SIZES)
def test_the_whole_path_takes_less_time_than_twenty_programs_at_larger_sizes(n, p, size):
    taken, programs, vertices = compare_times(n, p, size)
    print(f"\n{n} x {p}, groups of {size}: {vertices} vertices in {taken:.2f} s; 20 programs {programs:.2f} s")
    assert taken < programs


# --- what rounding errors may not do ----------------------------------------------------------------------------------
def reached(x, y, tau, groups, weight, penalty):
    """An objective that HiGHS reaches, or inf: what it claims of badly scaled problems may lie below the least."""
    (n, p), g = x.shape, len(weight)
    unit = np.array([np.abs(x[:, groups == k]).mean() or 1.0 for k in range(g)])
    fits = np.hstack([np.ones((n, 1)), x / unit[groups], np.zeros((n, g)), np.eye(n), -np.eye(n)])
    owner = np.eye(g)[groups]
    within = [np.hstack([np.zeros((p, 1)), s * np.eye(p), -owner, np.zeros((p, 2 * n))]) for s in (1, -1)]
    cost = np.concatenate([np.zeros(1 + p), penalty * weight / unit, np.full(n, tau), np.full(n, 1 - tau)])
    bounds = [(None, None)] * (1 + p) + [(0, None)] * (g + 2 * n)
    result = linprog(cost, np.vstack(within), np.zeros(2 * p), fits, y, bounds)
    if result.status:
        return np.inf
    coef = result.x[1 : 1 + p] / unit[groups]
    return loss(y - result.x[0] - x @ coef, tau) + penalty * radius(coef, groups, weight)


def assert_no_worse(path, x, y, shares):
    groups, weight = path.group_of_, np.array(path.group_weights)
    for penalty in path.path_lambda_[0] * np.array(shares):
        if penalty >= path.path_lambda_[-1]:
            coef = path.coef(penalty)
            got = loss(y - path.intercept(penalty) - x @ coef, path.tau) + penalty * radius(coef, groups, weight)
            other = reached(x, y, path.tau, groups, weight, penalty)
            assert got <= other * (1 + 1e-8) + 1e-12 * np.abs(y).sum(), f"at {penalty}"


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("size", [1, 3])
def test_columns_of_very_different_sizes_get_the_least_objective(seed, size):
    """Edges that are short beside the last radius, which the smallest columns make, are edges all the same."""
    rng = np.random.default_rng(seed)
    x, groups, weight = rng.standard_normal((60, 12)), np.arange(12) // size, np.ones(12 // size)
    y = 2 * x[:, 0] + rng.standard_t(3, 60)
    x = x * 10.0 ** rng.uniform(-6, 6, 12)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", PathWarning)  # within a group of them, the smallest penalties are out of reach
        path = QuantilePath(0.5, groups, group_weights=weight).fit(x, y)
    assert path.path_lambda_[-1] < 1e-9 * path.path_lambda_[0] or (size > 1 and caught)  # where, processors differ
    assert len(path.path_t_) > 50
    radii = [radius(coef, groups, weight) for coef in path.path_coef_]
    np.testing.assert_allclose(radii, path.path_t_, rtol=1e-7)
    assert (np.diff(path.path_t_) > 0).all()
    assert_no_worse(path, x, y, [0.9, 0.5, 0.2, 0.1, 0.04, 1e-3, 1e-5, 1e-8])


@pytest.mark.parametrize("seed", range(24))
def test_nothing_is_wrong_without_a_warning_on_data_made_to_be_lost(seed):
    rng = np.random.default_rng(seed)
    n, p = 30, 12
    x, y = KINDS[["repeated rows", "repeated whole rows and columns", "zeros and ones"][seed % 3]](rng, n, p)
    x = x * 10.0 ** rng.uniform(-6, 6, p) if seed % 2 else x
    x[:, 0] = x[:, -1] * (1 + 1e-9 * rng.standard_normal(n))
    groups = np.unique(rng.integers(0, 5, p), return_inverse=True)[1]
    weight = 10.0 ** rng.uniform(-4, 4, groups.max() + 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PathWarning)
        path = QuantilePath(0.5, groups, group_weights=weight).fit(x, y)
    assert_no_worse(path, x, y, [0.999, 0.5, 0.1, 1e-2, 1e-3, 1e-5, 1e-7])


def test_a_solution_gone_wrong_is_noticed_by_its_duals(monkeypatch):
    x, y, groups, weight = problem("random", 9, 40, 12, 5)
    whole = QuantilePath(0.5, groups, group_weights=weight).fit(x, y)
    vertex, passed = Solution.vertex, Counter()

    def shifted(self):
        t, intercept, coef, *more = vertex(self)
        passed[self] += 1  # every attempt has a solution of its own
        return t, intercept, coef * (1 + 1e-4 * (passed[self] == 31)), *more

    monkeypatch.setattr(Solution, "vertex", shifted)
    with pytest.warns(PathWarning, match="no longer optimal to 8 digits"):
        path = QuantilePath(0.5, groups, group_weights=weight).fit(x, y)
    assert 10 < len(path.path_t_) < len(whole.path_t_) and path.path_lambda_[-1] > 0
    np.testing.assert_allclose(path.path_coef_, whole.coef(t=path.path_t_), atol=1e-10)


def test_a_certificate_holds_for_solutions_alone():
    x, y = np.array([[-1.0], [0.0], [2.0], [3.0]]), np.array([-1.0, 0.0, 1.0, 2.0])
    certificate = Certificate(x, y, np.full(4, -0.5), np.full(4, 0.5), np.array([0]), np.ones(1))
    theta = np.array([[-0.5, -0.5, 0.5, 0.5]])  # of b = 0 with an observation for intercept; x' theta = 3
    nothing, one = np.zeros((1, 1)), np.ones(1)

    def holds(intercept, coef, penalty):
        return bool(certificate.holds(intercept * one[None], coef, theta, penalty * one)[0, 0])

    assert holds(0.0, nothing, 3.0) and holds(0.5, nothing, 4.0)
    assert not holds(0.0, nothing, 2.9) and not holds(1.5, nothing, 3.0) and not holds(0.0, nothing + 0.1, 3.5)
    assert not holds(np.nan, nothing, 3.0)
    assert not certificate.ends(np.zeros(1), nothing[0], 1e-3) and certificate.ends(np.zeros(1), nothing[0], 1e-12)
