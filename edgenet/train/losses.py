"""Losses by name, and by what targets are of."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgenet.errors import ConfigError, ShapeError
from edgenet.text import did_you_mean
from edgenet.train.shapes import aligned, classes, names_classes

Loss = Callable[[Any, Any], Tensor]


def _cross_entropy(scores: Tensor, target: Tensor) -> Tensor:
    scores, target = classes(scores, target)
    try:
        return F.cross_entropy(scores, target.long())
    except IndexError as error:  # not looked for before: a look takes as long as the loss
        raise ShapeError(
            f"the model gives {scores.shape[-1]} scores a row, for classes 0 to {scores.shape[-1] - 1}, and the "
            f"targets are {int(target.min())} to {int(target.max())}. Rows without a class belong in no mask."
        ) from error


def _yes_or_no(scores: Tensor, target: Tensor) -> Tensor:
    scores, target = aligned(scores, target)
    return F.binary_cross_entropy_with_logits(scores, target.to(scores.dtype))


def _squared_hinge(scores: Tensor, target: Tensor) -> Tensor:
    """mean of max(0, 1 - t y)^2 over rows and classes, with t = 1 for the class of a row and -1 for the others
    (Courbariaux et al. 2016). Truths, and numbers that are -1 or 1, are the t themselves, one for every score."""
    if names_classes(target):
        scores, target = classes(scores, target)
        if target.numel() and not 0 <= int(target.min()) <= int(target.max()) < scores.shape[-1]:
            raise ShapeError(
                f"the model gives {scores.shape[-1]} scores a row, for classes 0 to {scores.shape[-1] - 1}, and the "
                f"targets are {int(target.min())} to {int(target.max())}. Rows without a class belong in no mask."
            )
        sides = 2 * F.one_hot(target.long(), scores.shape[-1]).to(scores.dtype) - 1
    else:
        scores, target = aligned(scores, target)
        sides = 2 * target.to(scores.dtype) - 1 if target.dtype == torch.bool else target.to(scores.dtype)
        if not bool((sides.abs() == 1).all()):
            raise ShapeError(
                "squared_hinge wants targets of -1 and 1, truths, or whole numbers of classes; of zeros and ones make "
                "truths: target.bool()."
            )
    return (1 - sides * scores).clamp_min(0).square().mean()


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
    "squared_hinge": _squared_hinge,
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
    if isinstance(thing, nn.Module) and any(p.requires_grad for p in thing.parameters()):
        raise ConfigError(
            f"the loss {type(thing).__name__} has parameters that want a gradient, and fit trains those of the model "
            f"alone. Make the loss a part of the model, or freeze it: loss.requires_grad_(False)."
        )
    return thing


def name_of(loss: Loss) -> str:
    """The name of a loss, or of the function or class that it is."""
    for name, known in LOSSES.items():
        if known is loss:
            return name
    while isinstance(loss, partial):
        loss = loss.func
    return getattr(loss, "__qualname__", type(loss).__qualname__)


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
