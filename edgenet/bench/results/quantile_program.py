"""Quantile regression with an l1,inf penalty as a linear program, for HiGHS: what ``QuantilePath`` is compared with."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.optimize import linprog

from edgenet.errors import ConfigError

_TOLERANCES = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}
Program = dict[str, Any]  # arguments of ``linprog``


def loss(residual: np.ndarray, tau: float) -> float:
    """The sum over observations of max(tau r, (tau - 1) r)."""
    return float(np.maximum(tau * residual, (tau - 1) * residual).sum())


def radius(coef: np.ndarray, groups: np.ndarray, weight: np.ndarray) -> float:
    """t = sum_g w_g max |b_j|; ``groups`` (p,) numbers."""
    return float(sum(w * np.abs(coef[groups == g]).max() for g, w in enumerate(weight)))


def primal(
    x: np.ndarray,
    y: np.ndarray,
    tau: float,
    groups: np.ndarray,
    weight: np.ndarray,
    *,
    penalty: float | None = None,
    t: float | None = None,
    intercept: bool = True,
) -> Program:
    """The program in b0, b, the groups' radii, and the positive and negative parts of the residuals:

    minimise loss + penalty * radius, or the loss with the radius at most ``t``. Units are those of the data.
    """
    n, p = x.shape
    num_groups, k = len(weight), int(intercept)
    fits = sp.hstack([np.ones((n, k)), x, sp.csr_matrix((n, num_groups)), sp.identity(n), -sp.identity(n)])
    owner = sp.csr_matrix((np.ones(p), (np.arange(p), groups)), shape=(p, num_groups))
    none = sp.csr_matrix((p, k)), sp.csr_matrix((p, 2 * n))
    within = sp.vstack([sp.hstack([none[0], s * sp.identity(p), -owner, none[1]]) for s in (1, -1)])
    limits = np.zeros(2 * p)
    if t is not None:
        within = sp.vstack([within, sp.csr_matrix(np.concatenate([np.zeros(k + p), weight, np.zeros(2 * n)]))])
        limits = np.append(limits, t)
    return {
        "c": np.concatenate([np.zeros(k + p), (penalty or 0) * weight, np.full(n, tau), np.full(n, 1 - tau)]),
        "A_ub": within.tocsr(),
        "b_ub": limits,
        "A_eq": fits.tocsr(),
        "b_eq": y,
        "bounds": [(None, None)] * (k + p) + [(0, None)] * (num_groups + 2 * n),
    }


def dual(
    x: np.ndarray, y: np.ndarray, tau: float, groups: np.ndarray, weight: np.ndarray, *, penalty: float
) -> Program:
    """The program of the multipliers theta, (n,) in [tau - 1, tau], with an intercept: its least value is minus the
    least loss + penalty * radius.

    maximise y'theta  with  sum theta = 0,  sum_{j in g} |x_j'theta| <= penalty * w_g  for every group g.

    The magnitudes take 2 p more variables. It has p + 1 + G rows, where the primal has n + 2 p.
    """
    n, p = x.shape
    zero = sp.csr_matrix(np.concatenate([np.ones(n), np.zeros(2 * p)]))
    parts = sp.hstack([sp.csr_matrix(x.T), -sp.identity(p), sp.identity(p)])
    owner = sp.csr_matrix((np.ones(p), (groups, np.arange(p))), shape=(len(weight), p))
    return {
        "c": np.concatenate([-y, np.zeros(2 * p)]),
        "A_ub": sp.hstack([sp.csr_matrix((len(weight), n)), owner, owner]).tocsr(),
        "b_ub": penalty * weight,
        "A_eq": sp.vstack([parts, zero]).tocsr(),
        "b_eq": np.zeros(p + 1),
        "bounds": [(tau - 1, tau)] * n + [(0, None)] * (2 * p),
    }


def solve(program: Program) -> float:
    """The least value, by HiGHS with tolerances of 1e-10.

    Raises:
        ConfigError: if HiGHS does not find it.
    """
    result = linprog(**program, method="highs", options=_TOLERANCES)
    if result.status != 0:
        raise ConfigError(f"HiGHS found no solution: {result.message} Its tolerances are absolute: scale the data.")
    return float(result.fun)


def least(
    x: np.ndarray,
    y: np.ndarray,
    tau: float,
    groups: np.ndarray,
    weight: np.ndarray,
    *,
    penalty: float | None = None,
    t: float | None = None,
    intercept: bool = True,
) -> float:
    """The least loss + penalty * radius, or the least loss with the radius at most ``t``, by ``primal``.

    Tolerances of HiGHS are absolute: the same problem is solved in units in which the data are about 1.
    """
    if intercept:
        x, y = x - np.median(x, axis=0), y - np.median(y)
    x_unit, y_unit = np.abs(x).mean() or 1.0, np.abs(y).mean() or 1.0
    penalty, t = penalty and penalty / x_unit, t and t * x_unit / y_unit
    program = primal(x / x_unit, y / y_unit, tau, groups, weight, penalty=penalty, t=t, intercept=intercept)
    return solve(program) * y_unit
