"""Forms: which source fits what was handed in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset
from torch_geometric.data import Data, InMemoryDataset
from torch_geometric.data.data import BaseData

from edgenet.data import check_data, check_sequences
from edgenet.data.check import check_edge_index, check_finite
from edgenet.errors import ConfigError, ShapeError
from edgenet.graph import Graph
from edgenet.train.batches import placed
from edgenet.train.loaders import Loaded, Sampled
from edgenet.train.node_batches import NodeBatches
from edgenet.train.sequences import Sequences, Streams
from edgenet.train.sources import Graphs, OneGraph, Rows, Signals, Source, Target


class Sources:
    """Makes the sources of a task. What is handed in for several splits is placed, and its edges are sorted, once.

    Args:
        size: of batches that are made here; loaders have their own.
        target: name of the field to learn, or a function of what a batch is made of; None: ``y``.
        name: of the data, in messages.
        fan_out: neighbours at each hop, of batches of the nodes of one graph; None: the graph is one batch.
    """

    def __init__(
        self,
        device: torch.device,
        dtype: torch.dtype,
        size: int,
        target: Target,
        name: str,
        fan_out: Sequence[int] | None = None,
    ) -> None:
        self.device, self.dtype, self.size, self.target, self.name = device, dtype, size, target, name
        self.fan_out = fan_out
        self._placed: dict[int, tuple[Any, Any]] = {}  # by what was handed in, which is held so that ids stay its own
        self._graphs: list[Graph] = []
        self._shared: dict[int, dict[str, Any]] = {}

    def of(self, thing: Any, split: str) -> Source:
        """The source that fits what was handed in for a split.

        Raises:
            ConfigError: if nothing does.
            ShapeError, EdgeIndexError: if the split is empty, or graphs hold NaN or edges of no node.
        """
        if split == "train" and not isinstance(thing, BaseData):
            self._refuse_fan_out(f"a {type(thing).__name__}")
        if isinstance(thing, Streams):
            return thing.placed(self.place)
        if isinstance(thing, Source):
            return thing
        if isinstance(thing, BaseData):
            whole = self._data(thing, f"{self.name}, {split}")
            graph = OneGraph(whole, self._kept(whole), split, self.target, self.name)
            return graph if self.fan_out is None or split != "train" else NodeBatches(graph, self.fan_out, self.size)
        if isinstance(thing, TensorDataset):
            return Rows([self.place(tensor) for tensor in thing.tensors], self.size)
        if isinstance(thing, DataLoader):
            return Loaded(thing, split, self.target, self.place)
        if isinstance(thing, Sequence | Dataset) and hasattr(thing, "__len__") and not isinstance(thing, str | tuple):
            if not len(thing):
                raise ShapeError(f"{self.name}: the {split} split is empty.")
            if isinstance(thing[0], BaseData) and not (len(thing) > 1 and _made_anew(thing)):
                where = f"{self.name}, {split}"
                several = len(thing) > 1
                graphs = [self._data(thing[i], f"{where} graph {i}" if several else where) for i in range(len(thing))]
                return Graphs(graphs, split, self.size, self.target)
            return Sampled(thing, split, self.size, self.target, self.place)
        if hasattr(thing, "__iter__") and not isinstance(thing, str | tuple | dict | Tensor):
            return Loaded(thing, split, self.target, self.place)
        raise ConfigError(
            f"the {split} data are a {type(thing).__name__}; wanted are a PyG Data, a list of them, a loader, a "
            f"TensorDataset, another dataset of torch's, Streams, or a data set of edgenet.data."
        )

    def signals(self, data: Data, split: str) -> Source:
        """Signals on one graph, which is the same for all splits."""
        self._refuse_fan_out("signals on one graph")
        whole = self._data(data, f"{self.name}, {split}")
        return Signals(whole, self._kept(whole), self.size, self.target)

    def sequences(self, data: Data, split: str) -> Source:
        """Sequences, and the graph of their signals where they have one."""
        self._refuse_fan_out("sequences")
        where = f"{self.name}, {split}"
        if id(data) not in self._placed:
            self._placed[id(data)] = data, self.place(check_sequences(data, where))
        whole = self._placed[id(data)][1]
        graph = self._graph(whole)
        return Sequences(whole, {} if graph is None else {"graph": graph}, self.size, self.target)

    def _refuse_fan_out(self, what: str) -> None:
        if self.fan_out is not None:
            raise ConfigError(f"batches of drawn neighbours are of the nodes of one graph; the train data are {what}.")

    def place(self, thing: Any) -> Any:
        return placed(thing, self.device, self.dtype)

    def _data(self, data: Any, where: str) -> Any:
        if id(data) not in self._placed:
            self._placed[id(data)] = data, self.place(_checked(data, where))
        return self._placed[id(data)][1]

    def _kept(self, data: Any) -> dict[str, Any]:
        """What is computed once for the data, shared by the splits that live on them."""
        if id(data) not in self._shared:
            graph = self._graph(data)
            self._shared[id(data)] = {"every step": True} | ({} if graph is None else {"graph": graph})
        return self._shared[id(data)]

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


def _made_anew(samples: Any) -> bool:
    """Whether every look at a sample may give another one: a data set that draws, or that reads from disk."""
    while isinstance(samples, Subset):
        samples = samples.dataset
    if isinstance(samples, InMemoryDataset):
        return samples.transform is not None
    return isinstance(samples, Dataset)


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
