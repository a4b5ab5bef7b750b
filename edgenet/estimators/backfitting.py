"""Sparse backfitting: one function after the other is smoothed towards the residual and soft-thresholded as a whole."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from sklearn.exceptions import ConvergenceWarning

from edgenet.estimators.losses import Loss
from edgenet.estimators.smoother import Smoother, SplineSmoother

_NEWTON = 2000  # coefficients up to which the second derivatives are built


@dataclass
class Fit:
    """An additive predictor F = intercept + sum_j f_j.

    Attributes:
        coefficients: of each function that is not zero, by its number; what they mean is the smoother's.
        values: (n,) values of the same functions at the data.
        total: (n,) F at the data.
        sweeps: rounds over the functions that it took.
    """

    intercept: float
    total: np.ndarray
    coefficients: dict[int, np.ndarray] = field(default_factory=dict)
    values: dict[int, np.ndarray] = field(default_factory=dict)
    sweeps: int = 0

    @property
    def support(self) -> list[int]:
        """The functions that are not zero, in order."""
        return sorted(self.coefficients)

    def norms(self) -> dict[int, float]:
        """Empirical norms sqrt(mean f_j^2)."""
        return {j: _norm(f) for j, f in self.values.items()}

    def copy(self) -> Fit:
        return Fit(self.intercept, self.total.copy(), dict(self.coefficients), dict(self.values), self.sweeps)

    def _retotal(self) -> None:
        self.total = np.full_like(self.total, self.intercept) + sum(self.values.values())


def null(y: np.ndarray, loss: Loss) -> Fit:
    """The best constant."""
    intercept = loss.intercept(y)
    return Fit(intercept, np.full(len(y), intercept))


def largest_penalty(smoother: Smoother, y: np.ndarray) -> float:
    """The penalty from which on all functions are zero: max_j ||S_j (y - mean y)||."""
    return float(smoother.norms(y - y.mean()).max())


def backfit(
    smoother: Smoother,
    y: np.ndarray,
    loss: Loss,
    penalty: float,
    start: Fit | None = None,
    among: Sequence[int] | None = None,
    tolerance: float = 1e-6,
    max_sweeps: int = 2000,
) -> Fit:
    """Minimise

    mean_i loss(y_i, a + sum_j f_j(x_ij)) + penalty * sum_j ||f_j||,   ||f||^2 = mean_i f(x_ij)^2,

    by f_j <- (1 - penalty / (L ||P||))_+ P with P = S_j (f_j + r / L), where r is minus the derivative of the loss and
    L bounds its second derivative: 1 for squares, where this is Ravikumar et al. 2009, fig. 1; 1/4 for the logistic
    loss, where it is local scoring with the largest weights the loss can have, each round of which lowers the
    objective. Sweeps run over the functions that are not zero; all others are then looked at, and join where
    ||S_j r|| > penalty. Between two sweeps of projections, Newton's method is tried on the functions that are not zero,
    which is local scoring with its own weights, and kept where it lowers the objective.

    Args:
        smoother: p smoothers at the n points.
        y: (n,) response, or class in {0, 1}.
        penalty: at least 0.
        start: where to begin; the best constant by default.
        among: the functions that may be other than zero; all by default.
        tolerance: the sweep that moves no function by more than this share of ``largest_penalty`` / L is the last.
        max_sweeps: after which a ConvergenceWarning is given.

    Returns:
        The minimum for projections; the fixed point of the iteration for others.
    """
    fit = null(y, loss) if start is None else start.copy()
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


def _sweep(smoother: Smoother, y: np.ndarray, loss: Loss, penalty: float, fit: Fit, blocks: list[int]) -> float:
    """Update some functions once, in turn, and the intercept; the largest move, times L."""
    length, moved = 1 / loss.bound, 0.0
    for j in blocks:
        r = loss.residual(y, fit.total)
        f = fit.values.get(j)
        z, p = smoother.partial(j, fit.coefficients.get(j), f, r * length)
        size = _norm(p)
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
        moved = max(moved, _norm(change) * loss.bound)
    step = float(loss.residual(y, fit.total).mean())
    fit.intercept += step * length
    fit.total += step * length
    return max(moved, abs(step))


class _Newton:
    """Newton's method on the coefficients of the functions that are not zero, where the objective is smooth."""

    def __init__(self, smoother: SplineSmoother, y: np.ndarray, loss: Loss, penalty: float) -> None:
        self.smoother, self.y, self.loss, self.penalty = smoother, y, loss, penalty
        self._support: list[int] = []
        self._rows, self._gram = np.empty((0, 0)), np.empty((0, 0))

    def step(self, fit: Fit) -> None:
        """One step with halving, unless it does not lower the objective."""
        support, n = fit.support, len(self.y)
        v = self.smoother.design.shape[1]
        if not support or len(support) * v > _NEWTON:
            return
        weights = self.loss.curvature(fit.total)
        if support != self._support:
            rows = self.smoother.design[support].reshape(-1, n)
            self._support, self._rows = support, np.vstack([np.ones(n), rows])
            if weights is None:
                self._gram = self._rows @ self._rows.T / n
        c = np.stack([fit.coefficients[j] for j in support])
        length = np.linalg.norm(c, axis=1, keepdims=True)
        unit = c / length
        gradient = -self._rows @ self.loss.residual(self.y, fit.total) / n
        gradient[1:] += self.penalty * unit.ravel()
        hessian = self._gram.copy() if weights is None else (self._rows * weights) @ self._rows.T / n
        own = self.penalty / length[:, :, None] * (np.eye(v) - unit[:, :, None] * unit[:, None, :])
        for i, block in enumerate(own):
            at = slice(1 + i * v, 1 + (i + 1) * v)
            hessian[at, at] += block
        hessian.flat[:: len(hessian) + 1] += 1e-12 * np.trace(hessian)  # collinear functions
        try:
            direction = -cho_solve(cho_factor(hessian, overwrite_a=True), gradient)
        except LinAlgError:
            return
        slope, before = float(gradient @ direction), self._objective(fit.total, length)
        shift = direction @ self._rows
        turn = direction[1:].reshape(c.shape)
        for halving in range(8):
            t = 0.5**halving
            after = self._objective(fit.total + t * shift, np.linalg.norm(c + t * turn, axis=1))
            if after <= before + 1e-4 * t * slope:
                fit.intercept += t * direction[0]
                for j, new in zip(support, c + t * turn, strict=True):
                    fit.coefficients[j], fit.values[j] = new, self.smoother.values(j, new)
                fit._retotal()
                return

    def _objective(self, total: np.ndarray, lengths: np.ndarray) -> float:
        return self.loss.value(self.y, total) + self.penalty * float(lengths.sum())


def _norm(f: np.ndarray) -> float:
    return float(np.sqrt(f @ f / len(f)))
