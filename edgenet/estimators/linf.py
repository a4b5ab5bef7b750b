"""The proximal map of the largest absolute value, by which gradient descent learns with an l1,inf penalty."""

from __future__ import annotations

import numpy as np

from edgenet.errors import ConfigError, ShapeError


def prox_linf(v: np.ndarray, penalty: float | np.ndarray) -> np.ndarray:
    """argmin_x 1/2 ||x - v||^2 + penalty * max_j |x_j|: the entries of ``v``, cut off at one height.

    By Moreau's decomposition it is v less its projection on the l1 ball of radius ``penalty``: the height h >= 0 takes
    sum_j (|v_j| - h)_+ = penalty off the vector, or all of it where ||v||_1 <= penalty. Many entries end at h exactly,
    which is what makes groups of equal magnitude; a group as a whole is zero for a large penalty.

    Args:
        v: (..., k) the last axis is a group.
        penalty: at least 0; broadcasts against (...).

    Returns:
        (..., k).

    Raises:
        ConfigError: if a penalty is below 0.
        ShapeError: if ``v`` is a number, or ``penalty`` does not broadcast.

    Example:
        >>> import numpy as np
        >>> edgenet.estimators.prox_linf(np.array([3.0, 1.0, -3.0]), 2.0).tolist()
        [2.0, 1.0, -2.0]
    """
    v = np.asarray(v, dtype=float)
    if v.ndim == 0 or not _fits(np.shape(penalty), v.shape[:-1]):
        raise ShapeError(f"v is (..., k) and penalty broadcasts against (...), got {v.shape} and {np.shape(penalty)}.")
    if (np.asarray(penalty) < 0).any():
        raise ConfigError(f"a penalty is at least 0, got {np.min(penalty)}.")
    size = np.sort(np.abs(v), axis=-1)[..., ::-1]
    radius = np.broadcast_to(np.asarray(penalty, dtype=float)[..., None], (*v.shape[:-1], 1))
    # with the k largest entries cut, h = (their sum - penalty) / k; the true k gives the largest
    heights = (np.cumsum(size, axis=-1) - radius) / np.arange(1, v.shape[-1] + 1)
    height = np.maximum(heights.max(axis=-1, keepdims=True, initial=0.0), 0.0)
    return np.clip(v, -height, height)


def _fits(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    try:
        return np.broadcast_shapes(shape, to) == to
    except ValueError:
        return False
