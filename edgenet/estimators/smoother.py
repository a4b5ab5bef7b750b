"""Smoothers: linear maps that turn a residual into a smooth function of one variable, for every variable."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from edgenet.errors import ConfigError
from edgenet.estimators.basis import SplineBasis
from edgenet.estimators.losses import mean


class Smoother(Protocol):
    """S_1, ..., S_p at n points; every S_j r has mean zero.

    A function is kept as coefficients c, from which its values at the n points and elsewhere follow. Residuals r and
    functions f are (n,), or (C, n) where every class has its own; then coefficients have C rows too.

    Attributes:
        df: (p,) degrees of freedom, the traces of S_j.
        weight: (n,) of the points, with mean 1, in all means and norms; None for equal ones.
        count: the sum of the weights as they were given: how many points they stand for.
    """

    df: np.ndarray
    weight: np.ndarray | None
    count: float

    def partial(
        self, j: int, c: np.ndarray | None, f: np.ndarray | None, r: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """P = S_j (f + r): its coefficients, and its values at the n points.

        Args:
            c, f: coefficients and values of the function now; None for zero.
            r: (n,) or (C, n) residual.
        """

    def norms(self, r: np.ndarray) -> np.ndarray:
        """(p,) empirical norms of S_j r, over all classes together."""

    def values(self, j: int, c: np.ndarray) -> np.ndarray:
        """(n,) or (C, n) values at the n points."""

    def evaluate(self, j: int, c: np.ndarray, x: np.ndarray) -> np.ndarray:
        """(m,) or (C, m) values at (m,) points."""

    def forget(self) -> None:
        """Drop what only fitting needs; ``evaluate`` still works."""


def _of_mean_one(weight: np.ndarray | None, n: int) -> tuple[np.ndarray | None, float]:
    """Weights of mean 1, and their sum as it was."""
    if weight is None:
        return None, float(n)
    return weight / weight.mean(), float(weight.sum())


class SplineSmoother:
    """Projection onto centred splines: S_j = U_j U_j' / n, with the orthonormal functions of a ``SplineBasis``.

    Backfitting with projections is block coordinate descent of a convex problem, the group lasso: it finds the minimum.

    Args:
        x: (n, p).
        basis, df, degree: of ``SplineBasis``.
        weight: (n,) positive; None for equal ones.

    Attributes:
        design: (p, v, n) values of the basis functions; weighted: the same times the weights.
    """

    def __init__(
        self,
        x: np.ndarray,
        basis: str = "bspline",
        df: int = 6,
        degree: int = 3,
        weight: np.ndarray | None = None,
    ) -> None:
        self.weight, self.count = _of_mean_one(weight, len(x))
        self.basis = SplineBasis.fit(x, df, degree, basis, self.weight)
        self.design = np.ascontiguousarray(self.basis(x).transpose(1, 2, 0))
        self.weighted = self.design if self.weight is None else self.design * self.weight
        self.df = self.basis.rank.astype(float)

    def partial(
        self, j: int, c: np.ndarray | None, f: np.ndarray | None, r: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        u = self.weighted[j]
        z = u @ r / len(r) if r.ndim == 1 else r @ u.T / r.shape[1]
        if c is not None:
            z += c
        return z, z @ self.design[j]

    def norms(self, r: np.ndarray) -> np.ndarray:
        p, v, n = self.design.shape
        return np.linalg.norm((self.weighted.reshape(p * v, n) @ r.T).reshape(p, -1), axis=1) / n

    def values(self, j: int, c: np.ndarray) -> np.ndarray:
        return c @ self.design[j]

    def evaluate(self, j: int, c: np.ndarray, x: np.ndarray) -> np.ndarray:
        return c @ self.basis.column(j)(x[:, None])[:, 0].T

    def forget(self) -> None:
        del self.design, self.weighted


class KernelSmoother:
    """Local linear regression with Gaussian weights, centred: bandwidth h_j = c sd(x_j) n^(-1/5).

    These are no projections: backfitting with them minimises no function, though it settles in practice. The p matrices
    take 8 p n^2 bytes. Outside the data a function stays what it is at the ends.

    Args:
        x: (n, p).
        bandwidth: c, above 0; 0.6 in the paper's simulations.
        weight: (n,) positive; None for equal ones. They multiply those of the kernel, and n is their sum.

    Raises:
        ConfigError: if the bandwidth is not above 0.
    """

    def __init__(self, x: np.ndarray, bandwidth: float = 0.6, weight: np.ndarray | None = None) -> None:
        if not bandwidth > 0:
            raise ConfigError(f"a bandwidth is above 0, got {bandwidth}.")
        self.weight, self.count = _of_mean_one(weight, len(x))
        self.x = np.ascontiguousarray(x.T)  # (p, n)
        deviation = (
            x.std(0)
            if weight is None
            else np.sqrt(mean((self.x - mean(self.x, self.weight)[:, None]) ** 2, self.weight))
        )
        self.h = bandwidth * deviation * self.count**-0.2
        self.matrices = np.empty((x.shape[1], len(x), len(x)))
        for j in range(x.shape[1]):
            rows = self._rows(j, self.x[j])
            np.subtract(rows, mean(rows.T, self.weight), out=self.matrices[j])
        self.df = np.einsum("jii->j", self.matrices)

    def _rows(self, j: int, x: np.ndarray) -> np.ndarray:
        """(m, n) weights with which a local line at (m,) points averages the data."""
        h, n = self.h[j], self.x.shape[1]
        if h == 0:
            return np.full((len(x), n), 1 / n) if self.weight is None else np.tile(self.weight / n, (len(x), 1))
        gap = (self.x[j] - x[:, None]) / h
        square = gap * gap
        # relative to the nearest point: far from all data the weights would vanish together
        kernel = np.exp((square.min(1, keepdims=True) - square) / 2)
        if self.weight is not None:
            kernel *= self.weight
        kernel /= kernel.sum(1, keepdims=True)
        middle = (kernel * gap).sum(1, keepdims=True)
        spread = (kernel * (gap - middle) ** 2).sum(1, keepdims=True)
        # the small term leaves a local mean where all data nearby have one x, and no line can be drawn
        return kernel * (1 - middle * (gap - middle) / (spread + 1e-9 * (1 + middle**2)))

    def partial(
        self, j: int, c: np.ndarray | None, f: np.ndarray | None, r: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        z = r if f is None else f + r
        return z, z @ self.matrices[j].T

    def norms(self, r: np.ndarray) -> np.ndarray:
        p, n = self.x.shape
        smooth = (self.matrices.reshape(p * n, n) @ r.T).reshape(p, n, -1)
        if self.weight is not None:
            smooth *= np.sqrt(self.weight)[:, None]
        return np.linalg.norm(smooth.reshape(p, -1), axis=1) / np.sqrt(n)

    def values(self, j: int, c: np.ndarray) -> np.ndarray:
        return c @ self.matrices[j].T

    def evaluate(self, j: int, c: np.ndarray, x: np.ndarray) -> np.ndarray:
        inside = np.clip(x, self.x[j].min(), self.x[j].max())
        middle = mean(c @ self._rows(j, self.x[j]).T, self.weight)
        return c @ self._rows(j, inside).T - np.asarray(middle)[..., None]

    def forget(self) -> None:
        del self.matrices


SMOOTHERS = {"spline": SplineSmoother, "kernel": KernelSmoother}
