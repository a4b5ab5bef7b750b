"""What proves a solution of penalised quantile regression right: dual variables that leave it no room."""

from __future__ import annotations

import numpy as np

#: What an objective may exceed the least by, relative to itself and to the sum of |y|.
RELATIVE, ABSOLUTE = 1e-8, 1e-12


class Certificate:
    """Bounds how far coefficients are from optimal, from the data alone and not from what an algorithm keeps of them.

    With r = y - b0 - X b, rho_i(r) = max(high_i r, low_i r), q = X' theta, theta in [low, high] and sum theta = 0 (over
    the observations of each b0), weak duality says that loss + lambda * radius exceeds its least value by no more than

        sum_i (rho_i(r_i) - theta_i r_i) + sum_g (lambda w_g ||b_g||_inf - q_g b_g) + sum b0 sum theta,

    if ||q_g||_1 <= lambda w_g for all groups. Where a group exceeds that by delta, as it will by rounding errors,
    delta (||b_g||_inf + ||r||_1 / ||X_g||_1) is added: the second is a size that its coefficients would have if they
    mattered. This last part is an estimate and no bound.

    Args:
        x: (n, p); y: (n,); low, high: (n,), slopes of the loss below and above.
        first: (G,) the first column of each group.
        weight: (G,).
    """

    def __init__(
        self, x: np.ndarray, y: np.ndarray, low: np.ndarray, high: np.ndarray, first: np.ndarray, weight: np.ndarray
    ) -> None:
        self.x, self.y, self.low, self.high, self.first, self.weight = x, y, low, high, first, weight
        self._size = np.add.reduceat(np.abs(x).sum(0), first)

    def holds(self, intercept: np.ndarray, coef: np.ndarray, theta: np.ndarray, lambda_: np.ndarray) -> np.ndarray:
        """Whether solutions are optimal within rounding errors: each at its own penalty, and at the one before.

        Args:
            intercept: (m, number of b0); coef: (m, p).
            theta: (m, n) or (m - 1, n), the duals of the first solutions; lambda_: (m,) or (m - 1,) their penalties.

        Returns:
            (m, 2), by its own duals, and by those of the solution before; True where there are none.
        """
        residual = self._residual(intercept, coef)
        q, sums = theta @ self.x, theta.reshape(*theta.shape[:1], intercept.shape[1] or 1, -1).sum(2)
        radius = np.maximum.reduceat(np.abs(coef), self.first, axis=1)
        loss = np.maximum(self.high * residual, self.low * residual)
        length = np.abs(residual).sum(1)
        allowed = ABSOLUTE * np.abs(self.y).sum()
        answer = np.ones((len(coef), 2), dtype=bool)
        for back in (0, 1):
            count = min(len(theta), len(coef) - back)
            at, k = slice(back, back + count), slice(0, count)
            limit = lambda_[k, None] * self.weight
            excess = np.maximum(np.add.reduceat(np.abs(q[k]), self.first, axis=1) - limit, 0.0)
            gap = np.abs(loss[at] - theta[k] * residual[at]).sum(1)
            gap += np.abs(limit * radius[at] - np.add.reduceat(q[k] * coef[at], self.first, axis=1)).sum(1)
            gap += (excess * (radius[at] + length[at, None] / self._size)).sum(1)
            gap += np.abs(intercept[at] * sums[k]).sum(1)
            objective = loss[at].sum(1) + (limit * radius[at]).sum(1)
            answer[at, back] = gap <= RELATIVE * objective + allowed  # False for NaN, too
        return answer

    def ends(self, intercept: np.ndarray, coef: np.ndarray, fall: float) -> bool:
        """Whether a solution stays one while its penalty falls by ``fall``: no group then gets room that matters."""
        residual = self._residual(intercept[None], coef[None])[0]
        loss = np.maximum(self.high * residual, self.low * residual).sum()
        room = fall * (self.weight / self._size).sum() * np.abs(residual).sum()
        return bool(room <= RELATIVE * loss + ABSOLUTE * np.abs(self.y).sum())

    def _residual(self, intercept: np.ndarray, coef: np.ndarray) -> np.ndarray:
        """(m, n) y less the fit of each solution."""
        residual = self.y - coef @ self.x.T
        if intercept.shape[1]:
            blocks = residual.reshape(*intercept.shape, -1)
            blocks -= intercept[:, :, None]
        return residual
