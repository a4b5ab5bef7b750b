"""A phi to look into, the inputs that it takes, and what it gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from edgenet.graph import Graph
from edgenet.phi import Phi
from edgenet.testing.graphs import GRAPHS

DIRECTED = GRAPHS["directed"]
Inputs = tuple[Tensor, Tensor, Graph, Tensor | None, Tensor | None]


@dataclass(frozen=True)
class PhiCase:
    """A phi and the inputs it takes.

    Attributes:
        build: makes it, of any order and heads.
        columns: of the given edge weights: None for no weights, 0 for (E,), R for (E, R).
        edge_attr: "types" for integer types 0..2, D for (E, D) features.
        channels: C of the lifted signal.
        numbers: the last axis of its weights, where those are not one for every head.

    Example:
        >>> case = edgenet.testing.PhiCase("shift", lambda: edgenet.phi.ShiftOperator(order=2))
    """

    name: str
    build: Callable[[], Phi]
    columns: int | None = None
    edge_attr: str | int | None = None
    channels: int = 4
    numbers: Callable[[Any], int] | None = None

    def inputs(self, phi: Phi, graph: Graph, in_channels: int = 5) -> Inputs:
        """(x, z, graph, edge_weight, edge_attr)."""
        n, e = graph.num_nodes, graph.num_edges
        weight = None if self.columns is None else torch.rand(e, *[self.columns] * (self.columns > 0)) + 0.5
        attr = None
        if self.edge_attr == "types":
            attr = torch.arange(e) % 3
        elif isinstance(self.edge_attr, int):
            attr = torch.randn(e, self.edge_attr)
        heads = phi.heads if phi.heads > 0 else 2
        return torch.randn(n, in_channels), torch.randn(n, heads, self.channels), graph, weight, attr

    def ready(self, graph: Graph = DIRECTED) -> tuple[Phi, Inputs]:
        """A phi that has met its graph, its parameters at random, in eval mode; and the inputs it met."""
        phi = self.build()
        inputs = self.inputs(phi, graph)
        phi(*inputs)
        with torch.no_grad():
            for parameter in phi.parameters():
                parameter.normal_()
        return phi.eval(), inputs

    def __str__(self) -> str:
        return self.name


def everything(phi: Phi, inputs: Inputs) -> list[Tensor]:
    """The weights, and the diagonals where there are any."""
    graph = inputs[2]
    parts = phi(*inputs), phi.diagonal(graph), phi.initial(graph)
    return [part for part in parts if part is not None]


def hops(phi: Phi, inputs: Inputs) -> list[Tensor]:
    """The signal after every hop."""
    _, z, graph, _, edge_attr = inputs
    more = on_edges(phi, graph, edge_attr)
    weight, diagonal, signals = phi(*inputs), phi.diagonal(graph), []
    for k in range(phi.order):
        z = phi.hop(graph, weight[k], None if diagonal is None else diagonal[k], z, k=k, **more)
        signals.append(z)
    return signals


def on_edges(phi: Phi, graph: Graph, edge_attr: Tensor | None) -> dict[str, Any]:
    """What hops want of the edges, by name."""
    wanted = phi.on_edges(graph, edge_attr)
    return {} if wanted is None else {"on_edges": wanted}
