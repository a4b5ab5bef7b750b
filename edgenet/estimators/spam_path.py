"""The solutions of a sparse additive model at falling penalties, and the numbers that choose among them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from edgenet.estimators.backfitting import Fit, Loss, backfit, largest_penalty
from edgenet.estimators.smoother import Smoother


@dataclass(frozen=True)
class SpAMPath:
    """The solutions at falling penalties, each begun from the one before.

    Attributes:
        penalties: (m,), falling.
        fits: m solutions.
        df: (m,) degrees of freedom: the sum of tr S_j over the functions that are not zero.
        deviance: (m,) twice the mean training loss: the squared error in regression.
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
    loss: Loss,
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
        df.append(smoother.df[fits[-1].support].sum())
        deviance.append(2 * loss.value(y, fits[-1].total))
        if ends and (df[-1] > 0.8 * len(y) or deviance[-1] < 1e-3 * deviance[0]):
            break
    return SpAMPath(penalties[: len(fits)], fits, np.array(df), np.array(deviance))


def criteria(path: SpAMPath, n: int, classifies: bool) -> dict[str, np.ndarray]:
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
    loss: Loss,
    penalties: np.ndarray,
    smooth: Callable[[np.ndarray], Smoother],
    folds: Iterable[tuple[np.ndarray, np.ndarray]],
    among: Sequence[int],
    tol: float,
    max_iter: int,
) -> np.ndarray:
    """(m,) deviance on folds that took no part in the fit, bases and knots included.

    Args:
        smooth: makes the smoother of some points.
        folds: (fitted, held) indices of each.
    """
    deviance = np.zeros(len(penalties))
    for fitted, held in folds:
        smoother = smooth(x[fitted])
        path = follow(smoother, y[fitted], loss, penalties, among, tol, max_iter)
        for i, fit in enumerate(path.fits):
            total = predict(smoother, fit, x[held])
            deviance[i] += 2 * loss.value(y[held], total) * len(held) / len(y)
    return deviance


def predict(smoother: Smoother, fit: Fit, x: np.ndarray) -> np.ndarray:
    """(m,) values of an additive predictor at (m, p) points."""
    total = np.full(len(x), fit.intercept)
    for j, c in fit.coefficients.items():
        total += smoother.evaluate(j, c, x[:, j])
    return total
