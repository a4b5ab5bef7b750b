"""taught: the task of saying what a teacher says, on inputs that nobody has labelled."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from edgenet.compress.distill_rule import COMPARISONS, beside, known_rows
from edgenet.compress.perturb import Perturb
from edgenet.errors import ShapeError
from edgenet.train.batches import Batch
from edgenet.train.losses import kind_of
from edgenet.train.metrics import Metric
from edgenet.train.numbers import device_of, dtype_of
from edgenet.train.sources import OneGraph, Source
from edgenet.train.task import Task

_SHARP = 0.9  # the mean probability of the first class, at the temperature that is chosen
_SHARPEST, _FLATTEST = 1e-3, 1e3


def taught(
    task: Task, model: nn.Module, teacher: nn.Module, perturb: Perturb, temperature: float | None, batch_size: int = 100
) -> Task:
    """A task whose answers are the teacher's scores of the very batch that the model reads.

    Of one graph all nodes count but those of its test mask; else what the task counts. There are no test data: the
    model is judged by how often it says what the teacher says on validation data.

    Args:
        task: the data.
        model: that learns, by which device and dtype are told.
        teacher: any module that takes the same batches; put into evaluation mode.
        temperature: of classes and labels, see ``distillation``; None: see ``sharp_temperature``.
        batch_size: where neither the data nor the task have one.

    Raises:
        ShapeError: if the teacher's scores are not finite.
    """
    task.prepare(device_of(model), dtype_of(model), batch_size)
    teacher = beside(teacher, next(model.parameters(), None)).eval()
    kind = kind_of(task.first().target, task.name)
    sources = {
        split: Taught(task.source(split), task, teacher, perturb) for split in ("train", "val") if task.has(split)
    }
    if not sources["train"].first().target.isfinite().all():
        raise ShapeError(f"{task.name}: the teacher's scores of the training data are not all finite.")
    if temperature is None:
        temperature = 1.0 if kind == "value" else sharp_temperature(sources["train"].first().target, kind)
    return Task(
        sources["train"],
        sources.get("val"),
        loss=partial(_distance, kind, temperature),
        metric=Metric.function(partial(_agreement, kind), "agreement"),
        name=task.name,
        call=lambda one, batch: task.output(one, batch),
    )


class Taught(Source):
    """Batches of another source, with a teacher's scores to learn.

    Args:
        source: of the batches.
        task: how models are called with them.
        teacher: in evaluation mode.
        perturb: of the batches of a training; those in order are as they are.
    """

    def __init__(self, source: Source, task: Task, teacher: nn.Module, perturb: Perturb) -> None:
        self.source, self.task, self.teacher, self.perturb = source, task, teacher, perturb
        self.steps = source.steps
        self._ordered: list[Batch] = []

    def training(self, generator: torch.Generator) -> Iterator[Batch]:
        for batch in self.source.training(generator):
            other = self.perturb(batch, generator)
            if other is batch and isinstance(self.source, OneGraph):
                yield self.first()
            else:
                yield self._taught(other)

    def ordered(self) -> Iterator[Batch]:
        if not self._ordered:
            self._ordered = [self._taught(batch) for batch in self.source.ordered()]
        yield from self._ordered

    def generators(self) -> dict[str, torch.Generator]:
        return self.source.generators()

    def _taught(self, batch: Batch) -> Batch:
        if isinstance(self.source, OneGraph) and self.source.split == "train":
            known = known_rows(batch)
            batch = batch if known is None else replace(batch, rows=known.nonzero().squeeze(1))
        with torch.no_grad():
            told = self.task.scores(self.task.output(self.teacher, batch), batch)
        return replace(batch, target=told)


def sharp_temperature(scores: Tensor, kind: str) -> float:
    """The temperature at which a teacher's first class has a probability of 0.9 on average, as a teacher that is sure
    has it at 1: scores that lie close together, as those of networks that were trained with much dropout, are told
    apart by a low one. Of labels a half and more count.

    Args:
        scores: of the teacher, (rows, classes).
        kind: "class", or "multilabel".
    """
    scores = scores.detach().double()

    def sure(temperature: float) -> float:
        if kind == "class":
            return float((scores / temperature).softmax(-1).amax(-1).mean())
        return float((scores.abs() / temperature).sigmoid().mean())

    low, high = math.log(_SHARPEST), math.log(_FLATTEST)
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if sure(math.exp(middle)) > _SHARP else (low, middle)
    return math.exp((low + high) / 2)


def _distance(kind: str, temperature: float, scores: Tensor, told: Tensor) -> Tensor:
    if kind == "class":
        scores, told = scores.flatten(0, -2), told.flatten(0, -2)
    return COMPARISONS[kind](scores, told, temperature)


def _agreement(kind: str, scores: Tensor, told: Tensor) -> Tensor:
    """The share of rows of one first class, or of labels that are on or off alike; of values minus their distance."""
    if kind == "value":
        return -(scores - told).square().mean().sqrt()
    same = scores.argmax(-1) == told.argmax(-1) if kind == "class" else (scores > 0) == (told > 0)
    return same.double().mean()
