"""What an additive predictor F may lose at a point, with the derivatives that fitting takes."""

from __future__ import annotations

import numpy as np
from scipy.special import expit


class Squared:
    """1/2 (y - F)^2 of a response y."""

    bound = 1.0

    @staticmethod
    def value(y: np.ndarray, total: np.ndarray) -> float:
        """The mean over the n points."""
        return float(np.mean((y - total) ** 2) / 2)

    @staticmethod
    def residual(y: np.ndarray, total: np.ndarray) -> np.ndarray:
        """Minus the derivative, (n,)."""
        return y - total

    @staticmethod
    def curvature(total: np.ndarray) -> np.ndarray | None:
        """Second derivatives, (n,), at most ``bound``; None for ones."""
        return None

    @staticmethod
    def intercept(y: np.ndarray) -> float:
        """The best constant F."""
        return float(y.mean())


class Logistic:
    """log(1 + e^F) - y F of a class y in {0, 1}."""

    bound = 0.25

    @staticmethod
    def value(y: np.ndarray, total: np.ndarray) -> float:
        return float(np.mean(np.logaddexp(0, total) - y * total))

    @staticmethod
    def residual(y: np.ndarray, total: np.ndarray) -> np.ndarray:
        return y - expit(total)

    @staticmethod
    def curvature(total: np.ndarray) -> np.ndarray | None:
        p = expit(total)
        return p * (1 - p)

    @staticmethod
    def intercept(y: np.ndarray) -> float:
        return float(np.log(y.mean() / (1 - y.mean())))


Loss = type[Squared] | type[Logistic]
