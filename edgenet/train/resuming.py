"""Resuming: everything that decides how a training goes on, and going on from it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from edgenet import checkpoint
from edgenet.errors import CheckpointError
from edgenet.train.best import Best
from edgenet.train.folders import METRICS, decisive, same_config
from edgenet.train.resumable import (
    check_dtypes,
    check_optimizer,
    check_progress,
    check_random,
    check_scaler,
    check_scheduler,
)
from edgenet.train.training import Fitting


def state_of(training: Fitting) -> dict[str, Any]:
    """What decides how a training goes on, for ``checkpoint.save``."""
    return {
        "seed": training.seed,
        "config": decisive(training.settings),
        "made": _made(training),
        "model": dict(training.model.state_dict()),
        "optimizer": training.stepper.state_dict(),
        "scheduler": None if training.scheduler is None else training.scheduler.state_dict(),
        "scaler": None if training.scaler is None else training.scaler.state_dict(),
        "random": checkpoint.random_state(_generators(training)),
        "callbacks": training.callback_states(),
        "epoch": training.epoch,
        "step": training.step,
        "best": vars(training.best),
        "seconds": training.seconds,
        "threads": torch.get_num_threads(),
    }


def resume(training: Fitting, state: Any, path: Path) -> None:
    """Go on where ``state_of`` was taken; the optimizer is made on the way.

    Args:
        training: after ``on_start``.
        path: of the state, for messages.

    Raises:
        CheckpointError: if the state is of another seed, configuration or model; it names ``path``.
    """
    try:
        _resume(training, state, path)
    except CheckpointError as error:
        if str(path) in str(error):
            raise
        raise CheckpointError(f"{path}: {error}") from error
    except Exception as error:  # a crafted state makes torch, numpy and callbacks raise whatever they like
        reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"  # torch adds where in C++ it was
        raise CheckpointError(f"{path}: is no state of a training run: {reason}") from error
    if state["threads"] != torch.get_num_threads():
        warnings.warn(
            f"{path} was written with {state['threads']} threads and this process has {torch.get_num_threads()}: "
            f"sums may round differently. Set OMP_NUM_THREADS for the same bits.",
            stacklevel=2,
        )


def _resume(training: Fitting, state: Any, path: Path) -> None:
    same_config(state["config"], training.settings, path)
    _check_numbers(state, int, "epoch", "step", "threads")
    _check_numbers(state, float, "seconds")
    _check_numbers(state["best"], int, "epoch", "waited")
    _check_numbers(state["best"], float, "lowest_loss")
    best = Best(**state["best"])
    for value in (best.val, best.val_loss, *(best.highest or ()), *best.losses):
        if type(value) not in (int, float, type(None)):
            raise TypeError(f"a score of its best epoch is {value!r}")
    if state["seed"] != training.seed:
        raise CheckpointError(f"{path}: is of seed {state['seed']}; this run has seed {training.seed}.")
    names = _kinds(training.callbacks)
    if state["made"]["callbacks"] != names or len(state["callbacks"]) != len(names):
        raise CheckpointError(
            f"{path}: is of a training with callbacks {state['made']['callbacks']}; this run has {names}. Hand in "
            f"the same."
        )
    check_progress(training, state, best, path.parent / METRICS)
    check_random(state["random"], _generators(training))
    training.epoch, training.step = state["epoch"], state["step"]
    training.load_callback_states(state["callbacks"])  # structures that they had put in are in again
    training.start_optimizer()
    for part, name in _made(training).items():
        if state["made"][part] != name:
            raise CheckpointError(
                f"{path}: its {part} was {state['made'][part]}, and is {name}. Hand in the same, or choose "
                f"another folder."
            )
    for tensors in (best.state, state["model"]) if best.epoch else (state["model"],):
        check_dtypes(training.model, tensors)
        checkpoint.load_model_state(training.model, tensors, path)  # the best is wanted at the end: look now
    training.stepper.load_state_dict(check_optimizer(training, state["optimizer"]))
    if training.scheduler is not None:
        check_scheduler(training, state["scheduler"])
        training.scheduler.load_state_dict(state["scheduler"])
    if training.scaler is not None:
        check_scaler(training, state["scaler"])
        training.scaler.load_state_dict(state["scaler"])
    training.best, training.seconds = best, state["seconds"]
    checkpoint.set_random_state(state["random"], _generators(training))


def _made(training: Fitting) -> dict[str, Any]:
    """Names of what was handed in beside the settings: of another optimizer, say, no step would be the next one."""
    return {
        "optimizer": type(training.stepper).__name__,
        "scheduler": "none" if training.scheduler is None else type(training.scheduler).__name__,
        "callbacks": _kinds(training.callbacks),
        "loss": training.task.loss_name,
        "metric": training.task.metric.name,
    }


def _kinds(things: Sequence[Any]) -> list[str]:
    return [type(thing).__name__ for thing in things]


def _generators(training: Fitting) -> dict[str, torch.Generator]:
    return {"shuffle": training.generator, **training.task.generators()}


def _check_numbers(values: dict[str, Any], kind: type, *names: str) -> None:
    """int: whole numbers from 0; float: any numbers."""
    for name in names:
        value = values[name]
        if type(value) not in (int, kind) or (kind is int and value < 0):
            raise TypeError(f"{name} is {value!r}")
