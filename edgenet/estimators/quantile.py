"""Quantile regression that selects groups of columns, with its whole solution path."""

from __future__ import annotations

from collections.abc import Hashable
from numbers import Real
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.metrics import d2_pinball_score
from sklearn.model_selection import check_cv
from sklearn.utils.validation import check_is_fitted, validate_data

from edgenet.errors import ConfigError
from edgenet.estimators.columns import refuse_missing, refuse_missing_response
from edgenet.estimators.groups import read_groups
from edgenet.estimators.quantile_solution import Event
from edgenet.estimators.quantile_trace import Trace, trace


class QuantilePath(RegressorMixin, BaseEstimator):
    """Linear quantile regression with an l1,inf penalty on groups of columns, for all penalties at once:

    minimise  sum_i rho(y_i - b0 - x_i b) + lambda * sum_g w_g * max_{j in g} |b_j|,   rho(r) = max(tau r, (tau - 1) r)

    The loss is a sum over observations, not a mean, and columns are taken as they are: bring them to one scale first.
    The penalty sets whole groups to zero, and coefficients within a group often to equal magnitude. Groups of one
    column give the l1 penalty.

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

    Args:
        tau: level of the quantile, in (0, 1).
        groups: a label for each column; or a list of lists of columns, or a mapping from labels to lists of columns.
            None: each column by itself.
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
        path_coef_: (V, p); path_intercept_: (V,).
        path_elbow_: (V,) observations with residual 0.
        path_radius_: (V, G) max |b_j| in each group.
        events_: list of ``Event``, everything that happened on the path, groups by label.
        groups_: G labels. A group number ``group_of_[j]`` belongs to each column j.
        penalty_, t_: lambda and t of the solution chosen.
        coef_: (p,), intercept_: the solution chosen. Columns that are constant (with an intercept) or zero (without)
            change nothing, and have the coefficient 0.
        selected_groups_: labels of the groups that are not zero in it.
        cv_lambda_, cv_loss_: (m,) with ``cv``: the mean held-out loss for lambda from cv_lambda_[i] up to
            cv_lambda_[i - 1].

    Raises:
        ConfigError: in ``fit``, if an argument is out of range, or groups are empty, overlap or leave out a column.
        ShapeError: in ``fit``, naming the column or row, if values are missing.

    Warns:
        PathWarning: in ``fit``, if rounding errors ended the path early. ``path_lambda_[-1]`` says where.
    """

    def __init__(
        self,
        tau: float = 0.5,
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

    def fit(self, X: Any, y: Any) -> QuantilePath:
        """Follow the path for (n, p) features and an (n,) response, and choose on it."""
        self._check_options()
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
        self.groups_, self.group_of_ = read_groups(self.groups, x.shape[1], names)
        self._weight = self._read_weights()

        path = self._trace(x, y)
        self.path_t_, self.path_lambda_, self.path_elbow_ = path.t, path.lambda_, path.elbow
        self.path_coef_, self.path_intercept_ = path.coef, path.intercept
        self.path_radius_ = np.stack([np.abs(path.coef[:, at]).max(1) for at in self._members()], axis=1)
        self.events_ = path.events

        if self.penalty is not None:
            self.penalty_ = float(self.penalty)
        elif self.cv is not None:
            self.penalty_ = self._cross_validate(x, y)
        else:
            self.penalty_ = self._schwarz(x, y)
        if self.penalty_ < self.path_lambda_[-1]:
            raise ConfigError(f"penalty={self.penalty_} is below the end of the path at {self.path_lambda_[-1]}.")
        chosen = int(self._vertex(np.array(self.penalty_)))
        self.t_ = float(self.path_t_[chosen])
        self.coef_, self.intercept_ = self.path_coef_[chosen].copy(), float(self.path_intercept_[chosen])
        self.selected_groups_ = [
            label for label, radius in zip(self.groups_, self.path_radius_[chosen], strict=True) if radius > 0
        ]
        return self

    # ---------------------------------------------------------------- solutions
    def coef(self, lambda_: Any = None, *, t: Any = None) -> np.ndarray:
        """(..., p) coefficients at penalties ``lambda_`` or at radii ``t`` of shape (...); by default ``coef_``.

        At a penalty where a whole piece of the path is optimal, the one with the smaller radius is given.

        Raises:
            ConfigError: if both are given, or one lies beyond the end of the path.
        """
        return self._at(lambda_, t, self.path_coef_)

    def intercept(self, lambda_: Any = None, *, t: Any = None) -> np.ndarray:
        """(...) intercepts, as ``coef``."""
        return self._at(lambda_, t, self.path_intercept_)

    def predict(self, X: Any, lambda_: Any = None, *, t: Any = None) -> np.ndarray:
        """(m,) quantiles at (m, p) points, or (m, ...) at penalties or radii of shape (...), as ``coef``."""
        check_is_fitted(self)
        x = validate_data(self, X, dtype=np.float64, reset=False, ensure_all_finite=False)
        refuse_missing(x, getattr(self, "feature_names_in_", None))
        return np.tensordot(x, self.coef(lambda_, t=t), (1, -1)) + self.intercept(lambda_, t=t)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """1 - loss / loss of the best constant: the share of the quantile loss that is explained; 1 is perfect."""
        return float(d2_pinball_score(y, self.predict(X), sample_weight=sample_weight, alpha=self.tau))

    def entry_order(self) -> list[Hashable]:
        """The groups' labels in the order in which they first become active; those that never do are left out."""
        check_is_fitted(self)
        return list(dict.fromkeys(event.which for event in self.events_ if event.kind == "enter"))

    # ---------------------------------------------------------------- picture
    def plot(self) -> Any:
        """Draw the groups' radii and the coefficients against t, one colour for each group, the choice dashed.

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
            below.plot(self.path_t_, self.path_coef_[:, self.group_of_ == g], color=color, linewidth=0.9)
        for axis, text in ((above, "largest |coefficient| of each group"), (below, "coefficients")):
            axis.axvline(self.t_, color="#9aa0aa", linestyle="--", linewidth=0.9)
            axis.set_xlabel("radius t")
            axis.set_title(text, loc="left", fontsize=10)
            axis.spines[["top", "right"]].set_visible(False)
        if order:
            above.legend(title="first groups" if len(order) > 10 else "groups", frameon=False, fontsize=8)
        return figure

    # ---------------------------------------------------------------- inside
    def _check_options(self) -> None:
        for name in ("tau", "penalty", "lambda_min", "t_max", "max_groups"):
            value = getattr(self, name)
            if not isinstance(value, Real) and (value is not None or name in ("tau", "lambda_min")):
                raise ConfigError(f"{name} is a number, got {value!r}.")
        if not 0 < self.tau < 1:
            raise ConfigError(f"tau lies between 0 and 1, neither included, got {self.tau}.")
        for name in ("penalty", "lambda_min", "t_max"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise ConfigError(f"{name} is at least 0, got {value}.")
        if not self.lambda_min < np.inf:
            raise ConfigError(f"lambda_min is finite, got {self.lambda_min}.")
        if self.penalty is not None and self.cv is not None:
            raise ConfigError(f"penalty={self.penalty} leaves nothing for cv={self.cv} to choose; give one of them.")
        if self.penalty is not None and self.penalty < self.lambda_min:
            raise ConfigError(f"penalty={self.penalty} is below the end of the path, lambda_min={self.lambda_min}.")
        if self.max_groups is not None and self.max_groups < 1:
            raise ConfigError(f"max_groups is at least 1, got {self.max_groups}.")

    def _read_weights(self) -> np.ndarray:
        given = self.group_weights
        if given is None:
            return np.ones(len(self.groups_))
        if hasattr(given, "items"):
            unknown, missing = set(given) - set(self.groups_), [g for g in self.groups_ if g not in given]
            if unknown or missing:
                raise ConfigError(f"group_weights wants the labels {self.groups_}, got {list(given)}.")
            given = [given[label] for label in self.groups_]
        try:
            weight = np.asarray(given, dtype=float)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"group_weights are numbers, got {given!r}.") from error
        if weight.shape != (len(self.groups_),):
            raise ConfigError(f"group_weights has shape {weight.shape}; there are {len(self.groups_)} groups.")
        wrong = np.flatnonzero(~((weight > 0) & np.isfinite(weight)))
        if len(wrong):
            raise ConfigError(f"the weight of group {self.groups_[wrong[0]]!r} is positive, got {weight[wrong[0]]}.")
        return weight

    def _members(self) -> list[np.ndarray]:
        return [np.flatnonzero(self.group_of_ == g) for g in range(len(self.groups_))]

    def _trace(self, x: np.ndarray, y: np.ndarray) -> Trace:
        """The path of some observations, columns and groups in the order and numbering of the data."""
        x_centre, y_centre = np.zeros(x.shape[1]), 0.0
        if self.fit_intercept:  # a value of the data itself, so that whole numbers stay whole
            x_centre = np.quantile(x, 0.5, axis=0, method="lower")
            y_centre = float(np.quantile(y, 0.5, method="lower"))
        x, y = x - x_centre, y - y_centre
        order = np.argsort(self.group_of_, kind="stable")
        columns = order[(x[:, order] != 0).any(axis=0)]  # not those of zeros only
        present, group = np.unique(self.group_of_[columns], return_inverse=True)
        limits = self.lambda_min, np.inf if self.t_max is None else self.t_max, self.max_groups
        path = trace(
            np.ascontiguousarray(x[:, columns]), y, self.tau, group, self._weight[present], self.fit_intercept, *limits
        )
        coef = np.zeros((len(path.t), x.shape[1]))
        coef[:, columns] = path.coef
        events = []
        for kind, which, t, lambda_ in path.events:
            if kind in ("enter", "drop"):
                which = self.groups_[present[which]]
            elif kind in ("free", "bound"):
                which = int(columns[which])
            events.append(Event(kind, which, t, lambda_))
        intercept = path.intercept + y_centre - coef @ x_centre
        return Trace(path.t, path.lambda_, intercept, coef, path.elbow, events)

    def _loss(self, residual: np.ndarray) -> np.ndarray:
        return np.maximum(self.tau * residual, (self.tau - 1.0) * residual)

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

    def _inside(self, k: int) -> float:
        """A penalty for which vertex k is the solution."""
        return float(self.path_lambda_[0] if k == 0 else (self.path_lambda_[k] + self.path_lambda_[k - 1]) / 2)

    def _schwarz(self, x: np.ndarray, y: np.ndarray) -> float:
        n = len(y)
        # vertices between pieces with one lambda are solutions there only
        k = np.flatnonzero(np.diff(self.path_lambda_, prepend=np.inf) < 0)
        k = k[(self.path_elbow_[k] <= n / 2) | (k == 0)]
        loss = self._loss(y[:, None] - x @ self.path_coef_[k].T - self.path_intercept_[k]).mean(0)
        if not loss.any():
            return self._inside(int(k[0]))
        with np.errstate(divide="ignore"):
            criterion = np.log(loss) + np.log(n) / (2 * n) * self.path_elbow_[k]
        return self._inside(int(k[np.argmin(criterion)]))

    def _cross_validate(self, x: np.ndarray, y: np.ndarray) -> float:
        """The middle of the penalties with the least mean loss on held-out folds."""
        n, folds = len(y), []
        for fitted, held in check_cv(self.cv).split(x, y):
            path = self._trace(x[fitted], y[fitted])
            loss = self._loss(y[held, None] - x[held] @ path.coef.T - path.intercept).sum(0)
            folds.append((path.lambda_ * (n / len(fitted)), loss, len(held)))
        end = max(self.path_lambda_[-1], *(lambdas[-1] for lambdas, _, _ in folds))
        lambdas = np.unique(np.concatenate([end, *(some for some, _, _ in folds)], axis=None))[::-1]
        self.cv_lambda_ = lambdas[lambdas >= end]
        held = sum(count for _, _, count in folds)
        self.cv_loss_ = sum(loss[np.searchsorted(-some, -self.cv_lambda_)] for some, loss, _ in folds) / held
        best = int(np.argmin(self.cv_loss_))
        if best == 0:
            return float(max(self.cv_lambda_[0], self.path_lambda_[0]))
        return float((self.cv_lambda_[best] + self.cv_lambda_[best - 1]) / 2)
