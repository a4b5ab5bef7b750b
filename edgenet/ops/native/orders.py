"""A graph's edges row after row, as the kernels read them: built once, of the edges as the graph saw them."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from edgenet.graph import Graph
from edgenet.ops.native import gate

_WIDE_FROM = 2**31  # nodes or edges from which indices are int64


@dataclass(frozen=True)
class Order:
    """The edges of a graph row after row, as the kernels read them.

    Attributes:
        rows, nodes: number of rows, and of nodes at the other end.
        edges: number of edges.
        wide: 1 if indices are int64, else 0: int32. Both orders of a graph have the same.
        ptr: (rows + 1,) where each row's edges begin.
        other: (E,) node at the other end.
        edge: (E,) column of ``edge_index``; None where the edges stand in this order already.
        pointers: addresses of the three.
    """

    rows: int
    nodes: int
    edges: int
    wide: int
    ptr: Tensor
    other: Tensor
    edge: Tensor | None
    pointers: tuple[int, int, int | None] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        sizes = ("ptr", self.rows + 1), ("other", self.edges), ("edge", self.edges)
        found = (gate.address("an order of edges", getattr(self, name), n, self.index) for name, n in sizes)
        object.__setattr__(self, "pointers", tuple(found))

    @property
    def index(self) -> torch.dtype:
        """The dtype of indices."""
        return torch.int64 if self.wide else torch.int32


def by_target(graph: Graph) -> Order:
    """The edges target after target; built once for a graph."""
    return graph.memo(("native", 1), lambda: _order(graph, 1))


def by_source(graph: Graph) -> Order:
    """The edges source after source."""
    return graph.memo(("native", 0), lambda: _order(graph, 0))


def places(graph: Graph) -> Tensor:
    """(E,) for every edge in target order, its place in source order."""

    def build() -> Tensor:
        target, source = by_target(graph), by_source(graph)
        place = torch.arange(graph.num_edges, dtype=source.ptr.dtype, device="cpu")
        if source.edge is not None:
            place = torch.empty_like(place).scatter_(0, source.edge.long(), place)
        return place if target.edge is None else place[target.edge]

    return graph.memo("native places", build)


def _order(graph: Graph, row: int) -> Order:
    rows, nodes = (graph.num_sources, graph.num_nodes) if row == 0 else (graph.num_nodes, graph.num_sources)
    ends = graph.snapshot.contiguous()
    edges = ends.shape[1]
    wide = int(max(rows, nodes, edges) + 1 >= _WIDE_FROM)
    index = torch.int64 if wide else torch.int32
    ptr, other, edge = (torch.empty(size, dtype=index, device="cpu") for size in (rows + 1, edges, edges))
    sorted_already = gate.call(
        "edgenet_sort", wide, rows, nodes, edges, (ends[row], edges, torch.int64), (ends[1 - row], edges, torch.int64),
        (ptr, rows + 1, index), (other, edges, index), (edge, edges, index),
    )  # fmt: skip
    return Order(rows, nodes, edges, wide, ptr, other, None if sorted_already else edge)
