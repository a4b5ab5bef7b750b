"""Which penalty of a quantile path to take: by the criterion of Schwarz, or by held-out folds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from edgenet.errors import ConfigError
from edgenet.estimators.quantile_levels import LevelPath, Problem, follow


def losses(path: LevelPath, x: np.ndarray, y: np.ndarray, weight: np.ndarray, taus: Sequence[float]) -> np.ndarray:
    """(V, T) sums over observations of v_i rho_k(r_i), at every vertex and level."""
    sums = np.empty((len(path.t), len(taus)))
    for k, tau in enumerate(taus):
        residual = y[:, None] - x @ path.coef[:, k].T - path.intercept[:, k]
        sums[:, k] = weight @ np.maximum(tau * residual, (tau - 1.0) * residual)
    return sums


def schwarz(path: LevelPath, x: np.ndarray, y: np.ndarray, weight: np.ndarray, taus: Sequence[float]) -> float:
    """A penalty whose solution has the least sum over levels of log(mean loss), plus log(n) / (2 n) * elbow.

    n is the sum of the weights. Solutions that fit more than half of the observations exactly are not asked.

    Raises:
        ConfigError: if weights sum to less than 2.
    """
    n = weight.sum()
    if n < 2 <= len(y):
        raise ConfigError(
            f"sample_weight sums to {n:.3g}, which the criterion of Schwarz takes for the number of observations: "
            f"let the weights have mean 1, or give a penalty or cv."
        )
    # vertices between pieces with one lambda are solutions there only
    k = np.flatnonzero(np.diff(path.lambda_, prepend=np.inf) < 0)
    k = k[(path.elbow[k] <= n * len(taus) / 2) | (k == 0)]
    some = LevelPath(path.t[k], path.lambda_[k], path.intercept[k], path.coef[k], path.elbow[k], [])
    loss = losses(some, x, y, weight, taus) / n
    if not loss.any():
        return _inside(path, int(k[0]))
    with np.errstate(divide="ignore"):
        criterion = np.log(loss).sum(1) + np.log(n) / (2 * n) * some.elbow
    return _inside(path, int(k[np.argmin(criterion)]))


def _inside(path: LevelPath, k: int) -> float:
    """A penalty for which vertex k is the solution."""
    return float(path.lambda_[0] if k == 0 else (path.lambda_[k] + path.lambda_[k - 1]) / 2)


def cross_validate(
    problem: Problem,
    path: LevelPath,
    x: np.ndarray,
    y: np.ndarray,
    weight: np.ndarray,
    folds: Iterable[tuple[np.ndarray, np.ndarray]],
) -> tuple[float, np.ndarray, np.ndarray]:
    """The middle of the penalties with the least mean loss on held-out folds.

    Penalties are taken relative to the sum of the weights, as the loss is a sum.

    Args:
        path: of all observations.
        folds: (fitted, held) observations of each.

    Returns:
        The penalty; (m,) falling penalties, and the (m,) mean loss from each of them up to the one before.

    Raises:
        ConfigError: if a fold fits or holds out no weight.
    """
    steps, total = [], weight.sum()
    for number, (fitted, held) in enumerate(folds):
        share, out = weight[fitted].sum(), weight[held].sum()
        if not share or not out:
            raise ConfigError(f"fold {number} {'holds out' if share else 'fits'} observations of weight 0 only.")
        part = follow(problem, x[fitted], y[fitted], weight[fitted])
        loss = losses(part, x[held], y[held], weight[held], problem.taus).sum(1)
        steps.append((part.lambda_ * (total / share), loss, out))
    end = max(path.lambda_[-1], *(lambdas[-1] for lambdas, _, _ in steps))
    lambdas = np.unique(np.concatenate([end, *(some for some, _, _ in steps)], axis=None))[::-1]
    lambdas = lambdas[lambdas >= end]
    held_out = sum(out for _, _, out in steps)
    loss = np.sum([loss[np.searchsorted(-some, -lambdas)] for some, loss, _ in steps], axis=0) / held_out
    best = int(np.argmin(loss))
    if best == 0:
        return float(max(lambdas[0], path.lambda_[0])), lambdas, loss
    return float((lambdas[best] + lambdas[best - 1]) / 2), lambdas, loss
