"""A graph in the forms that PyG and DGL take."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from edgenet import gso
from edgenet.bench.harness.peers import import_dgl
from edgenet.graph import Graph


class Prepared:
    """A graph whose edges are sorted by target, with a weight for every edge or without, in the forms that PyG takes.

    Attributes:
        edge_index: (2, E) sorted.
        weight: (E,) in that order, or None.
    """

    def __init__(self, graph: Graph, weight: Tensor | None = None) -> None:
        order = graph.by_target
        self._size = (graph.num_nodes, graph.num_nodes)
        self._rowptr = graph.rowptr
        self.edge_index = graph.edge_index[:, order].contiguous()
        self.weight = None if weight is None else weight[order]

    def indexed(self) -> tuple[Any, ...]:
        """(edge_index,) or (edge_index, weights)."""
        return self._weighed(self.edge_index)

    def edge_indexed(self) -> tuple[Any, ...]:
        """The same with PyG's ``EdgeIndex``, which knows that it is sorted and where rows begin, both ways."""
        from torch_geometric import EdgeIndex

        index = EdgeIndex(self.edge_index, sparse_size=self._size, sort_order="col")
        return self._weighed(index.fill_cache_())

    def csr(self) -> tuple[Any, ...]:
        """PyG's ``adj_t`` as a sparse tensor of torch: rows are targets; ones where there are no weights."""
        values = self.weight
        if values is None:
            values = torch.ones(self.edge_index.shape[1], dtype=torch.float32)
        return (torch.sparse_csr_tensor(self._rowptr, self.edge_index[0], values, self._size, check_invariants=False),)

    def sparse_tensor(self) -> tuple[Any, ...]:
        """PyG's ``adj_t`` as a ``SparseTensor`` of torch_sparse."""
        from torch_sparse import SparseTensor

        source, target = self.edge_index
        return (SparseTensor(row=target, col=source, value=self.weight, sparse_sizes=self._size, is_sorted=True),)

    def _weighed(self, index: Tensor) -> tuple[Any, ...]:
        return (index,) if self.weight is None else (index, self.weight)


class Edges:
    """A graph as the layers of other libraries want it, each form made when it is first asked for."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    @property
    def edge_index(self) -> Tensor:
        return self.graph.edge_index

    @cached_property
    def looped(self) -> Prepared:
        """With a self-loop a node, for attention."""
        return Prepared(self.graph.with_self_loops()[0])

    @cached_property
    def looped_normalised(self) -> Prepared:
        """With self-loops, and D^(-1/2) (A + I) D^(-1/2)."""
        looped = self.graph.with_self_loops()[0]
        return Prepared(looped, gso.symmetric(looped, None, torch.float32))

    @cached_property
    def normalised(self) -> Prepared:
        """D^(-1/2) A D^(-1/2)."""
        return Prepared(self.graph, gso.symmetric(self.graph, None, torch.float32))

    @cached_property
    def dgl(self) -> Any:
        """DGL's graph.

        Its ``TAGConv`` takes a degree of 0 for 1; ours and PyG's take 1 / 0 for 0. The degrees that it is told here are
        infinite where they are 0, so that it computes the same, in the same steps.
        """
        graph = import_dgl().graph((self.graph.source, self.graph.target), num_nodes=self.graph.num_nodes)
        degree = self.graph.in_degree.float()
        degree[degree == 0] = torch.inf
        graph.in_degrees = lambda: degree
        return graph

    @cached_property
    def dgl_with_loops(self) -> Any:
        """DGL's graph with a self-loop a node.

        Its ``GraphConv`` divides by the out-degree of the source; ours and PyG's ``GCNConv`` by its in-degree, which
        on a directed graph is another number. It is told in-degrees here, so that it computes the same, in the same
        steps.
        """
        looped = self.graph.with_self_loops()[0]
        graph = import_dgl().graph((looped.source, looped.target), num_nodes=looped.num_nodes)
        graph.out_degrees = graph.in_degrees
        return graph
