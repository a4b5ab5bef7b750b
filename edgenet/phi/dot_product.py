"""DotProduct: edge weights by scaled dot-product attention, as in the transformer."""

from __future__ import annotations

import math
from typing import Any, Self

from torch import Tensor

from edgenet import ops
from edgenet.errors import ShapeError
from edgenet.graph import Graph
from edgenet.graph.typed import from_edges
from edgenet.phi.base import Choice, LayerSpec, Pair, Spmm, source_and_target
from edgenet.phi.softmax import SoftmaxPhi
from edgenet.structured import StructuredLinear
from edgenet.structured.linear import take_


class DotProduct(SoftmaxPhi):
    """Edge weights by scaled dot products (Vaswani et al. 2017; on graphs Shi et al. 2021, eq. 3): softmax over each
    node's in-edges of

    <query x_i, key x_j> / sqrt(C),   e = (j -> i), head by head.

    The lift of the layer is the transformer's value map. All hops share the weights. With edge weights given, the
    result is multiplied by them after the softmax. With ``edge_dim``, a linear map of the edge's features is added to
    its key and to what it carries: z^(k)[i] = sum over e of alpha[e] (z^(k-1)[j] + W_e edge_attr[e]).

    Args:
        order: K.
        heads: H.
        channels: C, channels of each head.
        in_channels: F_in; a pair for the sources and targets of a bipartite graph; -1 reads it off the first input.
        bias: whether the lifts, the layer's own among them, have a bias.
        dropout: probability in [0, 1] of dropping an attention weight in training.
        edge_dim: D, features of an edge; -1 reads it off the first; None: edge features are refused.

    Raises:
        ShapeError: in ``forward``, if the targets of a bipartite graph have no signal.

    Example:
        >>> edgenet.EdgeNetConv(3, 8, heads=2, phi="dot_product")(x, edges).shape
        torch.Size([4, 16])
    """

    reads_target = False  # of the layer's lift: it has one of its own

    def __init__(
        self,
        order: int = 1,
        heads: int = 1,
        channels: int = 1,
        in_channels: int | tuple[int, int] = -1,
        bias: bool = True,
        dropout: float = 0.0,
        edge_dim: int | None = None,
    ) -> None:
        super().__init__(order, heads, channels, True, 0.0, dropout)
        self.lifts_have_bias = bias
        source, target = in_channels if isinstance(in_channels, tuple) else (in_channels, in_channels)
        self.key = StructuredLinear.dense(source, heads * channels, bias=bias)
        self.query = StructuredLinear.dense(target, heads * channels, bias=bias)
        self.lift_edge = None if edge_dim is None else StructuredLinear.dense(edge_dim, heads * channels)
        self.reads_edge_attr = self.needs_edge_attr = edge_dim is not None

    @classmethod
    def for_layer(cls, spec: LayerSpec, **options: Any) -> Self:
        widths = (spec.in_channels, spec.target_channels)
        return cls(spec.order, spec.heads, spec.out_channels, in_channels=widths, bias=spec.bias, **options)

    def arguments(self) -> dict[str, Any]:
        return {
            "bias": self.lifts_have_bias,
            "edge_dim": None if self.lift_edge is None else self.lift_edge.weight.shape[1],
        }

    def default_lift(self, spec: LayerSpec) -> Choice:
        return "linear", {"bias": self.lifts_have_bias}  # the value map, which is like the other two

    def reset_parameters(self) -> None:
        self.key.reset_parameters()
        self.query.reset_parameters()
        if self.lift_edge is not None:
            self.lift_edge.reset_parameters()

    def keep_inputs_(self, channels: Tensor) -> None:
        for lift in (self.key, self.query):
            take_(lift, columns=channels)

    def _keep(self, order: int, heads: Tensor) -> None:
        self.keep_rows_(heads, self.key, self.query, self.lift_edge)

    def forward(
        self,
        x: Tensor | Pair,
        z: Tensor | Pair,
        graph: Graph,
        edge_weight: Tensor | None = None,
        edge_attr: Tensor | None = None,
    ) -> Tensor:
        source, target = source_and_target(x)
        if target is None:
            raise ShapeError("a dot product needs a signal at both ends of an edge: pass (x_source, x_target).")
        query, key = (
            lift(side).unflatten(-1, (self.heads, self.channels)).flatten(1, -2)  # (N, [B *] H, C)
            for lift, side in ((self.query, target), (self.key, source))
        )
        query = query / math.sqrt(self.channels)
        score = ops.sddmm(graph, query, key)
        term = self.on_edges(graph, edge_attr)
        if term is not None:
            score = score + ops.sddmm(from_edges(graph), query, _of_signals(term, query.shape[1]))
        return self.weights(score, graph, edge_weight).expand(self.order, -1, -1)

    def on_edges(self, graph: Graph, edge_attr: Tensor | None) -> Tensor | None:
        """(E, H, C) lifted edge features."""
        return None if self.lift_edge is None else self.edge_term(self.lift_edge, edge_attr, graph)

    def hop(
        self,
        graph: Graph,
        weight: Tensor,
        diagonal: Tensor | None,
        z: Tensor,
        spmm: Spmm = ops.spmm,
        k: int = 0,
        on_edges: Tensor | None = None,
    ) -> Tensor:
        if on_edges is None:
            return super().hop(graph, weight, diagonal, z, spmm, k)
        added = _of_signals(on_edges, weight.shape[1])
        if spmm is ops.spmm:
            return spmm(graph, weight, z) + spmm(from_edges(graph), weight, added)
        return spmm(from_edges(graph), weight, z[graph.source] + added)  # one message an edge, for who looks at them


def _of_signals(term: Tensor, width: int) -> Tensor:
    """(E, H, C) repeated for every signal of a batch, whose heads stand side by side."""
    return term if term.shape[1] == width else term.repeat(1, width // term.shape[1], 1)
