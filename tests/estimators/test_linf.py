"""The proximal map of the largest absolute value."""

import numpy as np
import pytest
from scipy.optimize import minimize
from stored import numbered, oracle

from edgenet.errors import ConfigError, ShapeError
from edgenet.estimators import prox_linf


@oracle("estimators/prox_linf*.npz")
def test_it_is_that_of_cvxpy(stored):
    data = np.load(stored)
    for (k,) in numbered(data, r"v(\d+)"):
        np.testing.assert_allclose(prox_linf(data[f"v{k}"], data[f"lam{k}"]), data[f"x{k}"], atol=1e-7)


@pytest.mark.parametrize("penalty", [0.0, 0.3, 1.7, 50.0])
def test_it_is_the_minimum_and_takes_penalty_off(penalty):
    v = np.random.default_rng(0).standard_normal((5, 7))
    x = prox_linf(v, penalty)
    np.testing.assert_allclose(np.abs(v - x).sum(1), np.minimum(penalty, np.abs(v).sum(1)), atol=1e-12)
    objective = lambda u, v: ((u - v) ** 2).sum() / 2 + penalty * np.abs(u).max()  # noqa: E731
    for row, got in zip(v, x, strict=True):
        near = minimize(objective, got, (row,), method="Nelder-Mead", options={"maxfev": 2000})
        assert objective(got, row) <= near.fun + 1e-12
    np.testing.assert_array_equal(x[1], prox_linf(v[1], penalty))  # row by row


def test_it_takes_a_penalty_for_each_group():
    v = np.array([[3.0, -1.0, 2.0], [3.0, -1.0, 2.0]])
    np.testing.assert_allclose(prox_linf(v, np.array([1.0, 6.0])), [[2.0, -1.0, 2.0], [0.0, 0.0, 0.0]])


@pytest.mark.parametrize(
    "v, penalty, error, says",
    [
        (np.ones(3), -0.5, ConfigError, r"at least 0, got -0\.5"),
        (3.0, 0.5, ShapeError, r"got \(\) and \(\)"),
        (np.ones((2, 3)), np.ones(3), ShapeError, r"got \(2, 3\) and \(3,\)"),
    ],
)
def test_what_makes_no_sense_is_refused(v, penalty, error, says):
    with pytest.raises(error, match=says):
        prox_linf(v, penalty)
