"""Callbacks: how a training rule (ADMM, an annealed density) takes part in a training it knows nothing else of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from edgenet.compress.rates import Rates, regroup_
from edgenet.errors import CheckpointError, ConfigError


class Callback:
    """Hooks into a training; a subclass overrides what it needs. Any object with some of the methods is one.

    A callback that has ``state_dict()`` and ``load_state_dict(state)`` (tensors, numbers, text, nested) finds its state
    in the checkpoints of ``edgenet.fit``. A schedule writes what it decides into buffers of the model: these travel in
    checkpoints by themselves, and ``torch.compile`` does not build a graph for each of their values. The same object
    serves all seeds: ``on_start`` begins anew.

    A training that is resumed calls ``on_start``, then ``load_state_dict``, then ``on_optimizer``; after these it loads
    the tensors of the model and the state of the optimizer. A callback that had put structures into the model puts the
    same structures in again in ``load_state_dict``, with any numbers in them. Rates come from the configuration, and a
    checkpoint with others is refused: a callback that sets rates by itself has ``moves_rates = True``.

    Example:
        >>> class Count(edgenet.compress.Callback):
        ...     steps = 0
        ...     def after_step(self, training):
        ...         self.steps += 1
        >>> rule, karate = Count(), edgenet.data.load("karate")
        >>> result = edgenet.fit(edgenet.NodeClassifier(34, 4), karate, callbacks=[rule], epochs=3, progress=False)
        >>> rule.steps
        3
    """

    #: Arguments that may be the path of a saved model, which whoever reads a configuration turns into the model.
    takes_models: tuple[str, ...] = ()

    def on_start(self, training: Training) -> None:
        """Before the optimizer is made: ``training.optimizer`` is None, and the model may be changed."""

    def rates(self, training: Training) -> Rates | None:
        """Parameters that learn at rates of their own: groups with ``params``, and ``lr`` or ``times``, as for
        ``regroup_``. Asked for whenever an optimizer has been made, before its scheduler is. Must draw no random
        numbers."""
        return ()

    def on_optimizer(self, training: Training) -> None:
        """When an optimizer has been made: at the start, after ``renew_optimizer()``, and when a training is resumed.
        Must draw no random numbers, and reset no state."""

    def before_epoch(self, training: Training) -> None:
        """``training.epoch`` begins. The model may be changed, if ``training.renew_optimizer()`` follows."""

    def reads(self, training: Training, batch: Any) -> Any:
        """What the model reads in the place of a batch: one whose input is perturbed, say. Targets and rows stay."""
        return batch

    def draws(self, training: Training) -> int:
        """How often the model reads the batch of a step, with random numbers of its own each time, 1 or more. The most
        that a callback asks for counts, and the loss is the mean over them."""
        return 1

    def penalty(self, training: Training) -> Tensor | None:
        """A scalar that is added to the loss of every step, or None."""
        return None

    def after_backward(self, training: Training) -> None:
        """When the gradients of a step are there."""

    def after_step(self, training: Training) -> None:
        """When the optimizer has stepped."""

    def after_epoch(self, training: Training) -> None:
        """When the epoch has been scored: ``training.record`` has the numbers, and more may be put in."""

    def settled(self, training: Training) -> bool:
        """Whether the model of this epoch is what is wanted. False while a rule is still at work on its structure: the
        epoch cannot be the best one then, and does not count for patience."""
        return True

    def ends(self, training: Training) -> bool:
        """Whether the training ends here, before its last epoch. Asked between epochs, and when it is resumed."""
        return False


HOOKS = (
    "on_start", "rates", "on_optimizer", "before_epoch", "reads", "draws", "penalty", "after_backward", "after_step",
    "after_epoch", "settled", "ends",
)  # fmt: skip


def listed(callbacks: Any) -> list[Any]:
    """Callbacks as a list, each looked at.

    Raises:
        ConfigError: if they are no list of them, one is a class, or one has none of the hooks, or something else by the
            name of a hook.
    """
    if isinstance(callbacks, str | Mapping) or not isinstance(callbacks, Iterable):
        raise ConfigError(f"callbacks are a list of objects with hooks, got {type(callbacks).__name__}: write [...].")
    found = list(callbacks)
    for callback in found:
        if isinstance(callback, type):
            raise ConfigError(f"the callback {callback.__name__} is a class: hand in {callback.__name__}(...).")
        if not any(callable(getattr(callback, hook, None)) for hook in HOOKS):
            raise ConfigError(f"a callback of type {type(callback).__name__} has none of the hooks {', '.join(HOOKS)}.")
        for hook in HOOKS:
            if hasattr(callback, hook) and not callable(getattr(callback, hook)):
                kind = type(getattr(callback, hook)).__name__
                raise ConfigError(
                    f"{type(callback).__name__}.{hook} is a {kind}, and hooks of that name are called: give the "
                    f"attribute another name."
                )
    return found


@dataclass
class Training:
    """A training as callbacks see it. ``edgenet.fit`` makes one; so may a loop of one's own, and call the hooks.

    Attributes:
        callbacks: called in this order; each may have some of the hooks only.
        optimizer: None before it is made.
        epoch, step: numbers of the epoch and optimizer step under way, from 1; while neither is, of the last ones.
        batch: of the step under way.
        output: what the model said of it, whole: before rows are chosen.
        outputs: the same, of all ``draws()``, of which ``output`` is the first.
        record: numbers of the epoch: epoch, loss, train, val, test, val_loss, and what callbacks add.
        read: how a model is called with a batch, ``read(model, batch)``; see ``call_model``.
        total_steps: how many steps there will be, if it is not ended earlier; None where nobody knows.
        resumes: whether it goes on from a checkpoint, so that ``load_state_dict`` follows on ``on_start``: what takes
            time there, and would be thrown away, may be left out.

    Example:
        >>> training = edgenet.compress.Training(torch.nn.Linear(3, 1), [edgenet.compress.Callback()])
        >>> _ = training.call("on_start")
        >>> training.penalty() is None  # of rules that add nothing to the loss
        True
    """

    model: nn.Module
    callbacks: Sequence[Any] = ()
    optimizer: torch.optim.Optimizer | None = None
    epoch: int = 0
    step: int = 0
    batch: Any = None
    output: Any = None
    outputs: list[Any] = field(default_factory=list)
    record: dict[str, Any] = field(default_factory=dict)
    read: Callable[[nn.Module, Any], Any] | None = None
    resumes: bool = False
    total_steps: int | None = None

    def __post_init__(self) -> None:
        self.callbacks = listed(self.callbacks)

    def call(self, hook: str) -> list[Any]:
        """Call a hook of all callbacks that have it; what they return."""
        return [getattr(callback, hook)(self) for callback in self.callbacks if hasattr(callback, hook)]

    def given(self, batch: Any) -> Any:
        """What the model reads in the place of a batch, by the word of all callbacks in turn.

        Raises:
            ConfigError: if a callback returns none.
        """
        for callback in self.callbacks:
            if hasattr(callback, "reads"):
                batch = callback.reads(self, batch)
                if batch is None:
                    raise ConfigError(
                        f"{type(callback).__name__}.reads returned None, and the model reads what it returns: return "
                        f"the batch, as it came or another."
                    )
        return batch

    def draws(self) -> int:
        """How often the model reads the batch of a step.

        Raises:
            ConfigError: if a callback asks for none.
        """
        asked = self.call("draws")
        if not all(isinstance(count, int) and count >= 1 for count in asked):
            raise ConfigError(f"the model reads every batch once or more; the callbacks ask for {asked} times.")
        return max(asked, default=1)

    def penalty(self) -> Tensor | None:
        """The sum of what the callbacks add to the loss of a step; None where none adds anything.

        Raises:
            ConfigError: if one is more than a number.
        """
        total: Tensor | None = None
        for callback in self.callbacks:
            value = callback.penalty(self) if hasattr(callback, "penalty") else None
            if isinstance(value, Tensor) and value.dim():
                raise ConfigError(
                    f"the penalty of {type(callback).__name__} is one number, and has shape {tuple(value.shape)}; take "
                    f"its sum()."
                )
            if value is not None:
                total = value if total is None else total + value
        return total

    def settled(self) -> bool:
        """Whether all callbacks are satisfied with the structure of the model, so that this epoch may be kept."""
        return all(self.call("settled"))

    def call_model(self, model: nn.Module, batch: Any) -> Any:
        """What another model, a teacher say, makes of a batch. Without ``read`` a tuple or list is taken for inputs and
        a target, and everything else for the one input."""
        if self.read is not None:
            return self.read(model, batch)
        return model(*batch[:-1]) if isinstance(batch, tuple | list) else model(batch)

    def regroup_(self, optimizer: torch.optim.Optimizer) -> None:
        """Give parameters the rates that callbacks want for them. ``edgenet.fit`` does this; a loop of one's own calls
        it for every optimizer that it makes, before it makes a scheduler.

        Raises:
            ConfigError: if two callbacks want rates for one parameter.
        """
        regroup_(optimizer, [group for groups in self.call("rates") for group in groups or ()])

    def renew_optimizer(self) -> None:
        """To be called by whoever has put new parameters into the model.

        Makes the optimizer anew, keeping what it knows (its moments) of parameters that stayed, and calls
        ``on_optimizer``. ``edgenet.fit`` does this; a loop of one's own overrides it.

        Raises:
            ConfigError: here, as nothing says how the optimizer was made.
        """
        raise ConfigError(
            "a callback has changed the parameters of the model, and this loop cannot make its optimizer anew: train "
            "with edgenet.fit, or give your Training a method renew_optimizer()."
        )

    def callback_states(self) -> list[Any]:
        """The state of every callback, for a checkpoint; None of those that have none."""
        return [callback.state_dict() if hasattr(callback, "state_dict") else None for callback in self.callbacks]

    def load_callback_states(self, states: Sequence[Any]) -> None:
        """Go on from ``callback_states()``; after ``on_start``, and before the optimizer is made.

        Raises:
            CheckpointError: if they are of other callbacks.
        """
        kept = [hasattr(callback, "state_dict") for callback in self.callbacks]
        if kept != [state is not None for state in states]:
            names = ", ".join(type(callback).__name__ for callback in self.callbacks) or "none"
            raise CheckpointError(f"the state of {len(states)} callbacks does not fit those of this training: {names}.")
        for callback, state in zip(self.callbacks, states, strict=True):
            if state is not None:
                callback.load_state_dict(state)
