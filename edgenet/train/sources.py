"""Sources: where the batches of a split come from. One class for each form that data come in.

Every source has ``training(generator)``, an epoch of batches in an order that the generator draws; ``ordered()``, all
of them in their own order; ``first()``, one batch; ``steps``, batches of an epoch, None where nobody knows; and
``generators()``, the sources of random numbers that are its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Batch as Joined
from torch_geometric.data import HeteroData

from edgenet.errors import ConfigError, ShapeError
from edgenet.train.batches import Batch
from edgenet.train.processes import mine, world

AT_ONCE = 512  # signals, or rows, that are scored in one pass at most

Target = str | Callable[[Any], Any] | None


def at_once(size: int) -> int:
    """How many are scored in one pass: without gradients, more fit into memory than a step's ``size``."""
    return min(AT_ONCE, 8 * size)


class Source(ABC):
    """Batches of one split."""

    steps: int | None = 1
    #: whether ``training`` gives each of several processes its part
    splits = False

    @abstractmethod
    def training(self, generator: torch.Generator) -> Iterator[Batch]: ...

    @abstractmethod
    def ordered(self) -> Iterator[Batch]: ...

    def first(self) -> Batch:
        return next(iter(self.ordered()))

    def generators(self) -> dict[str, torch.Generator]:
        return {}

    def check(self, model: nn.Module) -> None:  # noqa: B027  most have nothing to check
        """
        Raises:
            ConfigError: if the batches are too small for a model.
        """


class OneGraph(Source):
    """Nodes of one graph: the same batch at every step, with the rows of a mask.

    Args:
        data: on its device.
        kept: what was computed once for the data.
        split: which nodes count, if there is a mask of that name; without one, all do.
    """

    splits = True

    def __init__(self, data: Any, kept: dict[str, Any], split: str, target: Target, name: str) -> None:
        self.split = split
        answers = answer_of(data, target)
        rows = counted(data, split, answers, target)
        if rows is not None and not len(rows):
            raise ShapeError(f"{name}: the {split} split is empty; {split}_mask is all False.")
        self.batch = Batch(
            data, answers if rows is None else answers[rows], rows, kind_of_nodes(data, target), kept=kept
        )

    def training(self, generator: torch.Generator) -> Iterator[Batch]:
        if world() == 1:
            yield self.batch
            return
        whole = self.batch
        part, idle = mine(torch.arange(len(whole.target), device=whole.target.device))
        rows = part if whole.rows is None else whole.rows[part]
        yield Batch(whole.whole, whole.target[part], rows, whole.kind, kept=whole.kept, idle=idle)

    def ordered(self) -> Iterator[Batch]:
        yield self.batch


class Signals(Source):
    """Many signals on one graph: x (S, N, F) or (S, T, N, F), y with a row for each of the S."""

    splits = True

    def __init__(self, data: Any, kept: dict[str, Any], size: int, target: Target) -> None:
        self.data, self.kept, self.size = data, kept, size
        self.answers = answer_of(data, target)
        self.steps = -(-len(self.answers) // size)
        piece = at_once(size)
        self._pieces = [self._batch(slice(start, start + piece)) for start in range(0, len(self.answers), piece)]

    def _batch(self, rows: Any, idle: bool = False) -> Batch:
        return Batch(self.data, self.answers[rows], values={"x": self.data.x[rows]}, kept=self.kept, idle=idle)

    def training(self, generator: torch.Generator) -> Iterator[Batch]:
        order = torch.randperm(len(self.answers), generator=generator).to(self.answers.device)
        for rows in order.split(self.size):
            yield self._batch(*mine(rows))

    def ordered(self) -> Iterator[Batch]:
        yield from self._pieces


class Graphs(Source):
    """A list of graphs, several of which make a batch that falls into pieces."""

    splits = True

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
            numbers, idle = mine(order[start : start + self.size])
            batch = self._batch(numbers)
            yield replace(batch, idle=True) if idle else batch

    def ordered(self) -> Iterator[Batch]:
        if not self._ordered:
            numbers = list(range(len(self.graphs)))
            self._ordered = [self._batch(numbers[start : start + self.size]) for start in numbers[:: self.size]]
        yield from self._ordered

    def first(self) -> Batch:
        return self._batch([0])


class Rows(Source):
    """Tensors whose rows belong together, the last one being the target."""

    splits = True

    def __init__(self, tensors: Sequence[Tensor], size: int) -> None:
        if len(tensors) < 2:
            raise ConfigError("a TensorDataset to train on holds inputs and, last, the target; this has one tensor.")
        if not len(tensors[-1]):
            raise ShapeError("a TensorDataset without rows has nothing to learn or to be judged by.")
        self.tensors, self.size = tuple(tensors), size
        self.steps = -(-len(tensors[-1]) // size)

    def _batch(self, rows: Any, idle: bool = False) -> Batch:
        *inputs, target = (tensor[rows] for tensor in self.tensors)
        return Batch(tuple(inputs), target, idle=idle)

    def training(self, generator: torch.Generator) -> Iterator[Batch]:
        order = torch.randperm(len(self.tensors[-1]), generator=generator).to(self.tensors[-1].device)
        for rows in order.split(self.size):
            yield self._batch(*mine(rows))

    def ordered(self) -> Iterator[Batch]:
        piece = at_once(self.size)
        for start in range(0, len(self.tensors[-1]), piece):
            yield self._batch(slice(start, start + piece))

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
    kind = kind_of_nodes(data, target)
    name, data = ("y", data[kind]) if kind is not None else (target or "y", data)
    value = data.get(name) if hasattr(data, "get") else getattr(data, name, None)
    if value is None and isinstance(data, HeteroData):
        raise ConfigError(
            f"the data have nodes of several kinds, {', '.join(data.node_types)}; hand in a Task with target= the kind "
            f"to learn of, or a function of the data."
        )
    if value is None:
        keys = ", ".join(map(str, data.keys())) if hasattr(data, "keys") else type(data).__name__
        raise ConfigError(f"the data have no {name!r} to learn; there are {keys}. Hand in a Task with target=.")
    return value


def of_data(data: Any, split: str, target: Target) -> Batch:
    """A batch of PyG data. Of a sampled piece of a graph the seeds count, which come first; else the rows of the
    split's mask; else all."""
    answers = answer_of(data, target)
    kind = kind_of_nodes(data, target)
    store = data if kind is None else data[kind]
    seeds = store.get("batch_size") if hasattr(store, "get") and store.get("input_id") is not None else None
    if seeds is not None:
        rows: Tensor | None = torch.arange(int(seeds), device=answers.device)
    else:
        rows = counted(data, split, answers, target)
    return Batch(data, answers if rows is None else answers[rows], rows, kind)


def kind_of_nodes(data: Any, target: Target) -> str | None:
    """The kind of nodes to learn of, where the data have several and the target is one of them."""
    return target if isinstance(data, HeteroData) and isinstance(target, str) and target in data.node_types else None


def counted(data: Any, split: str, answers: Any, target: Target) -> Tensor | None:
    """Rows of the answers that the mask of a split names; None where all count.

    Masks are of nodes. What is learned of something else, of pairs of nodes say, has no use for them.

    Raises:
        ShapeError: if the mask is none of the answers, though these are the data's ``y``.
        ConfigError: if there are masks to judge by and none to train by: those nodes would be trained on.
    """
    kind = kind_of_nodes(data, target)
    if kind is not None:
        data, target = data[kind], None
    elif isinstance(data, HeteroData) and any(f"{name}_mask" in data for name in ("train", "val", "test")):
        raise ConfigError(
            f"the masks are of nodes of one kind: hand in a Task with target= that kind, of "
            f"{', '.join(data.node_types)}."
        )
    found = {name: data.get(f"{name}_mask") if hasattr(data, "get") else None for name in ("train", "val", "test")}
    masks = {name: mask for name, mask in found.items() if isinstance(mask, Tensor)}
    length = answers.shape[:1] if isinstance(answers, Tensor) else None
    if split not in masks:
        if split == "train" and any(mask.shape == length for mask in masks.values()):
            raise ConfigError(
                f"the data have {' and '.join(f'{name}_mask' for name in masks)}, and no train_mask: nodes to be "
                f"judged by would be trained on. Set train_mask, to ~(val_mask | test_mask) say, or take the masks "
                f"away."
            )
        return None
    mask = masks[split]
    if mask.shape != length or mask.dtype not in (torch.bool, torch.uint8):
        if target is not None and mask.shape != length:
            return None
        raise ShapeError(
            f"{split}_mask must be {tuple(length or ())} of torch.bool, as the answers are; got {tuple(mask.shape)} of "
            f"{mask.dtype}. Of several splits choose one: data.{split}_mask = data.{split}_mask[:, 0]. If masks have "
            f"nothing to do with what is learned, hand in a Task with target='y'."
        )
    return mask.nonzero().squeeze(1)
