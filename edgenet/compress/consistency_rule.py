"""Consistency: the callback by which a model agrees with itself over several stochastic passes."""

from __future__ import annotations

from torch import Tensor

from edgenet.compress.arguments import number, whole
from edgenet.compress.callbacks import Callback, Training
from edgenet.compress.consistency_loss import consistency
from edgenet.errors import ConfigError, ShapeError


class Consistency(Callback):
    """Every step reads its batch several times, with dropout of its own each time, and adds weight * ``consistency`` of
    the passes to the loss, which is the mean over them: Feng et al. 2020 (GRAND), eq. 5-8.

    It looks at all rows of the output, with a label or without. Any model serves that draws random numbers in training:
    dropout of features, of nodes, of attention.

    Args:
        passes: S, 2 or more.
        temperature: T > 0 of the sharpened mean.
        weight: of the distance in the loss, at least 0.

    Raises:
        PlanError: if an argument is out of range.
        ConfigError: in ``penalty``, if the loop reads batches once only.
        ShapeError: in ``penalty``, if the model gives no scores of classes, or the data have several labels at once.

    Example:
        >>> rule = edgenet.compress.Consistency(passes=2)  # for fit(..., callbacks=[rule])
    """

    def __init__(self, passes: int = 4, temperature: float = 0.5, weight: float = 1.0) -> None:
        self.passes = whole("Consistency", "passes", passes, low=2)
        self.temperature = number("Consistency", "temperature", temperature, above=True)
        self.weight = number("Consistency", "weight", weight)

    def draws(self, training: Training) -> int:
        return self.passes

    def penalty(self, training: Training) -> Tensor:
        outputs = training.outputs[: self.passes]
        if len(outputs) < self.passes:
            raise ConfigError(
                f"Consistency compares {self.passes} passes over a batch, and this loop has {len(outputs)} in "
                f"training.outputs: train with edgenet.fit, or put there what the model says in training.draws()."
            )
        wrong = next((type(one).__name__ for one in outputs if not isinstance(one, Tensor)), None)
        if wrong is not None:
            raise ShapeError(f"Consistency: a model that agrees with itself gives a tensor of scores, got a {wrong}.")
        target = getattr(training.batch, "target", None)
        if isinstance(target, Tensor) and _several(target):
            raise ShapeError(
                "Consistency compares distributions over classes, and these data have several labels at once: "
                "their rows do not sum to 1."
            )
        # at half precision shares of many classes lose what tells passes apart
        scores = [one.float() if one.element_size() < 4 else one for one in outputs]
        return self.weight * consistency(scores, self.temperature)


def _several(target: Tensor) -> bool:
    """Whether targets are zeros and ones, and not one of them a row."""
    if not target.is_floating_point() or target.dim() < 2:
        return False
    return bool(((target == 0) | (target == 1)).all()) and bool((target.sum(-1) != 1).any())
