"""ByNode: a row for every receiving node of one graph."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from edgenet.errors import SupportError
from edgenet.graph import Graph
from edgenet.phi.rows.base import OfGraph, need_node_id, stored_number


class ByNode(OfGraph):
    """A row for every receiving node of one graph, shared by its in-edges. New edges between known nodes are legal.

    Example:
        >>> layer = edgenet.EdgeNetConv(3, 8, phi="edge_varying", share="node").bind(graph)
        >>> layer(x, edges.flip(0)).shape  # other edges between the same nodes
        torch.Size([4, 8])
    """

    def bind(self, graph: Graph) -> None:
        self.refuse_piece(graph)
        if self.is_bound and self._num_nodes != graph.num_nodes:
            raise SupportError(
                f"the table is bound to {self._num_nodes} nodes already and this graph has {graph.num_nodes}."
            )
        self._hold(num_nodes=torch.tensor(graph.num_nodes, device=graph.edge_index.device))
        self._sizes()

    def _sizes(self) -> None:
        super()._sizes()
        if self._num_nodes >= 0:
            self.edge_rows = self.node_rows = self._num_nodes

    def stored_rows(self, state_dict: Mapping[str, Tensor], prefix: str) -> tuple[int | None, int | None]:
        return (stored_number(state_dict, f"{prefix}num_nodes"),) * 2

    def of_edges(self, graph: Graph, edge_attr: Tensor | None) -> Tensor:
        need_node_id(graph)
        ids = self.global_id(graph)
        return graph.target if ids is None else ids[graph.target]

    def of_nodes(self, graph: Graph) -> Tensor:
        need_node_id(graph)
        ids = self.global_id(graph)
        return torch.arange(graph.num_nodes, device=graph.edge_index.device) if ids is None else ids
