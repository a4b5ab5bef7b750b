"""A graph in the forms that PyG and DGL take."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from edgenet import gso
from edgenet.bench.harness.peers import import_dgl
from edgenet.graph import Graph


class Edges:
    """A graph in the forms that the libraries take, each made when it is first asked for."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    @property
    def edge_index(self) -> Tensor:
        return self.graph.edge_index

    @cached_property
    def csr(self) -> Tensor:
        """PyG's ``adj_t`` as a sparse tensor of torch: rows are targets; ones."""
        return self._csr(torch.ones(self.graph.num_edges, dtype=torch.float32))

    @cached_property
    def normalised_csr(self) -> Tensor:
        """The same with D^(-1/2) A D^(-1/2)."""
        return self._csr(gso.symmetric(self.graph, None, torch.float32)[self.graph.by_target])

    def _csr(self, values: Tensor) -> Tensor:
        graph = self.graph
        column, size = graph.source[graph.by_target], (graph.num_nodes, graph.num_nodes)
        return torch.sparse_csr_tensor(graph.rowptr, column, values, size, check_invariants=False)

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
