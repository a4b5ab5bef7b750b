"""Resumable: whether the state in a checkpoint is one that this training can have come to.

Hyper-parameters are those of the configuration, whatever the file says. What remains of the file are numbers that only
it has: moments, counts, scores. Each is held against the training it is of, before any of them is taken over.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler

from edgenet.compress import Callback
from edgenet.errors import CheckpointError
from edgenet.train.best import Best
from edgenet.train.log import read_metrics
from edgenet.train.optimizers import OPTIMIZERS
from edgenet.train.training import Fitting

#: how steps are computed, which may differ between machines, and changes no number that a user has set
_HOW = ("foreign", "fused", "capturable", "differentiable")
#: of the states of the schedulers that settings name, what changes as they go
_MOVES = ("last_epoch", "_step_count", "_last_lr", "_is_initial", "best", "num_bad_epochs", "cooldown_counter")
_WORDS = 624  # of the Mersenne twister


# ---------------------------------------------------------------- how far it has come
def check_progress(training: Fitting, state: Mapping[str, Any], best: Best, metrics: Path) -> None:
    """
    Args:
        metrics: the records of its epochs.

    Raises:
        CheckpointError: if counts are none of this training, or scores none of its records.
    """
    table, epoch = training.settings.training, state["epoch"]
    most = 2**53 if training.total_steps is None else training.total_steps
    for name, value, high in (
        ("epoch", epoch, table.epochs), ("step", state["step"], most), ("epoch of the best", best.epoch, epoch),
        ("waited", best.waited, epoch),
    ):  # fmt: skip
        if value > high:
            raise CheckpointError(f"its {name} is {value}, and this training has {high} at most.")
    if not 0 <= state["seconds"] < math.inf or math.isnan(best.lowest_loss):
        raise CheckpointError(f"its seconds are {state['seconds']}, its lowest loss is {best.lowest_loss}.")
    if not any(map(_changes_records, training.callbacks)):
        _check_scores(best, [record for record in read_metrics(metrics) if record["epoch"] <= epoch], metrics)


def _changes_records(rule: Any) -> bool:
    """Whether somebody's rule may have put other numbers into the records than the best epoch was chosen by."""
    own = getattr(type(rule), "after_epoch", None)
    return own not in (None, Callback.after_epoch) and not own.__module__.startswith("edgenet.")


def _check_scores(best: Best, records: list[dict[str, Any]], metrics: Path) -> None:
    known = {record["epoch"]: (record.get("val"), record.get("val_loss")) for record in records}
    losses = [loss for _, loss in known.values()]
    if best.epoch in known and (best.val, best.val_loss) != known[best.epoch]:
        what = f"a best epoch with the scores {best.val} and {best.val_loss}"
    elif best.highest is not None and known and tuple(best.highest) not in known.values():
        what = f"a highest score of {best.highest}"
    elif best.lowest_loss != math.inf and known and best.lowest_loss not in losses:
        what = f"a lowest loss of {best.lowest_loss}"
    elif best.losses and known and list(best.losses) != losses[-len(best.losses) :]:
        what = f"the last losses {best.losses!s:.60}"
    else:
        return
    raise CheckpointError(f"it tells of {what}, and {metrics.name} does not.")


# ---------------------------------------------------------------- the optimizer
def check_optimizer(training: Fitting, given: Any) -> dict[str, Any]:
    """The state of an optimizer, with the hyper-parameters of this training.

    Args:
        given: the state in the file; ``training`` has its own optimizer already.

    Raises:
        CheckpointError: if it has other hyper-parameters, a rate that its schedule has not, or state that is none of
            the parameters.
    """
    own, groups = training.stepper.state_dict(), training.stepper.param_groups
    if not isinstance(given, dict) or set(given) != set(own) or len(given["param_groups"]) != len(groups):
        raise CheckpointError("its optimizer has other groups of parameters than this training's.")
    taken = []
    for number, (theirs, ours) in enumerate(zip(given["param_groups"], own["param_groups"], strict=True)):
        if set(theirs) != set(ours):
            raise CheckpointError(f"group {number} of its optimizer has other options than this training's.")
        moved = _moved(training)
        for key, value in ours.items():
            if key not in (*moved, *_HOW) and not _equal(theirs[key], value):
                raise CheckpointError(
                    f"group {number} of its optimizer has {key} = {theirs[key]!s:.60}, and this training has "
                    f"{value!s:.60}. Resume with the configuration it was written with; a callback that sets rates by "
                    f"itself says moves_rates = True."
                )
        if "lr" in moved:
            _check_rate(training, theirs["lr"], ours, number)
        taken.append({**ours, **{key: theirs[key] for key in moved if key in theirs}})
    places = dict(enumerate(p for group in groups for p in group["params"]))
    if not isinstance(given["state"], dict) or not set(given["state"]) <= set(places):
        raise CheckpointError("its optimizer has state of parameters that this training has not.")
    for place, entries in given["state"].items():
        _check_entries(training, places[place], entries, f"parameter {place}")
    return {**own, "state": given["state"], "param_groups": taken}


def _moved(training: Fitting) -> tuple[str, ...]:
    """The options of a group that change as the training goes."""
    if training.make_scheduler is not None or any(getattr(rule, "moves_rates", False) for rule in training.callbacks):
        return ("lr", "momentum", "betas", "weight_decay")
    return () if training.scheduler is None else ("lr",)


def _check_rate(training: Fitting, rate: Any, group: Mapping[str, Any], number: int) -> None:
    """Rates that settings name go from the first one to 0; of those that are handed in nothing is known but that."""
    value = float(rate) if isinstance(rate, int | float | Tensor) and not isinstance(rate, bool) else math.nan
    high = math.inf if len(_moved(training)) > 1 else group["initial_lr"]
    if not 0 <= value <= high * (1 + 1e-9) or not math.isfinite(value):
        raise CheckpointError(f"group {number} of its optimizer has the rate {rate!s:.40}, out of 0 to {high}.")


def _check_entries(training: Fitting, p: nn.Parameter, entries: Any, where: str) -> None:
    if not isinstance(entries, dict):
        raise CheckpointError(f"its optimizer's state of {where} is no table.")
    like = _like(training.stepper, p)
    if like is not None and set(entries) != set(like):
        raise CheckpointError(f"its optimizer's state of {where} has {', '.join(map(str, entries))!s:.80}.")
    for name, value in entries.items():
        said = f"{name!s:.40} of {where} in its optimizer"
        if like is None:  # an optimizer that was handed in: what it keeps of a parameter, nobody else knows
            if isinstance(value, Tensor) and bool(torch.isnan(value).any()):
                raise CheckpointError(f"{said} holds numbers that cannot be: nan.")
        elif name == "step":
            step = float(value)
            if not 0 <= step <= max(training.step, 1) or step != int(step):
                raise CheckpointError(f"{said} is {step:g}, and this training took {training.step} steps.")
        elif isinstance(value, Tensor):
            if tuple(value.shape) not in ((), (1,), tuple(p.shape)) or value.dtype != like[name]:
                raise CheckpointError(f"{said} is {value.dtype} {tuple(value.shape)}, and {where} is {p.dtype} "
                                      f"{tuple(p.shape)}.")  # fmt: skip
            if not bool(torch.isfinite(value).all()) or (_is_positive(name) and bool((value < 0).any())):
                raise CheckpointError(f"{said} holds numbers that cannot be: {float(value.min())}.")
        elif like[name] is not None or (
            value is not None and (type(value) not in (int, float) or not math.isfinite(value))
        ):
            raise CheckpointError(f"{said} is {value!s:.60}.")


def _is_positive(name: Any) -> bool:
    return isinstance(name, str) and name.endswith(("_sq", "_sqs", "exp_inf", "most"))


def _like(optimizer: torch.optim.Optimizer, p: nn.Parameter) -> dict[str, Any] | None:
    """The state that an optimizer of ``OPTIMIZERS`` has of a parameter, as names and dtypes; None of others."""
    if type(optimizer) not in OPTIMIZERS.values():
        return None
    group = next(g for g in optimizer.param_groups if any(q is p for q in g["params"]))
    twin = nn.Parameter(torch.zeros((), dtype=p.dtype))
    twin.grad = torch.zeros_like(twin)
    maker: Any = type(optimizer)
    trial = maker([{**group, "params": [twin]}])
    trial.step()
    return {name: getattr(value, "dtype", None) for name, value in trial.state[twin].items()}


# ---------------------------------------------------------------- what goes beside it
def check_scheduler(training: Fitting, given: Any) -> None:
    """
    Raises:
        CheckpointError: if a state is not that of this training's scheduler after so many epochs.
    """
    own = training.scheduler.state_dict()
    if training.make_scheduler is not None:  # counts become means, lists grow: only its author knows
        methods = [key for key in given if key not in own and hasattr(type(training.scheduler), key)]
        if not set(own) <= set(given) or methods:
            raise CheckpointError("its scheduler has other entries than this training's.")
        return
    _check_alike(given, own, "its scheduler")
    for key, value in own.items():
        if key not in _MOVES and not _equal(given[key], value):
            raise CheckpointError(f"its scheduler has {key} = {given[key]!s:.60}; this training has {value!s:.60}.")
    if given["last_epoch"] != training.epoch:
        raise CheckpointError(f"its scheduler is at epoch {given['last_epoch']!s:.40}, and it at {training.epoch}.")
    if isinstance(training.scheduler, lr_scheduler.ReduceLROnPlateau):
        if not 0 <= given["num_bad_epochs"] <= training.epoch or math.isnan(given["best"]):
            raise CheckpointError(f"its scheduler has waited {given['num_bad_epochs']} epochs.")
        return
    for number, (group, rate) in enumerate(zip(training.stepper.param_groups, given["_last_lr"], strict=True)):
        wanted = group["initial_lr"] * training.scheduler.lr_lambdas[number](training.epoch)
        if not math.isclose(rate, wanted, rel_tol=1e-6, abs_tol=1e-300):  # carried from groups with other first rates
            raise CheckpointError(f"its scheduler has the rate {rate}; after {training.epoch} epochs it is {wanted}.")


def check_scaler(training: Fitting, given: Any) -> None:
    """
    Raises:
        CheckpointError: if a state is not that of a scaler of losses.
    """
    own = training.scaler.state_dict()
    _check_alike(given, own, "its scaler")
    if own and not (0 < given["scale"] < math.inf and given["_growth_tracker"] >= 0):
        raise CheckpointError(f"its scaler has the scale {given['scale']}.")


def check_random(given: Any, generators: Mapping[str, Any]) -> None:
    """Of generators that take what they are given: a place outside a state is memory outside it.

    Raises:
        CheckpointError: if it is no state of the generators of torch, numpy and Python.
    """
    kind, key, place, has_gauss, gauss = given["numpy"]
    whole = isinstance(key, Tensor) and tuple(key.shape) == (_WORDS,) and key.dtype == torch.int64
    if not whole or kind != "MT19937" or not bool(((key >= 0) & (key < 2**32)).all()):
        raise CheckpointError("its state of numpy's random numbers is none.")
    if type(place) is not int or not 0 <= place <= _WORDS or has_gauss not in (0, 1) or not math.isfinite(gauss):
        raise CheckpointError(f"its state of numpy's random numbers stands at {place!s:.40} of {_WORDS}.")
    if set(given["generators"]) != set(generators):
        raise CheckpointError(f"it has random numbers of {', '.join(map(str, given['generators']))!s:.80}.")


def check_dtypes(model: nn.Module, state: Any) -> None:
    """
    Raises:
        CheckpointError: if a tensor has another dtype than in the model, to which it would be rounded.
    """
    for name, value in model.state_dict().items():
        other = state.get(name) if isinstance(state, dict) else None
        if isinstance(value, Tensor) and isinstance(other, Tensor) and value.dtype != other.dtype:
            raise CheckpointError(f"its {name} is of {other.dtype}, and the model has {value.dtype} there.")


def _check_alike(given: Any, own: Any, where: str) -> None:
    """Whether a state has the keys and the kinds of values of another, and whole counts and finite numbers."""
    if isinstance(own, dict):
        if not isinstance(given, dict) or set(given) != set(own):
            raise CheckpointError(f"{where} has other entries than this training's.")
        for key, value in own.items():
            _check_alike(given[key], value, f"{where}, {key!s:.40}")
    elif isinstance(own, list | tuple):
        if not isinstance(given, type(own)) or len(given) != len(own):
            raise CheckpointError(f"{where} is {given!s:.60}, and this training's has {len(own)} entries.")
        for number, value in enumerate(own):
            _check_alike(given[number], value, f"{where}, {number}")
    elif isinstance(own, bool) or own is None or isinstance(own, str):
        if own is not None and type(given) is not type(own):
            raise CheckpointError(f"{where} is {given!s:.60}.")
    elif isinstance(own, int | float):
        known = isinstance(given, int | float) and not isinstance(given, bool) and not math.isnan(given)
        if not known or (isinstance(own, int) and (given < 0 or given != int(given))):
            raise CheckpointError(f"{where} is {given!s:.60}.")


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) or isinstance(other, Tensor):
        return isinstance(one, Tensor) and isinstance(other, Tensor) and torch.equal(one, other.to(one.dtype))
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_equal, one, other))
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)
