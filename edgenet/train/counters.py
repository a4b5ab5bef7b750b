"""Counters: metrics that are sums over batches.

They are kept here, for an update of torchmetrics takes as long as a layer on a small graph.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from edgenet.errors import ConfigError
from edgenet.train.shapes import aligned, classes, names_classes


class Accuracy:
    """Share of rows whose highest score is their class, in [0, 1]; of labels on the right side of 0, for zeros and
    ones."""

    def __init__(self) -> None:
        self.right, self.count = 0.0, 0

    def add(self, scores: Tensor, target: Tensor) -> None:
        if names_classes(target):
            scores, target = classes(scores, target)
            right = scores.argmax(-1) == target
        else:
            scores, target = aligned(scores, target)
            right = (scores > 0) == (target > 0.5)
        self.right += right.sum().item()
        self.count += target.numel()

    def value(self) -> float:
        return self.right / max(1, self.count)


class Bits:
    """The mean of -log2 of the share that scores give to the class of a row: bits a symbol, where the next one is to be
    foretold."""

    def __init__(self) -> None:
        self.total, self.count = 0.0, 0

    def add(self, scores: Tensor, target: Tensor) -> None:
        scores, target = classes(scores, target)
        self.total += F.cross_entropy(scores, target.long(), reduction="sum").item()
        self.count += target.numel()

    def value(self) -> float:
        return self.total / max(1, self.count) / math.log(2)


class MicroF1:
    """2 TP / (2 TP + FP + FN) over all labels of all batches, in [0, 1]; the accuracy, where rows have one class."""

    def __init__(self) -> None:
        self.hits, self.false, self.missed = 0.0, 0.0, 0.0

    def add(self, scores: Tensor, target: Tensor) -> None:
        if names_classes(target):
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
        value = self.function(torch.cat(self.scores), torch.cat(self.targets))
        try:
            return float(value)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ConfigError(
                f"a metric is one number, and this function gave a {type(value).__name__}: {value}."
            ) from error
