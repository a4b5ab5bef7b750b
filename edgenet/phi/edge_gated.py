"""EdgeGated: edge weights that every signal of a batch scales by factors of its own."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from edgenet import ops
from edgenet.errors import ConfigError, ShapeError
from edgenet.graph import Graph
from edgenet.phi.base import Pair, Phi, Spmm


class EdgeGated(Phi):
    """Phi_b^(k) = G_b * Phi^(k), edge by edge: signal b of a batch walks by the weights of another phi times its gate.

    The edge gate of graph recurrent networks (Ruiz, Gama, Ribeiro 2020, sec. IV-C), which multiplies the shift operator
    before each of its powers. What lives on nodes, Phi^(0) and diagonals, is not gated.

    Args:
        base: whose weights are scaled.

    Raises:
        ConfigError: if the base reads edge features, in whose place the gates come, or has a matrix for every edge.
        ShapeError: in ``forward``, if the gates are not (E, B).
    """

    follows_signal = True

    def __init__(self, base: Phi) -> None:
        super().__init__()
        kind = type(base).__name__
        if base.needs_edge_attr:
            raise ConfigError(f"the gates of edges come in the place of edge features, and this {kind} reads those.")
        if base.mixes_channels:
            raise ConfigError(f"a {kind} has a matrix for every edge, and an edge gate scales single weights.")
        self.base = base

    # all of the base as it is now: a bank of filters knows its heads when it has seen a signal
    @property
    def order(self) -> int:  # type: ignore[override]  # read, never set
        return self.base.order

    @property
    def heads(self) -> int:  # type: ignore[override]  # read, never set
        return self.base.heads

    @property
    def shares_hops(self) -> bool:  # type: ignore[override]  # read, never set
        return self.base.shares_hops

    @property
    def has_initial(self) -> bool:  # type: ignore[override]  # read, never set
        return self.base.has_initial

    @property
    def has_diagonal(self) -> bool:  # type: ignore[override]  # read, never set
        return self.base.has_diagonal

    def forward(
        self,
        x: Tensor | Pair,
        z: Tensor | Pair,
        graph: Graph,
        edge_weight: Tensor | None = None,
        edge_attr: Tensor | None = None,
    ) -> Tensor:
        """As of ``Phi``; ``edge_attr`` holds the (E, B) gates.

        Returns:
            (K, E, B * H).
        """
        signals = z.shape[1] if isinstance(z, Tensor) and z.dim() == 4 else 1
        if edge_attr is None or edge_attr.shape != (graph.num_edges, signals):
            found = None if edge_attr is None else tuple(edge_attr.shape)
            raise ShapeError(f"wanted are ({graph.num_edges}, {signals}) gates, an edge and signal, got {found}.")
        weights = self.base(x, z, graph, edge_weight)
        hops = weights[:1] if self.shares_hops else weights
        hops = hops.unflatten(-1, (-1, self.heads))  # (K, E, B or 1, H)
        if self.heads == 1 and isinstance(z, Tensor):  # which all heads of the signal share
            hops = hops.expand(-1, -1, -1, z.shape[-2])
        gated = (hops * edge_attr[None, :, :, None]).flatten(2)
        return gated.expand(self.order, -1, -1) if self.shares_hops else gated

    def initial(self, graph: Graph) -> Tensor | None:
        return self.base.initial(graph)

    def diagonal(self, graph: Graph) -> Tensor | None:
        return self.base.diagonal(graph)

    def hop(
        self, graph: Graph, weight: Tensor, diagonal: Tensor | None, z: Tensor, spmm: Spmm = ops.spmm, k: int = 0
    ) -> Tensor:
        if diagonal is not None:  # the same for every signal of the batch, which stand side by side as heads
            diagonal = diagonal.repeat(1, z.shape[1] // max(1, diagonal.shape[1]))
        return self.base.hop(graph, weight, diagonal, z, spmm, k)

    def bound_graph(self) -> Graph | None:
        return self.base.bound_graph()

    def bind(self, graph: Graph, heads: int | None = None) -> None:
        self.base.bind(graph, heads)

    def reset_parameters(self) -> None:
        reset: Any = self.base.reset_parameters
        reset()
