"""What proves a solution of penalised quantile regression right: dual variables that leave it no room."""

from __future__ import annotations

import numpy as np

#: What an objective may exceed the least by, relative to itself and to the sum of |y|.
RELATIVE, ABSOLUTE = 1e-8, 1e-12


class Certificate:
    """Bounds how far coefficients are from optimal, from the data alone and not from what an algorithm keeps of them.

    With r = y - b0 - X b, q = X' theta, theta in [tau - 1, tau] and sum theta = 0, weak duality says that
    loss + lambda * radius exceeds its least value by no more than

        sum_i (rho(r_i) - theta_i r_i) + sum_g (lambda w_g ||b_g||_inf - q_g b_g) + b0 sum theta,

    if ||q_g||_1 <= lambda w_g for all groups. Where a group exceeds that by delta, as it will by rounding errors,
    delta (||b_g||_inf + ||r||_1 / ||X_g||_1) is added: the second is a size that its coefficients would have if they
    mattered. This last part is an estimate and no bound.

    Args:
        x: (n, p); y: (n,); tau: in (0, 1).
        first: (G,) the first column of each group.
        weight: (G,).
    """

    def __init__(self, x: np.ndarray, y: np.ndarray, tau: float, first: np.ndarray, weight: np.ndarray) -> None:
        self.x, self.y, self.tau, self.first, self.weight = x, y, tau, first, weight
        self._size = np.add.reduceat(np.abs(x).sum(0), first)

    def holds(self, intercept: np.ndarray, coef: np.ndarray, theta: np.ndarray, lambda_: np.ndarray) -> np.ndarray:
        """Whether solutions are optimal within rounding errors: each at its own penalty, and at the one before.

        Args:
            intercept: (m,); coef: (m, p).
            theta: (m, n) or (m - 1, n), the duals of the first solutions; lambda_: (m,) or (m - 1,) their penalties.

        Returns:
            (m, 2), by its own duals, and by those of the solution before; True where there are none.
        """
        residual = self.y - intercept[:, None] - coef @ self.x.T
        q, sums = theta @ self.x, theta.sum(1)
        radius = np.maximum.reduceat(np.abs(coef), self.first, axis=1)
        loss = np.maximum(self.tau * residual, (self.tau - 1.0) * residual)
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
            gap += np.abs(intercept[at] * sums[k])
            objective = loss[at].sum(1) + (limit * radius[at]).sum(1)
            answer[at, back] = gap <= RELATIVE * objective + allowed  # False for NaN, too
        return answer

    def ends(self, intercept: float, coef: np.ndarray, fall: float) -> bool:
        """Whether a solution stays one while its penalty falls by ``fall``: no group then gets room that matters."""
        residual = self.y - intercept - self.x @ coef
        loss = np.maximum(self.tau * residual, (self.tau - 1.0) * residual).sum()
        room = fall * (self.weight / self._size).sum() * np.abs(residual).sum()
        return bool(room <= RELATIVE * loss + ABSOLUTE * np.abs(self.y).sum())
