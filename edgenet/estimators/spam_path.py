"""The solutions of a sparse additive model at falling penalties, and the numbers that choose among them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from edgenet.estimators.backfitting import Fit, backfit, largest_penalty
from edgenet.estimators.losses import Loss
from edgenet.estimators.smoother import Smoother


@dataclass(frozen=True)
class SpAMPath:
    """The solutions at falling penalties, each begun from the one before.

    Attributes:
        penalties: (m,), falling.
        fits: m solutions.
        df: (m,) degrees of freedom: the sum of tr S_j over the functions that are not zero; C - 1 times it, of C > 2
            classes.
        deviance: (m,) twice the mean training loss: the squared error in regression.

    Example:
        >>> import numpy as np
        >>> X = np.random.default_rng(0).uniform(-2, 2, (100, 5))
        >>> model = edgenet.estimators.SpAM().fit(X, X[:, 1] ** 2)
        >>> model.path_.supports[0]  # nothing at the largest penalty
        []
    """

    penalties: np.ndarray
    fits: list[Fit]
    df: np.ndarray
    deviance: np.ndarray

    @property
    def supports(self) -> list[list[int]]:
        """The functions that are not zero, at every penalty."""
        return [fit.support for fit in self.fits]

    def norms(self, p: int) -> np.ndarray:
        """(m, p) empirical norms of the functions."""
        norms = np.zeros((len(self.fits), p))
        for row, fit in zip(norms, self.fits, strict=True):
            for j, size in fit.norms().items():
                row[j] = size
        return norms


def falling(
    smoother: Smoother, y: np.ndarray, penalties: int | Sequence[float], min_ratio: float, last: float | None
) -> np.ndarray:
    """Falling penalties from the smallest that leaves no function.

    Args:
        penalties: how many, or which.
        min_ratio: the smallest by the largest, where they are not given.
        last: the end, in place of all that are smaller; None for none.
    """
    if not isinstance(penalties, int | np.integer):
        grid = np.asarray(penalties, dtype=float)
    else:
        top = largest_penalty(smoother, y)
        grid = top * np.geomspace(1, min_ratio, penalties) if top > 0 else np.zeros(1)
    return grid if last is None else np.append(grid[grid > last], float(last))


def follow(
    smoother: Smoother,
    y: np.ndarray,
    loss: type[Loss],
    penalties: np.ndarray,
    among: Sequence[int] | None,
    tol: float,
    max_iter: int,
    ends: bool = False,
) -> SpAMPath:
    """The fits at falling penalties.

    Args:
        among: functions that may be other than zero.
        tol, max_iter: of ``backfit``.
        ends: whether it ends where the functions have 0.8 n degrees of freedom, or leave next to no deviance.
    """
    fits: list[Fit] = []
    df: list[float] = []
    deviance: list[float] = []
    for penalty in penalties:
        fits.append(backfit(smoother, y, loss, penalty, fits[-1] if fits else None, among, tol, max_iter))
        df.append(smoother.df[fits[-1].support].sum() * (len(y) - 1 if y.ndim > 1 else 1))
        deviance.append(2 * loss.value(y, fits[-1].total, smoother.weight))
        if ends and (df[-1] > 0.8 * smoother.count or deviance[-1] < 1e-3 * deviance[0]):
            break
    return SpAMPath(penalties[: len(fits)], fits, np.array(df), np.array(deviance))


def criteria(path: SpAMPath, n: float, classifies: bool) -> dict[str, np.ndarray]:
    """(m,) numbers "gcv" and "cp" of a path of n points, as ``SpAM`` describes them; the smallest is best."""
    left = np.maximum(1 - path.df / n, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        gcv = np.where(left > 0, path.deviance / left**2, np.inf)
        best = int(np.argmin(gcv))
        variance = 1.0 if classifies else path.deviance[best] / left[best]
    return {"gcv": gcv, "cp": path.deviance + 2 * variance * path.df / n}


def held_out(
    x: np.ndarray,
    y: np.ndarray,
    weight: np.ndarray | None,
    loss: type[Loss],
    penalties: np.ndarray,
    smooth: Callable[[np.ndarray, np.ndarray | None], Smoother],
    folds: Iterable[tuple[np.ndarray, np.ndarray]],
    among: Sequence[int],
    tol: float,
    max_iter: int,
) -> np.ndarray:
    """(m,) deviance on folds that took no part in the fit, bases and knots included.

    Args:
        weight: (n,) of the points; None for equal ones.
        smooth: makes the smoother of some points and their weights.
        folds: (fitted, held) indices of each.
    """
    deviance = np.zeros(len(penalties))
    all_weights = np.ones(len(x)) if weight is None else weight
    for fitted, held in folds:
        smoother = smooth(x[fitted], None if weight is None else weight[fitted])
        path = follow(smoother, y[..., fitted], loss, penalties, among, tol, max_iter)
        own, share = all_weights[held] / all_weights[held].mean(), all_weights[held].sum() / all_weights.sum()
        for i, fit in enumerate(path.fits):
            deviance[i] += 2 * loss.value(y[..., held], predict(smoother, fit, x[held]), own) * share
    return deviance


def predict(smoother: Smoother, fit: Fit, x: np.ndarray) -> np.ndarray:
    """(m,) or (C, m) values of an additive predictor at (m, p) points."""
    total = np.zeros((*np.shape(fit.intercept), len(x))) + np.asarray(fit.intercept)[..., None]
    for j, c in fit.coefficients.items():
        total += smoother.evaluate(j, c, x[:, j])
    return total
