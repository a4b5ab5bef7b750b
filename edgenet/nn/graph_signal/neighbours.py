"""Neighbourhoods: for every node, the nodes at most so many hops away."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from edgenet.errors import ConfigError, ShapeError
from edgenet.graph import Graph

_KEPT = 8  # numbers of hops that a graph remembers the lists of


@dataclass(frozen=True)
class Neighbourhoods:
    """The neighbourhoods of M centres among N nodes, as P pairs (centre, node), sorted by centre and then by node.

    Attributes:
        centre: (P,) which of the M centres.
        node: (P,) a node of its neighbourhood, which the centre itself belongs to.
        distance: (P,) hops between the two.
        start: (M + 1,) where the pairs of each centre begin.
        num_nodes: N.

    Example:
        >>> around = edgenet.nn.graph_signal.neighbourhoods(graph, 1)
        >>> around.node[around.centre == 0].tolist()
        [0, 3]
    """

    centre: Tensor
    node: Tensor
    distance: Tensor
    start: Tensor
    num_nodes: int

    @property
    def size(self) -> Tensor:
        """(M,) nodes in each neighbourhood."""
        return self.start.diff()

    def at(self, nodes: Tensor) -> Neighbourhoods:
        """Those of some centres alone, in the order of ``nodes``."""
        centre, pair = _listed(self.start, nodes)
        start = torch.cat([self.start.new_zeros(1), self.size[nodes].cumsum(0)])
        return Neighbourhoods(centre, self.node[pair], self.distance[pair], start, self.num_nodes)


def neighbourhoods(graph: Graph, hops: int) -> Neighbourhoods:
    """N^K(i) = {i} and the nodes from which a walk of at most K edges leads to i, for every node i.

    A search in breadth from all nodes at once. The graph remembers the lists. They hold sum over i of |N^K(i)| pairs,
    N^2 where K reaches across the graph.

    Args:
        graph: N nodes; repeated edges and loops change nothing.
        hops: K, 0 or more.

    Raises:
        ShapeError: on a bipartite graph, where a walk of two edges leads nowhere.
        ConfigError: if K is below 0.

    Example:
        >>> edgenet.nn.graph_signal.neighbourhoods(graph, hops=2).num_nodes
        4
    """
    if graph.is_bipartite:
        raise ShapeError(
            f"neighbourhoods need one set of nodes, got {graph.num_sources} sources and {graph.num_nodes} targets."
        )
    if hops < 0:
        raise ConfigError(f"a neighbourhood reaches 0 hops or more, got hops={hops}.")
    return graph.memo(("neighbourhoods", hops), lambda: _searched(graph, hops), at_most=_KEPT)


def _searched(graph: Graph, hops: int) -> Neighbourhoods:
    n, device = graph.num_nodes, graph.edge_index.device
    if hops == 0:
        node = torch.arange(n, device=device)
        return Neighbourhoods(node, node, torch.zeros_like(node), torch.arange(n + 1, device=device), n)
    inner = neighbourhoods(graph, hops - 1)
    rim = inner.distance == hops - 1
    before, edge = _listed(graph.rowptr, inner.node[rim])
    reached = (inner.centre[rim][before] * n + graph.source[graph.by_target[edge]]).unique()
    known = inner.centre * n + inner.node
    new = reached[~torch.isin(reached, known)]
    key, order = torch.cat([known, new]).sort()
    distance = torch.cat([inner.distance, torch.full_like(new, hops)])[order]
    centre = key // max(1, n)
    start = torch.searchsorted(centre, torch.arange(n + 1, device=device))
    return Neighbourhoods(centre, key % max(1, n), distance, start, n)


def _listed(start: Tensor, segments: Tensor) -> tuple[Tensor, Tensor]:
    """Places of all items of some segments, one segment after the other; and before them, whose turn it is."""
    begin = start[segments]
    count = start[segments + 1] - begin
    turn = torch.arange(len(segments), device=start.device).repeat_interleave(count)
    first = count.cumsum(0) - count  # of each segment, among the items that are listed
    return turn, torch.arange(len(turn), device=start.device) + (begin - first)[turn]
