"""The two moves of the parametric simplex method for penalised quantile regression, which ``QuantilePath`` is made of.

    minimise  sum_i rho(y_i - b0 - x_i b) + lambda * sum_g w_g * max_{j in g} |b_j|,   rho(r) = max(tau r, (tau - 1) r)

is a linear program for every lambda. Weights of observations, and several levels at once, change two things only: rho
has slopes [low_i, high_i] of its own, v_i (tau_i - 1) and v_i tau_i, and there is a b0 for each level. Between its
vertices the solution moves along straight edges, on each of which lambda is constant and t = sum_g w_g ||b_g||_inf
grows; at a vertex it waits while lambda falls. What describes it is

    elbow    the observations with residual 0; their duals theta are free in [low, high]
    active   the groups with a radius m_g > 0. Within one, a coefficient is *bound* (|b_j| = m_g) or *free* (below)
    Z        (n, d): ones for every b0, z_g = sum of s_j x_j over the bound j of each active group, x_j for free
             coefficients; their values are (b0, m_g, b_j), and c (d,) holds the costs (0, w_g, 0)

and is optimal while, with q = X' theta, all theta_i of the elbow lie in [low, high], q_j = 0 for free j,
s_j q_j >= 0 for bound j with sum_{j in g} |q_j| = lambda w_g, and ||q_g||_1 <= lambda w_g for the other groups.
At a vertex the elbow has d observations: Z_E is square, and as lambda falls theta_E moves along -Z_E^-T c until an
observation leaves the elbow, a bound coefficient becomes free, or a group enters. On an edge it has d - 1, and
(b0, m, b) moves along v with Z_E v = 0 and c'v = 1 until a residual meets 0, a free coefficient meets its bound, or a
radius meets 0. The inverse of Z_E, on edges with c as one more row, is updated from event to event.

Degenerate data (ties in y, integers, repeated rows) put several events at one point, and a simplex method that settles
them by rounding errors may go round in circles. Here y stands for y + epsilon * noise with an infinitely small epsilon:
solutions carry a second component, the factor of epsilon, which decides between events that coincide in the first. No
two coincide in both, so t grows with every step and none comes back. The solutions returned are those of y itself,
each checked by a ``Certificate`` (``quantile_trace``): what rounding errors spoil is left off, with a warning.

The derivation is our own; for the l1 penalty (groups of one column) it is the path of Li and Zhu 2008, "L1-norm
quantile regression".
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgenet.estimators.quantile_solution import DUAL_TOLERANCE, TOLERANCE, LostError, Solution

#: A rate this small beside the terms it is the sum of is a rounding error, and no event follows from it.
NOISE = 1e-12


def lower(now: Solution, floor: float) -> tuple[Any, ...] | None:
    """Lower lambda to the next event: ("leave", row of the elbow, sign), ("free", column), ("enter", group, signs).

    None where ``floor`` comes first.
    """
    d, theta, q = now.d, now.theta, now.q
    at = now.elbow[:d]
    rate_theta = -(now.cost[:d] @ now.inverse.value)
    rate_q = rate_theta @ now.x_elbow[:d]

    approach = -now.sign * rate_q
    turning = np.flatnonzero(now.bound & (approach > 0) & (now.num_bound > 1)[now.group])
    room = np.where(rate_theta > 0, now.high[at] - theta[at], theta[at] - now.low[at])
    slack = np.concatenate([room, (now.sign * q)[turning]])
    rate = np.concatenate([np.abs(rate_theta), approach[turning]])
    size = np.concatenate([np.ones(d), now.column_size[turning]])
    tolerance = DUAL_TOLERANCE * np.concatenate([now.span[at], now.column_size[turning]])
    fall, event = now.lambda_ - floor, None
    usable = rate > 0
    while usable.any():
        reach = np.where(usable, (slack + tolerance) / rate, np.inf).min()
        tied = usable & (slack / rate <= reach)
        best = int(np.argmax(np.where(tied, rate / size, -1.0)))  # the largest pivot, for the inverse's sake
        if best < d:
            terms = np.abs(now.cost[:d]) @ np.abs(now.inverse.value[:, best])
        else:
            terms = np.abs(rate_theta) @ np.abs(now.x_elbow[:d, turning[best - d]])
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
        excess = np.add.reduceat(np.abs(moved), now.first) - (now.lambda_ - fall) * now.weight
        over = np.flatnonzero(~now.active & (excess > DUAL_TOLERANCE * now.group_size))
        if not len(over):
            break
        slope = np.add.reduceat(np.where(moved < 0, -rate_q, rate_q), now.first)[over] + now.weight[over]
        roots = np.where(slope > 0, fall - excess[over] / slope, 0.0)
        best = int(np.argmin(roots))
        event = ("enter", int(over[best]))
        if not 0.0 < roots[best] < fall:
            fall = min(fall, max(float(roots[best]), 0.0))
            break
        fall = float(roots[best])
    # where the data are interpolated at lambda = 0, every event is to happen there
    if event is None or fall >= now.lambda_ * (1 - 1e-9):
        event, fall = None, now.lambda_ - floor
    theta[at] += fall * rate_theta
    q += fall * rate_q
    now.lambda_ -= fall
    if event is not None and event[0] == "enter":
        columns = now.members[event[1]]
        signs = np.sign(np.where(np.abs(q[columns]) > NOISE * now.column_size[columns], q[columns], rate_q[columns]))
        event = (*event, np.where(signs == 0, 1.0, signs))
    return event


def advance(now: Solution, t_max: float) -> bool:
    """Move along the edge to the next event and take it. Whether the path ends there."""
    d, p = now.d, len(now.sign)
    what, value = now.what[:d], now.value[:d]
    v = now.inverse.value[:, now.spot].copy()
    rate_residual = -(now.z[:, :d] @ v)

    approach = -now.side * rate_residual
    meeting = np.flatnonzero(approach > 0)
    free = np.flatnonzero((what >= 0) & (what < p))
    s = now.sign[what[free]]
    owner = now.where[p + now.group[what[free]]]
    groups = np.flatnonzero(what >= p)
    lone = groups[now.num_bound[what[groups] - p] == now.lengths[what[groups] - p]]
    # |b_j| <= m_g seen from the side of s_j, from the other side, and m_g >= 0 where no free b_j is met before
    height, height_rate = s[:, None] * value[free], s * v[free]
    slack = np.concatenate(
        [
            now.side[meeting, None] * now.residual[meeting],
            value[owner] - height,
            value[owner] + height,
            value[lone],
        ]
    )
    rate = np.concatenate([approach[meeting], height_rate - v[owner], -v[owner] - height_rate, -v[lone]])
    # rounding errors of a coefficient are small beside what the largest of all does to the fit, and no smaller
    worth = now.sizes()
    error, speed = ((np.abs(a) * worth)[now.intercepts :].max(initial=0.0) / worth for a in (value[:, 0], v))
    columns = np.concatenate([free, free, lone])
    tolerance = np.concatenate([now.residual_tolerance[meeting], TOLERANCE * error[columns]])
    usable = rate > np.concatenate([np.zeros(len(meeting)), NOISE * speed[columns]])
    while True:
        reach = np.where(usable, (slack[:, 0] + tolerance) / rate, np.inf).min(initial=np.inf)
        if not reach < np.inf:  # NaN, too
            raise LostError("an edge has no end")
        tied = np.flatnonzero(usable & (slack[:, 0] / rate <= reach))
        best = int(tied[np.argmin(slack[tied, 1] / rate[tied])])
        if best < len(meeting):
            i = meeting[best]
            if rate[best] <= NOISE * (np.abs(now.z[i, :d]) @ np.abs(v)):
                usable[best] = False
                continue
        break
    step = slack[best] / rate[best]
    step[0] = max(step[0], 0.0)
    now.moved = bool((np.abs(rate_residual) * step[0] > now.residual_tolerance).any())
    t = float(now.cost[:d] @ value[:, 0])
    done = t + step[0] >= t_max
    if done:
        step[0] = max(t_max - t, 0.0)
    value += np.multiply.outer(v, step)
    now.residual += np.multiply.outer(rate_residual, step)
    if done:
        return True
    if best < len(meeting):
        now.meet(int(meeting[best]))
    elif best < len(meeting) + 2 * len(free):
        other, at = divmod(best - len(meeting), len(free))
        now.bind(int(free[at]), bool(other))
    else:
        now.drop(int(lone[best - len(meeting) - 2 * len(free)]))
    now.spot = -1
    return False
