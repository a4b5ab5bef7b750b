"""Weights of samples: how many times each counts."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgenet.errors import ShapeError


def read_sample_weight(sample_weight: Any, n: int) -> np.ndarray | None:
    """(n,) weights as floats; None stays None.

    Raises:
        ShapeError: if there are not n numbers from 0, with the row; or all are 0, or their sum is no number.
    """
    if sample_weight is None:
        return None
    try:
        weight = np.asarray(sample_weight, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ShapeError(f"sample_weight holds numbers, got {sample_weight!r}.") from error
    if weight.shape != (n,):
        raise ShapeError(f"sample_weight has one number for each of {n} samples, got shape {weight.shape}.")
    wrong = np.flatnonzero(~((weight >= 0) & np.isfinite(weight)))
    if len(wrong):
        raise ShapeError(f"sample_weight has {weight[wrong[0]]} in row {wrong[0]}; weights are finite and at least 0.")
    if not weight.any():
        raise ShapeError("every sample_weight is zero: give at least one sample a weight above it.")
    if weight.max() > np.finfo(np.float64).max / n:
        raise ShapeError(f"sample_weight goes up to {weight.max():.3g}, too far for a sum: divide all by that.")
    return weight
