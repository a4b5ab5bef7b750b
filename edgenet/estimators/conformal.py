"""Intervals that hold the next response with a stated probability: conformalised quantile regression."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import numpy as np
from scipy.stats import beta
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_is_fitted

from edgenet.errors import ConfigError, ShapeError
from edgenet.estimators.quantile import QuantilePath


def conformal_margin(lower: np.ndarray, upper: np.ndarray, y: np.ndarray, coverage: float = 0.9) -> float:
    """By how much to widen intervals on both sides so that they hold the next response with probability ``coverage``.

    The score of a response is how far it lies outside its interval, max(lower - y, y - upper), negative inside; the
    margin is the ceil((n + 1) * coverage)-th smallest of n scores. If the n calibration points and the next point are
    exchangeable, and the intervals were made without their responses, the next interval covers with probability at
    least ``coverage``, whatever made the intervals; without ties it is rank / (n + 1), below coverage + 1 / (n + 1).
    (Romano, Patterson, Candes 2019, theorem 1.) The probability is over calibration and next point together: see
    ``coverage_range``. On a graph, nodes of calibration and test are exchangeable if they were split at random and the
    model treats them alike.

    Args:
        lower, upper: (n,) ends of the intervals, in any order of size: a crossed pair is an interval of negative width.
        y: (n,) responses at the same points.
        coverage: in (0, 1).

    Returns:
        The margin; negative where the intervals are wider than they need be. Intervals become
        [lower - margin, upper + margin].

    Raises:
        ShapeError: if the arrays differ in shape or hold NaN, or n is so small that only the whole line is wide enough.
    """
    lower, upper, y = (np.asarray(values, dtype=float) for values in (lower, upper, y))
    if not (lower.shape == upper.shape == y.shape and y.ndim == 1):
        raise ShapeError(f"lower, upper and y are (n,) alike, got {lower.shape}, {upper.shape} and {y.shape}.")
    scores = np.maximum(lower - y, y - upper)
    if np.isnan(scores).any():
        raise ShapeError(f"point {int(np.isnan(scores).argmax())} has NaN in its interval or response. Remove it.")
    return float(np.sort(scores)[calibration_rank(len(y), coverage) - 1])


def calibration_rank(n: int, coverage: float) -> int:
    """ceil((n + 1) * coverage), at least 1: which of n sorted scores is the margin.

    Raises:
        ConfigError: if ``coverage`` is not in (0, 1).
        ShapeError: if the rank exceeds n.
    """
    if not isinstance(coverage, Real) or not 0 < coverage < 1:
        raise ConfigError(f"coverage lies between 0 and 1, neither included, got {coverage!r}.")
    rank = max(math.ceil((n + 1) * coverage - 1e-9), 1)  # 0.9 * 10 is 9
    if rank > n:
        needed = math.ceil(coverage / (1 - coverage) - 1e-9)
        raise ShapeError(f"{n} calibration points are too few for a coverage of {coverage}: {needed} are needed.")
    return rank


def coverage_range(n: int, coverage: float = 0.9, probability: float = 0.9) -> tuple[float, float]:
    """Where the share of covered points will lie, over very many test points, after calibration on n points.

    Given the calibration points, the probability of covering has the distribution Beta(rank, n + 1 - rank), with
    rank = ``calibration_rank(n, coverage)``, if scores have no ties (Vovk 2012). Few test points add their own spread.

    Returns:
        Its quantiles at (1 - probability) / 2 and (1 + probability) / 2.
    """
    rank = calibration_rank(n, coverage)
    if not 0 < probability < 1:
        raise ConfigError(f"probability lies between 0 and 1, neither included, got {probability}.")
    low, high = beta.ppf([(1 - probability) / 2, (1 + probability) / 2], rank, n + 1 - rank)
    return float(low), float(high)


class ConformalInterval(BaseEstimator):
    """Two quantile models, widened by what held-out data ask for.

    ``fit`` fits the models, ``calibrate`` finds the margin on points that ``fit`` has not seen, ``predict`` gives
    intervals. Coverage is what ``conformal_margin`` states. For predictions made elsewhere use that function.

    Args:
        coverage: in (0, 1).
        lower, upper: regressors of the lower and the upper quantile. None: ``QuantilePath`` at (1 - coverage) / 2 and
            (1 + coverage) / 2.

    Attributes:
        lower_, upper_: the fitted models.
        margin_: after ``calibrate``.
        coverage_: rank / (n + 1), the probability of covering where scores have no ties.

    Raises:
        ConfigError: in ``fit``, if ``coverage`` is out of range; in ``predict``, if ``calibrate`` was not called.
        ShapeError: in ``calibrate``, if there are too few points.
    """

    def __init__(self, coverage: float = 0.9, lower: Any = None, upper: Any = None) -> None:
        self.coverage = coverage
        self.lower = lower
        self.upper = upper

    def fit(self, X: Any, y: Any) -> ConformalInterval:
        """Fit both models to (n, p) features and an (n,) response. An earlier margin is forgotten."""
        if not isinstance(self.coverage, Real) or not 0 < self.coverage < 1:
            raise ConfigError(f"coverage lies between 0 and 1, neither included, got {self.coverage!r}.")
        tails = (1 - self.coverage) / 2, (1 + self.coverage) / 2
        models = [
            (QuantilePath(tau) if model is None else clone(model)).fit(X, y)
            for tau, model in zip(tails, (self.lower, self.upper), strict=True)
        ]
        self.lower_: Any = models[0]
        self.upper_: Any = models[1]
        for name in ("margin_", "coverage_"):
            self.__dict__.pop(name, None)
        return self

    def calibrate(self, X: Any, y: Any) -> ConformalInterval:
        """Find the margin on points that ``fit`` has not seen."""
        check_is_fitted(self)
        y = np.asarray(y, dtype=float)
        self.margin_ = conformal_margin(self.lower_.predict(X), self.upper_.predict(X), y, self.coverage)
        self.coverage_ = calibration_rank(len(y), self.coverage) / (len(y) + 1)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """(m, 2) ends of the intervals at (m, p) points. Where the lower lies above the upper, nothing is covered."""
        check_is_fitted(self)
        if not hasattr(self, "margin_"):
            raise ConfigError("the intervals have no margin yet: call calibrate(X, y) with points fit has not seen.")
        return np.stack([self.lower_.predict(X) - self.margin_, self.upper_.predict(X) + self.margin_], axis=1)
