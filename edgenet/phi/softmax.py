"""Softmax over in-edges: what all kinds of attention share."""

from __future__ import annotations

import torch
from torch import Tensor

from edgenet import ops
from edgenet.errors import ShapeError
from edgenet.graph import Graph
from edgenet.phi.base import Phi
from edgenet.phi.edge_features import checked_features
from edgenet.structured import StructuredLinear, StructuredMatrix
from edgenet.structured.linear import take_


class SoftmaxPhi(Phi):
    """What attentions share: softmax over in-edges, dropout, edge weights, hops."""

    follows_signal = True

    def __init__(
        self, order: int, heads: int, channels: int, share_hops: bool, negative_slope: float, dropout: float
    ) -> None:
        super().__init__()
        self.order, self.heads, self.channels = order, heads, channels
        self.shares_hops = share_hops
        if min(order, heads, channels) < 1:
            raise ShapeError(
                f"attention has an order, heads and channels of 1 at least, got {order}, {heads} and {channels}."
            )
        if not 0 <= dropout <= 1:
            raise ShapeError(f"dropout is a probability in [0, 1], got {dropout}.")
        self.negative_slope, self.dropout = negative_slope, dropout

    def weights(self, score: Tensor, graph: Graph, edge_weight: Tensor | None) -> Tensor:
        """(E, H) attention from (E, H) scores."""
        # softmax over the senders of each receiver; some code normalises over receivers, which is not GAT
        alpha = ops.segment_softmax(score, graph)
        alpha = ops.dropout(alpha, self.dropout, self.training)
        return alpha if edge_weight is None else alpha * self.factors(edge_weight, alpha.shape[1])

    def factors(self, edge_weight: Tensor, width: int) -> Tensor:
        """(E, width) given edge weights, for every head of every signal of a batch.

        Raises:
            ShapeError: if they are neither (E,), (E, 1) nor (E, H).
        """
        if edge_weight.dim() == 1:
            edge_weight = edge_weight.unsqueeze(-1)
        if edge_weight.dim() != 2 or edge_weight.shape[1] not in (1, self.heads):
            raise ShapeError(
                f"attention of {self.heads} heads takes (E,) or (E, {self.heads}) edge weights, got "
                f"{tuple(edge_weight.shape)}."
            )
        return per_signal(edge_weight.expand(-1, self.heads), width)

    def edge_term(self, lift: StructuredLinear | None, edge_attr: Tensor | None, graph: Graph) -> Tensor | None:
        """(E, H, C) lifted edge features."""
        features = self.edge_features(lift, edge_attr, graph)
        return None if features is None else lift(features).unflatten(-1, (self.heads, self.channels))

    def edge_features(self, lift: StructuredLinear | None, edge_attr: Tensor | None, graph: Graph) -> Tensor | None:
        """(E, D) edge features, as the lift takes them.

        Raises:
            ShapeError: if there is no lift for them, or they are of another shape.
        """
        if lift is None or edge_attr is None:
            if edge_attr is not None:
                raise ShapeError(
                    f"edge_attr {tuple(edge_attr.shape)} was given, but this attention was made without edge_dim; "
                    f"set edge_dim={edge_attr.shape[-1] if edge_attr.dim() > 1 else 1}."
                )
            return None
        width = getattr(getattr(lift, "weight", None), "shape", (-1, -1))[1]  # an adapter need not tell
        return checked_features(edge_attr, graph, width)

    def keep_rows_(self, heads: Tensor, *parts: StructuredLinear | StructuredMatrix | None) -> None:
        """Keep the rows of these heads in lifts (H C, F), and in vectors (H, C)."""
        channel = torch.arange(self.channels)
        for part in parts:
            if isinstance(part, StructuredLinear):
                part.keep_(rows=(heads.unsqueeze(1) * self.channels + channel).flatten())
            elif part is not None:
                take_(part, rows=heads)

    def extra_repr(self) -> str:
        return f"order={self.order}, heads={self.heads}, share_hops={self.shares_hops}, dropout={self.dropout}"


def per_signal(per_head: Tensor, width: int) -> Tensor:
    """(E, H) repeated for every signal of a batch: (E, B * H)."""
    return per_head if per_head.shape[1] == width else per_head.repeat(1, width // per_head.shape[1])
