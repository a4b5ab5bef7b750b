"""Fitting: the training of one model, as ``fit`` makes it and callbacks see it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from edgenet.compress import Training
from edgenet.config import Settings
from edgenet.errors import ConfigError
from edgenet.train.best import Best
from edgenet.train.numbers import device_of, dtype_of
from edgenet.train.optimizers import (
    MakeOptimizer,
    MakeScheduler,
    Optimizer,
    carry,
    check_held,
    check_maker,
    kept,
    optimizer_of,
    scheduler_of,
)
from edgenet.train.task import Task


class DivergenceError(ConfigError, ArithmeticError):
    """The loss or a score became NaN or infinite."""


@dataclass
class Fitting(Training):
    """The training of one model.

    Attributes:
        task, settings: what is learned, and how.
        seed: of its random numbers; None: they went on as they were.
        make_optimizer, make_scheduler: functions that were handed in, in the place of the settings' tables.
        generator: shuffles the batches.
        scaler: of the loss, at float16.
        best: the best epoch so far.
        seconds: time spent, over all resumptions.

    Example:
        >>> issubclass(edgenet.train.Fitting, edgenet.train.Training)
        True
    """

    task: Task = field(kw_only=True)
    settings: Settings = field(kw_only=True)
    seed: int | None = None
    make_optimizer: MakeOptimizer | None = None
    make_scheduler: MakeScheduler | None = None
    generator: torch.Generator = field(default_factory=torch.Generator)
    scheduler: Any = None
    scaler: Any = None
    best: Best = field(default_factory=Best)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.model, nn.Module):
            raise ConfigError(f"fit trains a torch.nn.Module, got {self.model!r}.")
        if self.make_optimizer is not None:
            check_maker(self.make_optimizer)
        self.read = self.task.output
        table = self.settings.training
        if table.patience and not self.task.has("val"):
            raise ConfigError(
                f"patience ({table.patience}) waits for a better validation score, and there are no val data."
            )
        self.device = device_of(self.model, table.device)
        self.dtype = dtype_of(self.model, table.dtype)
        with torch.random.fork_rng(devices=[]):  # the order of batches must not change what the model draws
            self.generator.manual_seed(int(torch.randint(2**31, ())) if self.seed is None else self.seed)

    # ---------------------------------------------------------------- the optimizer
    @property
    def stepper(self) -> Optimizer:
        """The optimizer, where it has been made."""
        if self.optimizer is None:
            raise ConfigError("the optimizer is not made yet; it is there from on_optimizer on.")
        return self.optimizer

    def start_optimizer(self) -> None:
        """Make the optimizer of the model as it is now, and its scheduler."""
        self.optimizer, self.scheduler = self._made()
        if self.settings.training.precision == "float16":
            self.scaler = torch.amp.GradScaler(self.device.type)
        check_held(self.model, self.optimizer)
        self.call("on_optimizer")

    def renew_optimizer(self) -> None:
        """Make the optimizer anew: whoever has changed the model's parameters calls this.

        What it knew of parameters that stayed, and the rates of a schedule, stay. What was kept of an earlier structure
        of the model is no longer its best epoch.
        """
        if self.optimizer is None:
            return  # it will be made
        optimizer, scheduler = self.optimizer, self.scheduler
        self.optimizer, self.scheduler = self._made()
        kept(optimizer, self.optimizer)
        if self.scheduler is not None:
            carry(scheduler, self.scheduler, optimizer, self.optimizer)
        if self.best.epoch and not self.best.fits(self.model):
            self.best = Best()
        self.call("on_optimizer")

    def _made(self) -> tuple[Optimizer, Any]:
        settings = self.settings
        scaled = settings.training.precision == "float16"
        optimizer = optimizer_of(self.model, settings.optimizer, self.make_optimizer, scaled)
        self.regroup_(optimizer)
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])  # as schedulers do; by it rates are told that have changed
        return optimizer, scheduler_of(optimizer, settings.scheduler, settings.training.epochs, self.make_scheduler)

    # ---------------------------------------------------------------- what went wrong
    def check_finite(self, numbers: Mapping[str, float]) -> None:
        """
        Raises:
            DivergenceError: if one of the numbers is NaN or infinite.
        """
        for name, value in numbers.items():
            if not math.isfinite(value):
                raise self.diverged(f"the {name} is {value}")

    def diverged(self, what: str) -> DivergenceError:
        """An error that says when it was, and what to try."""
        lr = self.settings.optimizer.lr if self.optimizer is None else self.optimizer.param_groups[0]["lr"]
        seed = "" if self.seed is None else f" (seed {self.seed})"
        return DivergenceError(
            f"{what} at epoch {self.epoch}, step {self.step}{seed}: training has diverged. Try a lower learning rate "
            f"(optimizer.lr={lr / 10:g}, it is {lr:g}), smaller features, or training.dtype=float64."
        )
