"""fine_tune: a model that was trained and then changed, compressed say, learns again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from edgenet.compress import Callback, Training
from edgenet.errors import ConfigError
from edgenet.train.fitting import fit
from edgenet.train.metrics import Metric
from edgenet.train.result import FitResult
from edgenet.train.task import Task


def fine_tune(
    model: nn.Module, task: Any, callbacks: Sequence[Any] = (), *, progress: bool = True, **changes: Any
) -> FitResult | None:
    """Train in place, without dropout: a model that was made small has nothing to spare.

    The epoch of the best validation score is kept, of equal ones the last; the model as it came, where none is as good.

    Args:
        task: data with a validation split, in any form that ``fit`` takes.
        callbacks: ``Distill`` say, for what the model said before it was changed.
        changes: settings by name, as for ``fit``: epochs, lr, ...

    Returns:
        What ``fit`` returns; None where the model stays as it came.

    Raises:
        ConfigError: if there are no validation data, and as ``fit``.
    """
    task = Task.of(task)
    if not task.has("val"):
        raise ConfigError(f"fine_tune keeps the best epoch by validation, and {task.name} has no val data.")
    before = task.evaluate(model, ("val",))["val"].metric
    kept = {name: value.detach().clone() for name, value in model.state_dict().items()}
    result = fit(
        model, task, None, [AsEvaluated(), *callbacks], metric=Latest.of(task.metric), progress=progress, **changes
    )
    if result.val is not None and task.better(before, result.val):
        model.load_state_dict(kept)
        return None
    return result


class AsEvaluated(Callback):
    """No dropout in training, and the statistics of batch norm as they are."""

    def before_epoch(self, training: Training) -> None:
        training.model.eval()


class Latest(Metric):
    """A metric by which an equal score is a better one: of equal epochs the last is kept, which has trained longest."""

    @classmethod
    def of(cls, thing: Any) -> Latest:
        """See ``Metric.of``."""
        metric = Metric.of(thing)
        return cls(metric.name, metric.make, metric.higher)

    def better(self, a: float, b: float) -> bool:
        return a == b or super().better(a, b)
