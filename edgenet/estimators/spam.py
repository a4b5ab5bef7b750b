"""SpAM: sparse additive models, sums of smooth functions of one variable of which most are zero."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
from scipy.special import expit
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.utils import ClassifierTags, RegressorTags, Tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted, validate_data

from edgenet.errors import ConfigError, ShapeError
from edgenet.estimators.backfitting import Logistic, Loss, Squared, backfit
from edgenet.estimators.columns import refuse_missing, refuse_missing_response, useless_columns
from edgenet.estimators.smoother import SMOOTHERS, KernelSmoother, Smoother, SplineSmoother
from edgenet.estimators.spam_path import criteria, falling, follow, held_out, predict

TASKS: dict[str, Loss] = {"regression": Squared, "classification": Logistic}
CRITERIA = ("gcv", "cp", "cv")


class SpAM(BaseEstimator):
    """Sparse additive model (Ravikumar, Lafferty, Liu, Wasserman 2009): F(x) = a + sum_j f_j(x_j), the minimum of

    mean_i loss(y_i, F(x_i)) + penalty * sum_j sqrt(mean_i f_j(x_ij)^2),

    with half the squared error in regression, F the prediction, and the logistic loss in classification, F the log
    odds of the second class. The functions are splines or kernel smooths with mean zero; the penalty sets whole
    functions to zero, and smoothness is the smoother's own. See ``backfitting.backfit`` for the algorithm, and what
    differs from the paper's local scoring.

    Without a ``penalty``, the path from the largest useful one down is computed, and a criterion chooses on it. It ends
    early where the functions have 0.8 n degrees of freedom, or fit the classes perfectly.

    Args:
        task: "regression" or "classification" (two classes).
        smoother: "spline" (projection; exact minimum) or "kernel" (local linear, Gaussian; 8 p n^2 bytes).
        basis: of splines: "bspline", or "natural", without curvature at the ends.
        df: functions in the basis of one variable.
        degree: of the splines' polynomials.
        bandwidth: of kernels: h_j = bandwidth * sd(x_j) * n^(-1/5).
        penalty: at least 0; None to choose one on the path.
        criterion: "gcv", D / (1 - df / n)^2 with D the mean squared error, or twice the mean logistic loss; "cp",
            D + 2 s^2 df / n with s^2 the residual variance RSS / (n - df) at the choice of GCV (1 in classification,
            where this is AIC / n); "cv", D on held-out folds.
        penalties: how many on the path, or the falling values themselves.
        min_ratio: last penalty of the path, relative to the first.
        refit: fit the functions that were chosen once more without a penalty, which undoes the shrinkage.
        degenerate: what becomes of constant columns, and of columns equal to an earlier one, over which a function
            could be divided in many ways: "raise", or "drop", which leaves their functions zero.
        cv: folds, drawn with ``random_state``.
        tol: as ``tolerance`` of ``backfit``.
        max_iter: as ``max_sweeps`` of ``backfit``.
        random_state: seed of the folds.

    Attributes:
        penalty_: the penalty.
        intercept_: a.
        support_: numbers of the columns whose functions are not zero.
        components_: (n, p) values f_j(x_ij) at the data.
        path_: a ``SpAMPath``.
        scores_: (m,) the criterion on the path; None if ``penalty`` was given.
        classes_: the two classes, in classification.
        n_iter_: sweeps at the penalty.

    Raises:
        ConfigError: in ``fit``, if an argument is out of range.
        ShapeError: in ``fit``, naming the column, if there are constant or repeated columns or missing values; if there
            is a single class.

    Warns:
        ConvergenceWarning: in ``fit``, if ``max_iter`` sweeps did not do; if classes are told apart without an error
            and without a penalty, where there is no minimum.
    """

    def __init__(
        self,
        task: str = "regression",
        *,
        smoother: str = "spline",
        basis: str = "bspline",
        df: int = 6,
        degree: int = 3,
        bandwidth: float = 0.6,
        penalty: float | None = None,
        criterion: str = "gcv",
        penalties: int | Sequence[float] = 100,
        min_ratio: float = 1e-2,
        refit: bool = False,
        degenerate: str = "raise",
        cv: int = 5,
        tol: float = 1e-6,
        max_iter: int = 2000,
        random_state: int = 0,
    ) -> None:
        self.task = task
        self.smoother = smoother
        self.basis = basis
        self.df = df
        self.degree = degree
        self.bandwidth = bandwidth
        self.penalty = penalty
        self.criterion = criterion
        self.penalties = penalties
        self.min_ratio = min_ratio
        self.refit = refit
        self.degenerate = degenerate
        self.cv = cv
        self.tol = tol
        self.max_iter = max_iter
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> SpAM:
        """Fit to (n, p) features and an (n,) response."""
        self._check_options()
        x, target = self._data(X, y)
        names = getattr(self, "feature_names_in_", None)
        useless = useless_columns(x, names)
        if useless and self.degenerate == "raise":
            raise ShapeError(f"{'; '.join(useless.values())}. Remove them, or set degenerate='drop'.")
        among = [j for j in range(x.shape[1]) if j not in useless]
        smoother = self._smooth(x)
        steps = self.tol, self.max_iter
        grid = falling(smoother, target, self.penalties, self.min_ratio, self.penalty)
        ends = self.penalty is None and isinstance(self.penalties, int | np.integer)
        self.path_ = follow(smoother, target, self._loss, grid, among, *steps, ends=ends)
        if self.penalty is not None:
            chosen, self.scores_ = len(self.path_.fits) - 1, None
        else:
            self.scores_ = self._scores(x, target, among)
            chosen = int(np.argmin(self.scores_))
        self.penalty_, best = float(self.path_.penalties[chosen]), self.path_.fits[chosen]
        if self.refit:
            best = backfit(smoother, target, self._loss, 0.0, best, best.support, *steps)
        if self._classifies() and (self.refit or self.penalty_ == 0) and ((2 * target - 1) * best.total > 0).all():
            warnings.warn(
                "the functions tell the classes apart without an error, and no penalty holds the log odds: they grow "
                "without end, and stop where the tolerance is met. Give a penalty, and refit=False.",
                ConvergenceWarning,
                stacklevel=2,
            )
        smoother.forget()
        self._x, self._smoother, self._best = x, smoother, best
        self._residual = self._loss.residual(target, best.total)
        self.intercept_, self.n_iter_ = best.intercept, best.sweeps
        self.support_ = np.array(best.support, dtype=int)
        self.components_ = np.zeros(x.shape)
        for j, f in best.values.items():
            self.components_[:, j] = f
        return self

    # ---------------------------------------------------------------- prediction
    def predict(self, X: Any) -> np.ndarray:
        """(m,) responses, or classes, at (m, p) points. Outside the data, functions stay what they are at the ends."""
        total = self._total(X)
        if self.task == "regression":
            return total
        return self.classes_[(total > 0).astype(int)]

    def _classifies(self) -> bool:
        return self.task == "classification"

    @available_if(_classifies)
    def decision_function(self, X: Any) -> np.ndarray:
        """(m,) log odds of the second class."""
        return self._total(X)

    @available_if(_classifies)
    def predict_proba(self, X: Any) -> np.ndarray:
        """(m, 2) probabilities of the classes."""
        p = expit(self._total(X))
        return np.stack([1 - p, p], axis=1)

    def contributions(self, X: Any) -> np.ndarray:
        """(m, p) values of the functions: with the intercept, the rows sum to the prediction or log odds."""
        x = self._points(X)
        parts = np.zeros(x.shape)
        for j, c in self._best.coefficients.items():
            parts[:, j] = self._smoother.evaluate(j, c, x[:, j])
        return parts

    def predict_path(self, X: Any) -> np.ndarray:
        """(number of penalties, m) predictions, or log odds, at every penalty of ``path_``."""
        x = self._points(X)
        return np.stack([predict(self._smoother, fit, x) for fit in self.path_.fits])

    def score(self, X: Any, y: Any) -> float:
        """R^2 in regression, accuracy in classification."""
        metric = r2_score if self.task == "regression" else accuracy_score
        return float(metric(y, self.predict(X)))

    # ---------------------------------------------------------------- picture
    def plot(self, columns: Sequence[int] | None = None, *, points: int = 200) -> Any:
        """Draw the functions, each over the range of its data, with the data's places and partial residuals.

        Args:
            columns: which, by number; by default those of ``support_``.
            points: at which a curve is drawn.

        Returns:
            A matplotlib figure, one axis for each function. In classification there are no residuals.

        Raises:
            ConfigError: if there is no such column.
        """
        from matplotlib.figure import Figure

        check_is_fitted(self)
        columns = list(self.support_ if columns is None else columns)
        for j in columns:
            if not isinstance(j, Integral) or not 0 <= j < self._x.shape[1]:
                raise ConfigError(f"columns go from 0 to {self._x.shape[1] - 1}, got {j!r}.")
        across = max(1, min(4, len(columns)))
        down = max(1, -(-len(columns) // across))
        figure = Figure(figsize=(3.2 * across, 2.6 * down), layout="constrained")
        names = getattr(self, "feature_names_in_", None)
        for place, j in enumerate(columns, 1):
            x = self._x[:, j]
            axis = figure.add_subplot(down, across, place)
            if self.task == "regression":
                partial = self._residual + self.components_[:, j]
                axis.plot(x, partial, ".", color="#9aa0aa", markersize=3, alpha=0.6)
            at = np.linspace(x.min(), x.max(), points)
            c = self._best.coefficients.get(j)
            axis.plot(at, np.zeros(points) if c is None else self._smoother.evaluate(j, c, at), color="#3566c8")
            axis.plot(x, np.zeros_like(x), "|", color="#22252b", markersize=6, transform=axis.get_xaxis_transform())
            axis.set_xlabel(f"x{j}" if names is None else str(names[j]))
            axis.set_ylabel(f"f{j}")
            axis.spines[["top", "right"]].set_visible(False)
        if not columns:
            figure.text(0.5, 0.5, "all functions are zero", ha="center", va="center")
        return figure

    # ---------------------------------------------------------------- inside
    def _check_options(self) -> None:
        for name, known in (
            ("task", TASKS),
            ("smoother", SMOOTHERS),
            ("criterion", CRITERIA),
            ("degenerate", ("raise", "drop")),
        ):
            value = getattr(self, name)
            if not isinstance(value, str) or value not in known:
                raise ConfigError(f"{name} is one of {list(known)}, got {getattr(self, name)!r}.")
        for name, kind, word in (
            ("penalty", Real, "number"),
            ("min_ratio", Real, "number"),
            ("tol", Real, "number"),
            ("bandwidth", Real, "number"),
            ("df", Integral, "whole number"),
            ("degree", Integral, "whole number"),
            ("max_iter", Integral, "whole number"),
            ("cv", Integral, "whole number"),
        ):
            value = getattr(self, name)
            if not isinstance(value, kind) and not (name == "penalty" and value is None):
                raise ConfigError(f"{name} is a {word}, got {value!r}.")
        if self.penalty is not None and not (np.isfinite(self.penalty) and self.penalty >= 0):
            raise ConfigError(f"penalty is a number from 0, or None to choose one, got {self.penalty}.")
        if not 0 < self.min_ratio < 1:
            raise ConfigError(f"min_ratio is between 0 and 1, got {self.min_ratio}.")
        if isinstance(self.penalties, int | np.integer):
            if self.penalties < 1:
                raise ConfigError(f"a path has at least 1 penalty, got {self.penalties}.")
        else:
            try:
                grid = np.asarray(self.penalties, dtype=float)
            except (TypeError, ValueError):
                grid = np.empty(0)
            if (
                grid.ndim != 1
                or not len(grid)
                or not ((grid >= 0) & np.isfinite(grid)).all()
                or not (np.diff(grid) < 0).all()
            ):
                raise ConfigError(f"penalties are falling numbers from 0, or how many, got {self.penalties}.")
        if self.cv < 2 or self.max_iter < 1 or not self.tol > 0:
            raise ConfigError(
                f"cv >= 2, max_iter >= 1, tol > 0 are wanted, got {self.cv}, {self.max_iter}, {self.tol}."
            )

    @property
    def _loss(self) -> Loss:
        return TASKS[self.task]

    def _data(self, X: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
        """Checked features and response; classes as 0 and 1."""
        classifies = self._classifies()
        options = {"dtype": np.float64, "ensure_all_finite": False, "ensure_min_samples": 2}
        try:
            x, y = validate_data(self, X, y, y_numeric=not classifies, **options)
        except ValueError:
            refuse_missing_response(y)  # with the row, which scikit-learn does not say
            raise
        names = getattr(self, "feature_names_in_", None)
        refuse_missing(x, names)
        if not classifies:
            refuse_missing_response(y)
            y = np.asarray(y, dtype=np.float64)
            spread = float(np.abs(y).max())
            if spread and not 1e-150 < spread < 1e150:
                raise ShapeError(f"y goes up to {spread:.3g}, of which the square is no number: give it another unit.")
            return x, y
        check_classification_targets(y)
        self.classes_, encoded = np.unique(y, return_inverse=True)
        if len(self.classes_) > 2:
            raise ShapeError(
                f"Only binary classification is supported. The type of the target is {type_of_target(y)}, with "
                f"{len(self.classes_)} classes; fit one model for each class against the others."
            )
        if len(self.classes_) < 2:
            raise ShapeError(f"y has a single class, {self.classes_.tolist()[0]!r}; classification needs two.")
        return x, encoded.astype(np.float64)

    def _smooth(self, x: np.ndarray) -> Smoother:
        if self.smoother == "kernel":
            return KernelSmoother(x, self.bandwidth)
        return SplineSmoother(x, self.basis, self.df, self.degree)

    def _scores(self, x: np.ndarray, y: np.ndarray, among: Sequence[int]) -> np.ndarray:
        """(m,) the criterion at every penalty of the path; the smallest is best."""
        if self.criterion != "cv":
            return criteria(self.path_, len(y), self._classifies())[self.criterion]
        kind = StratifiedKFold if self._classifies() else KFold
        if (self._classifies() and min(np.bincount(y.astype(int))) < self.cv) or len(y) < self.cv:
            raise ShapeError(f"{self.cv} folds want as many samples, of each class in classification; got {len(y)}.")
        folds = kind(self.cv, shuffle=True, random_state=self.random_state).split(x, y)
        steps = among, self.tol, self.max_iter
        return held_out(x, y, self._loss, self.path_.penalties, self._smooth, folds, *steps)

    def _points(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        x = validate_data(self, X, dtype=np.float64, reset=False, ensure_all_finite=False)
        refuse_missing(x, getattr(self, "feature_names_in_", None))
        return x

    def _total(self, X: Any) -> np.ndarray:
        x = self._points(X)
        return predict(self._smoother, self._best, x)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        if self._classifies():
            tags.estimator_type, tags.classifier_tags = "classifier", ClassifierTags(multi_class=False)
        else:
            tags.estimator_type, tags.regressor_tags = "regressor", RegressorTags()
        return tags
