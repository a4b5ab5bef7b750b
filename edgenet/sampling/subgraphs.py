"""Induced subgraphs of a graph, and batches of its parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch_geometric.data import Data
from torch_geometric.loader.utils import filter_data

from edgenet.errors import ConfigError
from edgenet.graph import Graph
from edgenet.sampling.growing import Piece
from edgenet.sampling.partitioning import partition
from edgenet.sampling.stored_graph import ALONE, EDGES, StoredGraph


class Subgraphs:
    """Takes the nodes that are named, and all edges between them, out of a graph.

    Args:
        data: a PyG ``Data``.

    Raises:
        ConfigError: if it is none.
    """

    def __init__(self, data: Data) -> None:
        if not isinstance(data, Data):
            raise ConfigError(f"subgraphs are of one PyG Data, got {type(data).__name__}.")
        self.data, self.graph = data, StoredGraph.of(data)

    def __call__(self, nodes: Tensor) -> Data:
        """The subgraph of different nodes (I,), in their order, with ``n_id`` and ``e_id``."""
        piece = Piece(self.graph, {ALONE: nodes}, None, False)
        piece.induce(None)
        found = piece.output()
        edge = found["edge"][EDGES]
        made = filter_data(self.data, nodes, found["row"][EDGES], found["col"][EDGES], edge, None)
        for name, ids in (("n_id", nodes), ("e_id", edge)):
            if name not in made:
                made[name] = ids
        return made


class ClusterLoader(DataLoader):
    """Batches of parts of a graph, with all edges inside and between the parts of a batch (Chiang et al. 2019:
    ClusterGCN). ``n_id`` and ``e_id`` say which nodes and edges they are.

    Args:
        data: a PyG ``Data``.
        parts: how many parts, see ``partition``; or (N,) the part of every node.
        batch_size: parts of a batch.
        seed: of the partition.
        **options: of torch's ``DataLoader``: shuffle, num_workers, ...

    Raises:
        ConfigError: as ``partition``, or if there is not one part for every node.

    Example:
        >>> from torch_geometric.data import Data
        >>> loader = edgenet.sampling.ClusterLoader(Data(x=x, edge_index=edges), 2)
        >>> [batch.num_nodes for batch in loader]
        [2, 2]
    """

    def __init__(self, data: Data, parts: int | Tensor, *, batch_size: int = 1, seed: int = 0, **options: Any) -> None:
        self.data, self._subgraph = data, Subgraphs(data)
        nodes = int(data.num_nodes or 0)
        part = parts.cpu() if isinstance(parts, Tensor) else partition(Graph(data.edge_index, nodes), parts, seed)
        if part.shape != (nodes,) or part.is_floating_point() or bool((part < 0).any()):
            raise ConfigError(
                f"one part for each of {nodes} nodes is wanted, a whole number of 0 or more, got {tuple(part.shape)} "
                f"of {part.dtype}{f', the least {part.min()}' if part.numel() else ''}."
            )
        #: (N,) the part of every node
        self.part = part
        order = part.argsort(stable=True)
        self._nodes = list(order.split(part[order].unique_consecutive(return_counts=True)[1].tolist()))
        super().__init__(range(len(self._nodes)), batch_size, collate_fn=self._batch, **options)  # type: ignore[arg-type]  # a range is a dataset

    def _batch(self, parts: Sequence[int]) -> Data:
        return self._subgraph(torch.cat([self._nodes[part] for part in parts]))
