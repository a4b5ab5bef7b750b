"""Weights of observations, and several levels at once, as one path: every level has a copy of the observations."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgenet.estimators.quantile_solution import Event
from edgenet.estimators.quantile_trace import trace


@dataclass(frozen=True)
class Problem:
    """What is asked of the data, apart from the data:

    minimise  sum_k sum_i v_i rho_k(y_i - b0_k - x_i b_k) + lambda * sum_g w_g * max_{k, j in g} |b_kj|,
    rho_k(r) = max(tau_k r, (tau_k - 1) r)

    Attributes:
        taus: T levels.
        group: (p,) number of each column's group.
        group_weight: (G,) w.
        intercept: whether there are b0.
        limits: lambda_min, t_max and max_groups of ``trace``.
    """

    taus: Sequence[float]
    group: np.ndarray
    group_weight: np.ndarray
    intercept: bool
    limits: tuple[float, float, int | None]


@dataclass(frozen=True)
class LevelPath:
    """The vertices of a path in the order of growing t; see ``Trace``.

    Attributes:
        t, lambda_, elbow: (V,).
        intercept: (V, T).
        coef: (V, T, p).
        events: groups by number. Columns and observations by number, and with several levels as (level, number).
    """

    t: np.ndarray
    lambda_: np.ndarray
    intercept: np.ndarray
    coef: np.ndarray
    elbow: np.ndarray
    events: list[Event]


def follow(problem: Problem, x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> LevelPath:
    """The path of (n, p) columns and an (n,) response with weights v, (n,). Observations of weight 0 take no part."""
    rows = np.flatnonzero(weight)
    x, y, weight = x[rows], y[rows], weight[rows]
    levels, (n, p) = len(problem.taus), x.shape
    x_centre, y_centre = np.zeros(p), 0.0
    if problem.intercept:  # a value of the data itself, so that whole numbers stay whole
        x_centre = np.quantile(x, 0.5, axis=0, method="lower")
        y_centre = float(np.quantile(y, 0.5, method="lower"))
    x, y = x - x_centre, y - y_centre

    columns = np.tile((x != 0).any(axis=0), levels)  # not those of zeros only
    groups = np.tile(problem.group, levels)
    columns = (order := np.argsort(groups, kind="stable"))[columns[order]]
    present, group = np.unique(groups[columns], return_inverse=True)
    stacked = np.zeros((levels, n, len(columns)))
    for k, level in enumerate(stacked):
        own = columns // p == k
        level[:, own] = x[:, columns[own] - k * p]
    path = trace(
        stacked.reshape(levels * n, -1),
        np.tile(y, levels),
        np.concatenate([(tau - 1.0) * weight for tau in problem.taus]),
        np.concatenate([tau * weight for tau in problem.taus]),
        group,
        problem.group_weight[present],
        levels * problem.intercept,
        *problem.limits,
    )
    coef = np.zeros((len(path.t), levels * p))
    coef[:, columns] = path.coef
    coef = coef.reshape(-1, levels, p)
    intercept = np.zeros((len(path.t), levels))
    if problem.intercept:
        intercept = path.intercept + y_centre - coef @ x_centre

    def name(kind: str, which: Any) -> Hashable:
        if kind in ("enter", "drop"):
            return int(present[which])
        level, number = divmod(int(columns[which]), p) if kind in ("free", "bound") else divmod(which, n)
        number = number if kind in ("free", "bound") else int(rows[number])
        return number if levels == 1 else (level, number)

    events = [Event(kind, name(kind, which), t, lambda_) for kind, which, t, lambda_ in path.events]
    return LevelPath(path.t, path.lambda_, intercept, coef, path.elbow, events)
