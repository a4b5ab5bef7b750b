"""QuantilePath beside solutions by HiGHS, by R's quantreg and rqPen, and prox_linf beside cvxpy."""

import numpy as np
import pytest
from scipy.optimize import minimize

from edgenet.errors import ConfigError, ShapeError
from edgenet.estimators import QuantilePath, prox_linf

from estimators.quantile_program import loss, radius  # isort: skip

NAMES = ["median_n50p12", "hetero_tau50", "p_gt_n", "degenerate_integer"]


@pytest.fixture(params=NAMES)
def fitted(request, oracle_root):
    data = np.load(oracle_root / "estimators" / f"qr_l1inf_{request.param}.npz")
    path = QuantilePath(
        float(data["tau"]), data["groups"], group_weights=data["weights"], fit_intercept=bool(data["intercept"])
    )
    return path.fit(data["X"], data["y"]), data, request.param != "degenerate_integer"


def test_solutions_at_penalties(fitted):
    path, data, unique = fitted
    x, y, groups, weight = data["X"], data["y"], data["groups"], data["weights"]
    # where ties let the zero model stay optimal below it, the oracle's is only a bound
    assert path.path_lambda_[0] <= data["lam_max"] * (1 + 1e-10)
    assert not unique or path.path_lambda_[0] == pytest.approx(data["lam_max"], rel=1e-10)
    for penalty, coef, intercept, wanted in zip(
        data["lams"], path.coef(data["lams"]), path.intercept(data["lams"]), data["lp_obj"], strict=True
    ):
        got = loss(y - intercept - x @ coef, path.tau) + penalty * radius(coef, groups, weight)
        assert got == pytest.approx(wanted, rel=1e-9)
    if unique:
        np.testing.assert_allclose(path.coef(data["lams"]), data["lp_beta"], rtol=0, atol=1e-9)
        np.testing.assert_allclose(path.intercept(data["lams"]), data["lp_b0"], rtol=0, atol=1e-9)


def test_solutions_at_radii(fitted):
    path, data, unique = fitted
    residual = data["y"][:, None] - path.predict(data["X"], t=data["ts"])
    for got, wanted in zip(residual.T, data["lp_t_loss"], strict=True):
        assert loss(got, path.tau) == pytest.approx(wanted, rel=1e-9)
    if unique:
        np.testing.assert_allclose(path.coef(t=data["ts"]), data["lp_t_beta"], rtol=0, atol=1e-9)


def test_vertices(fitted):
    path, data, unique = fitted
    if not unique or path.tau * len(data["y"]) % 1 == 0:
        return  # other vertices are as good: the loss is that of the program, see above
    np.testing.assert_allclose(path.path_t_, data["path_t"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(path.path_coef_, data["path_beta"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(path.path_lambda_[:-1], data["path_lam"][1:], rtol=1e-8)  # there of the piece before
    np.testing.assert_array_equal((path.path_radius_ > 0).sum(1)[1:], data["path_nA"][1:])
    np.testing.assert_array_equal(path.path_elbow_, data["path_nE"])


def test_groups_of_one_are_the_l1_penalty_of_quantreg_and_rqpen(oracle_root):
    data = np.load(oracle_root / "estimators" / "qr_l1_quantreg.npz")
    x, y = data["X"], data["y"]
    for (tau, penalty, _, quantreg, rqpen), other in zip(data["rows"], data["coef_rqPen"], strict=True):
        path = QuantilePath(tau, penalty=penalty).fit(x, y)
        got = loss(y - path.predict(x), tau) + penalty * np.abs(path.coef_).sum()
        assert got == pytest.approx(rqpen, rel=1e-9) and got == pytest.approx(quantreg, rel=1e-8)
        again = loss(y - other[0] - x @ other[1:], tau) + penalty * np.abs(other[1:]).sum()
        assert got == pytest.approx(again, rel=1e-9)


# --- the proximal map -------------------------------------------------------------------------------------------------
def test_prox_beside_cvxpy(oracle_root):
    data = np.load(oracle_root / "estimators" / "prox_linf.npz")
    for k in range(6):
        np.testing.assert_allclose(prox_linf(data[f"v{k}"], data[f"lam{k}"]), data[f"x{k}"], atol=1e-7)


@pytest.mark.parametrize("penalty", [0.0, 0.3, 1.7, 50.0])
def test_prox_is_the_minimum_and_takes_penalty_off(penalty):
    v = np.random.default_rng(0).standard_normal((5, 7))
    x = prox_linf(v, penalty)
    np.testing.assert_allclose(np.abs(v - x).sum(1), np.minimum(penalty, np.abs(v).sum(1)), atol=1e-12)
    objective = lambda u, v: ((u - v) ** 2).sum() / 2 + penalty * np.abs(u).max()  # noqa: E731
    for row, got in zip(v, x, strict=True):
        near = minimize(objective, got, (row,), method="Nelder-Mead", options={"maxfev": 2000})
        assert objective(got, row) <= near.fun + 1e-12
    np.testing.assert_array_equal(x[1], prox_linf(v[1], penalty))  # row by row


def test_prox_with_a_penalty_for_each_group():
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
def test_prox_refuses_what_makes_no_sense(v, penalty, error, says):
    with pytest.raises(error, match=says):
        prox_linf(v, penalty)
