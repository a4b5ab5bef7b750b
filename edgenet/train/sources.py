"""Sources: where the batches of a split come from. One class for each form that data come in.

Every source has ``training(generator)``, an epoch of batches in an order that the generator draws; ``ordered()``, all
of them in their own order; ``first()``, one batch; ``steps``, batches of an epoch, None where nobody knows; and
``generators()``, the sources of random numbers that are its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Batch as Joined

from edgenet.errors import ConfigError, ShapeError
from edgenet.train.batches import Batch

AT_ONCE = 512  # signals, or rows, that are scored in one pass

Target = str | Callable[[Any], Any] | None


class Source(ABC):
    """Batches of one split."""

    steps: int | None = 1

    @abstractmethod
    def training(self, generator: torch.Generator) -> Iterator[Batch]: ...

    @abstractmethod
    def ordered(self) -> Iterator[Batch]: ...

    def first(self) -> Batch:
        return next(iter(self.ordered()))

    def generators(self) -> dict[str, torch.Generator]:
        return {}


class OneGraph(Source):
    """Nodes of one graph: the same batch at every step, with the rows of a mask.

    Args:
        data: on its device.
        kept: what was computed once for the data.
        mask: name of the field that says which nodes count; without one, all do.
    """

    def __init__(self, data: Any, kept: dict[str, Any], mask: str | None, target: Target, name: str) -> None:
        rows = None
        answers = answer_of(data, target)
        if mask is not None:
            rows = data[mask].nonzero().squeeze(1)
            if not len(rows):
                raise ShapeError(f"{name}: the {mask[:-5]} split is empty; {mask} is all False.")
            answers = answers[rows]
        self.batch = Batch(data, answers, rows, kept=kept)

    def training(self, generator: torch.Generator) -> Iterator[Batch]:
        yield self.batch

    def ordered(self) -> Iterator[Batch]:
        yield self.batch


class Signals(Source):
    """Many signals on one graph: x (S, N, F), y (S,)."""

    def __init__(self, data: Any, kept: dict[str, Any], size: int, target: Target) -> None:
        self.data, self.kept, self.size = data, kept, size
        self.answers = answer_of(data, target)
        self.steps = -(-len(self.answers) // size)
        self._pieces = [self._batch(slice(start, start + AT_ONCE)) for start in range(0, len(self.answers), AT_ONCE)]

    def _batch(self, rows: Any) -> Batch:
        return Batch(self.data, self.answers[rows], None, {"x": self.data.x[rows]}, self.kept)

    def training(self, generator: torch.Generator) -> Iterator[Batch]:
        order = torch.randperm(len(self.answers), generator=generator).to(self.answers.device)
        for rows in order.split(self.size):
            yield self._batch(rows)

    def ordered(self) -> Iterator[Batch]:
        yield from self._pieces


class Graphs(Source):
    """A list of graphs, several of which make a batch that falls into pieces."""

    def __init__(self, graphs: Sequence[Any], split: str, size: int, target: Target) -> None:
        self.graphs, self.split, self.size, self.target = list(graphs), split, size, target
        self.steps = -(-len(self.graphs) // size)
        self._alone: dict[int, Batch] = {}
        self._ordered: list[Batch] = []

    def _batch(self, numbers: Sequence[int]) -> Batch:
        if len(numbers) > 1:
            return of_data(Joined.from_data_list([self.graphs[i] for i in numbers]), self.split, self.target)
        (number,) = numbers
        if number not in self._alone:  # its edges are sorted once
            self._alone[number] = of_data(Joined.from_data_list([self.graphs[number]]), self.split, self.target)
        return self._alone[number]

    def training(self, generator: torch.Generator) -> Iterator[Batch]:
        order = torch.randperm(len(self.graphs), generator=generator).tolist()
        for start in range(0, len(order), self.size):
            yield self._batch(order[start : start + self.size])

    def ordered(self) -> Iterator[Batch]:
        if not self._ordered:
            numbers = list(range(len(self.graphs)))
            self._ordered = [self._batch(numbers[start : start + self.size]) for start in numbers[:: self.size]]
        yield from self._ordered

    def first(self) -> Batch:
        return self._batch([0])


class Rows(Source):
    """Tensors whose rows belong together, the last one being the target."""

    def __init__(self, tensors: Sequence[Tensor], size: int) -> None:
        if len(tensors) < 2:
            raise ConfigError("a TensorDataset to train on holds inputs and, last, the target; this has one tensor.")
        self.tensors, self.size = tuple(tensors), size
        self.steps = -(-len(tensors[-1]) // size)

    def _batch(self, rows: Any) -> Batch:
        *inputs, target = (tensor[rows] for tensor in self.tensors)
        return Batch(tuple(inputs), target)

    def training(self, generator: torch.Generator) -> Iterator[Batch]:
        order = torch.randperm(len(self.tensors[-1]), generator=generator).to(self.tensors[-1].device)
        for rows in order.split(self.size):
            yield self._batch(rows)

    def ordered(self) -> Iterator[Batch]:
        for start in range(0, len(self.tensors[-1]), AT_ONCE):
            yield self._batch(slice(start, start + AT_ONCE))

    def first(self) -> Batch:
        return self._batch(slice(0, min(2, self.size)))


# ---------------------------------------------------------------- one batch of data
def answer_of(data: Any, target: Target) -> Any:
    """What a model should say of data: their ``y``, another field, or what a function makes of them.

    Raises:
        ConfigError: if there is no such field.
    """
    if callable(target):
        return target(data)
    name = target or "y"
    value = data.get(name) if hasattr(data, "get") else getattr(data, name, None)
    if value is None:
        keys = ", ".join(map(str, data.keys())) if hasattr(data, "keys") else type(data).__name__
        raise ConfigError(f"the data have no {name!r} to learn; there are {keys}. Hand in a Task with target=.")
    return value


def of_data(data: Any, split: str, target: Target) -> Batch:
    """A batch of PyG data. Of a sampled piece of a graph the seeds count, which come first; else the rows of the
    split's mask; else all."""
    answers, rows, mask = answer_of(data, target), None, data.get(f"{split}_mask") if hasattr(data, "get") else None
    seeds = data.get("batch_size") if hasattr(data, "get") and data.get("input_id") is not None else None
    if seeds is not None:
        rows = torch.arange(int(seeds), device=answers.device)
    elif mask is not None:
        rows = mask.nonzero().squeeze(1)
    return Batch(data, answers if rows is None else answers[rows], rows)
