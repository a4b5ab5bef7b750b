"""Sources: where the batches of a split come from. One class for each form that data come in.

Every source has ``training(generator)``, an epoch of batches in an order that the generator draws; ``ordered()``, all of
them in their own order; ``first()``, one batch; ``steps``, batches of an epoch, None where nobody knows; and
``generators()``, the sources of random numbers that are its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset
from torch_geometric.data import Batch as Joined
from torch_geometric.data import Data
from torch_geometric.data.data import BaseData

from edgenet.data import check_data
from edgenet.data.check import check_edge_index, check_finite
from edgenet.errors import ConfigError, ShapeError
from edgenet.graph import Graph
from edgenet.train.batches import Batch, placed

AT_ONCE = 512  # signals, or rows, that are scored in one pass

Place = Callable[[Any], Any]
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
        mask: name of the field that says which nodes count; without one, all do.
    """

    def __init__(self, data: Any, graph: Graph | None, mask: str | None, target: Target, name: str) -> None:
        rows = None
        answers = answer_of(data, target)
        if mask is not None:
            rows = data[mask].nonzero().squeeze(1)
            if not len(rows):
                raise ShapeError(f"{name}: the {mask[:-5]} split is empty; {mask} is all False.")
            answers = answers[rows]
        self.batch = Batch(data, answers, rows, graph)

    def training(self, generator: torch.Generator) -> Iterator[Batch]:
        yield self.batch

    def ordered(self) -> Iterator[Batch]:
        yield self.batch


class Signals(Source):
    """Many signals on one graph: x (S, N, F), y (S,)."""

    def __init__(self, data: Any, graph: Graph, size: int, target: Target) -> None:
        self.data, self.graph, self.size = data, graph, size
        self.answers = answer_of(data, target)
        self.steps = -(-len(self.answers) // size)
        self._pieces = [self._batch(slice(start, start + AT_ONCE)) for start in range(0, len(self.answers), AT_ONCE)]

    def _batch(self, rows: Any) -> Batch:
        return Batch(self.data, self.answers[rows], None, self.graph, {"x": self.data.x[rows]})

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
            raise ConfigError("a TensorDataset to train on holds inputs and, last, the target; this one has one tensor.")
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


class Loaded(Source):
    """What a loader gives: PyG's or torch's, or anything that can be walked over again and again."""

    def __init__(self, loader: Iterable[Any], split: str, target: Target, place: Place) -> None:
        if iter(loader) is loader:
            raise ConfigError(
                f"the {split} data are an iterator, which is used up after one epoch. Hand in a list or a loader."
            )
        self.loader, self.split, self.target, self.place = loader, split, target, place
        self.steps = None
        if hasattr(loader, "__len__") and not isinstance(getattr(loader, "dataset", None), IterableDataset):
            self.steps = len(loader)

    def _batch(self, item: Any) -> Batch:
        item = self.place(item)
        if isinstance(item, BaseData):
            return of_data(item, self.split, self.target)
        if isinstance(item, tuple | list) and len(item) > 1 and self.target is None:
            *inputs, target = item
            return Batch(tuple(inputs), target)
        if self.target is not None:
            return Batch(item, answer_of(item, self.target))
        raise ConfigError(
            f"a loader gives PyG data or tuples (inputs, ..., target), got {type(item).__name__}. Hand in a Task with "
            f"target=, a function of what the loader gives, and call=, a function (model, batch)."
        )

    def training(self, generator: torch.Generator) -> Iterator[Batch]:
        return map(self._batch, self.loader)

    def ordered(self) -> Iterator[Batch]:
        return map(self._batch, self.loader)

    def first(self) -> Batch:
        for batch in self.ordered():
            return batch
        raise ShapeError(f"the {self.split} loader gives no batch.")

    def generators(self) -> dict[str, torch.Generator]:
        found, seen = {}, []
        batches = getattr(self.loader, "batch_sampler", None)
        for name, holder in (
            ("loader", self.loader),
            ("sampler", getattr(self.loader, "sampler", None)),
            ("batches", batches),
            ("batches.sampler", getattr(batches, "sampler", None)),
        ):
            generator = getattr(holder, "generator", None)
            if isinstance(generator, torch.Generator) and not any(generator is known for known in seen):
                seen.append(generator)
                found[f"{self.split}.{name}"] = generator
        return found


class Sampled(Loaded):
    """A dataset of single samples, put together by a loader of torch's that the run's generator shuffles."""

    def __init__(self, samples: Any, split: str, size: int, target: Target, place: Place) -> None:
        self._shuffling = torch.Generator()
        super().__init__(DataLoader(samples, size, generator=self._shuffling), split, target, place)
        self.samples, self.size = samples, size

    def training(self, generator: torch.Generator) -> Iterator[Batch]:
        return map(self._batch, DataLoader(self.samples, self.size, shuffle=True, generator=generator))

    def generators(self) -> dict[str, torch.Generator]:
        return {}


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
    """A batch of PyG data. Of a sampled piece of a graph the seeds count, which come first; else the rows of the split's
    mask; else all."""
    answers, rows, mask = answer_of(data, target), None, data.get(f"{split}_mask") if hasattr(data, "get") else None
    seeds = data.get("batch_size") if hasattr(data, "get") and data.get("input_id") is not None else None
    if seeds is not None:
        rows = torch.arange(int(seeds), device=answers.device)
    elif mask is not None:
        rows = mask.nonzero().squeeze(1)
    return Batch(data, answers if rows is None else answers[rows], rows)


class Sources:
    """Makes the sources of a task. What is handed in for several splits is placed, and its edges are sorted, once.

    Args:
        size: of batches that are made here; loaders have their own.
        target: name of the field to learn, or a function of what a batch is made of; None: ``y``.
        name: of the data, in messages.
    """

    def __init__(self, device: torch.device, dtype: torch.dtype, size: int, target: Target, name: str) -> None:
        self.device, self.dtype, self.size, self.target, self.name = device, dtype, size, target, name
        self._placed: dict[int, tuple[Any, Any]] = {}  # by what was handed in, which is held so that ids stay its own
        self._graphs: list[Graph] = []

    def of(self, thing: Any, split: str) -> Source:
        """The source that fits what was handed in for a split.

        Raises:
            ConfigError: if nothing does.
            ShapeError, EdgeIndexError: if the split is empty, or graphs hold NaN or edges of no node.
        """
        if isinstance(thing, Source):
            return thing
        if isinstance(thing, BaseData):
            mask = f"{split}_mask" if f"{split}_mask" in thing else None
            whole = self._data(thing, f"{self.name}, {split}")
            return OneGraph(whole, self._graph(whole), mask, self.target, self.name)
        if isinstance(thing, TensorDataset):
            return Rows([self.place(tensor) for tensor in thing.tensors], self.size)
        if isinstance(thing, DataLoader):
            return Loaded(thing, split, self.target, self.place)
        if isinstance(thing, Sequence | Dataset) and hasattr(thing, "__len__") and not isinstance(thing, str | tuple):
            if not len(thing):
                raise ShapeError(f"{self.name}: the {split} split is empty.")
            if isinstance(thing[0], BaseData):
                number = len(thing)
                where = [f"{self.name}, {split} graph {i}" if number > 1 else f"{self.name}, {split}" for i in range(number)]
                graphs = [self._data(thing[i], where[i]) for i in range(number)]
                return Graphs(graphs, split, self.size, self.target)
            return Sampled(thing, split, self.size, self.target, self.place)
        if hasattr(thing, "__iter__") and not isinstance(thing, str | tuple | dict | Tensor):
            return Loaded(thing, split, self.target, self.place)
        raise ConfigError(
            f"the {split} data are a {type(thing).__name__}; wanted are a PyG Data, a list of them, a loader, a "
            f"TensorDataset, another dataset of torch's, or a data set of edgenet.data."
        )

    def signals(self, data: Data, split: str) -> Source:
        """Signals on one graph, which is the same for all splits."""
        whole = self._data(data, f"{self.name}, {split}")
        graph = self._graph(whole)
        if graph is None:
            raise ShapeError(f"{self.name}: signals live on a graph, and there is no edge_index.")
        return Signals(whole, graph, self.size, self.target)

    def place(self, thing: Any) -> Any:
        return placed(thing, self.device, self.dtype)

    def _data(self, data: Any, where: str) -> Any:
        if id(data) not in self._placed:
            self._placed[id(data)] = data, self.place(_checked(data, where))
        return self._placed[id(data)][1]

    def _graph(self, data: Any) -> Graph | None:
        """The data's graph. Edge lists that hold the same edges are one graph, so that tables find their rows once."""
        edges = data.get("edge_index") if hasattr(data, "get") else None
        if not isinstance(edges, Tensor) or edges.layout != torch.strided:
            return None
        for known in self._graphs:
            if known.num_nodes == data.num_nodes and torch.equal(known.edge_index, edges):
                return known
        self._graphs.append(Graph(edges, int(data.num_nodes)))
        return self._graphs[-1]


def _checked(data: Any, where: str) -> Any:
    """Refuse edges of no node, and features that are not finite."""
    if not isinstance(data, Data):
        return data
    nodes, x, y = data.num_nodes, data.get("x"), data.get("y")
    rows = nodes if not isinstance(x, Tensor) or x.dim() == 2 else len(x)
    if isinstance(y, Tensor) and y.dim() and len(y) == rows and data.get("edge_index") is not None:
        return check_data(data, where)
    if isinstance(data.get("edge_index"), Tensor) and nodes is not None:
        check_edge_index(data.edge_index, nodes, where)
    if isinstance(x, Tensor) and x.is_floating_point() and x.layout == torch.strided:
        check_finite(x, "x", where)
    return data
