"""Span: the steps of a training between which a schedule changes something, given as numbers or as shares."""

from __future__ import annotations

import math
from typing import Any

from edgenet.compress.arguments import whole
from edgenet.compress.callbacks import Training
from edgenet.errors import PlanError


class Span:
    """From one step of a training to a later one.

    Args:
        rule: whose it is, for messages.
        start, end: whole numbers are steps; numbers with a decimal point, from 0.0 to 1.0, are shares of all steps of
            the training.

    Raises:
        PlanError: if one is neither, or ``start`` is not before ``end``.
    """

    def __init__(self, rule: str, start: int | float, end: int | float) -> None:
        self.rule = rule
        self.start, self.end = _place(rule, "start", start), _place(rule, "end", end)
        if type(self.start) is type(self.end) and self.start >= self.end:
            raise PlanError(f"{rule}: a schedule wants start < end, got {start} and {end}.")

    def steps(self, training: Training) -> tuple[int, int]:
        """The first and the last step.

        Raises:
            PlanError: if they are shares and the training does not tell how many steps it has, or the first one is not
                before the last one.
        """
        start, end = (self._step(place, training) for place in (self.start, self.end))
        if start >= end:
            raise PlanError(
                f"{self.rule}: a schedule wants start < end, and {self.start} to {self.end} of the "
                f"{training.total_steps} steps of this training are steps {start} to {end}: train longer, or give steps."
            )
        return start, end

    def progress(self, training: Training, step: int | None = None) -> float:
        """How far a step lies between the two, from 0 to 1. Default: the training's."""
        start, end = self.steps(training)
        step = training.step if step is None else step
        return min(max((step - start) / (end - start), 0.0), 1.0)

    def _step(self, place: int | float, training: Training) -> int:
        if isinstance(place, int):
            return place
        if training.total_steps is None:
            raise PlanError(
                f"{self.rule}: start and end are shares of a training, {self.start} and {self.end}, and this training "
                f"does not tell how many steps it has. Give steps as whole numbers, or set training.total_steps."
            )
        return round(place * training.total_steps)


def _place(rule: str, name: str, value: Any) -> int | float:
    if isinstance(value, float):
        if not (math.isfinite(value) and 0 <= value <= 1):
            raise PlanError(f"{rule}: {name} is a whole number of steps, or a share from 0.0 to 1.0, got {value!r}.")
        return value
    try:
        return whole(rule, name, value)
    except PlanError as error:
        text = str(error).removesuffix(".")
        raise PlanError(f"{text}; or a share of the training, from 0.0 to 1.0.") from None
