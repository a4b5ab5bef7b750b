"""Losses by name, and by what targets are of."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from edgenet.errors import ConfigError
from edgenet.text import did_you_mean
from edgenet.train.shapes import aligned, classes

Loss = Callable[[Any, Any], Tensor]


def _cross_entropy(scores: Tensor, target: Tensor) -> Tensor:
    scores, target = classes(scores, target)
    return F.cross_entropy(scores, target.long())


def _yes_or_no(scores: Tensor, target: Tensor) -> Tensor:
    scores, target = aligned(scores, target)
    return F.binary_cross_entropy_with_logits(scores, target.to(scores.dtype))


def _of_values(loss: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    def of(scores: Tensor, target: Tensor) -> Tensor:
        scores, target = aligned(scores, target)
        return loss(scores, target.to(scores.dtype))

    return of


#: Losses by name, and by the kind of target.
LOSSES: dict[str, Loss] = {
    "class": _cross_entropy,
    "multilabel": _yes_or_no,
    "value": _of_values(F.smooth_l1_loss),
    "cross_entropy": _cross_entropy,
    "binary_cross_entropy": _yes_or_no,
    "smooth_l1": _of_values(F.smooth_l1_loss),
    "mse": _of_values(F.mse_loss),
    "l1": _of_values(F.l1_loss),
}


def loss_of(thing: Any) -> Loss | None:
    """A loss by its name, or the callable itself.

    Raises:
        ConfigError: if it is neither.
    """
    if thing is None:
        return None
    if isinstance(thing, str):
        if thing not in LOSSES:
            raise ConfigError(
                f"no loss is called {thing!r}.{did_you_mean(thing, LOSSES)} There are {', '.join(LOSSES)}; a callable "
                f"(scores, target) is taken too."
            )
        return LOSSES[thing]
    if inspect.isclass(thing) or not callable(thing):
        raise ConfigError(f"a loss is a name or a callable (scores, target) -> scalar, got {thing!r}.")
    return thing


def kind_of(target: Any, name: str) -> str:
    """ "class" for whole numbers, "multilabel" for truths and for zeros and ones in several columns, else "value"."""
    if not isinstance(target, Tensor):
        raise ConfigError(f"{name}: the targets are a {type(target).__name__}; hand in a loss (scores, target).")
    if target.dtype == torch.bool:
        return "multilabel"
    if not target.is_floating_point():
        return "class"
    several = target.dim() > 1 and target.shape[-1] > 1
    return "multilabel" if several and bool(((target == 0) | (target == 1)).all()) else "value"
