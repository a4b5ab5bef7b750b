"""Schedules: numbers that change while a model is trained."""

from __future__ import annotations

import re

from edgenet.compress.callbacks import Callback, Run
from edgenet.errors import PlanError
from edgenet.structured.density import number_of
from edgenet.structured.sparse import Sparse


def cubic_density(step: float, start: int, end: int, density: float, initial: float = 1.0) -> float:
    """The density at a step: ``initial`` until ``start``, ``density`` from ``end`` on, and between them

    d(t) = density + (initial - density) (1 - (t - start) / (end - start))^3,

    which takes most away early, while there is much to choose from. Zhu and Gupta 2017, eq. (1), with densities for
    sparsities.
    """
    done = min(max((step - start) / (end - start), 0.0), 1.0)
    return density + (initial - density) * (1 - done) ** 3


class Anneal(Callback):
    """Lower the density of sparse matrices step by step: doping (Thakker et al. 2021), and pruning.

    Every ``Sparse`` matrix of the model, alone or as the dopant of a ``Doped`` one, starts at the density ``initial``
    and keeps fewer and fewer of its largest entries. The masks are buffers: a checkpoint holds them.

    Args:
        density: at the end, in (0, 1].
        start, end: steps between which it falls. In the published recipes it starts after a tenth of the training and
            ends after half to six tenths.
        every: steps between two changes.
        initial: density at the beginning, in (0, 1].
        pattern: of the paths of the sparse matrices (``fc.weight.dopant``), for ``re.match``; a tied one has several.

    Raises:
        RankError: if a density is not in (0, 1].
        PlanError: if the steps are in no order; in ``on_start``, if no sparse matrix matches.
    """

    def __init__(
        self, density: float, start: int, end: int, every: int = 10, initial: float = 1.0, pattern: str = ".*"
    ) -> None:
        for share in (density, initial):
            number_of((1, 1), share)
        if not 0 <= start < end or every < 1:
            raise PlanError(f"a schedule wants 0 <= start < end and every from 1, got {start}, {end} and {every}.")
        self.density, self.start, self.end, self.every = density, start, end, every
        self.initial, self.pattern = initial, pattern

    def on_start(self, run: Run) -> None:
        self._set(run, self.initial)

    def after_step(self, run: Run) -> None:
        due = self.start <= run.step <= self.end and (run.step - self.start) % self.every == 0
        if due or run.step == self.end:
            self._set(run, cubic_density(run.step, self.start, self.end, self.density, self.initial))

    def _set(self, run: Run, density: float) -> None:
        paths = run.model.named_modules(remove_duplicate=False)
        found = {name: m for name, m in paths if isinstance(m, Sparse)}
        matched = dict.fromkeys(matrix for name, matrix in found.items() if re.match(self.pattern, name))
        if not matched:
            raise PlanError(
                f"there is no sparse matrix whose path matches {self.pattern!r}; there are "
                f"{', '.join(found) or 'none: compress_ with sparse or doped first'}."
            )
        for matrix in matched:
            matrix.set_density_(density)
