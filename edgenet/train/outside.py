"""The metrics of torchmetrics, behind names; the package is loaded where one is asked for."""

from __future__ import annotations

import copy
import math
from typing import Any

from torch import Tensor

from edgenet.train.shapes import aligned, classes, names_classes


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
        one_class = names_classes(target)
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
        if self.metric.total < 2:  # one number has no spread
            return math.nan
        return float(self.metric.compute())
