"""Metrics by name: what a model's scores are worth, summed batch by batch.

accuracy, micro_f1, rmse and mae are sums that are kept here: an update of torchmetrics takes as long as a layer on a
small graph. All others, and any ``torchmetrics.Metric``, are torchmetrics'.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from edgenet.errors import ConfigError, ShapeError
from edgenet.text import did_you_mean


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
            if thing.higher_is_better is None:
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
    """Loss and metric over several batches."""

    def __init__(self, metric: Metric) -> None:
        self.rows, self.total = 0, 0.0
        self._counter = None if metric.name == LOSS else metric.make()

    def add(self, scores: Any, target: Any, loss: float) -> None:
        """Count a batch whose mean loss is known."""
        rows = len(target) if isinstance(target, Tensor) and target.dim() else 1
        self.rows += rows
        self.total += loss * rows
        if self._counter is not None:
            self._counter.add(scores, target)

    def loss(self) -> float:
        """Mean over the rows."""
        return self.total / max(1, self.rows)

    def metric(self) -> float:
        return self.loss() if self._counter is None else self._counter.value()


# ---------------------------------------------------------------- shapes
def aligned(scores: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Both in one shape, where they differ by a last axis of size 1.

    Raises:
        ShapeError: if they differ otherwise.
    """
    if scores.shape == (*target.shape, 1):
        scores = scores.squeeze(-1)
    elif target.shape == (*scores.shape, 1):
        target = target.squeeze(-1)
    if scores.shape != target.shape:
        raise ShapeError(
            f"the model says {tuple(scores.shape)} and the targets are {tuple(target.shape)}; values are compared one "
            f"by one. Hand in a loss and a metric of your own, or another target."
        )
    return scores, target


def classes(scores: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """(rows, C) scores and (rows,) classes, however many axes rows have.

    Raises:
        ShapeError: if there is not one class for each row of scores.
    """
    if target.dim() == scores.dim() and target.shape[-1] == 1:
        target = target.squeeze(-1)
    if target.shape != scores.shape[:-1]:
        raise ShapeError(
            f"the model says {tuple(scores.shape)} and the classes are {tuple(target.shape)}; one class for each row of "
            f"scores is wanted."
        )
    if scores.shape[-1] == 1:
        raise ShapeError(
            "the model gives one score a row, and two classes or more need as many scores. For yes or no, make the "
            "targets floating point, and hand in loss='binary_cross_entropy' and metric='auroc' or another."
        )
    return (scores, target) if scores.dim() == 2 else (scores.flatten(0, -2), target.flatten())


def _is_class(target: Tensor) -> bool:
    return not target.is_floating_point() and target.dtype != torch.bool


# ---------------------------------------------------------------- sums that are kept here
class Accuracy:
    """Share of rows whose highest score is their class, in [0, 1]; of labels on the right side of 0, for zeros and
    ones."""

    def __init__(self) -> None:
        self.right, self.count = 0.0, 0

    def add(self, scores: Tensor, target: Tensor) -> None:
        if _is_class(target):
            scores, target = classes(scores, target)
            right = scores.argmax(-1) == target
        else:
            scores, target = aligned(scores, target)
            right = (scores > 0) == (target > 0.5)
        self.right += right.sum().item()
        self.count += target.numel()

    def value(self) -> float:
        return self.right / max(1, self.count)


class MicroF1:
    """2 TP / (2 TP + FP + FN) over all labels of all batches, in [0, 1]; the accuracy, where rows have one class."""

    def __init__(self) -> None:
        self.hits, self.false, self.missed = 0.0, 0.0, 0.0

    def add(self, scores: Tensor, target: Tensor) -> None:
        if _is_class(target):
            scores, target = classes(scores, target)
            hits = (scores.argmax(-1) == target).sum()
            false = missed = len(target) - hits
        else:
            scores, target = aligned(scores, target)
            guess, truth = scores > 0, target > 0.5
            hits = (guess & truth).sum()
            false, missed = guess.sum() - hits, truth.sum() - hits
        self.hits += hits.item()
        self.false += false.item()
        self.missed += missed.item()

    def value(self) -> float:
        return 2 * self.hits / max(1.0, 2 * self.hits + self.false + self.missed)


class Rmse:
    """The root of the mean squared error, in units of the target."""

    def __init__(self) -> None:
        self.total, self.count = 0.0, 0

    def add(self, scores: Tensor, target: Tensor) -> None:
        scores, target = aligned(scores, target)
        self.total += (scores.double() - target.double()).square().sum().item()
        self.count += target.numel()

    def value(self) -> float:
        return math.sqrt(self.total / max(1, self.count))


class Mae:
    """The mean absolute error, in units of the target."""

    def __init__(self) -> None:
        self.total, self.count = 0.0, 0

    def add(self, scores: Tensor, target: Tensor) -> None:
        scores, target = aligned(scores, target)
        self.total += (scores.double() - target.double()).abs().sum().item()
        self.count += target.numel()

    def value(self) -> float:
        return self.total / max(1, self.count)


class Together:
    """A function of all scores and targets, for what is no sum over batches."""

    def __init__(self, function: Callable[[Tensor, Tensor], Any]) -> None:
        self.function = function
        self.scores: list[Tensor] = []
        self.targets: list[Tensor] = []

    def add(self, scores: Tensor, target: Tensor) -> None:
        self.scores.append(scores)
        self.targets.append(target)

    def value(self) -> float:
        return float(self.function(torch.cat(self.scores), torch.cat(self.targets)))


# ---------------------------------------------------------------- torchmetrics
class Outside:
    """A metric of torchmetrics; the one handed in is copied, and stays as it is."""

    def __init__(self, metric: Any) -> None:
        self.metric = copy.deepcopy(metric)
        self.metric.reset()

    def add(self, scores: Tensor, target: Tensor) -> None:
        self.metric.to(scores.device).update(scores, target)

    def value(self) -> float:
        return float(self.metric.compute())


class Named:
    """A metric of torchmetrics by its name there; its kind and size are those of the first batch.

    Args:
        name: "F1Score" stands for MulticlassF1Score, MultilabelF1Score and BinaryF1Score.
    """

    def __init__(self, name: str, **options: Any) -> None:
        self.name, self.options = name, options
        self.metric: Any = None

    def add(self, scores: Tensor, target: Tensor) -> None:
        one_class = _is_class(target)
        scores, target = classes(scores, target) if one_class else aligned(scores, target)
        if self.metric is None:
            self.metric = self._made(scores, one_class).to(scores.device)
        # probabilities: torchmetrics would guess from each batch whether it got some
        shares = scores.double().softmax(-1) if one_class else scores.double().sigmoid()
        self.metric.update(shares, target if one_class else (target > 0.5).long())

    def value(self) -> float:
        return float(self.metric.compute()) if self.metric is not None else math.nan

    def _made(self, scores: Tensor, one_class: bool) -> Any:
        from torchmetrics import classification

        options = {"validate_args": False, **self.options}
        if one_class:
            return getattr(classification, f"Multiclass{self.name}")(num_classes=scores.shape[-1], **options)
        if scores.dim() == 1 or scores.shape[-1] == 1:
            options.pop("average", None)
            return getattr(classification, f"Binary{self.name}")(**options)
        return getattr(classification, f"Multilabel{self.name}")(num_labels=scores.shape[-1], **options)


class R2:
    """1 - (sum of squared errors) / (sum of squares of the target, less its mean); at most 1."""

    def __init__(self) -> None:
        from torchmetrics.regression import R2Score

        self.metric = R2Score()

    def add(self, scores: Tensor, target: Tensor) -> None:
        scores, target = aligned(scores, target)
        self.metric.to(scores.device).update(scores.flatten().double(), target.flatten().double())

    def value(self) -> float:
        return float(self.metric.compute())


LOSS = "loss"
#: Metrics by the names that configurations and data sets use.
METRICS: dict[str, Metric] = {
    "accuracy": Metric("accuracy", Accuracy),
    "micro_f1": Metric("micro_f1", MicroF1),
    "macro_f1": Metric("macro_f1", lambda: Named("F1Score", average="macro")),
    "auroc": Metric("auroc", lambda: Named("AUROC")),
    "average_precision": Metric("average_precision", lambda: Named("AveragePrecision")),
    "rmse": Metric("rmse", Rmse, higher=False),
    "mae": Metric("mae", Mae, higher=False),
    "r2": Metric("r2", R2),
    LOSS: Metric(LOSS, Accuracy, higher=False),  # the loss itself, where targets are of no kind that is known
}
