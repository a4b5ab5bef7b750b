"""Edges: the graph that a recurrent network's maps walk, with what is known of its edges and the gate of a step."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from edgenet.graph import Graph


class Edges(NamedTuple):
    """The context of cells over graph maps.

    Attributes:
        graph: N nodes, E edges.
        weight: (E,) or (E, R) edge weights; None where none came.
        attr: (E, D) edge features; None likewise.
        gate: of the signals (..., N, F) at hand: (..., 1, 1) of a time gate, (..., N, 1) of a node gate, (..., E) of an
            edge gate; None: open.

    Example:
        >>> context = edgenet.nn.graph_recurrent.Edges(graph, weight=torch.ones(4))
        >>> context.gate is None
        True
    """

    graph: Graph
    weight: Tensor | None = None
    attr: Tensor | None = None
    gate: Tensor | None = None

    def gated(self, gate: Tensor | None) -> Edges:
        """These edges with another gate."""
        return Edges(self.graph, self.weight, self.attr, gate)
