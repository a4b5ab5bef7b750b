"""Columns: the edges of one type, node after node, as sampling reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from edgenet.errors import ConfigError, ShapeError
from edgenet.graph import Graph
from edgenet.ops import native
from edgenet.ops.native import orders


@dataclass(frozen=True, eq=False)
class Columns:
    """The in-edges of every node side by side.

    Attributes:
        ptr: (N + 1,) where each node's edges begin.
        source: (E,) the nodes that they leave.
        edge: (E,) their columns in ``edge_index``; None where they stand in this order there.
        time: (E,) when they are there, rising inside each node's; None: always.
        weight: (E,) float64, as parts of the largest of the node, at least 1e-300; edges of weight 0 are none. None:
            all alike.
    """

    ptr: Tensor
    source: Tensor
    edge: Tensor | None
    time: Tensor | None = None
    weight: Tensor | None = None

    @classmethod
    def of(
        cls,
        edge_index: Tensor,
        num_targets: int,
        num_sources: int,
        time: Tensor | None = None,
        weight: Tensor | None = None,
    ) -> Columns:
        """
        Args:
            edge_index: (2, E), row 0 source, row 1 target.
            time: (E,) whole numbers.
            weight: (E,) numbers of 0 or more.

        Raises:
            EdgeIndexError: if an index names no node.
            ShapeError: if there is not one time, or one weight, for every edge; or a weight is negative or not finite,
                or a time NaN.
        """
        edges, kept = edge_index.detach().cpu(), None
        weight = None if weight is None else _checked(weight, "weight", edges.shape[1]).double()
        if weight is not None:
            if not bool(torch.isfinite(weight).all()) or bool((weight < 0).any()):
                bad = float(weight[~torch.isfinite(weight) | (weight < 0)][0])
                raise ShapeError(f"weights by which edges are drawn are finite numbers of 0 or more, got {bad:g}.")
            kept = weight.nonzero().squeeze(1)
        time = None if time is None else _checked(time, "time", edges.shape[1])
        if time is not None:
            order = time.argsort(stable=True)
            kept = order if kept is None else order[weight[order] > 0]  # type: ignore[index]  # kept: there are weights
        graph = Graph(edges if kept is None else edges[:, kept], num_targets, num_sources)
        ptr, source, edge = _sorted(graph)
        if kept is not None:
            edge = kept if edge is None else kept[edge.long()]
        place = slice(None) if edge is None else edge.long()
        narrow = edge is not None and edge.dtype == torch.long and edges.shape[1] < 2**31
        return cls(
            ptr, source, edge.int() if narrow and edge is not None else edge,
            None if time is None else time[place], None if weight is None else _relative(weight[place], ptr),
        )  # fmt: skip

    @classmethod
    def stored(cls, ptr: Tensor, source: Tensor, edge: Tensor | None, source_time: Tensor | None = None) -> Columns:
        """Of a ``GraphStore``'s compressed columns, which must be sorted by ``source_time`` of nodes in each column.

        Raises:
            ConfigError: if they are not.
        """
        time = None if source_time is None else source_time[source.long()]
        if time is not None and len(time):
            falls = time.diff() < 0
            inside = torch.ones(len(falls) + 1, dtype=torch.bool)
            inside[ptr[(ptr > 0) & (ptr < len(time))].long() - 1] = False
            if bool((falls & inside[:-1]).any()):
                raise ConfigError("temporal sampling of a GraphStore wants the edges of each node sorted by time.")
        return cls(ptr, source, edge, time)

    def ranges(self, node: Tensor, until: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(I,) where the edges of nodes begin and end; those that are there ``until`` a time of each, inclusive."""
        begin, end = self.ptr[node].long(), self.ptr[node + 1].long()
        if until is None or self.time is None or not len(self.time):
            return begin, end
        low, high, last = begin, end, len(self.time) - 1
        for _ in range(int((end - begin).max()).bit_length() if len(node) else 0):  # halving the range of each
            middle = (low + high) // 2
            below = (self.time[middle.clamp_max(last)] <= until) & (low < high)
            low, high = torch.where(below, middle + 1, low), torch.where(below, high, middle)
        return begin, low

    def edges(self, place: Tensor) -> Tensor:
        """(I,) columns in ``edge_index`` of edges that stand at places here."""
        return place if self.edge is None else self.edge[place].long()


def _sorted(graph: Graph) -> tuple[Tensor, Tensor, Tensor | None]:
    """The edges target after target: where each begins, their sources, and which edge it is."""
    if native.library() is not None:
        order = orders.by_target(graph)
        return order.ptr, order.other, order.edge
    return graph.rowptr, graph.source[graph.by_target], graph.by_target


def _relative(weight: Tensor, ptr: Tensor) -> Tensor:
    """Weights as parts of the largest of their node: no sums of large ones, nor quotients by small ones, overflow."""
    node = torch.repeat_interleave(ptr.diff().long())
    top = weight.new_zeros(len(ptr) - 1).scatter_reduce_(0, node, weight, "amax")
    return (weight / top[node]).clamp_min_(1e-300)


def _checked(values: Any, name: str, edges: int) -> Tensor:
    if not isinstance(values, Tensor) or values.shape != (edges,):
        got = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
        raise ShapeError(f"one {name} for each of {edges} edges is wanted, got {got}.")
    if values.is_complex() or (name == "time" and bool(values.isnan().any())):
        raise ShapeError(f"every {name} is a real number, got {'NaN' if name == 'time' else values.dtype}.")
    return values.detach().cpu()
