"""What ``SpAM`` is fitted to: checked features, responses or classes, and weights."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

from edgenet.errors import ShapeError
from edgenet.estimators.columns import refuse_missing, refuse_missing_response
from edgenet.estimators.weights import read_sample_weight


def read_samples(
    model: Any, X: Any, y: Any, sample_weight: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray]:
    """Check the arguments of ``fit``, and set ``classes_`` where the task is classification.

    Returns:
        (n, p) features of all samples; of those m whose weight is not 0 the (m,) response (classes as 0 and 1, C > 2
        classes as (C, m) indicators), the (m,) weights or None, and which they are.

    Raises:
        ShapeError: naming the column or row, if values are missing or too large; if there is a single class, or weights
            are no weights.
    """
    classifies = model.task == "classification"
    options = {"dtype": np.float64, "ensure_all_finite": False, "ensure_min_samples": 2}
    try:
        x, y = validate_data(model, X, y, y_numeric=not classifies, **options)
    except ValueError:
        refuse_missing_response(y)  # with the row, which scikit-learn does not say
        raise
    refuse_missing(x, getattr(model, "feature_names_in_", None))
    weight = read_sample_weight(sample_weight, len(x))
    kept = np.arange(len(x)) if weight is None else np.flatnonzero(weight)
    if len(kept) < 2:
        raise ShapeError("a single sample has a weight above 0; an additive model needs two.")
    weight = None if weight is None else weight[kept]
    if not classifies:
        refuse_missing_response(y)
        y = np.asarray(y, dtype=np.float64)[kept]
        spread = float(np.abs(y).max())
        if spread and not 1e-150 < spread < 1e150:
            raise ShapeError(f"y goes up to {spread:.3g}, of which the square is no number: give it another unit.")
        return x, y, weight, kept
    check_classification_targets(y)
    model.classes_, encoded = np.unique(y[kept], return_inverse=True)
    if len(model.classes_) < 2:
        raise ShapeError(f"y has a single class, {model.classes_.tolist()[0]!r}; classification needs two.")
    if len(model.classes_) == 2:
        return x, encoded.astype(np.float64), weight, kept
    return x, np.eye(len(model.classes_))[:, encoded], weight, kept


def told_apart(y: np.ndarray, total: np.ndarray) -> bool:
    """Whether every sample's own class has the largest F."""
    if y.ndim == 1:
        return bool(((2 * y - 1) * total > 0).all())
    own = (y * total).sum(0)
    return bool((own > np.where(y > 0, -np.inf, total).max(0)).all())
