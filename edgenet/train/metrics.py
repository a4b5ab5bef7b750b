"""Metrics by name: what a model's scores are worth, summed batch by batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from edgenet.errors import ConfigError
from edgenet.text import did_you_mean
from edgenet.train.counters import Accuracy, Bits, Mae, MicroF1, Rmse, Together
from edgenet.train.outside import R2, Named, Outside


class Counter(Protocol):
    """Takes batches in, and says what they come to."""

    def add(self, scores: Tensor, target: Tensor) -> None: ...
    def value(self) -> float: ...


@dataclass(frozen=True)
class Metric:
    """What is measured.

    Attributes:
        name: in records and results.
        make: gives a fresh counter, one for each split and epoch.
        higher: whether higher is better.

    Example:
        >>> edgenet.train.Metric.of("rmse").higher  # a lower one is better
        False
    """

    name: str
    make: Callable[[], Counter]
    higher: bool = True

    @classmethod
    def of(cls, thing: Any) -> Metric:
        """A name in ``METRICS``, a ``Metric``, a ``torchmetrics.Metric``, or a callable (scores, target) -> number.

        A callable gets all rows of a split at once. Higher is better unless its ``higher_is_better`` says otherwise;
        ``Metric.function`` sets both for a function.

        Raises:
            ConfigError: if it is none of these, or does not say whether higher is better.
        """
        if isinstance(thing, cls):
            return thing
        if isinstance(thing, str):
            if thing not in METRICS:
                raise ConfigError(
                    f"no metric is called {thing!r}.{did_you_mean(thing, METRICS)} There are {', '.join(METRICS)}; a "
                    f"torchmetrics.Metric or a function of (scores, target) is taken too."
                )
            return METRICS[thing]
        if hasattr(thing, "update") and hasattr(thing, "compute"):
            if getattr(thing, "higher_is_better", None) is None:
                raise ConfigError(
                    f"{type(thing).__name__} does not say whether higher is better. Hand in "
                    f"Metric(name, lambda: Outside(metric), higher=...)."
                )
            return cls(type(thing).__name__, lambda: Outside(thing), bool(thing.higher_is_better))
        if callable(thing):
            name = getattr(thing, "__name__", type(thing).__name__)
            return cls.function(thing, name, getattr(thing, "higher_is_better", True))
        raise ConfigError(f"a metric is a name, a torchmetrics.Metric or a callable (scores, target), got {thing!r}.")

    @classmethod
    def function(cls, function: Callable[[Tensor, Tensor], Any], name: str = "score", higher: bool = True) -> Metric:
        """A metric of all scores and targets of a split at once."""
        return cls(name, lambda: Together(function), higher)

    def better(self, a: float, b: float) -> bool:
        """Whether a is better than b."""
        return a > b if self.higher else a < b


class Tally:
    """Loss and metric over several batches.

    Example:
        >>> tally = edgenet.train.Tally(edgenet.train.Metric.of("accuracy"))
    """

    def __init__(self, metric: Metric) -> None:
        self.rows, self.total = 0, 0.0
        self._counter = None if metric.name == LOSS else metric.make()

    def add(self, scores: Any, target: Any, loss: float) -> None:
        """Count a batch whose mean loss is known."""
        rows = target.numel() if isinstance(target, Tensor) and target.dim() else 1
        self.rows += rows
        self.total += loss * rows
        if self._counter is not None:
            if not isinstance(scores, Tensor) or not isinstance(target, Tensor):
                raise ConfigError(
                    f"a metric compares tensors, and the model returns a {type(scores).__name__} for targets that are "
                    f"a {type(target).__name__}. Hand in metric='loss', or call=, a function (model, batch) -> scores."
                )
            self._counter.add(scores, target)

    def loss(self) -> float:
        """Mean over the targets."""
        return self.total / max(1, self.rows)

    def metric(self) -> float:
        return self.loss() if self._counter is None else self._counter.value()


LOSS = "loss"
#: Metrics by the names that configurations and data sets use.
METRICS: dict[str, Metric] = {
    "accuracy": Metric("accuracy", Accuracy),
    "bits": Metric("bits", Bits, higher=False),
    "micro_f1": Metric("micro_f1", MicroF1),
    "macro_f1": Metric("macro_f1", lambda: Named("F1Score", average="macro")),
    "auroc": Metric("auroc", lambda: Named("AUROC")),
    "average_precision": Metric("average_precision", lambda: Named("AveragePrecision")),
    "rmse": Metric("rmse", Rmse, higher=False),
    "mae": Metric("mae", Mae, higher=False),
    "r2": Metric("r2", R2),
    LOSS: Metric(LOSS, Accuracy, higher=False),  # the loss itself, where targets are of no kind that is known
}
