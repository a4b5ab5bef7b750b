"""What a search may look at of a task: outputs and scores of training and validation data, and nothing of test data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from edgenet.compress.distill_rule import known_rows
from edgenet.train.batches import Batch
from edgenet.train.losses import kind_of
from edgenet.train.sources import OneGraph
from edgenet.train.task import Task

_MOST = 4096  # rows of a split whose outputs are compared


def outputs_of(task: Task) -> Callable[[nn.Module], list[Tensor]]:
    """A function that gives a model's scores: of one graph at all nodes but those of the test mask, with a label or
    without; else of the training and the validation data, some thousand rows of each. No label is read."""
    batches: list[Batch] = []

    def outputs(model: nn.Module) -> list[Tensor]:
        if not batches:  # once, for loaders shuffle
            batches.extend(_batches(task, model))
        return [task.scores(task.output(model, batch), batch) for batch in batches]

    return outputs


def _batches(task: Task, model: nn.Module) -> Iterator[Batch]:
    for split in ("train", "val"):
        if not task.has(split) and split == "val":
            continue
        source, rows = task.source(split), 0
        if isinstance(source, OneGraph) and split == "train":
            batch = source.batch
            known = known_rows(batch)
            yield batch if known is None else replace(batch, rows=known.nonzero().squeeze(1))
            if task.val is None or task.val is task.train:  # its nodes are among them
                return
            continue
        for batch in source.ordered():
            yield batch
            rows += len(batch.target)
            if rows >= _MOST:
                break


def examples_of(task: Task) -> Callable[[nn.Module], Tensor]:
    """A function that gives one score for each validation example, higher is better: of classes whether it is right, of
    several labels at once the share that is, of values minus the squared error. A sequence is one example."""

    def examples(model: nn.Module) -> Tensor:
        found = []
        for batch in task.source("val").ordered():
            scores = task.scores(task.output(model, batch), batch)
            found.append(_by_example(scores, batch.target, kind_of(batch.target, task.name)))
        return torch.cat(found)

    return examples


def _by_example(scores: Tensor, target: Tensor, kind: str) -> Tensor:
    if kind == "class":
        right = (scores.argmax(-1) == target).double()
    elif kind == "multilabel":
        right = ((scores > 0) == (target > 0.5)).double()
    else:
        right = -(scores.reshape(target.shape) - target).double().square()
    return right if right.dim() == 1 else right.flatten(1).mean(1)
