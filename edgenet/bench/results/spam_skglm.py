"""Sparse additive models beside skglm, which solves the same problem."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from importlib.metadata import version
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from edgenet.bench.harness.peers import left_out
from edgenet.bench.harness.timing import Implementation, timed
from edgenet.bench.results.spam_simulation import draw_task
from edgenet.estimators import SpAM
from edgenet.estimators.backfitting import Fit, backfit
from edgenet.estimators.losses import Logistic, Loss, Squared
from edgenet.estimators.smoother import SplineSmoother
from edgenet.text import markdown_table

#: (task, n, p)
PROBLEMS = [("regression", 150, 200), ("regression", 400, 1000), ("classification", 400, 1000)]
ROUNDS, TOLERANCE, LOOSE = 3, 1e-6, 1e-4
LOSSES: dict[str, type[Loss]] = {"regression": Squared, "classification": Logistic}


class Problem:
    """A group lasso on the splines of ``SpAM``, the penalties of its path, and ways to solve it at all of them.

    Attributes:
        penalties: (m,), falling.
        answers: by the name of a way, the solutions of its last call: (m, p v) coefficients and (m,) intercepts.
    """

    def __init__(self, task: str, x: np.ndarray, y: np.ndarray) -> None:
        self.task, self.y, self.loss = task, y.astype(float), LOSSES[task]
        self.penalties = SpAM(task).fit(x, y).path_.penalties
        self.smoother = SplineSmoother(x)
        self.columns = np.asfortranarray(self.smoother.design.transpose(2, 0, 1).reshape(len(x), -1))  # (n, p v)
        self.answers: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def ours(self, name: str) -> None:
        """Backfitting, as ``SpAM`` calls it."""
        fits: list[Fit] = []
        for penalty in self.penalties:
            start = fits[-1] if fits else None
            fits.append(backfit(self.smoother, self.y, self.loss, penalty, start, tolerance=TOLERANCE))
        p, v = self.smoother.design.shape[:2]
        w = np.zeros((len(fits), p, v))
        for row, fit in zip(w, fits, strict=True):
            for j, c in fit.coefficients.items():
                row[j] = c
        self.answers[name] = w.reshape(len(fits), -1), np.array([fit.intercept for fit in fits])

    def skglm(self, name: str, known: bool, tolerance: float) -> None:
        """The same by skglm, every penalty begun at the solution before.

        Args:
            known: whether to tell it the bounds of curvature of the blocks, all 1 (1/4 in classification), which else
                it finds at every penalty by a singular value decomposition of every block. With them,
                classification runs by the quicker of its two solvers.
            tolerance: of the distance from stationarity, relative to the largest penalty.
        """
        from skglm.penalties import WeightedGroupL2
        from skglm.solvers import GroupBCD, GroupProxNewton

        n, width = self.columns.shape
        p, v = self.smoother.design.shape[:2]
        blocks = np.arange(0, width + 1, v).astype(np.int32), np.arange(width).astype(np.int32)
        classifies = self.task == "classification"
        datafit = _datafits()[self.task, known](*blocks)
        kind = GroupProxNewton if classifies and not known else GroupBCD
        # the columns have mean zero: in regression the intercept is the mean
        solver = kind(max_iter=1000, tol=tolerance * self.penalties[0], fit_intercept=classifies)
        intercept = self.loss.intercept(self.y)
        target = 2 * self.y - 1 if classifies else self.y - intercept
        w, total = np.zeros(width + classifies), np.zeros(n)
        if classifies:
            w[-1] = intercept
            total += intercept
        found = np.empty((len(self.penalties), len(w)))
        for row, penalty in zip(found, self.penalties, strict=True):
            shrinks = WeightedGroupL2(penalty, np.ones(p), *blocks)
            row[:] = w = solver.solve(self.columns, target, datafit, shrinks, w, total)[0]  # moves w and total
        self.answers[name] = found[:, :width], found[:, -1] if classifies else np.full(len(found), intercept)

    def objectives(self, name: str) -> np.ndarray:
        """(m,) at the solutions of the last call."""
        found = []
        for w, intercept, penalty in zip(*self.answers[name], self.penalties, strict=True):
            norms = np.linalg.norm(w.reshape(len(self.smoother.design), -1), axis=1)
            found.append(self.loss.value(self.y, self.columns @ w + intercept) + penalty * norms.sum())
        return np.array(found)


@cache
def _datafits() -> dict[tuple[str, bool], Any]:
    """By (task, whether the constants are known), a class of skglm's."""
    from skglm.datafits import LogisticGroup, QuadraticGroup

    class KnownQuadratic(QuadraticGroup):
        def get_lipschitz(self, X, y):
            return np.ones(len(self.grp_ptr) - 1)

    class KnownLogistic(LogisticGroup):
        def initialize(self, X, y):
            self.lipschitz = np.full(len(self.grp_ptr) - 1, 0.25)

        def get_lipschitz(self, X, y):
            return np.full(len(self.grp_ptr) - 1, 0.25)

        def intercept_update_step(self, y, Xw):  # the inverse of the bound is 4; skglm takes 1/4
            return 4 * np.mean(-y / (1 + np.exp(y * Xw)))

    return {
        ("regression", False): QuadraticGroup, ("regression", True): KnownQuadratic,
        ("classification", False): LogisticGroup, ("classification", True): KnownLogistic,
    }  # fmt: skip


def beside_skglm() -> list[str]:
    """The paragraphs and the table."""
    reason = left_out("skglm")
    ways: dict[str, Callable[[Problem, str], None]] = {"edgenet": Problem.ours}
    if reason is None:
        ways |= {
            "skglm": lambda problem, name: problem.skglm(name, False, TOLERANCE),
            "skglm, bounds given": lambda problem, name: problem.skglm(name, True, TOLERANCE),
            f"skglm, bounds given, {LOOSE:.0e}": lambda problem, name: problem.skglm(name, True, LOOSE),
        }
    rows = []
    for task, n, p in PROBLEMS:
        problem = Problem(task, *draw_task(task, n, p, 0))
        calls = [Implementation(name, {"path": partial(way, problem, name)}, dict) for name, way in ways.items()]
        with threadpool_limits(1):
            timed_rows = timed(calls, ROUNDS)
        objectives = {name: problem.objectives(name) for name in problem.answers}
        least = np.min(list(objectives.values()), axis=0)
        for row in timed_rows:
            name = row["name"]
            if row["failed"] is not None:
                rows.append((f"{task}, {n} x {p}", name, row["failed"], "-", "-"))
                continue
            seconds = row["times"]["path"]["minimum"]
            excess = float((objectives[name] / least - 1).max())
            ours = timed_rows[0]["times"]["path"]["minimum"]
            rows.append((f"{task}, {n} x {p}", name, f"{seconds:.3f}", f"{seconds / ours:.1f}", f"{excess:.0e}"))
    text = (
        f"The path beside skglm{'' if reason else ' ' + version('skglm')}, which solves the same group lasso by block "
        "coordinate descent in code compiled by numba (compiling is not counted): the same orthonormal splines, 6 a "
        "feature, and the penalties of `SpAM`'s path, each begun at the solution before. Building the splines and "
        "choosing on the path are counted for neither. *Excess*: by how much an objective lies above the lowest of "
        "all rows, relative to it, at the worst penalty."
    )
    note = (
        f"skglm stops where the distance from stationarity is {TOLERANCE:.0e} of the largest penalty ({LOOSE:.0e} in "
        "its last row); our sweeps stop where no function moves by more than that share. As it comes, skglm finds "
        "bounds on the curvature of every block anew at each penalty. Orthonormal blocks have known ones, and with "
        "*bounds given* it is told them, through a class of ours: a favour its users do not have."
    )
    table = markdown_table(("problem", "", "seconds", "times ours", "excess"), rows)
    return [text, table, reason or note]
