"""One solution of a penalised quantile regression, by what describes it; the formulas stand in ``quantile_simplex``.

What describes it changes by one event at a time: an observation leaves or meets the elbow, a coefficient becomes free
or bound, a group enters or drops. All numbers follow, those of the inverse of Z_E by an update.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from edgenet.estimators.bordered import BorderedInverse

#: Slacks below this, relative to the data, are 0: well above rounding errors, well below what is asked of objectives.
TOLERANCE = 1e-11
DUAL_TOLERANCE = 1e-13


class Event(NamedTuple):
    """What changed on the path.

    ``kind`` is "enter" or "drop" (of group ``which``), "free" or "bound" (of column ``which``), "leave" or "meet" (the
    elbow, by observation ``which``). The first, third and fifth happen at a vertex as lambda falls, the others end an
    edge.
    """

    kind: str
    which: Any  # a number; a label where ``QuantilePath`` tells of groups
    t: float
    lambda_: float


def divide(low: np.ndarray, high: np.ndarray, order: np.ndarray) -> tuple[np.ndarray, int, np.ndarray]:
    """The quantile of some observations: those below it, the one it is, and those above.

    It is the first at which duals of ``low`` below and ``high`` above leave room in [low, high] for a sum of 0: with
    one level and equal weights the ceil(n tau)-th.

    Args:
        low, high: (n,).
        order: the observations by rising y.
    """
    reach = np.cumsum((high - low)[order])
    wanted = high[order].sum() - 1e-9 * reach[-1] / len(order)
    rank = min(int(np.searchsorted(reach, wanted)), len(order) - 1)
    return order[:rank], int(order[rank]), order[rank + 1 :]


class LostError(ArithmeticError):
    """Rounding errors have spoilt a solution; the text says how it shows."""


class Solution:
    """The solution where a path is now, at a vertex or on an edge; it starts at b = 0.

    Args:
        x, y, low, high, group, weight, intercepts: as for ``quantile_trace.trace``.
        seed: of the noise that decides between events that coincide.

    Attributes:
        lambda_: the penalty.
        theta: (n,) duals in [low, high]; q = X' theta, (p,).
        d: how many columns Z has.
        elbow, x_elbow: observations with residual 0, and their rows of x; the first d count.
        z, cost, what, value: Z, c, what every column is of, and (b0, m, b) with what epsilon adds to it; likewise.
        inverse: of Z_E, with the costs as row ``spot`` on an edge.
        residual, side: (n, 2) y - fit with what epsilon adds to it; (n,) its sign, 0 in the elbow.
        sign, bound, num_bound, active: s_j, bound coefficients, how many of them a group has, active groups.
        events: all so far.
    """

    def __init__(
        self,
        x: np.ndarray,
        y: np.ndarray,
        low: np.ndarray,
        high: np.ndarray,
        group: np.ndarray,
        weight: np.ndarray,
        intercepts: int,
        seed: int,
    ) -> None:
        n, p = len(x), x.shape[1]
        self.x, self.y, self.low, self.high, self.intercepts = x, y, low, high, intercepts
        self.noise = np.random.default_rng(seed).uniform(-1.0, 1.0, n)
        self.data = np.stack([y, self.noise], axis=1)
        self.group, self.weight = group, weight
        self.first = np.flatnonzero(np.diff(group, prepend=-1))  # of every group, its first column
        self.members = [slice(a, b) for a, b in zip(self.first, [*self.first[1:], p], strict=True)]

        spread = np.abs(y).mean() or 1.0
        self.residual_tolerance = TOLERANCE * (np.abs(y) + min(spread, np.median(np.abs(y)) or spread))
        self.lengths = np.diff(self.first, append=p)
        self.span = high - low
        self.column_size = self.span @ np.abs(x)
        self.group_size = np.add.reduceat(self.column_size, self.first)

        capacity = min(n, p + intercepts) + 2
        self.z = np.zeros((n, capacity), order="F")
        self.cost = np.zeros(capacity)
        self.what = np.full(capacity, -1)  # of every column of z: -1 an intercept, j a free coefficient, p + g a group
        self.where = np.full(p + len(weight), -1)  # the other way round
        self.value = np.zeros((capacity, 2))  # of b0, m_g, b_j, and what epsilon adds to it
        self.elbow = np.full(capacity, -1)
        self.x_elbow = np.zeros((capacity, p))
        self.inverse = BorderedInverse(capacity)
        self.d = 0
        self.spot = -1  # the row of the costs, on an edge
        self.sign = np.zeros(p)  # s_j, 0 outside active groups
        self.bound = np.zeros(p, dtype=bool)
        self.num_bound = np.zeros(len(weight), dtype=int)
        self.active = np.zeros(len(weight), dtype=bool)
        self.moved = False  # whether the last edge changed a residual; ``advance`` says
        self.events: list[Event] = []
        self._start()
        self.q = self.theta @ self.x
        self.lambda_ = float((np.add.reduceat(np.abs(self.q), self.first) / self.weight).max())

    def _start(self) -> None:
        """b = 0, and every b0 the quantile of its observations."""
        n = len(self.y)
        self.residual = self.data.copy()
        self.side = np.where((self.y > 0) | ((self.y == 0) & (self.noise > 0)), 1.0, -1.0)
        blocks: Any = np.arange(n).reshape(self.intercepts, -1) if self.intercepts else []
        orders = [rows[np.lexsort((self.noise[rows], self.y[rows]))] for rows in blocks]
        at = [divide(self.low, self.high, order) for order in orders]
        for column, (rows, (below, i, above)) in enumerate(zip(blocks, at, strict=True)):
            self.side[below], self.side[i], self.side[above] = -1.0, 0.0, 1.0
            ones = np.zeros(n)
            ones[rows] = 1.0
            self._append_column(ones, 0.0, -1)
            self.value[column] = self.residual[i]
            self.residual[rows] -= self.residual[i]
            self._put_row(column, i)
        self.theta = np.where(self.side > 0, self.high, self.low)
        for below, i, above in at:
            rest = self.low[below].sum() + self.high[above].sum()
            self.theta[i] = min(max(-rest, self.low[i]), self.high[i])
        self.inverse.rebuild(self.z[self.elbow[: self.d], : self.d])

    def vertex(self) -> tuple[float, np.ndarray, np.ndarray, int, bool]:
        """(t, b0, b, elbow size, whether the edge before it has changed a residual)."""
        what, value = self.what[: self.d], self.value[: self.d, 0]
        radius = np.zeros(len(self.weight))
        groups = what >= len(self.sign)
        radius[what[groups] - len(self.sign)] = value[groups]
        b = self.sign * radius[self.group]
        free = (what >= 0) & ~groups
        b[what[free]] = value[free]
        elbow = self.d - (self.spot >= 0)
        return float(self.weight @ radius), value[: self.intercepts].copy(), b, elbow, self.moved

    def open(self, kind: str, index: int, extra=None) -> None:
        """Leave a vertex: take an observation out of the elbow, or a column into Z. The costs become a row."""
        d, p = self.d, len(self.sign)
        if kind == "leave":
            i = self.elbow[index]
            self._note(kind, i)
            self.side[i], self.theta[i] = extra, self.high[i] if extra > 0 else self.low[i]
            self.inverse.replace_row(index, self.cost[:d])
            self.elbow[index], self.spot = -1, index
            self.x_elbow[index] = 0.0
            return
        self._note(kind, index)
        if kind == "free":
            self.bound[index] = False
            self.num_bound[self.group[index]] -= 1
            column, cost, name = self.x[:, index], 0.0, index
            owner, s = int(self.where[p + self.group[index]]), self.sign[index]
        else:
            members = self.members[index]
            self.sign[members] = extra
            self.bound[members] = self.active[index] = True
            self.num_bound[index] = len(extra)
            column, cost, name = self.x[:, members] @ extra, self.weight[index], p + index
        self.inverse.border(column[self.elbow[:d]], self.cost[:d], cost)
        self._append_column(column, cost, name)
        self.elbow[d], self.spot = -1, d
        self.x_elbow[d] = 0.0
        if kind == "free":
            self.value[d] = s * self.value[owner]
            self._share(owner, d, -s)

    def meet(self, i: int) -> None:
        """Observation i joins the elbow, in the row of the costs."""
        self._note("meet", i)
        self.inverse.replace_row(self.spot, self.z[i, : self.d])
        self._put_row(self.spot, i)
        self.residual[i] = self.side[i] = 0.0

    def bind(self, at: int, other: bool) -> None:
        """The free coefficient in column ``at`` of Z is at its bound, on the side of s_j or on the other."""
        j = int(self.what[at])
        self._note("bound", j)
        if other:
            self.sign[j] = -self.sign[j]
        self._share(int(self.where[len(self.sign) + self.group[j]]), at, self.sign[j])
        self.bound[j] = True
        self.num_bound[self.group[j]] += 1
        self._remove_column(at)

    def _share(self, owner: int, at: int, sign: float) -> None:
        """z_g in column ``owner`` of Z takes ``sign`` times the column ``at``, of a coefficient of the group."""
        self.z[:, owner] += sign * self.z[:, at]
        self.inverse.add_column(owner, at, sign)

    def drop(self, at: int) -> None:
        """The group in column ``at`` of Z is zero."""
        g = int(self.what[at]) - len(self.sign)
        self._note("drop", g)
        members = self.members[g]
        self.sign[members] = 0.0
        self.bound[members] = self.active[g] = False
        self.num_bound[g] = 0
        self._remove_column(at)

    # --- bookkeeping --------------------------------------------------------------------------------------------------
    def _note(self, kind: str, index: int) -> None:
        t = float(self.cost[: self.d] @ self.value[: self.d, 0])
        self.events.append(Event(kind, int(index), t, self.lambda_))

    def sizes(self) -> np.ndarray:
        """(d,) sums of the absolute data that the columns of Z are made of."""
        bound = np.add.reduceat(np.where(self.bound, self.column_size, 0.0), self.first)
        ones = self.span.sum() / max(self.intercepts, 1)
        return np.concatenate([self.column_size, bound, [ones]])[self.what[: self.d]]

    def _append_column(self, column: np.ndarray, cost: float, name: int) -> None:
        d = self.d
        self.z[:, d], self.cost[d], self.what[d], self.value[d] = column, cost, name, 0.0
        if name >= 0:
            self.where[name] = d
        self.d = d + 1

    def _remove_column(self, at: int) -> None:
        """With the row of the costs; the last column and the last row of the elbow take their places."""
        self.inverse.remove(self.spot, at)
        last = self.d - 1
        self.where[self.what[at]] = -1
        if at != last:
            self.z[:, at], self.cost[at], self.what[at] = self.z[:, last], self.cost[last], self.what[last]
            self.value[at] = self.value[last]
            self.where[self.what[at]] = at
        self.elbow[self.spot] = self.elbow[last]
        self.x_elbow[self.spot] = self.x_elbow[last]
        self.d = last

    def _put_row(self, at: int, i: int) -> None:
        self.elbow[at] = i
        self.x_elbow[at] = self.x[i]

    def refresh(self) -> None:
        """All numbers anew from the elbow, the active groups and the signs alone."""
        d, p = self.d, len(self.sign)
        for column in np.flatnonzero(self.what[:d] >= p):
            members = self.members[self.what[column] - p]
            self.z[:, column] = self.x[:, members] @ np.where(self.bound[members], self.sign[members], 0.0)
        at = self.elbow[:d]
        self.inverse.rebuild(self.z[at, :d])
        self.value[:d] = self.inverse.value @ self.data[at]
        self.residual = self.data - self.z[:, :d] @ self.value[:d]
        self.residual[at] = 0.0
        self.q = self.theta @ self.x

    def polish(self) -> None:
        """Take out what an inverse leaves of Z_E value = y_E and of Z' theta = lambda c where columns almost repeat.

        The product with an inverse has an error of the condition number times that of elimination; a step of iterative
        refinement is as good as elimination.
        """
        d, p = self.d, len(self.sign)
        at, what, inverse = self.elbow[:d], self.what[:d], self.inverse.value
        z_elbow = self.z[at, :d]
        gap = self.data[at] - z_elbow @ self.value[:d]
        if not (np.abs(gap) <= 1e-3 * self.residual_tolerance[at, None]).all():  # NaN, too
            for _ in range(2):
                self.value[:d] += inverse @ gap
                gap = self.data[at] - z_elbow @ self.value[:d]
            self.residual = self.data - self.z[:, :d] @ self.value[:d]
            self.residual[at] = 0.0
            if not np.isfinite(self.value[:d]).all():
                raise LostError("its equations have become singular")

        sums = np.add.reduceat(np.where(self.bound, self.sign * self.q, 0.0), self.first)
        groups, free = what >= p, (what >= 0) & (what < p)
        gap = self.lambda_ * self.cost[:d]
        gap[groups] -= sums[what[groups] - p]
        gap[free] -= self.q[what[free]]
        q = self.intercepts
        gap[:q] -= self.theta @ self.z[:, :q]
        if (np.abs(gap) > 1e-2 * DUAL_TOLERANCE * self.sizes()).any():
            change = gap @ inverse
            self.theta[at] += change
            self.q += change @ self.x_elbow[:d]
