"""The simulation of the SpAM paper (Ravikumar et al. 2009, 6.1), on an interval where all four functions show."""

import numpy as np

RELEVANT = [0, 1, 2, 3]


def draw(n: int, p: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(n, p) features, uniform on (-2.5, 2.5), and the (n,) sum of four functions of the first four, plus N(0, 1)."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-2.5, 2.5, (n, p))
    signal = -2 * np.sin(2 * x[:, 0]) + x[:, 1] ** 2 - 1 / 3 + x[:, 2] - 1 / 2 + np.exp(-x[:, 3]) + np.exp(-1) - 1
    return x, signal + rng.normal(size=n)
