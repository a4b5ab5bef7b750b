"""Schedules: numbers that change while a model is trained."""

from __future__ import annotations

from torch import nn

from edgenet.compress.arguments import whole
from edgenet.compress.callbacks import Callback, Training
from edgenet.compress.matrices import checked_pattern, matching_matrices, others_settled
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
    and keeps fewer and fewer of its largest entries. Past ``end`` it changes nothing, also where a training is resumed
    there. The masks are buffers: a checkpoint holds them. Matrices that another callback puts in later, before some
    epoch, come in at the density of that step.

    Args:
        density: at the end, in (0, 1].
        start, end: steps between which it falls. In the published recipes it starts after a tenth of the training and
            ends after half to six tenths.
        every: steps between two changes.
        initial: density at the beginning, in (0, 1].
        pattern: of the paths of the sparse matrices (``fc.weight.dopant``), for ``re.match``; a tied one has several.

    Raises:
        RankError: if a density is not in (0, 1].
        PlanError: if the steps are in no order, or the pattern is no regular expression; in ``on_start``, if no sparse
            matrix matches and no other callback has yet to put structures in; in ``after_step``, if there still is none
            when the density is to fall.
    """

    def __init__(
        self, density: float, start: int, end: int, every: int = 10, initial: float = 1.0, pattern: str = ".*"
    ) -> None:
        for share in (density, initial):
            number_of((1, 1), share)
        self.start, self.end = whole("Anneal", "start", start), whole("Anneal", "end", end)
        self.every = whole("Anneal", "every", every, 1)
        if start >= end:
            raise PlanError(f"Anneal: a schedule wants start < end, got {start} and {end}.")
        self.density, self.initial, self.pattern = density, initial, checked_pattern("Anneal", pattern)
        self._begun: dict[int, Sparse] = {}  # by identity: the matrices that follow the schedule

    def on_start(self, training: Training) -> None:
        self._begun = {}
        if others_settled(self, training):
            self._matched(training.model)
        self._begin(training)

    def on_optimizer(self, training: Training) -> None:
        self._begin(training)

    def after_step(self, training: Training) -> None:
        due = self.start <= training.step <= self.end and (training.step - self.start) % self.every == 0
        if due or training.step == self.end:
            for matrix in self._matched(training.model, f"at step {training.step} ", "let it start after that"):
                matrix.set_density_(self._density(training.step))

    def settled(self, training: Training) -> bool:
        """Once the last density is reached."""
        return training.step >= self.end

    def _begin(self, training: Training) -> None:
        """Give matrices that are new the density of now."""
        for matrix in self._found(training.model).values():
            if id(matrix) not in self._begun:
                self._begun[id(matrix)] = matrix
                matrix.set_density_(self._density(training.step))

    def _density(self, step: int) -> float:
        return cubic_density(step, self.start, self.end, self.density, self.initial)

    def _matched(self, model: nn.Module, when: str = "", order: str = "put Compress before Anneal") -> list[Sparse]:
        matched = self._found(model)
        if not matched:
            known = [name for name, module in model.named_modules() if isinstance(module, Sparse)]
            none = f"none: compress_ with sparse or doped first, or where a callback does, {order}"
            raise PlanError(
                f"Anneal: {when}there is no sparse matrix whose path matches {self.pattern!r}; there are "
                f"{', '.join(known) or none}."
            )
        return list(matched.values())

    def _found(self, model: nn.Module) -> dict[int, Sparse]:
        """The sparse matrices that match, each once."""
        return {key: matrix for key, (_, matrix) in matching_matrices(model, Sparse, self.pattern).items()}
