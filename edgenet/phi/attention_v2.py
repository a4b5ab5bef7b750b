"""AttentionV2: attention whose order of neighbours depends on the receiver, as in GATv2."""

from __future__ import annotations

from typing import Any, Self

import torch.nn.functional as F
from torch import Tensor, nn

from edgenet import ops
from edgenet.errors import ShapeError
from edgenet.graph import Graph
from edgenet.phi.base import Choice, Hop, LayerSpec, Pair, source_and_target
from edgenet.phi.softmax import SoftmaxPhi
from edgenet.structured import Dense, StructuredLinear, StructuredMatrix
from edgenet.structured.linear import take_
from edgenet.structured.read import read


class AttentionV2(SoftmaxPhi):
    """Edge weights by dynamic attention (Brody, Alon, Yahav 2022): softmax over each node's in-edges of

    att . LeakyReLU(z_j + u_i [+ V a_ij]),   e = (j -> i),

    with z the lifted signal and u = ``target`` (x), a second lift, or z itself if ``share_weights``. All hops share it.
    The vectors of all heads are a slot, ``att``, (H, C).

    Args:
        order, heads, channels, in_channels, edge_dim, negative_slope, dropout: as in ``Attention``.
        share_weights: score the receiver by the lift of the layer.
        bias: whether the lifts that make the scores, the layer's own among them, have a bias.

    Example:
        >>> layer = edgenet.EdgeNetConv(3, 8, heads=2, phi="attention_v2")
        >>> layer(x, edges).shape
        torch.Size([4, 16])
    """

    def __init__(
        self,
        order: int = 1,
        heads: int = 1,
        channels: int = 1,
        in_channels: int = -1,
        edge_dim: int | None = None,
        share_weights: bool = False,
        bias: bool = True,
        negative_slope: float = 0.2,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(order, heads, channels, True, negative_slope, dropout)
        self.lifts_have_bias = bias
        width = heads * channels
        self.att: StructuredMatrix = Dense.lazy(heads, channels)
        self.target = None if share_weights else StructuredLinear.dense(in_channels, width, bias=bias)
        self.lift_edge = None if edge_dim is None else StructuredLinear.dense(edge_dim, width)
        self.needs_edge_attr = edge_dim is not None
        self.reset_parameters()

    @classmethod
    def for_layer(cls, spec: LayerSpec, **options: Any) -> Self:
        return cls(
            spec.order, spec.heads, spec.out_channels, in_channels=spec.target_channels, bias=spec.bias, **options
        )

    def arguments(self) -> dict[str, Any]:
        return {"share_weights": self.target is None, "bias": self.lifts_have_bias}

    @property
    def reads_target(self) -> bool:
        return self.target is None

    @property
    def shares_lift(self) -> bool:
        return self.target is None

    def default_lift(self, spec: LayerSpec) -> Choice:
        # one of the two lifts that make the scores, which has a bias where the other does
        return "linear", {"bias": self.lifts_have_bias}

    def reset_parameters(self) -> None:
        self.att.reset_parameters()
        for lift in (self.target, self.lift_edge):
            if lift is not None:
                lift.reset_parameters()

    def forward(
        self,
        x: Tensor | Pair,
        z: Tensor | Pair,
        graph: Graph,
        edge_weight: Tensor | None = None,
        edge_attr: Tensor | None = None,
    ) -> Tensor:
        z_source, z_target = self._ends(x, z)
        score = z_source.index_select(0, graph.source) + z_target.index_select(0, graph.target)  # (E, [B,] H, C)
        edge = self.edge_term(self.lift_edge, edge_attr, graph)
        if edge is not None:
            score = score + (edge if score.dim() == 3 else edge.unsqueeze(1))
        score = (F.leaky_relu(score, self.negative_slope) * read(self.att)).sum(-1).flatten(1)
        return self.weights(score, graph, edge_weight).expand(self.order, -1, -1)

    def fused(
        self,
        x: Tensor | Pair,
        z: Tensor | Pair | None,
        graph: Graph,
        lift: nn.Module,
        edge_weight: Tensor | None = None,
        edge_attr: Tensor | None = None,
    ) -> list[Hop] | None:
        # weights that are used again are cheaper kept; edge features stand inside the non-linearity, channel by channel
        if self.order > 1 or edge_attr is not None:
            return None
        z_target = self._ends(x, z)[1]
        att = read(self.att)
        if z_target.dim() == 4:  # a batch of signals
            att, z_target = att.repeat(z_target.shape[1], 1), z_target.flatten(1, 2)
        dropout = self.dropout if self.training else 0.0
        factor = None if edge_weight is None else self.factors(edge_weight, len(att))
        return [lambda z: ops.attention_v2(graph, z, z_target, att, self.negative_slope, dropout, factor)]

    def keep_inputs_(self, channels: Tensor) -> None:
        if self.target is not None:
            take_(self.target, columns=channels)

    def _keep(self, order: int, heads: Tensor) -> None:
        self.keep_rows_(heads, self.target, self.lift_edge, self.att)

    def _ends(self, x: Tensor | Pair, z: Tensor | Pair) -> Pair:
        """What is scored at the sources and at the targets."""
        z_source, z_target = source_and_target(z)
        if self.target is not None:
            x_target = source_and_target(x)[1]
            z_target = None if x_target is None else self.target(x_target).unflatten(-1, (self.heads, self.channels))
        if z_target is None:
            raise ShapeError("dynamic attention scores both ends of an edge: pass (x_source, x_target), not None.")
        return z_source, z_target
