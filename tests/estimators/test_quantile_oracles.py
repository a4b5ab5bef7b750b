"""QuantilePath beside solutions by HiGHS, and by R's quantreg and rqPen."""

import numpy as np
import pytest
from stored import oracle

from edgenet.estimators import QuantilePath

from estimators.quantile_program import loss, radius  # isort: skip


@pytest.fixture
def fitted(stored):
    data = np.load(stored)
    path = QuantilePath(
        float(data["tau"]), data["groups"], group_weights=data["weights"], fit_intercept=bool(data["intercept"])
    )
    return path.fit(data["X"], data["y"]), data, "degenerate" not in stored.stem


@oracle("estimators/qr_l1inf_*.npz")
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


@oracle("estimators/qr_l1inf_*.npz")
def test_solutions_at_radii(fitted):
    path, data, unique = fitted
    residual = data["y"][:, None] - path.predict(data["X"], t=data["ts"])
    for got, wanted in zip(residual.T, data["lp_t_loss"], strict=True):
        assert loss(got, path.tau) == pytest.approx(wanted, rel=1e-9)
    if unique:
        np.testing.assert_allclose(path.coef(t=data["ts"]), data["lp_t_beta"], rtol=0, atol=1e-9)


@oracle("estimators/qr_l1inf_*.npz")
def test_vertices(fitted):
    path, data, unique = fitted
    if not unique or path.tau * len(data["y"]) % 1 == 0:
        return  # other vertices are as good: the loss is that of the program, see above
    np.testing.assert_allclose(path.path_t_, data["path_t"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(path.path_coef_, data["path_beta"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(path.path_lambda_[:-1], data["path_lam"][1:], rtol=1e-8)  # there of the piece before
    np.testing.assert_array_equal((path.path_radius_ > 0).sum(1)[1:], data["path_nA"][1:])
    np.testing.assert_array_equal(path.path_elbow_, data["path_nE"])


@oracle("estimators/qr_l1_quantreg*.npz")
def test_groups_of_one_are_the_l1_penalty_of_quantreg_and_rqpen(stored):
    data = np.load(stored)
    x, y = data["X"], data["y"]
    for (tau, penalty, _, quantreg, rqpen), other in zip(data["rows"], data["coef_rqPen"], strict=True):
        path = QuantilePath(tau, penalty=penalty).fit(x, y)
        got = loss(y - path.predict(x), tau) + penalty * np.abs(path.coef_).sum()
        assert got == pytest.approx(rqpen, rel=1e-9) and got == pytest.approx(quantreg, rel=1e-8)
        again = loss(y - other[0] - x @ other[1:], tau) + penalty * np.abs(other[1:]).sum()
        assert got == pytest.approx(again, rel=1e-9)
