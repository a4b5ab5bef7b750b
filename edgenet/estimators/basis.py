"""Splines: the functions of one variable that additive models are sums of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.interpolate import BSpline

from edgenet.errors import ConfigError, ShapeError

KINDS = ("bspline", "natural")


def bsplines(u: Any, inner: Any, degree: int) -> list[Any]:
    """The B-splines on [0, 1] with clamped ends, by the recursion of Cox and de Boor.

    Written in operators alone, so that the same lines serve numpy arrays and torch tensors, gradients included.

    Args:
        u: (...) in [0, 1].
        inner: (..., k) inner knots, increasing and inside (0, 1); the leading axes broadcast with ``u``.
        degree: of the polynomials between the knots.

    Returns:
        A list of k + degree + 1 arrays (...), which are not negative and sum to 1.
    """
    k = inner.shape[-1]
    knots = [0.0] * (degree + 1) + [inner[..., i] for i in range(k)] + [1.0] * (degree + 1)
    one = u * 0 + 1
    # counted from the inner knots, so that the last interval has both its ends, whatever rounding does
    above = [one, *((u >= inner[..., i]) * one for i in range(k)), one * 0]
    columns = [one * 0] * degree + [above[i] - above[i + 1] for i in range(k + 1)] + [one * 0] * degree
    for d in range(1, degree + 1):

        def ramp(i: int, d: int = d) -> Any:
            """From 0 at knot i to 1 at knot i + d."""
            return (u - knots[i]) / (knots[i + d] - knots[i])

        flat = {i for i in range(len(columns)) if i + d <= degree or i > k + degree}  # both knots at one end
        columns = [
            (0 if i in flat else ramp(i) * columns[i]) + (0 if i + 1 in flat else (1 - ramp(i + 1)) * columns[i + 1])
            for i in range(len(columns) - 1)
        ]
    return columns


@dataclass(frozen=True)
class SplineBasis:
    """For each of p variables, functions that span the centred splines and are orthonormal on the data at hand:

    mean_i u_a(x_i) = 0,   mean_i u_a(x_i) u_b(x_i) = 1 if a = b else 0

    (weighted means, where points have weights).

    The empirical norm of f = sum_a c_a u_a, sqrt(mean_i f(x_i)^2), is then the Euclidean norm of c. A variable with few
    distinct values spans fewer functions (two values: one), a constant one none; what is missing are zeros.

    Attributes:
        low, high: (p,) ends of the data; outside of them the functions stay what they are at the ends.
        inner: (p, k) inner knots, on the scale of [0, 1].
        degree: of the polynomial pieces.
        mean: (p, k + degree + 1) means of the B-splines.
        transform: (p, k + degree + 1, v) from centred B-splines to the u_a.
        rank: (p,) functions that are not zero.
    """

    low: np.ndarray
    high: np.ndarray
    inner: np.ndarray
    degree: int
    mean: np.ndarray
    transform: np.ndarray
    rank: np.ndarray

    @classmethod
    def fit(
        cls, x: np.ndarray, df: int = 6, degree: int = 3, kind: str = "bspline", weight: np.ndarray | None = None
    ) -> SplineBasis:
        """The basis of data.

        The inner knots are quantiles of the distinct values, which keeps them apart where values repeat.

        Args:
            x: (n, p), finite.
            df: v, functions for each variable, the constant not counted.
            degree: of the polynomial pieces; 3 for natural splines.
            kind: "bspline" has df - degree inner knots; "natural" has df - 1 inner knots and no curvature at the ends.
            weight: (n,) of the points, with mean 1; None for equal ones. Knots do not depend on them.

        Raises:
            ConfigError: if ``kind`` is unknown, or ``df`` is too small for the degree.
            ShapeError: if ``x`` is not (n, p).
        """
        if kind not in KINDS:
            raise ConfigError(f"basis is one of {list(KINDS)}, got {kind!r}.")
        least = degree if kind == "bspline" else 1
        if df < max(least, 1) or degree < 1:
            raise ConfigError(f"splines want degree >= 1 and df >= the degree, got degree {degree} and df {df}.")
        if kind == "natural" and degree != 3:
            raise ConfigError(f"natural splines are cubic: degree 3, got {degree}.")
        x = np.asarray(x, dtype=np.float64)
        if x.ndim != 2 or x.shape[0] < 1:
            raise ShapeError(f"a basis is fitted to (n, p) values, got {x.shape}.")
        low, high = x.min(0), x.max(0)
        u = _unit(x, low, high)
        at = np.linspace(0, 1, df - least + 2)[1:-1]
        inner = np.stack([np.quantile(np.unique(column), at) for column in u.T]).reshape(x.shape[1], len(at))
        # a constant has no quantiles between its ends
        inner = np.where((high > low)[:, None], inner, at)
        values = np.stack(bsplines(u, inner, degree), -1)  # (n, p, b)
        mean = values.mean(0) if weight is None else np.tensordot(weight, values, 1) / len(x)
        centred = (values - mean).transpose(1, 0, 2)  # (p, n, b)
        bend = None if kind == "bspline" else np.stack([_natural(knots) for knots in inner])
        if bend is not None:
            centred = centred @ bend
        if weight is not None:
            centred = np.sqrt(weight)[:, None] * centred
        _, scale, rotation = np.linalg.svd(centred, full_matrices=False)
        size = min(df, scale.shape[1])
        kept = scale[:, :size] > 1e-9 * np.maximum(scale[:, :1], 1e-9)
        inverse = np.where(kept, np.sqrt(len(x)) / np.where(kept, scale[:, :size], 1), 0)
        transform = rotation[:, :size].transpose(0, 2, 1) * inverse[:, None]
        if bend is not None:
            transform = bend @ transform
        return cls(low, high, inner, degree, mean, transform, kept.sum(1))

    @property
    def size(self) -> int:
        """v."""
        return self.transform.shape[2]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """(n, p, v) values of the functions at (n, p) points."""
        u = _unit(np.asarray(x, dtype=np.float64), self.low, self.high)
        return np.einsum(
            "npb,pbv->npv",
            np.stack(bsplines(u, self.inner, self.degree), -1) - self.mean,
            self.transform,
            optimize=True,
        )

    def column(self, j: int) -> SplineBasis:
        """The basis of one variable."""
        at = slice(j, j + 1)
        return SplineBasis(
            self.low[at], self.high[at], self.inner[at], self.degree, self.mean[at], self.transform[at], self.rank[at]
        )


def _unit(x: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Onto [0, 1], and no further."""
    width = np.where(high > low, high - low, 1)
    return np.clip((x - low) / width, 0, 1)


def _natural(inner: np.ndarray) -> np.ndarray:
    """(b, b - 2): the combinations of cubic B-splines whose second derivatives at both ends are zero."""
    knots = np.r_[[0.0] * 4, inner, [1.0] * 4]
    bends = BSpline(knots, np.eye(len(knots) - 4), 3).derivative(2)(np.array([0.0, 1.0]))
    return np.linalg.svd(bends)[2][2:].T
