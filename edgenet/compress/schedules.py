"""Schedules: numbers that change while a model is trained."""

from __future__ import annotations

import math

from torch import nn

from edgenet.compress.arguments import flag, number, whole
from edgenet.compress.callbacks import Callback, Training
from edgenet.compress.density_budget import bases, check_entries, entries_for_ratio, keep_largest_
from edgenet.compress.matrices import checked_pattern, matching_matrices, others_settled
from edgenet.compress.rates import Rates
from edgenet.compress.span import Span
from edgenet.errors import PlanError
from edgenet.structured.density import number_of
from edgenet.structured.sparse import Sparse

_DOPANT = 0.3  # of the optimizer's rate


def cubic_density(step: float, start: int, end: int, density: float, initial: float = 1.0) -> float:
    """The density at a step: ``initial`` until ``start``, ``density`` from ``end`` on, and between them

    d(t) = density + (initial - density) (1 - (t - start) / (end - start))^3,

    which takes most away early, while there is much to choose from. Zhu and Gupta 2017, eq. (1), with densities for
    sparsities.

    Example:
        >>> edgenet.compress.cubic_density(50, start=0, end=100, density=0.0)
        0.125
    """
    done = min(max((step - start) / (end - start), 0.0), 1.0)
    return density + (initial - density) * (1 - done) ** 3


class Anneal(Callback):
    """Lower the density of sparse matrices step by step: doping (Thakker et al. 2021), and pruning.

    Every ``Sparse`` matrix of the model, alone or as the dopant of a ``Doped`` one, starts at the density ``initial``
    and keeps fewer and fewer of its largest entries. Past ``end`` it changes nothing, also where a training is resumed
    there. The masks are buffers: a checkpoint holds them. Matrices that another callback puts in later, before some
    epoch, come in at the density of that step.

    Dopants learn at 0.3 times the optimizer's rate: an entry moves one output, and a number of the structure beside it
    many. Schedules of the optimizer scale that along.

    Args:
        density: at the end, in (0, 1].
        start, end: steps between which it falls, whole numbers; or shares of all steps of the training, 0.1 and 0.6.
            Entries that are there by 0.6 have time to settle; at 0.9 they have not.
        every: steps between two changes.
        initial: density at the beginning, in (0, 1].
        pattern: of the paths of the sparse matrices (``fc.weight.dopant``), for ``re.match``; a tied one has several.
        ratio: instead of a density, how many times fewer numbers a matrix has at the end than its (m, n) entries,
            above 1. The parameters of a base count: floor(m n / ratio) less these are left to the dopant beside it.
        together: one budget for all matrices that match, and one threshold: those with more large entries keep more.
            The exact total stands at the end, and no matrix is empty.
        relative: with ``together``, whether magnitudes are measured in each matrix's own root mean square.
        rate: of the sparse numbers, times the optimizer's. None: 0.3 for dopants, 1 for matrices that stand alone.

    Raises:
        RankError: if a density is not in (0, 1].
        PlanError: if the steps are in no order, there is not exactly one of density and ratio, another argument is out
            of range, or the pattern is no regular expression; in ``on_start``, if no sparse matrix matches and no other
            callback has yet to put structures in, if a ratio leaves nothing or more than ``initial``, or if steps are
            shares and the training does not tell how many it has; in ``on_optimizer``, if a loop of one's own has not
            asked for rates; in ``after_step``, if there still is none when the density is to fall.

    Example:
        >>> rule = edgenet.compress.Anneal(density=0.05, start=0.1, end=0.6)  # for fit(..., callbacks=[rule])
    """

    def __init__(
        self,
        density: float | None = None,
        start: int | float = 0.1,
        end: int | float = 0.6,
        every: int = 10,
        initial: float = 1.0,
        pattern: str = ".*",
        *,
        ratio: float | None = None,
        together: bool = False,
        relative: bool = True,
        rate: float | None = None,
    ) -> None:
        if (density is None) == (ratio is None):
            raise PlanError(f"Anneal: give one of density and ratio, got {density!r} and {ratio!r}.")
        for share in (initial if density is None else density, initial):
            number_of((1, 1), share)
        if density is not None and density > initial:
            raise PlanError(f"Anneal: a density falls; from {initial!r} to {density!r} it would rise.")
        self.span = Span("Anneal", start, end)
        self.every = whole("Anneal", "every", every, 1)
        self.density, self.initial, self.pattern = density, initial, checked_pattern("Anneal", pattern)
        self.ratio = None if ratio is None else number("Anneal", "ratio", ratio, 1, above=True)
        self.together, self.relative = flag("Anneal", "together", together), flag("Anneal", "relative", relative)
        self.rate = None if rate is None else number("Anneal", "rate", rate, above=True)
        self._begun: dict[int, Sparse] = {}  # by identity: the matrices that follow the schedule
        self._asked: set[int] = set()  # those whose rates the optimizer has

    def on_start(self, training: Training) -> None:
        self._begun, self._asked = {}, set()
        self.span.steps(training)
        if others_settled(self, training):
            self._matched(training.model)
        self._begin(training)

    def rates(self, training: Training) -> Rates:
        found = self._found(training.model)
        self._asked = set(found)
        factors = self._factors(training.model)
        return [{"params": list(matrix.parameters()), "times": factors[key]} for key, (_, matrix) in found.items()]

    def on_optimizer(self, training: Training) -> None:
        self._begin(training)
        if any(times != 1 for key, times in self._factors(training.model).items() if key not in self._asked):
            raise PlanError(
                "Anneal: this loop has not asked for the rates of its dopants: call training.regroup_(optimizer) when "
                "the optimizer has been made, train with edgenet.fit, or set rate=1."
            )

    def after_step(self, training: Training) -> None:
        start, end = self.span.steps(training)
        due = start <= training.step <= end and (training.step - start) % self.every == 0
        if due or training.step == end:
            matrices = self._matched(training.model, f"at step {training.step} ", "let it start after that")
            self._set_(training, matrices)

    def settled(self, training: Training) -> bool:
        """Once the last density is reached."""
        return training.step >= self.span.steps(training)[1]

    # ---------------------------------------------------------------- densities
    def _begin(self, training: Training) -> None:
        """Give matrices that are new the density of now."""
        found = self._found(training.model)
        new = [both for key, both in found.items() if key not in self._begun]
        if new:
            self._begun.update({id(matrix): matrix for _, matrix in new})
            self._set_(training, list(found.values()) if self.together else new)

    def _set_(self, training: Training, matrices: list[tuple[str, Sparse]]) -> None:
        """Give matrices the density of this step."""
        if self.together:
            self._set_together_(training, matrices)
            return
        for (path, matrix), density in zip(matrices, self._last(training.model, matrices), strict=True):
            self._check_fall(path, math.prod(matrix.shape), number_of(matrix.shape, density))
            matrix.set_density_(cubic_density(training.step, *self.span.steps(training), density, self.initial))

    def _last(self, model: nn.Module, matrices: list[tuple[str, Sparse]]) -> list[float]:
        """Their densities at the end."""
        if self.ratio is None:
            return [float(self.density or 0)] * len(matrices)
        numbers = check_entries("Anneal", matrices, model, self.ratio)
        return [number / math.prod(matrix.shape) for number, (_, matrix) in zip(numbers, matrices, strict=True)]

    def _set_together_(self, training: Training, matrices: list[tuple[str, Sparse]]) -> None:
        entries = sum(math.prod(matrix.shape) for _, matrix in matrices)
        if self.ratio is None:
            last = number_of((1, entries), self.density)
        else:
            last = sum(entries_for_ratio(matrices, training.model, self.ratio))
            if last < len(matrices):
                raise PlanError(
                    f"Anneal: a ratio of {self.ratio:g} leaves {last} entries for {len(matrices)} sparse matrices "
                    f"beside their bases. Take a smaller ratio, or smaller bases."
                )
        self._check_fall("all together", entries, last)
        now = cubic_density(training.step, *self.span.steps(training), last / entries, self.initial)
        keep_largest_([matrix for _, matrix in matrices], max(len(matrices), round(now * entries)), self.relative)

    def _check_fall(self, whose: str, entries: int, last: int) -> None:
        if last > (first := number_of((1, entries), self.initial)):
            raise PlanError(
                f"Anneal: {whose} begins with {first} of {entries} entries and is to end with {last}: a density falls. "
                f"Take a larger initial."
            )

    def _factors(self, model: nn.Module) -> dict[int, float]:
        """Of the optimizer's rate, for every matrix by identity."""
        dopants = bases(model)
        every = self._found(model)
        return {key: (_DOPANT if key in dopants else 1.0) if self.rate is None else self.rate for key in every}

    # ---------------------------------------------------------------- the matrices
    def _matched(
        self, model: nn.Module, when: str = "", order: str = "put Compress before Anneal"
    ) -> list[tuple[str, Sparse]]:
        matched = self._found(model)
        if not matched:
            known = [name for name, module in model.named_modules() if isinstance(module, Sparse)]
            none = f"none: compress_ with sparse or doped first, or where a callback does, {order}"
            raise PlanError(
                f"Anneal: {when}there is no sparse matrix whose path matches {self.pattern!r}; there are "
                f"{', '.join(known) or none}."
            )
        return list(matched.values())

    def _found(self, model: nn.Module) -> dict[int, tuple[str, Sparse]]:
        """The sparse matrices that match, each once, with one of their paths."""
        return matching_matrices(model, Sparse, self.pattern)
