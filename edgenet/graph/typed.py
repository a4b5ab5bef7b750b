"""Graphs whose edges have types: every node once for every type, so that one walk keeps the types apart."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from edgenet.graph.given import traced
from edgenet.graph.graph import Graph
from edgenet.seen import Seen


def apart(graph: Graph, kind: Tensor, types: int, end: Literal["source", "target"]) -> Graph:
    """The same edges, which enter node ``target * types + kind``, or leave node ``source * types + kind``.

    Sorted once for the same types: they are compared by value at every call.

    Args:
        kind: (E,) types, 0 to ``types`` - 1.
        end: which end is told apart by type.
    """

    def build() -> Graph:
        ends = torch.stack([graph.source, graph.target])
        row = 0 if end == "source" else 1
        ends[row] = ends[row] * types + kind
        times = (types, 1) if end == "source" else (1, types)
        return Graph(ends, graph.num_nodes * times[1], graph.num_sources * times[0])

    if traced() or kind.is_meta:
        return build()
    kept: dict[str, Any] = graph.memo(("edges by type", end, types), dict)
    known = kept.get("known")
    if known is None or not known[0].still(kind, closely=True):
        known = kept["known"] = Seen(kind), build()
    return known[1]


def from_edges(graph: Graph) -> Graph:
    """The graph from the edges, as sources, to the nodes that they enter: what sums up what every edge brings."""

    def build() -> Graph:
        each = torch.arange(graph.num_edges, device=graph.edge_index.device)
        return Graph(torch.stack([each, graph.target]), graph.num_nodes, graph.num_edges)

    return build() if traced() else graph.memo("from edges", build)
