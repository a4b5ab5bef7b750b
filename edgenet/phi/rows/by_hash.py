"""ByHash: one of a fixed number of rows for every pair of nodes."""

from __future__ import annotations

import torch
from torch import Tensor

from edgenet.errors import SupportError
from edgenet.graph import Graph
from edgenet.ops.scrambled import scrambled
from edgenet.phi.rows.base import RowFinder, need_node_id


class ByHash(RowFinder):
    """One of a fixed number of rows for every (source, target) pair, by a hash of their ids. Legal on any graph.

    Pairs collide at random, about 1 / ``buckets`` of them with any given one. Ids are ``node_id`` where the graph has
    them, else positions: several graphs in one batch, and sampled pieces, need ids to mean the same thing every time.

    Example:
        >>> layer = edgenet.EdgeNetConv(3, 8, phi="edge_varying", share="hash", buckets=16)
        >>> layer(x, edges).shape
        torch.Size([4, 8])
    """

    def __init__(self, buckets: int) -> None:
        super().__init__()
        self.buckets = self.edge_rows = self.node_rows = buckets

    def of_edges(self, graph: Graph, edge_attr: Tensor | None) -> Tensor:
        need_node_id(graph)
        ids = graph.node_id
        if ids is None:
            return scrambled(graph.source, graph.target) % self.edge_rows
        if graph.is_bipartite:
            raise SupportError("ids of one set of nodes cannot name both ends of bipartite edges; leave n_id out.")
        return scrambled(ids[graph.source], ids[graph.target]) % self.edge_rows

    def of_nodes(self, graph: Graph) -> Tensor:
        need_node_id(graph)
        ids = graph.node_id
        if ids is None:
            ids = torch.arange(graph.num_nodes, device=graph.edge_index.device)
        return scrambled(ids, ids) % self.edge_rows

    def extra_repr(self) -> str:
        return f"buckets={self.edge_rows}"
