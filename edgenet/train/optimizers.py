"""Optimizers and schedulers: by name, or made by a function that is handed in."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import lr_scheduler

from edgenet.config import OptimizerTable, SchedulerTable
from edgenet.errors import ConfigError
from edgenet.train.groups import grouped
from edgenet.train.shift_ada_max import ShiftAdaMax

Optimizer = torch.optim.Optimizer
MakeOptimizer = Callable[[Iterable[Any]], Optimizer]
MakeScheduler = Callable[[Optimizer], Any]

#: The optimizers, by name. torch has fused steps for the first three.
OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
    "radam": torch.optim.RAdam,
    "adamax": torch.optim.Adamax,
    "shift_adamax": ShiftAdaMax,
}
_FUSED = ("adam", "adamw", "sgd")


def optimizer_of(
    model: nn.Module, table: OptimizerTable, make: MakeOptimizer | None = None, scaled: bool = False
) -> Optimizer:
    """The optimizer of a model's parameters.

    Args:
        scaled: whether a ``GradScaler`` takes the steps.
        make: a function of the parameters, in the place of the table: ``partial(torch.optim.RMSprop, lr=0.01)``.

    Raises:
        ConfigError: if an optimizer was handed in instead of a function, it wants to be called with a closure, the
            model has no parameters, or lacks a part that ``decay_on`` or ``rate_on`` names.
    """
    parameters = list(model.parameters())
    if not parameters:
        raise ConfigError(f"the {type(model).__name__} has no parameters to train.")
    if make is not None:
        check_maker(make)
        made = make(parameters)
        if not isinstance(made, Optimizer):
            raise ConfigError(f"optimizer= is a function that returns an optimizer, it gave {made!r}.")
        if isinstance(made, torch.optim.LBFGS):
            raise ConfigError("LBFGS asks for the loss several times in a step, which fit does not give. Try adam.")
        closure = inspect.signature(made.step).parameters.get("closure")
        if closure is not None and closure.default is inspect.Parameter.empty:
            raise ConfigError(f"{type(made).__name__}.step wants a closure, which fit does not give. Try adam.")
        return made
    momentum = {"momentum": table.momentum} if table.name == "sgd" else {}
    plain = table.decay_on == "all" and not table.rate_on
    groups: list[Any] = parameters if plain else grouped(model, table)
    # one kernel for all numbers instead of a dozen for each tensor: as long as a layer, where tensors are small
    fused = not scaled and all(p.device.type == "cpu" and p.is_floating_point() for p in parameters)
    extra = {**momentum, **({"fused": fused or None} if table.name in _FUSED else {})}
    return OPTIMIZERS[table.name](groups, lr=table.lr, weight_decay=table.weight_decay, **extra)


def check_maker(make: Any) -> None:
    """Refuse a finished optimizer: callbacks may change the parameters before it would be used.

    Raises:
        ConfigError: with the remedy.
    """
    if isinstance(make, Optimizer):
        kind = type(make).__name__
        raise ConfigError(
            f"fit makes the optimizer itself, when callbacks have seen the model. Hand in how: optimizer=lambda "
            f"parameters: torch.optim.{kind}(parameters, lr=...), or functools.partial(torch.optim.{kind}, lr=...)."
        )
    if not callable(make):
        raise ConfigError(f"optimizer= is a name or a function of the parameters, got {make!r}.")


def scheduler_of(
    optimizer: Optimizer, table: SchedulerTable, epochs: int, make: MakeScheduler | None = None
) -> Any | None:
    """The scheduler of an optimizer, which steps once an epoch; None where rates stay.

    Args:
        make: a function of the optimizer, in the place of the table.

    Raises:
        ConfigError: if a scheduler was handed in instead of a function.
    """
    if make is not None:
        if hasattr(make, "step") or not callable(make):
            raise ConfigError(
                f"scheduler= is a name or a function of the optimizer, which fit makes itself: scheduler=lambda "
                f"optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 30); got {make!r}."
            )
        return _fitting(make(optimizer), epochs)
    if table.name == "none" and not table.warmup:
        return None
    if table.name == "plateau":
        lowest = [table.lowest * group["lr"] for group in optimizer.param_groups]
        return lr_scheduler.ReduceLROnPlateau(
            optimizer, factor=table.factor, patience=table.patience, min_lr=lowest, threshold=0.0, eps=0.0
        )
    return lr_scheduler.LambdaLR(optimizer, lambda epoch: share(table, epoch, epochs))


def _fitting(made: Any, epochs: int) -> Any:
    """Refuse schedules that are made for something else than a step an epoch, by the validation loss."""
    if not hasattr(made, "step"):
        raise ConfigError(f"scheduler= is a function that returns a scheduler, it gave {made!r}.")
    if isinstance(made, lr_scheduler.ReduceLROnPlateau) and made.mode == "max":
        raise ConfigError("ReduceLROnPlateau sees the validation loss, which falls; leave mode='min'.")
    total = getattr(made, "total_steps", None)
    if isinstance(total, int) and total != epochs:
        raise ConfigError(
            f"{type(made).__name__} is made for {total} steps, and it steps once in each of {epochs} epochs: set "
            f"total_steps={epochs}."
        )
    return made


def share(table: SchedulerTable, done: int, epochs: int) -> float:
    """What part of ``optimizer.lr`` the next epoch has, when so many are done; in [0, 1]."""
    if done < table.warmup:
        return (done + 1) / (table.warmup + 1)
    past, length = done - table.warmup, max(1, epochs - table.warmup)
    way = min(1.0, past / length)
    value = {
        "none": 1.0,
        "cosine": table.lowest + (1 - table.lowest) * (1 + math.cos(math.pi * way)) / 2,
        "step": table.factor ** (past // table.every),
        "exponential": table.factor**past,
        "linear": 1 - (1 - table.lowest) * way,
    }[table.name]
    return max(table.lowest, value)


def kept(old: Optimizer, new: Optimizer) -> None:
    """Hand over what an optimizer knows of the parameters that the new one has too, and its current rates.

    A group goes on as the one that its parameters were in; a group of new parameters alone as the one in its place.
    Where they began at another rate, or there are more groups now or fewer, it has the share of its own first rate that
    a schedule has come to.
    """
    own = {id(p) for group in new.param_groups for p in group["params"]}
    for p, state in old.state.items():
        if id(p) in own:
            new.state[p] = state
    place = {id(p): group for group in old.param_groups for p in group["params"]}
    alike = len(old.param_groups) == len(new.param_groups)
    for number, now in enumerate(new.param_groups):
        known = next((place[id(p)] for p in now["params"] if id(p) in place), None)
        before = known or old.param_groups[number if alike else 0]
        if (known or alike) and before["initial_lr"] == now["initial_lr"]:
            now.update({key: value for key, value in before.items() if key != "params"})
        elif before["initial_lr"]:
            now["lr"] = now["initial_lr"] * (before["lr"] / before["initial_lr"])


#: what the states of torch's schedulers have for every group
_PER_GROUP = ("base_lrs", "min_lrs", "max_lrs", "base_momentums", "max_momentums", "lr_lambdas")


def carry(old: Any, new: Any, before: Optimizer, now: Optimizer) -> None:
    """Let a scheduler go on where the one before it was, also where the optimizer's groups are others now."""
    state = old.state_dict()
    if [group["initial_lr"] for group in before.param_groups] != [group["initial_lr"] for group in now.param_groups]:
        state = _for_groups(state, new.state_dict(), [group["lr"] for group in now.param_groups])
    new.load_state_dict(state)


def _for_groups(state: dict[str, Any], made: dict[str, Any], rates: list[Any]) -> dict[str, Any]:
    own = {name: made[name] for name in _PER_GROUP if name in made}
    if "_last_lr" in state:
        own["_last_lr"] = rates
    if "_schedulers" in state:  # of a scheduler of schedulers
        inner = zip(state["_schedulers"], made["_schedulers"], strict=True)
        own["_schedulers"] = [_for_groups(*both, rates) for both in inner]
    return {**state, **own}


def check_held(model: nn.Module, optimizer: Optimizer) -> None:
    """Refuse a step that would leave a parameter where it is, or move one that is no part of the model.

    Raises:
        ConfigError: naming it, and the remedy.
    """
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    own = set()
    for name, p in model.named_parameters():
        own.add(id(p))
        if p.requires_grad and id(p) not in held:
            raise ConfigError(
                f"{name} wants a gradient, and the optimizer does not hold it: it would never be trained. Whoever has "
                f"changed the model calls training.renew_optimizer() afterwards."
            )
    strays = len(held - own)
    if strays:
        raise ConfigError(
            f"the optimizer holds {strays} parameters that are no longer the model's. Whoever has changed the model "
            f"calls training.renew_optimizer() afterwards."
        )
