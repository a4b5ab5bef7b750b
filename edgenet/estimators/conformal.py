"""Intervals that hold the next response with a stated probability: conformalised quantile regression."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import numpy as np
from scipy.stats import beta
from sklearn.base import BaseEstimator, clone
from sklearn.utils import Tags, _safe_indexing, check_random_state, indexable
from sklearn.utils.validation import _num_samples, check_is_fitted, column_or_1d, has_fit_parameter

from edgenet.errors import ConfigError, ShapeError
from edgenet.estimators.columns import refuse_missing_response
from edgenet.estimators.quantile import QuantilePath
from edgenet.estimators.weights import read_sample_weight


def conformal_margin(
    lower: np.ndarray,
    upper: np.ndarray,
    y: np.ndarray,
    coverage: float = 0.9,
    weight: Any = None,
    next_weight: float = 1.0,
) -> float:
    """By how much to widen intervals on both sides so that they hold the next response with probability ``coverage``.

    The score of a response is how far it lies outside its interval, max(lower - y, y - upper), negative inside; the
    margin is the ceil((n + 1) * coverage)-th smallest of n scores. If the n calibration points and the next point are
    exchangeable, and the intervals were made without their responses, the next interval covers with probability at
    least ``coverage``, whatever made the intervals; without ties it is rank / (n + 1), below coverage + 1 / (n + 1).
    (Romano, Patterson, Candes 2019, theorem 1.) The probability is over calibration and next point together: see
    ``coverage_range``. On a graph, nodes of calibration and test are exchangeable if they were split at random and the
    model treats them alike.

    With weights, the margin is the smallest score s such that the scores up to s have the weight coverage * (sum of all
    weights + next weight). Where the next point comes from another distribution of x than the calibration points, and
    the weights are the ratios of the two densities at the points, coverage is again as stated (Tibshirani, Foygel
    Barber, Candes, Ramdas 2019, corollary 1). Whole weights are repeated points.

    Args:
        lower, upper: (n,) ends of the intervals, in any order of size: a crossed pair is an interval of negative width.
        y: (n,) responses at the same points.
        coverage: in (0, 1).
        weight: (n,) from 0; None for ones.
        next_weight: of the next point, from 0.

    Returns:
        The margin; negative where the intervals are wider than they need be. Intervals become
        [lower - margin, upper + margin].

    Raises:
        ConfigError: if ``coverage`` or ``next_weight`` is out of range.
        ShapeError: if the arrays differ in shape or hold NaN, or n is so small, or the next point's weight so
            large, that only the whole line is wide enough; or a point is infinitely far from its interval.

    Example:
        >>> import numpy as np
        >>> lower, upper, y = np.zeros(99), np.ones(99), np.linspace(0, 2, 99)
        >>> bool(edgenet.estimators.conformal_margin(lower, upper, y, coverage=0.5) < 0.1)
        True
    """
    points_needed(coverage)
    if not isinstance(next_weight, Real) or not 0 <= next_weight < math.inf:
        raise ConfigError(f"next_weight is a number from 0, got {next_weight!r}.")
    scores, reach = calibration_scores(lower, upper, y, weight)
    margin = float(margins(scores, reach, coverage, np.asarray(next_weight)))
    if margin == math.inf and weight is None and next_weight == 1:
        calibration_rank(len(scores), coverage)  # says how many are needed
    if margin == math.inf:
        raise ShapeError(
            f"the calibration points weigh {reach[-1]:.4g}, too little for a coverage of {coverage} beside a next "
            f"point of {next_weight:.4g}: {coverage / (1 - coverage) * next_weight:.4g} is needed."
        )
    return margin


def calibration_scores(lower: Any, upper: Any, y: Any, weight: Any = None) -> tuple[np.ndarray, np.ndarray]:
    """(n,) scores of ``conformal_margin`` in rising order, and the sums of the weights up to each.

    Raises:
        ShapeError: as there.
    """
    lower, upper, y = (np.asarray(values, dtype=float) for values in (lower, upper, y))
    if not (lower.shape == upper.shape == y.shape and y.ndim == 1):
        raise ShapeError(f"lower, upper and y are (n,) alike, got {lower.shape}, {upper.shape} and {y.shape}.")
    scores = np.maximum(lower - y, y - upper)
    bad = np.isnan(scores) | (scores == math.inf)
    if bad.any():
        raise ShapeError(f"point {int(bad.argmax())} has NaN or infinity in its interval or response. Remove it.")
    given = read_sample_weight(weight, len(y))
    order = np.argsort(scores, kind="stable")
    return scores[order], np.cumsum(np.ones(len(y)) if given is None else given[order])


def margins(scores: np.ndarray, reach: np.ndarray, coverage: float, next_weight: np.ndarray) -> np.ndarray:
    """The margin for next points of each weight, inf where only the whole line is wide enough.

    Args:
        scores, reach: of ``calibration_scores``.
        next_weight: (...).
    """
    return np.append(scores, math.inf)[_place(reach, coverage, next_weight)]


def _place(reach: np.ndarray, coverage: float, next_weight: Any) -> np.ndarray:
    """Which score is the margin; the number of scores where none is."""
    wanted = coverage * (reach[-1] + next_weight) - 1e-9 * reach[-1] / len(reach)  # 0.9 * 10 is 9
    return np.searchsorted(reach, wanted)


def calibration_rank(n: int, coverage: float) -> int:
    """ceil((n + 1) * coverage), at least 1: which of n sorted scores is the margin.

    Raises:
        ConfigError: if ``coverage`` is not in (0, 1).
        ShapeError: if the rank exceeds n.
    """
    needed = points_needed(coverage)
    rank = max(math.ceil((n + 1) * coverage - 1e-9), 1)  # 0.9 * 10 is 9
    if rank > n:
        raise ShapeError(f"{n} calibration points are too few for a coverage of {coverage}: {needed} are needed.")
    return rank


def points_needed(coverage: float) -> int:
    """The calibration points without which only the whole line is wide enough, coverage / (1 - coverage).

    Raises:
        ConfigError: if ``coverage`` is not in (0, 1).
    """
    if not isinstance(coverage, Real) or not 0 < coverage < 1:
        raise ConfigError(f"coverage lies between 0 and 1, neither included, got {coverage!r}.")
    return max(math.ceil(coverage / (1 - coverage) - 1e-9), 1)


def coverage_range(n: int, coverage: float = 0.9, probability: float = 0.9) -> tuple[float, float]:
    """Where the share of covered points will lie, over very many test points, after calibration on n points.

    Given the calibration points, the probability of covering has the distribution Beta(rank, n + 1 - rank), with
    rank = ``calibration_rank(n, coverage)``, if scores have no ties (Vovk 2012). Few test points add their own spread.

    Returns:
        Its quantiles at (1 - probability) / 2 and (1 + probability) / 2.

    Example:
        >>> low, high = edgenet.estimators.coverage_range(100, coverage=0.9)
        >>> bool(low < 0.9 < high)
        True
    """
    rank = calibration_rank(n, coverage)
    if not 0 < probability < 1:
        raise ConfigError(f"probability lies between 0 and 1, neither included, got {probability}.")
    low, high = beta.ppf([(1 - probability) / 2, (1 + probability) / 2], rank, n + 1 - rank)
    return float(low), float(high)


class ConformalInterval(BaseEstimator):
    """Two quantile models, widened by what held-out data ask for.

    ``fit`` fits the models to a part of the data and finds the margin on the rest, drawn at random (split conformal);
    ``predict`` gives intervals. Coverage is what ``conformal_margin`` states. ``calibrate`` finds the margin on other
    points that ``fit`` has not seen; with ``calibration=None`` it must, and the models are fitted to all data of
    ``fit``. For predictions made elsewhere use ``conformal_margin``.

    Args:
        coverage: in (0, 1).
        lower, upper: regressors of the lower and the upper quantile, pipelines too. None: ``QuantilePath`` at
            (1 - coverage) / 2 and (1 + coverage) / 2.
        calibration: share of the data that ``fit`` holds out for the margin, in (0, 1), raised to the
            coverage / (1 - coverage) points that the coverage needs. None: none.
        random_state: seed of the draw.

    Attributes:
        lower_, upper_: the fitted models.
        margin_: for a new point of weight 1.
        coverage_: rank / (n + 1), the probability of covering where scores have no ties; of weighted points their share
            of the weight, with 1 for the next point.
        n_features_in_, feature_names_in_: of the models, where they have them.

    Raises:
        ConfigError: in ``fit``, if ``coverage`` or ``calibration`` is out of range, or there are weights that a model
            does not take; in ``predict``, if there is no margin yet.
        ShapeError: if there are too few points for the coverage, or weights are no weights.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> X = rng.normal(size=(200, 3))
        >>> y = X[:, 0] + rng.normal(size=200)
        >>> edgenet.estimators.ConformalInterval(0.9).fit(X, y).predict(X).shape  # lower and upper ends
        (200, 2)
    """

    def __init__(
        self,
        coverage: float = 0.9,
        lower: Any = None,
        upper: Any = None,
        *,
        calibration: float | None = 0.5,
        random_state: int = 0,
    ) -> None:
        self.coverage = coverage
        self.lower = lower
        self.upper = upper
        self.calibration = calibration
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> ConformalInterval:
        """Fit both models to (n, p) features and an (n,) response, and find the margin. An earlier one is forgotten.

        Args:
            sample_weight: (n,) from 0, for the models and the margin: see ``calibrate``.
        """
        needed = points_needed(self.coverage)
        share = self.calibration
        if share is not None and (not isinstance(share, Real) or not 0 < share < 1):
            raise ConfigError(f"calibration is a share between 0 and 1, or None, got {share!r}.")
        if y is None:
            raise ShapeError("ConformalInterval requires y to be passed, but the target y is None.")
        X, y = indexable(X, y)
        n = _num_samples(X)
        weight = read_sample_weight(sample_weight, n)
        held = 0 if share is None else max(round(share * n), needed)
        if held >= n:
            raise ShapeError(
                f"n_samples={n} leaves no sample to fit: a coverage of {self.coverage} takes {needed} of them for the "
                "margin. Give more, or calibration=None and points of their own to calibrate."
            )
        order = check_random_state(self.random_state).permutation(n) if held else np.arange(n)
        parts = order[held:], order[:held]
        self._fit_models(*(None if part is None else _safe_indexing(part, parts[0]) for part in (X, y, weight)))
        for name in ("margin_", "coverage_", "_scores", "_reach"):
            self.__dict__.pop(name, None)
        if held:
            self.calibrate(*(None if part is None else _safe_indexing(part, parts[1]) for part in (X, y, weight)))
        return self

    def _fit_models(self, x: Any, y: Any, weight: np.ndarray | None) -> None:
        tails = (1 - self.coverage) / 2, (1 + self.coverage) / 2
        models: list[Any] = [
            QuantilePath(tau) if model is None else clone(model)
            for tau, model in zip(tails, (self.lower, self.upper), strict=True)
        ]
        for model in models:
            if weight is not None and not has_fit_parameter(model, "sample_weight"):
                raise ConfigError(
                    f"{type(model).__name__} takes no sample_weight. Fit it without, with calibration=None, and give "
                    "the weights to calibrate."
                )
            model.fit(x, y) if weight is None else model.fit(x, y, sample_weight=weight)
        self.lower_, self.upper_ = models
        for name in ("n_features_in_", "feature_names_in_"):
            self.__dict__.pop(name, None)
            if hasattr(self.lower_, name):
                setattr(self, name, getattr(self.lower_, name))

    def calibrate(self, X: Any, y: Any, sample_weight: Any = None) -> ConformalInterval:
        """Find the margin on points that ``fit`` has not seen.

        Args:
            sample_weight: (n,) from 0: how many times a point counts, or the ratio of the density of new points to that
                of these. In the second case ``predict`` is to be given the ratio at the new points.
        """
        check_is_fitted(self)
        y = column_or_1d(y, warn=True, dtype=np.float64)
        lower, upper = self.lower_.predict(X), self.upper_.predict(X)
        self.margin_ = conformal_margin(lower, upper, y, self.coverage, sample_weight)
        self._scores, self._reach = calibration_scores(lower, upper, y, sample_weight)
        self.coverage_ = float(self._reach[_place(self._reach, self.coverage, 1.0)] / (self._reach[-1] + 1))
        return self

    def predict(self, X: Any, weight: Any = None) -> np.ndarray:
        """(m, 2) ends of the intervals at (m, p) points. Where the lower lies above the upper, nothing is covered.

        Args:
            weight: (m,) of the points, positive, in the unit of those of ``calibrate``; None for 1. The ends are
                infinite where a point outweighs what the coverage allows.
        """
        check_is_fitted(self)
        if not hasattr(self, "margin_"):
            raise ConfigError("the intervals have no margin yet: call calibrate(X, y) with points fit has not seen.")
        lower, upper = self.lower_.predict(X), self.upper_.predict(X)
        margin: Any = self.margin_
        if weight is not None:
            own = read_sample_weight(weight, len(lower))
            margin = margins(self._scores, self._reach, self.coverage, np.asarray(own))
        return np.stack([lower - margin, upper + margin], axis=1)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Minus the mean interval score, for searches: width + 2 / (1 - coverage) * distance of y from the interval.

        The intervals at the true quantiles have the best expectation (Gneiting and Raftery 2007, eq. 43).

        Raises:
            ShapeError: if a response is NaN or infinite.
        """
        lower, upper = self.predict(X).T
        refuse_missing_response(y)
        y = column_or_1d(y, warn=True, dtype=np.float64)
        outside = np.maximum(lower - y, 0) + np.maximum(y - upper, 0)
        lost = upper - lower + 2 / (1 - self.coverage) * outside
        return -float(np.average(lost, weights=read_sample_weight(sample_weight, len(y))))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags
