"""Smoothers: linear maps that turn a residual into a smooth function of one variable, for every variable."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from edgenet.errors import ConfigError
from edgenet.estimators.basis import SplineBasis


class Smoother(Protocol):
    """S_1, ..., S_p at n points; every S_j r has mean zero.

    A function is kept as coefficients c, from which its values at the n points and elsewhere follow.

    Attributes:
        df: (p,) degrees of freedom, the traces of S_j.
    """

    df: np.ndarray

    def partial(
        self, j: int, c: np.ndarray | None, f: np.ndarray | None, r: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """P = S_j (f + r): its coefficients, and its values at the n points.

        Args:
            c, f: coefficients and values of the function now; None for zero.
            r: (n,) residual.
        """

    def norms(self, r: np.ndarray) -> np.ndarray:
        """(p,) empirical norms of S_j r."""

    def values(self, j: int, c: np.ndarray) -> np.ndarray:
        """(n,) values at the n points."""

    def evaluate(self, j: int, c: np.ndarray, x: np.ndarray) -> np.ndarray:
        """(m,) values at (m,) points."""

    def forget(self) -> None:
        """Drop what only fitting needs; ``evaluate`` still works."""


class SplineSmoother:
    """Projection onto centred splines: S_j = U_j U_j' / n, with the orthonormal functions of a ``SplineBasis``.

    Backfitting with projections is block coordinate descent of a convex problem, the group lasso: it finds the minimum.

    Attributes:
        design: (p, v, n) values of the basis functions.
    """

    def __init__(self, x: np.ndarray, basis: str = "bspline", df: int = 6, degree: int = 3) -> None:
        self.basis = SplineBasis.fit(x, df, degree, basis)
        self.design = np.ascontiguousarray(self.basis(x).transpose(1, 2, 0))
        self.df = self.basis.rank.astype(float)

    def partial(
        self, j: int, c: np.ndarray | None, f: np.ndarray | None, r: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        u = self.design[j]
        z = u @ r / len(r)
        if c is not None:
            z += c
        return z, z @ u

    def norms(self, r: np.ndarray) -> np.ndarray:
        p, v, n = self.design.shape
        return np.linalg.norm((self.design.reshape(p * v, n) @ r).reshape(p, v), axis=1) / n

    def values(self, j: int, c: np.ndarray) -> np.ndarray:
        return c @ self.design[j]

    def evaluate(self, j: int, c: np.ndarray, x: np.ndarray) -> np.ndarray:
        return self.basis.column(j)(x[:, None])[:, 0] @ c

    def forget(self) -> None:
        del self.design


class KernelSmoother:
    """Local linear regression with Gaussian weights, centred: bandwidth h_j = c sd(x_j) n^(-1/5).

    These are no projections: backfitting with them minimises no function, though it settles in practice. The p matrices
    take 8 p n^2 bytes. Outside the data a function stays what it is at the ends.

    Args:
        x: (n, p).
        bandwidth: c, above 0; 0.6 in the paper's simulations.

    Raises:
        ConfigError: if the bandwidth is not above 0.
    """

    def __init__(self, x: np.ndarray, bandwidth: float = 0.6) -> None:
        if not bandwidth > 0:
            raise ConfigError(f"a bandwidth is above 0, got {bandwidth}.")
        self.x = np.ascontiguousarray(x.T)  # (p, n)
        self.h = bandwidth * x.std(0) * len(x) ** -0.2
        self.matrices = np.empty((x.shape[1], len(x), len(x)))
        for j in range(x.shape[1]):
            rows = self._rows(j, self.x[j])
            np.subtract(rows, rows.mean(0), out=self.matrices[j])
        self.df = np.einsum("jii->j", self.matrices)

    def _rows(self, j: int, x: np.ndarray) -> np.ndarray:
        """(m, n) weights with which a local line at (m,) points averages the data."""
        h = self.h[j]
        if h == 0:
            return np.full((len(x), self.x.shape[1]), 1 / self.x.shape[1])
        gap = (self.x[j] - x[:, None]) / h
        square = gap * gap
        # relative to the nearest point: far from all data the weights would vanish together
        kernel = np.exp((square.min(1, keepdims=True) - square) / 2)
        kernel /= kernel.sum(1, keepdims=True)
        mean = (kernel * gap).sum(1, keepdims=True)
        spread = (kernel * (gap - mean) ** 2).sum(1, keepdims=True)
        # the small term leaves a local mean where all data nearby have one x, and no line can be drawn
        return kernel * (1 - mean * (gap - mean) / (spread + 1e-9 * (1 + mean**2)))

    def partial(
        self, j: int, c: np.ndarray | None, f: np.ndarray | None, r: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        z = r if f is None else f + r
        return z, self.matrices[j] @ z

    def norms(self, r: np.ndarray) -> np.ndarray:
        p, n = self.x.shape
        return np.linalg.norm((self.matrices.reshape(p * n, n) @ r).reshape(p, n), axis=1) / np.sqrt(n)

    def values(self, j: int, c: np.ndarray) -> np.ndarray:
        return self.matrices[j] @ c

    def evaluate(self, j: int, c: np.ndarray, x: np.ndarray) -> np.ndarray:
        inside = np.clip(x, self.x[j].min(), self.x[j].max())
        return self._rows(j, inside) @ c - (self._rows(j, self.x[j]) @ c).mean()

    def forget(self) -> None:
        del self.matrices


SMOOTHERS = {"spline": SplineSmoother, "kernel": KernelSmoother}
