"""The data on which sparse additive models are tried: features of which four matter."""

from __future__ import annotations

from typing import Any

import numpy as np

RELEVANT = [0, 1, 2, 3]  # the features that matter


def draw(n: int, p: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The simulation of Ravikumar et al. 2009, 6.1, on an interval where all four functions show.

    Returns:
        (n, p) features, uniform on (-2.5, 2.5), and (n,) sums of four functions of the first four, plus N(0, 1).
    """
    rng = np.random.default_rng(seed)
    x = rng.uniform(-2.5, 2.5, (n, p))
    signal = -2 * np.sin(2 * x[:, 0]) + x[:, 1] ** 2 - 1 / 3 + x[:, 2] - 1 / 2 + np.exp(-x[:, 3]) + np.exp(-1) - 1
    return x, signal + rng.normal(size=n)


def draw_task(task: str, n: int, p: int, seed: int, middle: float | None = None) -> tuple[np.ndarray, Any]:
    """A draw; in classification whether the response lies above ``middle``, its median by default."""
    x, y = draw(n, p, seed)
    if task == "classification":
        return x, y > (np.median(y) if middle is None else middle)
    return x, y
