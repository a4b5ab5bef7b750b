"""Folds on which ``SpAM`` measures what it has not been fitted to."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.model_selection import KFold, StratifiedKFold, check_cv

from edgenet.errors import ShapeError


def draw_folds(
    cv: Any, y: np.ndarray, classifies: bool, n: int, kept: np.ndarray, seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pairs (fitted, held), by number among the samples that are kept.

    Args:
        cv: how many; or a splitter of scikit-learn or pairs of indices, among all n samples.
        y: (m,) or (C, m) targets of the kept samples.
        kept: (m,) which they are.
        seed: of the folds, where ``cv`` says how many.

    Raises:
        ShapeError: if there are not enough samples, of a class.
    """
    if not isinstance(cv, int | np.integer):
        pairs = check_cv(cv).split(np.zeros((n, 1)))
        return [(np.flatnonzero(np.isin(kept, fitted)), np.flatnonzero(np.isin(kept, held))) for fitted, held in pairs]
    labels = y.argmax(0) if y.ndim > 1 else y.astype(int) if classifies else y
    if (classifies and min(np.bincount(labels)) < cv) or len(kept) < cv:
        raise ShapeError(f"{cv} folds want as many samples, of each class in classification; got {len(kept)}.")
    kind = StratifiedKFold if classifies else KFold
    return list(kind(cv, shuffle=True, random_state=seed).split(kept, labels))
