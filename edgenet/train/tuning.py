"""fine_tune: a model that was trained and then changed, compressed say, learns again."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from edgenet.compress import Callback, Training, unrounded
from edgenet.compress.perturb import Perturb
from edgenet.errors import ConfigError
from edgenet.train.fitting import fit
from edgenet.train.metrics import Metric
from edgenet.train.numbers import device_of, dtype_of
from edgenet.train.result import FitResult
from edgenet.train.task import Task
from edgenet.train.taught import taught

#: of what learns from a teacher, where nothing else is said
_SETTINGS = {"epochs": 600, "lr": 0.03, "weight_decay": 0.0}
_PERTURBED = 0.7  # of the features of a node, which are dropped
_FLOATS = 1 / 3  # of the epochs, that what is to be rounded learns as floats first
_ROUNDED = 2 / 3  # of the rate, that it learns at when it is rounded
_WARM_UP = 10  # epochs
_OF_JUDGING = ("patience", "stop_by", "folder", "resume", "overwrite")  # what the phase in floats does without


def fine_tune(
    model: nn.Module,
    task: Any,
    callbacks: Sequence[Any] = (),
    *,
    teacher: nn.Module | None = None,
    perturb: float | Callable[[Any], Any] | None = _PERTURBED,
    temperature: float | None = None,
    progress: bool = True,
    **changes: Any,
) -> FitResult | None:
    """Train in place, without dropout: a model that was made small has nothing to spare.

    With a teacher, the model before it was changed say, scores are all that is learned, of every node but those of the
    test mask. Model and teacher read the same input, which is perturbed at half of the steps. Quantised matrices learn
    as floats for a third of the epochs, and then in their few bits. The rate rises for ten epochs and falls to zero
    like a cosine, in each of the two anew. The epoch of the best agreement with the teacher on validation data is kept,
    of equal ones that of the lowest loss. No label is read, and nothing of test data.

    Without one, labels and what the callbacks add are learned, and the epoch of the best validation score is kept, of
    equal ones the last.

    The model as it came is kept where no epoch is as good.

    Args:
        task: data with a validation split, in any form that ``fit`` takes.
        callbacks: see ``edgenet.compress.Callback``.
        teacher: any module that takes the same data; the data say whether scores are of classes, labels or values.
        perturb: see ``edgenet.compress.perturb.Perturb``: a probability for features of nodes, a function of the input
            for other data, or None.
        temperature: see ``distillation``; None: where the teacher is as sure of its class as 0.9 on average.
        changes: settings by name, as for ``fit``: epochs, lr, ... With a teacher 600 epochs at 0.03, two thirds of it
            in few bits.

    Returns:
        What ``fit`` returns, of the last phase; its ``val`` is the agreement where there is a teacher. None where the
        model stays as it came.

    Raises:
        ConfigError: if there are no validation data; if the teacher is no module, or has parameters that the model
            trains; if an option would do nothing; and as ``fit``.
        ShapeError: if the teacher's scores are not finite.

    Example:
        >>> from copy import deepcopy
        >>> model = edgenet.NodeClassifier(34, 4)
        >>> teacher = deepcopy(model)
        >>> _ = edgenet.compress.compress_(model, {r".*lift": {"structure": "low_rank", "rank": 2}})
        >>> _ = edgenet.train.fine_tune(model, edgenet.data.load("karate"), teacher=teacher, epochs=2, progress=False)
    """
    _check(model, teacher, perturb, temperature, changes)
    task = Task.of(task)
    if not task.has("val"):
        raise ConfigError(f"fine_tune keeps the best epoch by validation, and {task.name} has no val data.")
    rules = [AsEvaluated(), *callbacks]
    kept = {name: value.detach().clone() for name, value in model.state_dict().items()}
    if teacher is None:
        judge = task
        before = task.evaluate(model, ("val",))["val"].metric
        result = fit(model, task, None, rules, metric=Latest.of(task.metric), progress=progress, **changes)
    else:
        given = changes.get("dtype")
        model.to(device_of(model, changes.get("device")), dtype_of(model, given) if given else None)
        size = changes.get("batch_size", 100)
        judge = taught(task, model, teacher, Perturb(perturb), temperature, size)
        before = judge.evaluate(model, ("val",))["val"].metric
        result = _learned(model, judge, rules, {"progress": progress, **_SETTINGS, **changes})
    if result.val is not None and judge.better(before, result.val):
        model.load_state_dict(kept)
        return None
    return result


def _check(model: nn.Module, teacher: Any, perturb: Any, temperature: float | None, changes: dict[str, Any]) -> None:
    if teacher is None:
        idle = {
            "perturb": callable(perturb) or perturb not in (None, _PERTURBED),
            "temperature": temperature is not None,
        }
        found = [name for name, given in idle.items() if given]
        if found:
            raise ConfigError(f"fine_tune: {' and '.join(found)} is of what a teacher says, and there is no teacher.")
        return
    if not isinstance(teacher, nn.Module):
        raise ConfigError(f"fine_tune: the teacher is a module that takes the same data, got {teacher!r}.")
    own = {id(p) for p in model.parameters() if p.requires_grad}
    if teacher is model or any(id(p) in own for p in teacher.parameters()):
        raise ConfigError(
            "fine_tune: the teacher is the model itself, or has parameters that it trains, and changes; hand in a "
            "copy.deepcopy."
        )
    if temperature is not None and not 0 < temperature < math.inf:
        raise ConfigError(f"fine_tune: a temperature is a number above 0, got {temperature}.")
    given = [name for name in ("loss", "metric") if name in changes]
    if given:
        raise ConfigError(f"fine_tune: {' and '.join(given)} is that of labels; a teacher's scores have their own.")
    epochs = changes.get("epochs", 1)
    if isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 1:
        raise ConfigError(f"fine_tune: epochs are a whole number from 1 up, got {epochs!r}.")


def _learned(model: nn.Module, task: Task, rules: list[Any], changes: dict[str, Any]) -> FitResult:
    """In floats first, where there is something to round."""
    with unrounded(model) as number:
        epochs = round(_FLOATS * changes["epochs"]) if number else 0
        if epochs:
            own = {name: value for name, value in changes.items() if name not in _OF_JUDGING}
            _fit(model, Task.of(task, val=None), rules, own, epochs)  # nothing is judged, and the last epoch is kept
    if number:
        rest = {"epochs": changes["epochs"] - epochs, "lr": _ROUNDED * changes["lr"], "seed": None}
        changes = {**changes, **rest}
    return _fit(model, task, rules, changes, changes["epochs"])


def _fit(model: nn.Module, task: Task, rules: list[Any], changes: dict[str, Any], epochs: int) -> FitResult:
    given = {"scheduler": partial(_warm_cosine, epochs), **changes, "epochs": epochs}
    return fit(model, task, None, rules, **given)


def _warm_cosine(epochs: int, optimizer: torch.optim.Optimizer) -> LambdaLR:
    def rate(epoch: int) -> float:
        return min(1.0, (epoch + 1) / _WARM_UP) * (1 + math.cos(math.pi * min(1.0, epoch / epochs))) / 2

    return LambdaLR(optimizer, rate)


class AsEvaluated(Callback):
    """No dropout in training, and the statistics of batch norm as they are."""

    def before_epoch(self, training: Training) -> None:
        training.model.eval()


class Latest(Metric):
    """A metric by which an equal score is a better one: of equal epochs the last is kept, which has trained longest.

    Example:
        >>> issubclass(edgenet.train.Latest, edgenet.train.Metric)
        True
    """

    @classmethod
    def of(cls, thing: Any) -> Latest:
        """See ``Metric.of``."""
        metric = Metric.of(thing)
        return cls(metric.name, metric.make, metric.higher)

    def better(self, a: float, b: float) -> bool:
        """Whether a is better than b, or as good."""
        return a == b or super().better(a, b)
