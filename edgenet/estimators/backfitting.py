"""Sparse backfitting: one function after the other is smoothed towards the residual and soft-thresholded as a whole."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from sklearn.exceptions import ConvergenceWarning

from edgenet.estimators.losses import Loss, mean
from edgenet.estimators.smoother import Smoother, SplineSmoother

_NEWTON = 2000  # coefficients up to which the second derivatives are built


@dataclass
class Fit:
    """An additive predictor F = intercept + sum_j f_j.

    Attributes:
        intercept: a number; of C classes (C,).
        coefficients: of each function that is not zero, by its number; what they mean is the smoother's.
        values: (n,) or (C, n) values of the same functions at the data.
        total: (n,) or (C, n) F at the data.
        sweeps: rounds over the functions that it took.
        weight: (n,) of the data, with mean 1; None for equal ones.
    """

    intercept: Any
    total: np.ndarray
    coefficients: dict[int, np.ndarray] = field(default_factory=dict)
    values: dict[int, np.ndarray] = field(default_factory=dict)
    sweeps: int = 0
    weight: np.ndarray | None = None

    @property
    def support(self) -> list[int]:
        """The functions that are not zero, in order."""
        return sorted(self.coefficients)

    def norms(self) -> dict[int, float]:
        """Empirical norms sqrt(mean f_j^2), over all classes together."""
        return {j: _norm(f, self.weight) for j, f in self.values.items()}

    def copy(self) -> Fit:
        return replace(self, total=self.total.copy(), coefficients=dict(self.coefficients), values=dict(self.values))

    def _retotal(self) -> None:
        self.total = np.zeros_like(self.total) + _along(self.intercept) + sum(self.values.values())


def _along(constant: Any) -> Any:
    """A constant, of each class, to be added at all points."""
    return constant[:, None] if isinstance(constant, np.ndarray) else constant


def null(y: np.ndarray, loss: type[Loss], weight: np.ndarray | None = None) -> Fit:
    """The best constant."""
    intercept = loss.intercept(y, weight)
    return Fit(intercept, np.zeros(y.shape) + _along(intercept), weight=weight)


def largest_penalty(smoother: Smoother, y: np.ndarray) -> float:
    """The penalty from which on all functions are zero: max_j ||S_j (y - mean y)||."""
    return float(smoother.norms(y - _along(mean(y, smoother.weight))).max())


def backfit(
    smoother: Smoother,
    y: np.ndarray,
    loss: type[Loss],
    penalty: float,
    start: Fit | None = None,
    among: Sequence[int] | None = None,
    tolerance: float = 1e-6,
    max_sweeps: int = 2000,
) -> Fit:
    """Minimise

    mean_i loss(y_i, a + sum_j f_j(x_ij)) + penalty * sum_j ||f_j||,   ||f||^2 = mean_i f(x_ij)^2,

    (of C classes, ||f||^2 = mean_i sum_c f_c(x_i)^2, so that a function is zero for all classes or for none) by
    f_j <- (1 - penalty / (L ||P||))_+ P with P = S_j (f_j + r / L), where r is minus the derivative of the loss and L
    bounds its second derivative: 1 for squares, where this is Ravikumar et al. 2009, fig. 1; 1/4 for the logistic and
    1/2 for the multinomial loss, where it is local scoring with the largest weights the loss can have, each round of
    which lowers the objective. Means are weighted where the smoother has weights. Sweeps run over the functions that
    are not zero; all others are then looked at, and join where ||S_j r|| > penalty. Between two sweeps of projections,
    Newton's method is tried on the functions that are not zero, which is local scoring with its own weights, and kept
    where it lowers the objective.

    Args:
        smoother: p smoothers at the n points.
        y: (n,) response, or class in {0, 1}; or (C, n) indicators of classes.
        penalty: at least 0.
        start: where to begin; the best constant by default.
        among: the functions that may be other than zero; all by default.
        tolerance: the sweep that moves no function by more than this share of ``largest_penalty`` / L is the last.
        max_sweeps: after which a ConvergenceWarning is given.

    Returns:
        The minimum for projections; the fixed point of the iteration for others.
    """
    fit = null(y, loss, smoother.weight) if start is None else start.copy()
    fit.sweeps = 0
    scale = max(tolerance * largest_penalty(smoother, y), 1e-14 * float(np.abs(y).max()))  # no finer than rounding
    allowed = np.zeros(len(smoother.df), dtype=bool)
    allowed[slice(None) if among is None else among] = True
    newton = _Newton(smoother, y, loss, penalty) if isinstance(smoother, SplineSmoother) else None
    while True:
        r = loss.residual(y, fit.total)
        zero = allowed.copy()
        zero[fit.support] = False
        joining = np.flatnonzero(zero & (smoother.norms(r) > penalty + scale)).tolist()
        working = sorted({*fit.support, *joining})
        if fit.sweeps and not joining:
            return fit
        while True:
            moved = _sweep(smoother, y, loss, penalty, fit, working)
            fit.sweeps += 1
            if moved <= scale:
                break
            if fit.sweeps >= max_sweeps:
                warnings.warn(
                    f"sparse backfitting with penalty {penalty:.3g} still moved by {moved / scale:.2g} times the "
                    f"tolerance after {max_sweeps} sweeps; raise max_iter, tol or the penalty.",
                    ConvergenceWarning,
                    stacklevel=2,
                )
                return fit
            if newton is not None:
                newton.step(fit)


def _sweep(smoother: Smoother, y: np.ndarray, loss: type[Loss], penalty: float, fit: Fit, blocks: list[int]) -> float:
    """Update some functions once, in turn, and the intercept; the largest move, times L."""
    length, moved = 1 / loss.bound, 0.0
    for j in blocks:
        r = loss.residual(y, fit.total)
        f = fit.values.get(j)
        z, p = smoother.partial(j, fit.coefficients.get(j), f, r * length)
        size = _norm(p, smoother.weight)
        if size <= penalty * length:
            if f is None:
                continue
            change = -f
            del fit.coefficients[j], fit.values[j]
        else:
            shrink = 1 - penalty * length / size
            fit.coefficients[j], fit.values[j] = shrink * z, shrink * p
            change = fit.values[j] if f is None else fit.values[j] - f
        fit.total += change
        moved = max(moved, _norm(change, smoother.weight) * loss.bound)
    step = mean(loss.residual(y, fit.total), smoother.weight)
    fit.intercept = fit.intercept + step * length
    fit.total += _along(step * length)
    return max(moved, float(np.abs(step).max()))


class _Newton:
    """Newton's method on the coefficients of the functions that are not zero, where the objective is smooth."""

    def __init__(self, smoother: SplineSmoother, y: np.ndarray, loss: type[Loss], penalty: float) -> None:
        self.smoother, self.y, self.loss, self.penalty = smoother, y, loss, penalty
        self.classes = y.size // y.shape[-1]
        self._support: list[int] = []
        self._rows, self._weighted, self._gram = np.empty((0, 0)), np.empty((0, 0)), np.empty((0, 0))

    def step(self, fit: Fit) -> None:
        """One step with halving, unless it does not lower the objective."""
        support, n, classes = fit.support, self.y.shape[-1], self.classes
        v = self.smoother.design.shape[1]
        if not support or classes * len(support) * v > _NEWTON:
            return
        curvature = self.loss.curvature(fit.total)
        if support != self._support:
            self._read(support, curvature is None)
        c = np.stack([fit.coefficients[j] for j in support]).reshape(-1, classes, v)
        length = np.linalg.norm(c.reshape(-1, classes * v), axis=1)[:, None, None]
        unit = c / length
        gradient = -(self._weighted @ self.loss.residual(self.y, fit.total).T).T.reshape(classes, -1) / n
        gradient[:, 1:] += self.penalty * unit.transpose(1, 0, 2).reshape(classes, -1)
        hessian = self._hessian(curvature)
        flat = unit.reshape(-1, classes * v)
        own = self.penalty / length * (np.eye(classes * v) - flat[:, :, None] * flat[:, None, :])
        for i, block in enumerate(own.reshape(-1, classes, v, classes, v)):
            at = slice(1 + i * v, 1 + (i + 1) * v)
            hessian[:, at, :, at] += block
        hessian = hessian.reshape(gradient.size, gradient.size)
        hessian.flat[:: len(hessian) + 1] += 1e-12 * np.trace(hessian)  # collinear functions
        try:
            solved = cho_solve(cho_factor(hessian, overwrite_a=True), gradient.ravel())
        except LinAlgError:
            return
        direction = -solved.reshape(classes, -1)
        if classes > 1:  # what is added to all classes changes nothing
            direction -= direction.mean(0)
        slope, before = float((gradient * direction).sum()), self._objective(fit.total, length)
        shift = (direction @ self._rows).reshape(fit.total.shape)
        turn = direction[:, 1:].reshape(classes, -1, v).transpose(1, 0, 2)
        for halving in range(8):
            t = 0.5**halving
            moved = c + t * turn
            after = self._objective(fit.total + t * shift, np.linalg.norm(moved.reshape(len(c), -1), axis=1))
            if after <= before + 1e-4 * t * slope:
                fit.intercept = fit.intercept + t * direction[:, 0].reshape(np.shape(fit.intercept))
                for j, new in zip(support, moved, strict=True):
                    fit.coefficients[j] = new.reshape(fit.coefficients[j].shape)
                    fit.values[j] = self.smoother.values(j, fit.coefficients[j])
                fit._retotal()
                return

    def _read(self, support: list[int], flat: bool) -> None:
        """The rows of ones and of the functions' bases; their products too, where the loss has second derivatives 1."""
        n = self.y.shape[-1]
        self._support, weight = support, self.smoother.weight
        self._rows = np.vstack([np.ones(n), self.smoother.design[support].reshape(-1, n)])
        self._weighted = self._rows if weight is None else self._rows * weight
        if flat:
            self._gram = self._weighted @ self._rows.T / n

    def _hessian(self, curvature: np.ndarray | None) -> np.ndarray:
        """(C, m, C, m) second derivatives of the mean loss by the intercept and coefficients of every class."""
        m, n = self._rows.shape
        if curvature is None:
            return self._gram[None, :, None].copy()
        if self.classes == 1:
            return ((self._weighted * curvature) @ self._rows.T / n)[None, :, None]
        hessian = np.empty((self.classes, m, self.classes, m))
        for a, row in enumerate(curvature.reshape(self.classes, self.classes, n)):
            for b in range(a + 1):
                hessian[a, :, b] = (self._weighted * row[b]) @ self._rows.T / n
                hessian[b, :, a] = hessian[a, :, b]
        return hessian

    def _objective(self, total: np.ndarray, lengths: np.ndarray) -> float:
        return self.loss.value(self.y, total, self.smoother.weight) + self.penalty * float(lengths.sum())


def _norm(f: np.ndarray, weight: np.ndarray | None) -> float:
    n = f.shape[-1]
    if weight is not None:
        return math.sqrt(np.sum(f * f * weight) / n)
    flat = f if f.ndim == 1 else f.ravel()
    return math.sqrt(flat @ flat / n)
