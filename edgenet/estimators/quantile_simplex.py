"""Every solution of one penalised quantile regression: the parametric simplex method behind ``QuantilePath``.

    minimise  sum_i rho(y_i - b0 - x_i b) + lambda * sum_g w_g * max_{j in g} |b_j|,   rho(r) = max(tau r, (tau - 1) r)

is a linear program for every lambda. Between its vertices the solution moves along straight edges, on each of which
lambda is constant and t = sum_g w_g ||b_g||_inf grows; at a vertex it waits while lambda falls. What describes it is

    elbow    the observations with residual 0; their duals theta are free in [tau - 1, tau]
    active   the groups with a radius m_g > 0. Within one, a coefficient is *bound* (|b_j| = m_g) or *free* (below)
    Z        (n, d): the intercept's ones, z_g = sum of s_j x_j over the bound j of each active group, x_j for free
             coefficients; their values are (b0, m_g, b_j), and c (d,) holds the costs (0, w_g, 0)

and is optimal while, with q = X' theta, all theta_i of the elbow lie in [tau - 1, tau], q_j = 0 for free j,
s_j q_j >= 0 for bound j with sum_{j in g} |q_j| = lambda w_g, and ||q_g||_1 <= lambda w_g for the other groups.
At a vertex the elbow has d observations: Z_E is square, and as lambda falls theta_E moves along -Z_E^-T c until an
observation leaves the elbow, a bound coefficient becomes free, or a group enters. On an edge it has d - 1, and
(b0, m, b) moves along v with Z_E v = 0 and c'v = 1 until a residual meets 0, a free coefficient meets its bound, or a
radius meets 0. The inverse of Z_E, on edges with c as one more row, is updated from event to event.

Degenerate data (ties in y, integers, repeated rows) put several events at one point, and a simplex method that settles
them by rounding errors may go round in circles. Here y stands for y + epsilon * noise with an infinitely small epsilon:
solutions carry a second component, the factor of epsilon, which decides between events that coincide in the first. No
two coincide in both, so t grows with every step and none comes back. The solutions returned are those of y itself,
each checked by a ``Certificate``: what rounding errors spoil is left off, with a warning.

The derivation is our own; for the l1 penalty (groups of one column) it is the path of Li and Zhu 2008, "L1-norm
quantile regression".
"""

from __future__ import annotations

import warnings
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .bordered import BorderedInverse
from .quantile_certificate import Certificate

#: Slacks below this, relative to the data, are 0: well above rounding errors, well below what is asked of objectives.
TOLERANCE = 1e-11
DUAL_TOLERANCE = 1e-13
#: A rate this small beside the terms it is the sum of is a rounding error, and no event follows from it.
NOISE = 1e-12
#: Edges between two inversions from scratch, which end the growth of rounding errors; after trouble, after every edge.
REFRESH = 40
#: Solutions that are proved at a time.
BATCH = 64


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


@dataclass(frozen=True)
class Trace:
    """The vertices of a path in the order of growing t.

    Attributes:
        t: (V,) radii.
        lambda_: (V,) vertex k is optimal for lambda in [lambda_[k], lambda_[k - 1]] (vertex 0: from lambda_[0] up), and
            the edge from it to vertex k + 1 is optimal at lambda_[k]. Does not increase.
        intercept: (V,).
        coef: (V, p).
        elbow: (V,) observations with residual 0.
        events: everything that happened, also what took no step.
    """

    t: np.ndarray
    lambda_: np.ndarray
    intercept: np.ndarray
    coef: np.ndarray
    elbow: np.ndarray
    events: list[Event]


class PathWarning(RuntimeWarning):
    """Rounding errors ended a path before its end."""


class _Lost(ArithmeticError):
    pass


def trace(
    x: np.ndarray,
    y: np.ndarray,
    tau: float,
    group: np.ndarray,
    weight: np.ndarray,
    intercept: bool = True,
    lambda_min: float = 0.0,
    t_max: float = np.inf,
    max_groups: int | None = None,
) -> Trace:
    """The path from b = 0 down to ``lambda_min``.

    Args:
        x: (n, p) finite numbers, no column of which is 0 throughout (or, with an intercept, constant).
        y: (n,) finite numbers.
        tau: in (0, 1).
        group: (p,) group of each column, 0 .. G - 1, not decreasing, each occurring.
        weight: (G,) positive.
        intercept: whether there is a b0, which is not penalised.
        lambda_min: where to stop; at 0 the last vertex solves the unpenalised problem.
        t_max: the radius at which to stop.
        max_groups: stop before one more group than this would be active.

    Warns:
        PathWarning: if rounding errors ended the path above ``lambda_min``. What is returned is correct down to there.
    """
    if not x.shape[1]:
        at = float(np.quantile(y, tau, method="inverted_cdf")) if intercept else 0.0
        return Trace(np.zeros(1), np.zeros(1), np.array([at]), np.zeros((1, 0)), np.array([(y == at).sum()]), [])
    # powers of two, so that whole numbers stay exact
    x_scale, y_scale, weight_scale = (2.0 ** np.round(np.log2(np.abs(a).mean() or 1.0)) for a in (x, y, weight))
    t_scale, lambda_scale = weight_scale * y_scale / x_scale, x_scale / weight_scale
    scaled = x / x_scale, y / y_scale, tau, group, weight / weight_scale, intercept
    paths = []
    for seed in range(3):  # other noise is another order of events that coincide
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):  # rates of 0 are left out afterwards
            simplex = _Simplex(*scaled, seed, REFRESH if seed == 0 else 1)
            path, trouble = simplex.run(lambda_min / lambda_scale, t_max / t_scale, max_groups)
        paths.append(path)
        if not trouble:
            break
    best = paths[-1] if not trouble else min(paths, key=lambda path: path.lambda_[-1])
    if trouble:
        warnings.warn(
            f"The path of {x.shape[0]} observations and {x.shape[1]} columns was followed down to lambda = "
            f"{best.lambda_[-1] * lambda_scale:.6g} only: {trouble}, where its events are as small as rounding errors. "
            "Columns of very different sizes or that nearly repeat each other cause this: rescale or remove some.",
            PathWarning,
            stacklevel=4,  # who called fit
        )
    return Trace(
        best.t * t_scale,
        best.lambda_ * lambda_scale,
        best.intercept * y_scale,
        best.coef * (y_scale / x_scale),
        best.elbow,
        [Event(kind, which, t * t_scale, at * lambda_scale) for kind, which, t, at in best.events],
    )


class _Simplex:
    def __init__(self, x, y, tau, group, weight, intercept, seed, refresh):
        n, p = x.shape
        self.x, self.y, self.tau, self.intercept = x, y, tau, intercept
        self.noise = np.random.default_rng(seed).uniform(-1.0, 1.0, n)
        self.data = np.stack([y, self.noise], axis=1)
        self.group, self.weight = group, weight
        self.first = np.flatnonzero(np.diff(group, prepend=-1))  # of every group, its first column
        self.members = [slice(a, b) for a, b in zip(self.first, [*self.first[1:], p], strict=True)]

        spread = np.abs(y).mean() or 1.0
        self.residual_tolerance = TOLERANCE * (np.abs(y) + min(spread, np.median(np.abs(y)) or spread))
        self.lengths = np.diff(self.first, append=p)
        self.column_size = np.abs(x).sum(0)
        self.group_size = np.add.reduceat(self.column_size, self.first)

        capacity = min(n, p + intercept) + 2
        self.z = np.zeros((n, capacity), order="F")
        self.cost = np.zeros(capacity)
        self.what = np.full(capacity, -1)  # of every column of z: -1 the intercept, j a free coefficient, p + g a group
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
        self.moved = False  # whether the last edge changed a residual
        self.events: list[Event] = []
        self.refresh = refresh
        # the path so far; the duals of solutions from the last proved one on
        self.vertices: list[tuple[float, float, np.ndarray, int, bool]] = []
        self.lambdas: list[float] = []
        self.duals: list[np.ndarray] = []
        self.proved = 0
        self.certificate = Certificate(x, y, tau, self.first, weight)

    # --- the path -----------------------------------------------------------------------------------------------------
    def run(self, lambda_min, t_max, max_groups) -> tuple[Trace, str]:
        """The path, and what ended it too early, if anything did."""
        self._start()
        self.q = self.theta @ self.x
        self.lambda_ = float((np.add.reduceat(np.abs(self.q), self.first) / self.weight).max())
        floor = max(lambda_min, NOISE * min(self.lambda_, float((self.group_size / self.weight).min())))
        start, trouble = self.lambda_, ""
        mark, patience = (0.0, np.inf), 0
        self.vertices.append(self._solution())
        try:
            while True:
                event = self._fall(floor)
                self.lambdas.append(self.lambda_)
                self.duals.append(self.theta.copy())
                if len(self.duals) > BATCH:
                    self._prove()
                if event is None:
                    break
                if event[0] == "enter" and max_groups is not None and self.active.sum() >= max_groups:
                    break
                self._open(*event)
                done = self._advance(t_max)
                if not done:
                    if len(self.vertices) % self.refresh == 0:
                        self._refresh()
                    self._polish()
                solution = self._solution()
                t = solution[0]
                if t < mark[0] * (1 - 1e-8):
                    raise _Lost("its radius falls")
                self.vertices.append(solution)
                if done:
                    break
                if t > mark[0] * (1 + 1e-9) or self.lambda_ < mark[1] * (1 - 1e-9):
                    mark, patience = (t, self.lambda_), 100 + 5 * sum(self.x.shape)
                patience -= 1
                if patience < 0:
                    raise _Lost("its events repeat")
            self._prove()
            if event is None:
                if not self.certificate.ends(*self.vertices[-1][1:3], self.lambda_ - lambda_min):
                    raise _Lost("its last penalty is not small for all groups")
                self.lambdas[-1] = lambda_min
        except (_Lost, np.linalg.LinAlgError) as error:
            trouble = str(error)
            with suppress(_Lost):  # it cuts off what is wrong
                self._prove()
        lambdas = self.lambdas
        if len(lambdas) < len(self.vertices):  # the last is the end of an edge
            lambdas.append(lambdas[-1] if lambdas else start)
        return self._trace(self.vertices, lambdas), trouble

    def _prove(self) -> None:
        """Check the solutions since the last time by their duals; leave off the first that is wrong, and all after it.

        Raises:
            _Lost: if one is.
        """
        _, intercept, coef, _, _ = (np.array(column) for column in zip(*self.vertices[self.proved :], strict=True))
        theta, lambda_ = np.array(self.duals), np.array(self.lambdas[self.proved :])
        if not len(theta):
            return
        right = self.certificate.holds(intercept, coef, theta, lambda_)
        wrong = np.flatnonzero(~right.all(1))
        if not len(wrong):
            del self.duals[:-1]
            self.proved = len(self.lambdas) - 1
            return
        k = self.proved + int(wrong[0])
        end = self.lambdas[max(k - 1, 0)]
        if right[wrong[0], 1]:  # as the end of its edge it is right
            k += 1
        del self.vertices[k:], self.lambdas[k:], self.duals[:]
        self.lambdas[-1] = end
        raise _Lost("its solutions are no longer optimal to 8 digits")

    def _start(self) -> None:
        """b = 0 and b0 the tau-quantile of y, the observation that has ceil(n tau) - 1 below it."""
        n = len(self.y)
        self.residual = self.data.copy()
        self.side = np.zeros(n)
        if self.intercept:
            order = np.lexsort((self.noise, self.y))
            rank = min(max(int(np.ceil(n * self.tau - 1e-9)), 1), n) - 1
            at = order[rank]
            self.side[order[:rank]], self.side[order[rank + 1 :]] = -1.0, 1.0
            self._append_column(np.ones(n), 0.0, -1)
            self.value[0] = self.residual[at]
            self.residual -= self.residual[at]
            self._put_row(0, at)
        else:
            self.side[:] = np.where((self.y > 0) | ((self.y == 0) & (self.noise > 0)), 1.0, -1.0)
        self.theta = np.where(self.side > 0, self.tau, self.tau - 1.0)
        if self.intercept:
            self.theta[at] = min(max(self.theta[at] - self.theta.sum(), self.tau - 1.0), self.tau)
        self.inverse.rebuild(self.z[self.elbow[: self.d], : self.d])

    def _solution(self):
        """(t, b0, b, elbow size, whether the edge before it has changed a residual)."""
        what, value = self.what[: self.d], self.value[: self.d, 0]
        radius = np.zeros(len(self.weight))
        groups = what >= len(self.sign)
        radius[what[groups] - len(self.sign)] = value[groups]
        b = self.sign * radius[self.group]
        free = (what >= 0) & ~groups
        b[what[free]] = value[free]
        elbow = self.d - (self.spot >= 0)
        return float(self.weight @ radius), float(value[0]) if self.intercept else 0.0, b, elbow, self.moved

    def _trace(self, vertices, lambdas) -> Trace:
        t, intercept, coef, elbow, moved = (np.array(column) for column in zip(*vertices, strict=True))
        t = np.maximum.accumulate(t)  # it falls by rounding errors only, see ``run``
        coef[t == 0] = 0.0
        long = (np.diff(t) > NOISE * t[1:]) | moved[1:]  # edges without length join two copies of one vertex
        ends = np.flatnonzero(np.concatenate([long, [True]]))  # the last copy of every vertex
        return Trace(t[ends], np.array(lambdas)[ends], intercept[ends], coef[ends], elbow[ends], self.events)

    # --- at a vertex: lambda falls ------------------------------------------------------------------------------------
    def _fall(self, floor: float):
        """Lower lambda to the next event: ("leave", row of the elbow, sign), ("free", column), ("enter", group, signs).

        None where ``floor`` comes first.
        """
        d, theta, q = self.d, self.theta, self.q
        at = self.elbow[:d]
        rate_theta = -(self.cost[:d] @ self.inverse.value)
        rate_q = rate_theta @ self.x_elbow[:d]

        approach = -self.sign * rate_q
        turning = np.flatnonzero(self.bound & (approach > 0) & (self.num_bound > 1)[self.group])
        room = np.where(rate_theta > 0, self.tau - theta[at], theta[at] - (self.tau - 1.0))
        slack = np.concatenate([room, (self.sign * q)[turning]])
        rate = np.concatenate([np.abs(rate_theta), approach[turning]])
        size = np.concatenate([np.ones(d), self.column_size[turning]])
        fall, event = self.lambda_ - floor, None
        usable = rate > 0
        while usable.any():
            reach = np.where(usable, (slack + DUAL_TOLERANCE * size) / rate, np.inf).min()
            tied = usable & (slack / rate <= reach)
            best = int(np.argmax(np.where(tied, rate / size, -1.0)))  # the largest pivot, for the inverse's sake
            if best < d:
                terms = np.abs(self.cost[:d]) @ np.abs(self.inverse.value[:, best])
            else:
                terms = np.abs(rate_theta) @ np.abs(self.x_elbow[:d, turning[best - d]])
            if rate[best] <= NOISE * terms:
                usable[best] = False
                continue
            ratio = max(slack[best] / rate[best], 0.0)
            if ratio < fall:
                fall = ratio
                event = ("leave", best, np.sign(rate_theta[best])) if best < d else ("free", turning[best - d])
            break

        # An inactive group enters at the root of the convex, piecewise linear ||q_g + k rate_g||_1 - (lambda - k) w_g.
        # Newton's method from the right of the roots of all groups goes down to the smallest of them.
        while True:
            moved = q + fall * rate_q
            excess = np.add.reduceat(np.abs(moved), self.first) - (self.lambda_ - fall) * self.weight
            over = np.flatnonzero(~self.active & (excess > DUAL_TOLERANCE * self.group_size))
            if not len(over):
                break
            slope = np.add.reduceat(np.where(moved < 0, -rate_q, rate_q), self.first)[over] + self.weight[over]
            roots = np.where(slope > 0, fall - excess[over] / slope, 0.0)
            best = int(np.argmin(roots))
            event = ("enter", int(over[best]))
            if not 0.0 < roots[best] < fall:
                fall = min(fall, max(float(roots[best]), 0.0))
                break
            fall = float(roots[best])
        # where the data are interpolated at lambda = 0, every event is to happen there
        if event is None or fall >= self.lambda_ * (1 - 1e-9):
            event, fall = None, self.lambda_ - floor
        theta[at] += fall * rate_theta
        q += fall * rate_q
        self.lambda_ -= fall
        if event is not None and event[0] == "enter":
            columns = self.members[event[1]]
            signs = np.sign(
                np.where(np.abs(q[columns]) > NOISE * self.column_size[columns], q[columns], rate_q[columns])
            )
            event = (*event, np.where(signs == 0, 1.0, signs))
        return event

    def _open(self, kind: str, index: int, extra=None) -> None:
        """Leave a vertex: take an observation out of the elbow, or a column into Z. The costs become a row."""
        d, p = self.d, len(self.sign)
        if kind == "leave":
            i = self.elbow[index]
            self._note(kind, i)
            self.side[i], self.theta[i] = extra, self.tau if extra > 0 else self.tau - 1.0
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

    # --- on an edge: t grows ------------------------------------------------------------------------------------------
    def _advance(self, t_max: float) -> bool:
        """Move along the edge to the next event and take it. Whether the path ends there."""
        d, p = self.d, len(self.sign)
        what, value = self.what[:d], self.value[:d]
        v = self.inverse.value[:, self.spot].copy()
        rate_residual = -(self.z[:, :d] @ v)

        approach = -self.side * rate_residual
        meeting = np.flatnonzero(approach > 0)
        free = np.flatnonzero((what >= 0) & (what < p))
        s = self.sign[what[free]]
        owner = self.where[p + self.group[what[free]]]
        groups = np.flatnonzero(what >= p)
        lone = groups[self.num_bound[what[groups] - p] == self.lengths[what[groups] - p]]
        # |b_j| <= m_g seen from the side of s_j, from the other side, and m_g >= 0 where no free b_j is met before
        height, height_rate = s[:, None] * value[free], s * v[free]
        slack = np.concatenate(
            [
                self.side[meeting, None] * self.residual[meeting],
                value[owner] - height,
                value[owner] + height,
                value[lone],
            ]
        )
        rate = np.concatenate([approach[meeting], height_rate - v[owner], -v[owner] - height_rate, -v[lone]])
        # rounding errors of a coefficient are small beside what the largest of all does to the fit, and no smaller
        worth = self._sizes()
        first_coefficient = int(self.intercept)
        error, speed = ((np.abs(a) * worth)[first_coefficient:].max(initial=0.0) / worth for a in (value[:, 0], v))
        columns = np.concatenate([free, free, lone])
        tolerance = np.concatenate([self.residual_tolerance[meeting], TOLERANCE * error[columns]])
        usable = rate > np.concatenate([np.zeros(len(meeting)), NOISE * speed[columns]])
        while True:
            reach = np.where(usable, (slack[:, 0] + tolerance) / rate, np.inf).min(initial=np.inf)
            if not reach < np.inf:  # NaN, too
                raise _Lost("an edge has no end")
            tied = np.flatnonzero(usable & (slack[:, 0] / rate <= reach))
            best = int(tied[np.argmin(slack[tied, 1] / rate[tied])])
            if best < len(meeting):
                i = meeting[best]
                if rate[best] <= NOISE * (np.abs(self.z[i, :d]) @ np.abs(v)):
                    usable[best] = False
                    continue
            break
        step = slack[best] / rate[best]
        step[0] = max(step[0], 0.0)
        self.moved = bool((np.abs(rate_residual) * step[0] > self.residual_tolerance).any())
        t = float(self.cost[:d] @ value[:, 0])
        done = t + step[0] >= t_max
        if done:
            step[0] = max(t_max - t, 0.0)
        value += np.multiply.outer(v, step)
        self.residual += np.multiply.outer(rate_residual, step)
        if done:
            return True
        if best < len(meeting):
            self._meet(int(meeting[best]))
        elif best < len(meeting) + 2 * len(free):
            other, at = divmod(best - len(meeting), len(free))
            self._bind(int(free[at]), bool(other))
        else:
            self._drop(int(lone[best - len(meeting) - 2 * len(free)]))
        self.spot = -1
        return False

    def _meet(self, i: int) -> None:
        """Observation i joins the elbow, in the row of the costs."""
        self._note("meet", i)
        self.inverse.replace_row(self.spot, self.z[i, : self.d])
        self._put_row(self.spot, i)
        self.residual[i] = self.side[i] = 0.0

    def _bind(self, at: int, other: bool) -> None:
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

    def _drop(self, at: int) -> None:
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

    def _sizes(self) -> np.ndarray:
        """(d,) sums of the absolute data that the columns of Z are made of."""
        bound = np.add.reduceat(np.where(self.bound, self.column_size, 0.0), self.first)
        return np.concatenate([self.column_size, bound, [len(self.y)]])[self.what[: self.d]]

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

    def _refresh(self) -> None:
        """All numbers anew from the elbow, the active groups and the signs alone."""
        d, p = self.d, len(self.sign)
        for at in np.flatnonzero(self.what[:d] >= p):
            members = self.members[self.what[at] - p]
            self.z[:, at] = self.x[:, members] @ np.where(self.bound[members], self.sign[members], 0.0)
        at = self.elbow[:d]
        self.inverse.rebuild(self.z[at, :d])
        self.value[:d] = self.inverse.value @ self.data[at]
        self.residual = self.data - self.z[:, :d] @ self.value[:d]
        self.residual[at] = 0.0
        self.q = self.theta @ self.x

    def _polish(self) -> None:
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
                raise _Lost("its equations have become singular")

        sums = np.add.reduceat(np.where(self.bound, self.sign * self.q, 0.0), self.first)
        groups, free = what >= p, (what >= 0) & (what < p)
        gap = self.lambda_ * self.cost[:d]
        gap[groups] -= sums[what[groups] - p]
        gap[free] -= self.q[what[free]]
        if self.intercept:
            gap[0] -= self.theta.sum()
        if (np.abs(gap) > 1e-2 * DUAL_TOLERANCE * self._sizes()).any():
            change = gap @ inverse
            self.theta[at] += change
            self.q += change @ self.x_elbow[:d]
