"""SpAM: sparse additive models, sums of smooth functions of one variable of which most are zero."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import expit, softmax
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_selection import SelectorMixin
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils import ClassifierTags, RegressorTags, Tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data

from edgenet.errors import ConfigError, ShapeError
from edgenet.estimators.backfitting import backfit
from edgenet.estimators.columns import refuse_missing, useless_columns
from edgenet.estimators.losses import Logistic, Loss, Multinomial, Squared
from edgenet.estimators.smoother import KernelSmoother, Smoother, SplineSmoother
from edgenet.estimators.spam_data import read_samples, told_apart
from edgenet.estimators.spam_folds import draw_folds
from edgenet.estimators.spam_options import check_options
from edgenet.estimators.spam_path import criteria, falling, follow, held_out, predict
from edgenet.estimators.spam_plot import draw


class SpAM(SelectorMixin, BaseEstimator):
    """Sparse additive model (Ravikumar, Lafferty, Liu, Wasserman 2009): F(x) = a + sum_j f_j(x_j), the minimum of

    mean_i loss(y_i, F(x_i)) + penalty * sum_j sqrt(mean_i f_j(x_ij)^2),

    with half the squared error in regression, F the prediction, and the logistic loss in classification, F the log
    odds of the second class. Of C > 2 classes each has an F_c with functions f_jc, the loss is the multinomial one,
    log(sum_c e^F_c) - F_y, and the penalty is on sqrt(mean_i sum_c f_jc(x_ij)^2): a feature serves all classes or none.
    (With two classes it would be the same as the logistic loss, with +-F / 2, at sqrt(2) times the penalty.)

    The functions are splines or kernel smooths with mean zero; the penalty sets whole functions to zero, and smoothness
    is the smoother's own. See ``backfitting.backfit`` for the algorithm, and what differs from the paper's local
    scoring.

    Without a ``penalty``, the path from the largest useful one down is computed, and a criterion chooses on it. It ends
    early where the functions have 0.8 n degrees of freedom, or fit the classes perfectly.

    As a step of a pipeline it passes on the columns of ``support_`` (``transform``, ``get_support``,
    ``get_feature_names_out``).

    Args:
        task: "regression" or "classification".
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
        cv: folds, drawn with ``random_state``; or a splitter of scikit-learn, or a list of (fitted, held) samples.
        tol: as ``tolerance`` of ``backfit``.
        max_iter: as ``max_sweeps`` of ``backfit``.
        random_state: seed of the folds.

    Attributes:
        penalty_: the penalty.
        intercept_: a; of C > 2 classes (C,), with sum 0.
        support_: numbers of the columns whose functions are not zero.
        components_: (n, p) values f_j(x_ij) at the data; of C > 2 classes (n, p, C).
        path_: a ``SpAMPath``.
        scores_: (m,) the criterion on the path; None if ``penalty`` was given.
        classes_: the classes, in classification.
        feature_names_in_: (p,) names of the columns, where the data have names that are strings.
        n_iter_: sweeps at the penalty.

    Raises:
        ConfigError: in ``fit``, if an argument is out of range; if weights sum to fewer samples than one function has
            degrees of freedom, where "gcv" and "cp" cannot choose.
        ShapeError: in ``fit``, naming the column, if there are constant or repeated columns or missing values; if there
            is a single class, or weights are no weights.

    Warns:
        ConvergenceWarning: in ``fit``, if ``max_iter`` sweeps did not do; if classes are told apart without an error
            and without a penalty, where there is no minimum.

    Example:
        >>> import numpy as np
        >>> X = np.random.default_rng(0).uniform(-2, 2, (100, 5))
        >>> model = edgenet.estimators.SpAM().fit(X, X[:, 1] ** 2)
        >>> 1 in model.support_
        True
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
        cv: Any = 5,
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

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> SpAM:
        """Fit to (n, p) features and an (n,) response.

        Args:
            sample_weight: (n,) from 0: how many times a sample counts, in every mean, and in the n of criteria and
                bandwidths. A weight of 2 is the sample repeated (but for folds, which are drawn among samples), one of
                0 the sample left out. Multiplied by a number they give the same splines at the same penalty; a kernel
                becomes narrower.
        """
        check_options(self)
        every, target, weight, kept = read_samples(self, X, y, sample_weight)
        x = every[kept]
        useless = useless_columns(x, getattr(self, "feature_names_in_", None))
        if useless and self.degenerate == "raise":
            raise ShapeError(f"{'; '.join(useless.values())}. Remove them, or set degenerate='drop'.")
        among = [j for j in range(x.shape[1]) if j not in useless]
        smoother = self._smooth(x, weight)
        steps = self.tol, self.max_iter
        grid = falling(smoother, target, self.penalties, self.min_ratio, self.penalty)
        ends = self.penalty is None and isinstance(self.penalties, int | np.integer)
        self.path_ = follow(smoother, target, self._loss, grid, among, *steps, ends=ends)
        if self.penalty is not None:
            chosen, self.scores_ = len(self.path_.fits) - 1, None
        else:
            self.scores_ = self._scores(every, target, weight, kept, among)
            chosen = int(np.argmin(self.scores_))
        self.penalty_, best = float(self.path_.penalties[chosen]), self.path_.fits[chosen]
        if self.refit:
            best = backfit(smoother, target, self._loss, 0.0, best, best.support, *steps)
        if self._classifies() and (self.refit or self.penalty_ == 0) and told_apart(target, best.total):
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
        whole = len(kept) == len(every)
        self.components_ = np.zeros((*x.shape, *np.shape(best.intercept))) if whole else self._parts(every)
        for j, f in best.values.items():
            self.components_[kept, j] = f.T
        return self

    # ---------------------------------------------------------------- prediction
    def predict(self, X: Any) -> np.ndarray:
        """(m,) responses, or classes, at (m, p) points. Outside the data, functions stay what they are at the ends."""
        total = self._total(X)
        if self.task == "regression":
            return total
        return self.classes_[total.argmax(1) if total.ndim > 1 else (total > 0).astype(int)]

    def _classifies(self) -> bool:
        return self.task == "classification"

    @available_if(_classifies)
    def decision_function(self, X: Any) -> np.ndarray:
        """(m,) log odds of the second class; of more than two classes (m, C) F, whose softmax are the probabilities."""
        return self._total(X)

    @available_if(_classifies)
    def predict_proba(self, X: Any) -> np.ndarray:
        """(m, C) probabilities of the classes."""
        total = self._total(X)
        if total.ndim > 1:
            return softmax(total, axis=1)
        p = expit(total)
        return np.stack([1 - p, p], axis=1)

    def contributions(self, X: Any) -> np.ndarray:
        """(m, p) values of the functions: with the intercept, they sum to the prediction or log odds. Of more than two
        classes (m, p, C)."""
        return self._parts(self._points(X))

    def predict_path(self, X: Any) -> np.ndarray:
        """(number of penalties, m) predictions, or log odds, at every penalty of ``path_``. Of more than two classes
        (..., m, C)."""
        x = self._points(X)
        return np.stack([predict(self._smoother, fit, x).T for fit in self.path_.fits])

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """R^2 in regression, accuracy in classification."""
        metric = r2_score if self.task == "regression" else accuracy_score
        return float(metric(y, self.predict(X), sample_weight=sample_weight))

    def plot(self, columns: Sequence[int | str] | None = None, *, points: int = 200) -> Any:
        """Draw the functions, each over the range of its data, with the data's places and partial residuals.

        Args:
            columns: which, by number or name; by default those of ``support_``.
            points: at which a curve is drawn.

        Returns:
            A matplotlib figure, one axis for each function. In classification there are no residuals; of more than two
            classes each has a curve.

        Raises:
            ConfigError: if there is no such column.
        """
        check_is_fitted(self)
        return draw(self, self.support_.tolist() if columns is None else list(columns), points)

    # ---------------------------------------------------------------- inside
    @property
    def _loss(self) -> type[Loss]:
        if not self._classifies():
            return Squared
        return Logistic if len(self.classes_) == 2 else Multinomial

    def _smooth(self, x: np.ndarray, weight: np.ndarray | None) -> Smoother:
        if self.smoother == "kernel":
            return KernelSmoother(x, self.bandwidth, weight)
        return SplineSmoother(x, self.basis, self.df, self.degree, weight)

    def _scores(
        self, every: np.ndarray, y: np.ndarray, weight: np.ndarray | None, kept: np.ndarray, among: Sequence[int]
    ) -> np.ndarray:
        """(m,) the criterion at every penalty of the path; the smallest is best."""
        if self.criterion != "cv":
            count = len(kept) if weight is None else weight.sum()
            least = self.path_.df[self.path_.df > 0].min(initial=np.inf)
            if weight is not None and count <= least < np.inf:
                raise ConfigError(
                    f"sample_weight sums to {count:.3g}, which criterion={self.criterion!r} takes for the number of "
                    f"samples, and one function has {least:.3g} degrees of freedom: let the weights have mean 1, or "
                    f"give a penalty or criterion='cv'."
                )
            return criteria(self.path_, count, self._classifies())[self.criterion]
        folds = draw_folds(self.cv, y, self._classifies(), len(every), kept, self.random_state)
        steps = among, self.tol, self.max_iter
        return held_out(every[kept], y, weight, self._loss, self.path_.penalties, self._smooth, folds, *steps)

    def _points(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        x = validate_data(self, X, dtype=np.float64, reset=False, ensure_all_finite=False)
        refuse_missing(x, getattr(self, "feature_names_in_", None))
        return x

    def _total(self, X: Any) -> np.ndarray:
        """(m,) or (m, C)."""
        x = self._points(X)
        return predict(self._smoother, self._best, x).T

    def _function(self, j: int, x: np.ndarray) -> np.ndarray:
        """(m,) or (C, m) values of a function at (m,) points."""
        c = self._best.coefficients.get(j)
        return np.zeros((*np.shape(self.intercept_), len(x))) if c is None else self._smoother.evaluate(j, c, x)

    def _parts(self, x: np.ndarray) -> np.ndarray:
        """(m, p) or (m, p, C) values of all functions at (m, p) points."""
        return np.stack([self._function(j, x[:, j]).T for j in range(x.shape[1])], axis=1)

    def _get_support_mask(self) -> np.ndarray:
        """(p,) columns whose functions are not zero, for ``SelectorMixin``."""
        check_is_fitted(self)
        return np.isin(np.arange(self.n_features_in_), self.support_)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        if self._classifies():
            tags.estimator_type, tags.classifier_tags = "classifier", ClassifierTags()
        else:
            tags.estimator_type, tags.regressor_tags = "regressor", RegressorTags()
        return tags
