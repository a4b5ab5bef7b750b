"""Callbacks: how a training rule (ADMM, an annealed density) takes part in a training loop it knows nothing of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn


class Run(Protocol):
    """A training run, as callbacks see it; ``edgenet.train.Run`` is one, and so is ``Loop``.

    Attributes:
        epoch, step: numbers of the epoch and optimizer step under way, from 1; while neither is, of the last ones.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    epoch: int
    step: int


class Callback:
    """Hooks into a training run. A subclass overrides what it needs.

    A callback that has ``state_dict()`` and ``load_state_dict(state)`` (tensors, numbers, text, nested) finds its state
    in the checkpoint of ``edgenet.train``. A schedule writes what it decides into buffers of the model: these travel in
    checkpoints by themselves, and ``torch.compile`` does not build a graph for each of their values. The same object
    serves all seeds: ``on_start`` begins anew.
    """

    def on_start(self, run: Run) -> None:
        """Before the first step, with model and optimizer made; also when a run is resumed, before its state is
        loaded."""

    def penalty(self, run: Run) -> Tensor | None:
        """A scalar that is added to the loss of every step, or None."""
        return None

    def after_backward(self, run: Run) -> None:
        """When the gradients of a step are there."""

    def after_step(self, run: Run) -> None:
        """When the optimizer has stepped."""


@dataclass
class Loop:
    """A run for a training loop of one's own.

    ::

        loop = Loop(model, optimizer, [ADMM(plan)])
        for x, y in batches:
            loop.step_on(loss(model(x), y))

    Attributes:
        callbacks: called in this order; each may have some of the hooks only.
        epoch: counted by whoever writes the loop.
        step: optimizer steps so far.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    callbacks: Sequence[Callback] = ()
    epoch: int = 0
    step: int = 0

    def __post_init__(self) -> None:
        self._hook("on_start")

    def step_on(self, loss: Tensor) -> float:
        """One optimizer step on a loss and the penalties of the callbacks; their sum."""
        self.step += 1
        total = sum((value for value in self._hook("penalty") if value is not None), loss)
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        self._hook("after_backward")
        self.optimizer.step()
        self._hook("after_step")
        return total.item()

    def state_dict(self) -> dict[str, Any]:
        """What decides how the callbacks go on; the states of model and optimizer are their own."""
        states = [c.state_dict() if hasattr(c, "state_dict") else None for c in self.callbacks]
        return {"epoch": self.epoch, "step": self.step, "callbacks": states}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.epoch, self.step = state["epoch"], state["step"]
        for callback, own in zip(self.callbacks, state["callbacks"], strict=True):
            if own is not None:
                callback.load_state_dict(own)

    def _hook(self, name: str) -> list[Any]:
        return [getattr(callback, name)(self) for callback in self.callbacks if hasattr(callback, name)]
