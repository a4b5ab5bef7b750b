"""The path of a penalised quantile regression from end to end, followed event by event and proved as it goes."""

from __future__ import annotations

import warnings
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgenet.estimators.quantile_certificate import Certificate
from edgenet.estimators.quantile_simplex import NOISE, advance, lower
from edgenet.estimators.quantile_solution import Event, LostError, Solution, divide

#: Edges between two inversions from scratch, which end the growth of rounding errors; after trouble, after every edge.
REFRESH = 40
#: Solutions that are proved at a time.
BATCH = 64


@dataclass(frozen=True)
class Trace:
    """The vertices of a path in the order of growing t.

    Attributes:
        t: (V,) radii.
        lambda_: (V,) vertex k is optimal for lambda in [lambda_[k], lambda_[k - 1]] (vertex 0: from lambda_[0] up), and
            the edge from it to vertex k + 1 is optimal at lambda_[k]. Does not increase.
        intercept: (V, number of b0).
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


def trace(
    x: np.ndarray,
    y: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    group: np.ndarray,
    weight: np.ndarray,
    intercepts: int = 1,
    lambda_min: float = 0.0,
    t_max: float = np.inf,
    max_groups: int | None = None,
) -> Trace:
    """The path from b = 0 down to ``lambda_min``, where observation i with residual r loses max(high_i r, low_i r).

    Args:
        x: (n, p) finite numbers, no column of which is 0 throughout (or, with an intercept, constant).
        y: (n,) finite numbers.
        low, high: (n,) below and above 0: tau - 1 and tau, times a weight of the observation.
        group: (p,) group of each column, 0 .. G - 1, not decreasing, each occurring.
        weight: (G,) positive.
        intercepts: how many b0 there are, which are not penalised: the observations are that many blocks of one length,
            one after the other, and each has its own. 0 for none.
        lambda_min: where to stop; at 0 the last vertex solves the unpenalised problem.
        t_max: the radius at which to stop.
        max_groups: stop before one more group than this would be active.

    Warns:
        PathWarning: if rounding errors ended the path above ``lambda_min``. What is returned is correct down to there.
    """
    if not x.shape[1]:
        blocks: Any = np.arange(len(y)).reshape(intercepts, -1) if intercepts else []
        at = [y[divide(low, high, rows[np.argsort(y[rows], kind="stable")])[1]] for rows in blocks]
        met = (y.reshape(intercepts or 1, -1) == (np.array(at)[:, None] if intercepts else 0.0)).sum()
        return Trace(np.zeros(1), np.zeros(1), np.array(at)[None], np.zeros((1, 0)), np.array([met]), [])
    # powers of two, so that whole numbers stay exact
    x_scale, y_scale, weight_scale, span = (
        2.0 ** np.round(np.log2(np.abs(a).mean() or 1.0)) for a in (x, y, weight, high - low)
    )
    t_scale, lambda_scale = weight_scale * y_scale / x_scale, x_scale * span / weight_scale
    scaled = x / x_scale, y / y_scale, low / span, high / span, group, weight / weight_scale, intercepts
    paths = []
    for seed in range(3):  # other noise is another order of events that coincide
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):  # rates of 0 are left out afterwards
            walk = _Walk(*scaled, seed, REFRESH if seed == 0 else 1)
            path, trouble = walk.run(lambda_min / lambda_scale, t_max / t_scale, max_groups)
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


class _Walk:
    """One attempt at a path, with what was passed so far.

    Args:
        x, y, low, high, group, weight, intercepts: as for ``trace``, scaled.
        seed: of ``Solution``.
        refresh: edges between two inversions from scratch.
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
        refresh: int,
    ) -> None:
        self.now = Solution(x, y, low, high, group, weight, intercepts, seed)
        self.refresh = refresh
        # the path so far; the duals of solutions from the last proved one on
        self.vertices: list[tuple[float, np.ndarray, np.ndarray, int, bool]] = []
        self.lambdas: list[float] = []
        self.duals: list[np.ndarray] = []
        self.proved = 0
        self.certificate = Certificate(x, y, low, high, self.now.first, weight)

    def run(self, lambda_min, t_max, max_groups) -> tuple[Trace, str]:
        """The path, and what ended it too early, if anything did."""
        now = self.now
        floor = max(lambda_min, NOISE * min(now.lambda_, float((now.group_size / now.weight).min())))
        start, trouble = now.lambda_, ""
        mark, patience = (0.0, np.inf), 0
        self.vertices.append(now.vertex())
        try:
            while True:
                event = lower(now, floor)
                self.lambdas.append(now.lambda_)
                self.duals.append(now.theta.copy())
                if len(self.duals) > BATCH:
                    self._prove()
                if event is None:
                    break
                if event[0] == "enter" and max_groups is not None and now.active.sum() >= max_groups:
                    break
                now.open(*event)
                done = advance(now, t_max)
                if not done:
                    if len(self.vertices) % self.refresh == 0:
                        now.refresh()
                    now.polish()
                solution = now.vertex()
                t = solution[0]
                if t < mark[0] * (1 - 1e-8):
                    raise LostError("its radius falls")
                self.vertices.append(solution)
                if done:
                    break
                if t > mark[0] * (1 + 1e-9) or now.lambda_ < mark[1] * (1 - 1e-9):
                    mark, patience = (t, now.lambda_), 100 + 5 * sum(now.x.shape)
                patience -= 1
                if patience < 0:
                    raise LostError("its events repeat")
            self._prove()
            if event is None:
                if not self.certificate.ends(*self.vertices[-1][1:3], now.lambda_ - lambda_min):
                    raise LostError("its last penalty is not small for all groups")
                self.lambdas[-1] = lambda_min
        except (LostError, np.linalg.LinAlgError) as error:
            trouble = str(error)
            with suppress(LostError):  # it cuts off what is wrong
                self._prove()
        lambdas = self.lambdas
        if len(lambdas) < len(self.vertices):  # the last is the end of an edge
            lambdas.append(lambdas[-1] if lambdas else start)
        return self._trace(self.vertices, lambdas), trouble

    def _prove(self) -> None:
        """Check the solutions since the last time by their duals; leave off the first that is wrong, and all after it.

        Raises:
            LostError: if one is.
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
        raise LostError("its solutions are no longer optimal to 8 digits")

    def _trace(self, vertices, lambdas) -> Trace:
        t, intercept, coef, elbow, moved = (np.array(column) for column in zip(*vertices, strict=True))
        t = np.maximum.accumulate(t)  # it falls by rounding errors only, see ``run``
        coef[t == 0] = 0.0
        long = (np.diff(t) > NOISE * t[1:]) | moved[1:]  # edges without length join two copies of one vertex
        ends = np.flatnonzero(np.concatenate([long, [True]]))  # the last copy of every vertex
        return Trace(t[ends], np.array(lambdas)[ends], intercept[ends], coef[ends], elbow[ends], self.now.events)
