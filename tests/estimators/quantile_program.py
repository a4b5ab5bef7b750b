"""The linear program that one penalty or one radius stands for, and data on which it is awkward."""

import numpy as np

from edgenet.bench.results.quantile_program import least, loss, radius

__all__ = ["KINDS", "least", "loss", "radius"]


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
