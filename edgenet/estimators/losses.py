"""What an additive predictor F may lose at a point, with the derivatives that fitting takes."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from scipy.special import expit, logsumexp, softmax


class Loss(Protocol):
    """A loss of responses y at predictions F, both (n,); of C classes y are their indicators, and both are (C, n).

    Attributes:
        bound: L, which no second derivative exceeds.
    """

    bound: float

    @staticmethod
    def value(y: np.ndarray, total: np.ndarray, weight: np.ndarray | None = None) -> float:
        """The mean over the n points, with weights whose mean is 1."""

    @staticmethod
    def residual(y: np.ndarray, total: np.ndarray) -> np.ndarray:
        """Minus the derivative, of the shape of ``y``."""

    @staticmethod
    def curvature(total: np.ndarray) -> np.ndarray | None:
        """Second derivatives, (n,) or (C, C, n); None for ones."""

    @staticmethod
    def intercept(y: np.ndarray, weight: np.ndarray | None = None) -> Any:
        """The best constant F, a number or (C,)."""


def mean(values: np.ndarray, weight: np.ndarray | None) -> Any:
    """The mean over the last axis, of n points with weights whose mean is 1; None for equal ones."""
    return values.mean(-1) if weight is None else values @ weight / len(weight)


class Squared:
    """1/2 (y - F)^2 of a response y."""

    bound = 1.0

    @staticmethod
    def value(y: np.ndarray, total: np.ndarray, weight: np.ndarray | None = None) -> float:
        return float(mean((y - total) ** 2, weight) / 2)

    @staticmethod
    def residual(y: np.ndarray, total: np.ndarray) -> np.ndarray:
        return y - total

    @staticmethod
    def curvature(total: np.ndarray) -> np.ndarray | None:
        return None

    @staticmethod
    def intercept(y: np.ndarray, weight: np.ndarray | None = None) -> float:
        return float(mean(y, weight))


class Logistic:
    """log(1 + e^F) - y F of a class y in {0, 1}."""

    bound = 0.25

    @staticmethod
    def value(y: np.ndarray, total: np.ndarray, weight: np.ndarray | None = None) -> float:
        return float(mean(np.logaddexp(0, total) - y * total, weight))

    @staticmethod
    def residual(y: np.ndarray, total: np.ndarray) -> np.ndarray:
        return y - expit(total)

    @staticmethod
    def curvature(total: np.ndarray) -> np.ndarray | None:
        p = expit(total)
        return p * (1 - p)

    @staticmethod
    def intercept(y: np.ndarray, weight: np.ndarray | None = None) -> float:
        share = mean(y, weight)
        return float(np.log(share / (1 - share)))


class Multinomial:
    """log(sum_c e^{F_c}) - F_y of C classes, with y as indicators; constants of all F_c together change nothing.

    Second derivatives diag(p) - p p' are at most 1/2 (Bohning 1992).
    """

    bound = 0.5

    @staticmethod
    def value(y: np.ndarray, total: np.ndarray, weight: np.ndarray | None = None) -> float:
        return float(mean(logsumexp(total, axis=0) - (y * total).sum(0), weight))

    @staticmethod
    def residual(y: np.ndarray, total: np.ndarray) -> np.ndarray:
        return y - softmax(total, axis=0)

    @staticmethod
    def curvature(total: np.ndarray) -> np.ndarray | None:
        p = softmax(total, axis=0)
        return np.eye(len(p))[:, :, None] * p - p[:, None] * p

    @staticmethod
    def intercept(y: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
        """With sum 0."""
        logs = np.log(mean(y, weight))
        return logs - logs.mean()
