"""Quantile regression that selects groups of columns, with its whole solution path."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.feature_selection import SelectorMixin
from sklearn.metrics import d2_pinball_score
from sklearn.model_selection import check_cv
from sklearn.utils.validation import check_is_fitted, validate_data

from edgenet.errors import ConfigError
from edgenet.estimators.columns import refuse_missing, refuse_missing_response
from edgenet.estimators.groups import read_groups
from edgenet.estimators.quantile_choice import cross_validate, schwarz
from edgenet.estimators.quantile_levels import LevelPath, Problem, follow
from edgenet.estimators.quantile_options import check_options, read_group_weights
from edgenet.estimators.weights import read_sample_weight


class QuantilePath(SelectorMixin, RegressorMixin, BaseEstimator):
    """Linear quantile regression with an l1,inf penalty on groups of columns, for all penalties at once:

    minimise  sum_i rho(y_i - b0 - x_i b) + lambda * sum_g w_g * max_{j in g} |b_j|,   rho(r) = max(tau r, (tau - 1) r)

    The loss is a sum over observations, not a mean, and columns are taken as they are: bring them to one scale first.
    The penalty sets whole groups to zero, and coefficients within a group often to equal magnitude. Groups of one
    column give the l1 penalty.

    Several levels are fitted together: the losses of all are added, every level has its own b0 and b, and the maximum
    of a group goes over its columns and all levels (the F-infinity norm of Zou and Yuan 2008, where a group is one
    column). A column is then used at all levels or at none. The lines of two levels may cross.

    ``fit`` follows the exact path from the empty model to the full one. In the radius t = sum_g w_g max |b_j| the
    coefficients are piecewise linear; in lambda they are piecewise constant, for lambda is constant along each piece.
    The algorithm is that of ``quantile_simplex``; ties, whole numbers, repeated rows and columns are no trouble to it.
    Where a problem has many solutions, the path holds one of them. Every solution is checked by its dual variables, to
    10^-8 of its objective: where columns nearly repeat each other, or those of one group differ in size by more than
    10^6, the path may end above its end, with a warning.

    One solution is chosen for ``coef_`` and ``predict``: at ``penalty``; or, if ``cv`` is given, where the mean loss on
    held-out folds is least, over all penalties and not a grid, as it is a step function too (penalties are taken
    relative to the number of observations); or else by the criterion of Schwarz in the form of Li and Zhu 2008,
    log(mean loss) + log(n) / (2 n) * elbow, where the elbow, the number of observations fitted exactly, estimates the
    degrees of freedom. It is not asked above n / 2, where interpolation makes the loss meaningless.

    As a step of a pipeline it passes on the columns whose coefficients are not all zero (``transform``,
    ``get_support``, ``get_feature_names_out``).

    Args:
        tau: level of the quantile, in (0, 1); or T rising levels.
        groups: a label for each column; or a list of lists of columns, or a mapping from labels to lists of columns,
            by number or, where the data have them, by name. None: each column by itself.
        group_weights: w, positive: (G,) in the order of ``groups_``, or a mapping from labels. None: all 1.
        fit_intercept: whether there is a b0. It is not penalised.
        penalty: lambda at which to choose, at least 0.
        cv: folds, or a splitter of scikit-learn. Not together with ``penalty``.
        lambda_min: end of the path; 0 is the unpenalised problem.
        t_max: largest radius of the path. None: no limit.
        max_groups: the path ends before more groups are active at once. None: no limit.

    Attributes:
        path_t_: (V,) radii of the vertices, rising from 0.
        path_lambda_: (V,) falling. Vertex k is a solution for lambda in [path_lambda_[k], path_lambda_[k - 1]] (vertex
            0 from path_lambda_[0] up), and the piece between vertices k and k + 1 at path_lambda_[k].
        path_coef_: (V, p); path_intercept_: (V,). Of T levels (V, T, p) and (V, T), here and below.
        path_elbow_: (V,) observations with residual 0.
        path_radius_: (V, G) max |b_j| in each group.
        events_: list of ``Event``, everything that happened on the path, groups by label. Of several levels, columns
            and observations are pairs (level, number).
        groups_: G labels. A group number ``group_of_[j]`` belongs to each column j.
        feature_names_in_: (p,) names of the columns, where the data have names that are strings.
        penalty_, t_: lambda and t of the solution chosen.
        coef_: (p,), intercept_: the solution chosen. Columns that are constant (with an intercept) or zero (without)
            change nothing, and have the coefficient 0.
        selected_groups_: labels of the groups that are not zero in it.
        cv_lambda_, cv_loss_: (m,) with ``cv``: the mean held-out loss for lambda from cv_lambda_[i] up to
            cv_lambda_[i - 1].

    Raises:
        ConfigError: in ``fit``, if an argument is out of range, or groups are empty, overlap or leave out a column.
        ShapeError: in ``fit``, naming the column or row, if values are missing, or weights are no weights.

    Warns:
        PathWarning: in ``fit``, if rounding errors ended the path early. ``path_lambda_[-1]`` says where.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> X = rng.normal(size=(100, 6))
        >>> y = X[:, 0] + 0.1 * rng.normal(size=100)
        >>> path = edgenet.estimators.QuantilePath(0.5, groups=[0, 0, 1, 1, 2, 2]).fit(X, y)
        >>> int(path.entry_order()[0])
        0
    """

    def __init__(
        self,
        tau: Any = 0.5,
        groups: Any = None,
        *,
        group_weights: Any = None,
        fit_intercept: bool = True,
        penalty: float | None = None,
        cv: Any = None,
        lambda_min: float = 0.0,
        t_max: float | None = None,
        max_groups: int | None = None,
    ) -> None:
        self.tau = tau
        self.groups = groups
        self.group_weights = group_weights
        self.fit_intercept = fit_intercept
        self.penalty = penalty
        self.cv = cv
        self.lambda_min = lambda_min
        self.t_max = t_max
        self.max_groups = max_groups

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> QuantilePath:
        """Follow the path for (n, p) features and an (n,) response, and choose on it.

        Args:
            sample_weight: (n,) from 0: how many times an observation counts. A weight of 2 is the observation repeated,
                one of 0 the observation left out. The loss is a sum: twice the weights want twice the penalty. (Folds
                of ``cv`` are drawn among observations, whatever their weights.)
        """
        check_options(self)
        for name in ("cv_lambda_", "cv_loss_"):  # of an earlier fit
            self.__dict__.pop(name, None)
        try:
            x, y = validate_data(self, X, y, dtype=np.float64, ensure_all_finite=False, y_numeric=True)
        except ValueError:
            refuse_missing_response(y)  # with the row, which scikit-learn does not say
            raise
        refuse_missing_response(y)
        y = np.asarray(y, dtype=np.float64)
        names = getattr(self, "feature_names_in_", None)
        refuse_missing(x, names)
        given = read_sample_weight(sample_weight, len(x))
        weight = np.ones(len(x)) if given is None else given
        self.groups_, self.group_of_ = read_groups(self.groups, x.shape[1], names)

        problem = self._problem()
        path = follow(problem, x, y, weight)
        self._keep(path)
        if self.penalty is not None:
            self.penalty_ = float(self.penalty)
        elif self.cv is not None:
            folds = check_cv(self.cv).split(x, y)
            self.penalty_, self.cv_lambda_, self.cv_loss_ = cross_validate(problem, path, x, y, weight, folds)
        else:
            self.penalty_ = schwarz(path, x, y, weight, problem.taus)
        if self.penalty_ < self.path_lambda_[-1]:
            raise ConfigError(f"penalty={self.penalty_} is below the end of the path at {self.path_lambda_[-1]}.")
        chosen = int(self._vertex(np.array(self.penalty_)))
        self.t_ = float(self.path_t_[chosen])
        self.coef_, intercept = self.path_coef_[chosen].copy(), self.path_intercept_[chosen]
        self.intercept_: Any = intercept.copy() if self._several() else float(intercept)
        self.selected_groups_ = [
            label for label, radius in zip(self.groups_, self.path_radius_[chosen], strict=True) if radius > 0
        ]
        return self

    def _several(self) -> bool:
        return np.ndim(self.tau) > 0

    def _problem(self) -> Problem:
        limits = self.lambda_min, np.inf if self.t_max is None else self.t_max, self.max_groups
        weight = read_group_weights(self.group_weights, self.groups_)
        taus = [float(tau) for tau in np.ravel(self.tau)]
        return Problem(taus, self.group_of_, weight, bool(self.fit_intercept), limits)

    def _keep(self, path: LevelPath) -> None:
        """The path as attributes; of one level, without the axis of levels."""
        self.path_t_, self.path_lambda_, self.path_elbow_ = path.t, path.lambda_, path.elbow
        one = slice(None) if self._several() else 0
        self.path_coef_, self.path_intercept_ = path.coef[:, one], path.intercept[:, one]
        largest = np.abs(path.coef).max(1)
        self.path_radius_ = np.stack([largest[:, self.group_of_ == g].max(1) for g in range(len(self.groups_))], axis=1)
        self.events_ = [
            event._replace(which=self.groups_[event.which]) if event.kind in ("enter", "drop") else event
            for event in path.events
        ]

    def _get_support_mask(self) -> np.ndarray:
        """(p,) columns with a coefficient other than 0, for ``SelectorMixin``."""
        check_is_fitted(self)
        return (self.coef_ != 0).reshape(-1, self.n_features_in_).any(0)

    # ---------------------------------------------------------------- solutions
    def coef(self, lambda_: Any = None, *, t: Any = None) -> np.ndarray:
        """(..., p) coefficients at penalties ``lambda_`` or at radii ``t`` of shape (...); by default ``coef_``. Of T
        levels (..., T, p).

        At a penalty where a whole piece of the path is optimal, the one with the smaller radius is given.

        Raises:
            ConfigError: if both are given, or one lies beyond the end of the path.
        """
        return self._at(lambda_, t, self.path_coef_)

    def intercept(self, lambda_: Any = None, *, t: Any = None) -> np.ndarray:
        """(...) intercepts, as ``coef``; of T levels (..., T)."""
        return self._at(lambda_, t, self.path_intercept_)

    def predict(self, X: Any, lambda_: Any = None, *, t: Any = None) -> np.ndarray:
        """(m,) quantiles at (m, p) points, or (m, ...) at penalties or radii of shape (...), as ``coef``; of T levels
        (m, T) or (m, ..., T)."""
        check_is_fitted(self)
        x = validate_data(self, X, dtype=np.float64, reset=False, ensure_all_finite=False)
        refuse_missing(x, getattr(self, "feature_names_in_", None))
        return np.tensordot(x, self.coef(lambda_, t=t), (1, -1)) + self.intercept(lambda_, t=t)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """1 - loss / loss of the best constant: the share of the quantile loss that is explained; 1 is perfect. Of
        several levels, the mean of theirs."""
        levels = zip(np.ravel(self.tau), np.atleast_2d(self.predict(X).T), strict=True)
        return float(np.mean([d2_pinball_score(y, at, sample_weight=sample_weight, alpha=tau) for tau, at in levels]))

    def entry_order(self) -> list[Hashable]:
        """The groups' labels in the order in which they first become active; those that never do are left out."""
        check_is_fitted(self)
        return list(dict.fromkeys(event.which for event in self.events_ if event.kind == "enter"))

    # ---------------------------------------------------------------- picture
    def plot(self) -> Any:
        """Draw the groups' radii and the coefficients against t, one colour for each group, the choice dashed.

        Of several levels, the coefficients of all are drawn.

        Returns:
            A matplotlib figure with two axes.
        """
        from matplotlib import colormaps
        from matplotlib.figure import Figure

        check_is_fitted(self)
        figure = Figure(figsize=(9.0, 3.6), layout="constrained")
        above, below = figure.subplots(1, 2, sharex=True)
        order = self.entry_order()
        for rank, label in enumerate(order):
            g = self.groups_.index(label)
            color = colormaps["tab20"](rank % 20)
            above.plot(self.path_t_, self.path_radius_[:, g], color=color, label=str(label) if rank < 10 else None)
            lines = self.path_coef_[..., self.group_of_ == g].reshape(len(self.path_t_), -1)
            below.plot(self.path_t_, lines, color=color, linewidth=0.9)
        for axis, text in ((above, "largest |coefficient| of each group"), (below, "coefficients")):
            axis.axvline(self.t_, color="#9aa0aa", linestyle="--", linewidth=0.9)
            axis.set_xlabel("radius t")
            axis.set_title(text, loc="left", fontsize=10)
            axis.spines[["top", "right"]].set_visible(False)
        if order:
            above.legend(title="first groups" if len(order) > 10 else "groups", frameon=False, fontsize=8)
        return figure

    # ---------------------------------------------------------------- inside
    def _vertex(self, lambda_: np.ndarray) -> np.ndarray:
        """The first vertex that is a solution at each penalty."""
        return np.searchsorted(-self.path_lambda_, -lambda_)

    def _at(self, lambda_: Any, t: Any, values: np.ndarray) -> np.ndarray:
        check_is_fitted(self)
        if lambda_ is not None and t is not None:
            raise ConfigError(f"a solution is named by lambda_={lambda_} or by t={t}, not by both.")
        if t is None:
            at = np.asarray(self.penalty_ if lambda_ is None else lambda_, dtype=float)
            end = self.path_lambda_[-1]
            if not (at >= end).all():
                raise ConfigError(f"lambda_={np.min(at)} is below the end of the path at {end}.")
            return values[self._vertex(at)]
        at, end = np.asarray(t, dtype=float), self.path_t_[-1]
        if not (at >= 0).all() or (self.path_lambda_[-1] > 0 and (at > end).any()):
            raise ConfigError(f"t lies between 0 and the end of the path at {end}, got {t}.")
        at = np.minimum(at, end)  # beyond the end, the unpenalised solution stays
        k = np.clip(np.searchsorted(self.path_t_, at, side="right") - 1, 0, max(len(self.path_t_) - 2, 0))
        following = np.minimum(k + 1, len(self.path_t_) - 1)
        length = self.path_t_[following] - self.path_t_[k]
        share = np.where(length > 0, (at - self.path_t_[k]) / np.where(length > 0, length, 1.0), 0.0)
        share = share.reshape(share.shape + (1,) * (values.ndim - 1))
        return (1.0 - share) * values[k] + share * values[following]
