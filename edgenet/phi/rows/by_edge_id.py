"""ByEdgeId: a row for every edge of one stored edge list, by its number there."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from edgenet.errors import SupportError
from edgenet.graph import Graph
from edgenet.ops.scrambled import scrambled
from edgenet.ops.stacked import unstacked
from edgenet.phi.rows.base import UNKNOWN, OfGraph, need_node_id, stored_number


class ByEdgeId(OfGraph):
    """Row e is that of edge e of the edge list that was bound. Repeated edges have rows of their own.

    No index is stored, only two numbers that tell this edge list, in this order, from others: on every other list, and
    on sampled pieces, ``edge_id`` must name the edges.

    Args:
        self_loops: the diagonal lives on the nodes: added self-loops, of id -1, need no row.

    Example:
        >>> twice = edgenet.Graph(torch.tensor([[0, 0], [1, 1]]), num_nodes=2)  # one edge, listed twice
        >>> layer = edgenet.EdgeNetConv(3, 8, phi="edge_varying", share="edge_id").bind(twice)
        >>> layer(torch.randn(2, 3), twice).shape
        torch.Size([2, 8])
    """

    one_an_edge = True
    num_edges: Tensor
    fingerprint: Tensor

    def __init__(self, self_loops: bool = True) -> None:
        super().__init__()
        self.self_loops = self_loops
        self.register_buffer("num_edges", torch.tensor(-1))
        self.register_buffer("fingerprint", torch.zeros(2, dtype=torch.long))

    def bind(self, graph: Graph) -> None:
        if graph.is_bipartite and self.self_loops:
            raise SupportError(
                "edges between two sets of nodes have no loops and no diagonal: make the layer with a pair, "
                "in_channels=(sources, targets), or the phi with self_loops=False."
            )
        self.refuse_piece(graph)
        if self.is_bound:
            self._check_same(graph)
            return
        device = graph.edge_index.device
        sizes = (torch.tensor(size, device=device) for size in (graph.num_nodes, graph.num_edges))
        self._hold(**dict(zip(("num_nodes", "num_edges"), sizes, strict=True)), fingerprint=_fingerprint(graph))
        self._sizes()

    def of_edges(self, graph: Graph, edge_attr: Tensor | None) -> Tensor:
        if graph.edge_id is not None:
            return self.checked_edge_id(graph, self.edge_rows, self.self_loops)
        if graph.node_id is not None:
            raise SupportError("these weights are found by the numbers of edges: pass e_id beside n_id.")
        self._check_same(graph)
        row = torch.arange(graph.num_edges, device=graph.edge_index.device)
        if torch.compiler.is_exporting():
            row = torch.where((_fingerprint(graph) == self.fingerprint).all(), row, UNKNOWN)
        return row

    def of_nodes(self, graph: Graph) -> Tensor:
        need_node_id(graph)
        ids = self.global_id(graph)
        return torch.arange(graph.num_nodes, device=graph.edge_index.device) if ids is None else ids

    def _check_same(self, graph: Graph) -> None:
        """Refuse an edge list that is not the bound one."""
        same = (graph.num_nodes, graph.num_edges) == (self.node_rows, self.edge_rows)
        if same and torch.compiler.is_compiling():
            torch._assert_async((_fingerprint(graph) == self.fingerprint).all(), "another edge list than the bound one")
        elif not same or not torch.equal(
            graph.memo("fingerprint", lambda: _fingerprint(graph)), unstacked(self.fingerprint)
        ):
            raise SupportError(
                f"rows are the edges of one list of {self.edge_rows} edges on {self.node_rows} nodes, in its order, "
                f"and this is another, of {graph.num_edges} on {graph.num_nodes}. Pass e_id, or use share='edge', "
                f"which finds edges by their ends."
            )

    def stored_rows(self, state_dict: Mapping[str, Tensor], prefix: str) -> tuple[int | None, int | None]:
        return tuple(stored_number(state_dict, prefix + name) for name in ("num_edges", "num_nodes"))

    def _fits(self, stored: dict[str, Tensor]) -> bool:
        return super()._fits(stored) and int(stored["num_edges"]) == self.edge_rows

    def _sizes(self) -> None:
        super()._sizes()
        if self._num_nodes >= 0:
            self.edge_rows, self.node_rows = int(self.num_edges), self._num_nodes

    def extra_repr(self) -> str:
        return f"edges={self.edge_rows}, nodes={self.node_rows}" if self.is_bound else "unbound"


def _fingerprint(graph: Graph) -> Tensor:
    """(2,) numbers that two edge lists, or two orders of one, share by chance once in 2^128 pairs."""
    place = torch.arange(graph.num_edges, device=graph.edge_index.device)
    ends = (graph.source, graph.target), (graph.target, graph.source)
    return torch.stack([scrambled(scrambled(*pair), place).sum() for pair in ends])
