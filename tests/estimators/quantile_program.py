"""The linear program that one penalty or one radius stands for, solved by HiGHS, and data on which it is awkward."""

import numpy as np
import scipy.sparse as sp
from scipy.optimize import linprog


def loss(residual, tau):
    return np.maximum(tau * residual, (tau - 1) * residual).sum()


def radius(coef, groups, weight):
    """t = sum_g w_g max |b_j|; ``groups`` (p,) numbers."""
    return sum(w * np.abs(coef[groups == g]).max() for g, w in enumerate(weight))


def least(x, y, tau, groups, weight, *, penalty=None, t=None, intercept=True):
    """The least loss + penalty * radius, or the least loss with the radius at most ``t``."""
    n, p = x.shape
    # tolerances of HiGHS are absolute: solve the same problem in other units
    if intercept:
        x, y = x - np.median(x, axis=0), y - np.median(y)
    x_unit, y_unit = np.abs(x).mean() or 1.0, np.abs(y).mean() or 1.0
    x, y = x / x_unit, y / y_unit
    penalty, t = penalty and penalty / x_unit, t and t * x_unit / y_unit
    num_groups, k = len(weight), int(intercept)
    # b0, b, m, positive and negative parts of the residuals
    fits = sp.hstack([np.ones((n, k)), x, sp.csr_matrix((n, num_groups)), sp.identity(n), -sp.identity(n)])
    owner = sp.csr_matrix((np.ones(p), (np.arange(p), groups)), shape=(p, num_groups))
    none = sp.csr_matrix((p, k)), sp.csr_matrix((p, 2 * n))
    within = sp.vstack([sp.hstack([none[0], s * sp.identity(p), -owner, none[1]]) for s in (1, -1)])
    limits = np.zeros(2 * p)
    if t is not None:
        within = sp.vstack([within, sp.csr_matrix(np.concatenate([np.zeros(k + p), weight, np.zeros(2 * n)]))])
        limits = np.append(limits, t)
    result = linprog(
        np.concatenate([np.zeros(k + p), (penalty or 0) * weight, np.full(n, tau), np.full(n, 1 - tau)]),
        A_ub=within.tocsr(),
        b_ub=limits,
        A_eq=fits.tocsr(),
        b_eq=y,
        bounds=[(None, None)] * (k + p) + [(0, None)] * (num_groups + 2 * n),
        method="highs",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    assert result.status == 0, result.message
    return result.fun * y_unit


def _whole(rng, n, p):
    return rng.integers(-2, 3, (n, p)).astype(float), rng.integers(-3, 4, n).astype(float)


def _random(rng, n, p):
    x = rng.standard_normal((n, p))
    return x, x[:, 0] + rng.standard_normal(n)


def _changed(change):
    def make(rng, n, p):
        return change(rng, *_random(rng, n, p))

    return make


KINDS = {
    "random": _random,
    "collinear": _changed(
        lambda rng, x, y: (x[:, : len(x.T) // 3 + 1] @ rng.standard_normal((len(x.T) // 3 + 1, len(x.T))), y)
    ),
    "tied": _changed(lambda rng, x, y: (x, np.round(y))),
    "one value": _changed(lambda rng, x, y: (x, np.full_like(y, 3.0))),
    "heavy tails": _changed(lambda rng, x, y: (x, y + rng.standard_cauchy(len(y)) ** 3)),
    "heavy columns": _changed(lambda rng, x, y: (rng.standard_cauchy(x.shape), y)),
    "whole numbers": _whole,
    "zeros and ones": lambda rng, n, p: (rng.integers(0, 2, (n, p)) * 1.0, rng.integers(0, 2, n) * 1.0),
    "few ones": lambda rng, n, p: _few_ones((rng.random((n, p)) < 0.2) * 1.0, rng.random(n) < 0.1),
    "repeated columns": _changed(lambda rng, x, y: (x[:, rng.integers(0, len(x.T) // 2 + 1, len(x.T))], y)),
    "repeated rows": _changed(lambda rng, x, y: _rows(x, y, rng.integers(0, len(x) // 2 + 1, len(x)))),
    "repeated whole rows and columns": lambda rng, n, p: _rows(
        *_whole(rng, n, p), rng.integers(0, n // 2 + 1, n), rng.integers(0, p // 2 + 1, p)
    ),
    "large and small units": _changed(lambda rng, x, y: (1e6 * x + 1e7, 1e-5 * y + 1e-3)),
}


def _few_ones(x, more):
    return x, x[:, 0] + more


def _rows(x, y, rows, columns=slice(None)):
    return x[rows][:, columns], y[rows]
