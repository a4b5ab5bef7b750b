"""Attention: edge weights from the signals at their two ends, as in GAT."""

from __future__ import annotations

from functools import partial
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgenet import ops
from edgenet.graph import Graph
from edgenet.phi.base import Hop, LayerSpec, Pair, source_and_target
from edgenet.phi.softmax import SoftmaxPhi, per_signal
from edgenet.structured import Dense, StructuredLinear, StructuredMatrix
from edgenet.structured.base import glorot
from edgenet.structured.linear import inner, is_plain_linear, take_
from edgenet.structured.parameters import replace_
from edgenet.structured.read import read, read_plain


class Attention(SoftmaxPhi):
    """Edge weights by attention (Velickovic et al. 2018): softmax over each node's in-edges of

    LeakyReLU(att_source . z_j + att_target . z_i [+ att_edge . V a_ij] [+ b]),   e = (j -> i),

    with z the lifted signal. With edge weights given, the result is multiplied by them after the softmax. The vectors
    of all heads stand one below the other in slots: ``att_source`` and ``att_target``, (H, C), or (K H, C) where every
    hop has its own, hop-major; ``att_edge``, (H, C).

    Args:
        order: K.
        heads: H.
        channels: C, channels of each head.
        share_hops: one attention for all hops (GCAT); otherwise every hop k > 1 has its own attention vectors, and a
            lift W^(k) of the layer's input that serves its scores alone (edge-varying GAT).
        in_channels: F_in, needed where hops have their own attention; -1 reads it off the first input.
        edge_dim: D, edge features that enter the scores.
        negative_slope: of the LeakyReLU.
        dropout: probability in [0, 1] of dropping an attention weight in training.
        score_bias: whether the scores have a bias b a head, as in the code of the paper's authors; zeros at first.

    Raises:
        ShapeError: if order, heads or channels are below 1, or dropout is no probability; in ``forward``, if edge
            features come that ``edge_dim`` did not announce, or of another length.

    Example:
        >>> phi = edgenet.phi.Attention(heads=2, channels=5)
        >>> phi(x, torch.randn(4, 2, 5), graph).shape  # hops, edges, heads
        torch.Size([1, 4, 2])
    """

    walks_input = True

    def __init__(
        self,
        order: int = 1,
        heads: int = 1,
        channels: int = 1,
        share_hops: bool = True,
        in_channels: int = -1,
        edge_dim: int | None = None,
        negative_slope: float = 0.2,
        dropout: float = 0.0,
        score_bias: bool = False,
    ) -> None:
        super().__init__(order, heads, channels, share_hops or order == 1, negative_slope, dropout)
        scored = 1 if self.shares_hops else order
        self.att_source: StructuredMatrix = Dense.lazy(scored * heads, channels)
        self.att_target: StructuredMatrix = Dense.lazy(scored * heads, channels)
        self.lifts = nn.ModuleList(StructuredLinear.dense(in_channels, heads * channels) for _ in range(scored - 1))
        self.lift_edge = None if edge_dim is None else StructuredLinear.dense(edge_dim, heads * channels)
        self.att_edge: StructuredMatrix | None = None if edge_dim is None else Dense.lazy(heads, channels)
        self.score_bias = nn.Parameter(torch.empty(scored, heads)) if score_bias else None
        self.needs_edge_attr = edge_dim is not None
        self.reset_parameters()

    @classmethod
    def for_layer(cls, spec: LayerSpec, **options: Any) -> Self:
        return cls(spec.order, spec.heads, spec.out_channels, in_channels=spec.target_channels, **options)

    def arguments(self) -> dict[str, Any]:
        return {"share_hops": self.shares_hops, "score_bias": self.score_bias is not None}

    def reset_parameters(self) -> None:
        for att in (self.att_source, self.att_target, self.att_edge):
            if att is not None:
                att.draw_(glorot((self.heads, self.channels)))
        if self.score_bias is not None:
            nn.init.zeros_(self.score_bias)
        for lift in (*self.lifts, self.lift_edge):
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
        term = self.edge_term(self.lift_edge, edge_attr, graph)
        edge = None if term is None else (term * read(self.att_edge)).sum(-1)
        hops = []
        for k in range(1 if self.shares_hops else self.order):
            score = ops.edge_scores(graph, *self._scores(k, z if k == 0 else self._lifted(x, k), self._vectors(k)))
            if edge is not None:
                score = score + per_signal(edge, score.shape[1])
            hops.append(self.weights(F.leaky_relu(score, self.negative_slope), graph, edge_weight))
        return hops[0].expand(self.order, -1, -1) if self.shares_hops else torch.stack(hops)

    def fused(
        self,
        x: Tensor | Pair,
        z: Tensor | Pair | None,
        graph: Graph,
        lift: nn.Module,
        edge_weight: Tensor | None = None,
        edge_attr: Tensor | None = None,
    ) -> list[Hop] | None:
        if self.shares_hops and self.order > 1:  # weights that are used again are cheaper kept
            return None
        dropout, of_edges = self.dropout if self.training else 0.0, None
        if edge_attr is not None:
            of_edges = self._edge_scores(edge_attr, graph)
        at_source, at_target = read_plain(self.att_source, self.att_target)
        hops: list[Hop] = []
        for k in range(self.order):
            rows = slice(k * self.heads, (k + 1) * self.heads)
            vectors, both = torch.stack([at_source[rows], at_target[rows]]), None
            if k == 0 and not isinstance(x, tuple) and hasattr(lift, "inner"):
                both = lift.inner(x, vectors)  # straight from the layer's input
            scores = self._scores(k, z if k == 0 else self._lifted(x, k), vectors, both)
            width = scores[0].shape[1]
            hop = partial(ops.attention, graph, *scores, negative_slope=self.negative_slope, dropout=dropout)
            if of_edges is not None:
                hop.keywords["score_edge"] = per_signal(of_edges, width)
            if edge_weight is not None:
                hop.keywords["edge_weight"] = self.factors(edge_weight, width)
            hops.append(hop)
        return hops

    def _edge_scores(self, edge_attr: Tensor, graph: Graph) -> Tensor:
        """(E, H) scores of the edge features: one product with the vectors, folded into the lift."""
        features = self.edge_features(self.lift_edge, edge_attr, graph)
        if not is_plain_linear(self.lift_edge) or getattr(self.lift_edge.weight, "is_lazy", False):
            return (self.edge_term(self.lift_edge, edge_attr, graph) * read(self.att_edge)).sum(-1)
        return inner(self.lift_edge, features, read(self.att_edge).unsqueeze(0))

    def _vectors(self, k: int) -> Tensor:
        """(2, H, C) vectors of hop k + 1, for sources and for targets."""
        rows = slice(k * self.heads, (k + 1) * self.heads)
        return torch.stack([read(self.att_source)[rows], read(self.att_target)[rows]])

    def _scores(
        self, k: int, z: Tensor | Pair, vectors: Tensor, both: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """(N, [B *] H) scores of sources and of targets at hop k + 1; targets of a bipartite graph may have none.

        Args:
            k, z: the hop, from 0, and its lifted signal.
            vectors: (2, H, C) of the hop.
            both: (N, [B,] 2 H) products of the signal with the vectors, where they were had without ``z``.
        """
        z_source, z_target = z if isinstance(z, tuple) else (z, z)
        if both is None and z_target is z_source:
            both = _products(z_source, vectors)
        if both is None:
            of_source = _products(z_source, vectors[:1]).flatten(1)
            of_target = None if z_target is None else _products(z_target, vectors[1:]).flatten(1)
        else:
            of_source, of_target = both.chunk(2, -1)
            of_source, of_target = of_source.flatten(1), of_target.flatten(1)
        if self.score_bias is not None:  # an edge has one source: what is added to its score is added to the edge's
            of_source = of_source + per_signal(self.score_bias[k : k + 1], of_source.shape[1])
        return of_source, of_target

    def _lifted(self, x: Tensor | Pair, k: int) -> Pair:
        source, target = source_and_target(x)
        lift = self.lifts[k - 1]
        z_source = lift(source).unflatten(-1, (self.heads, self.channels))
        return z_source, z_source if target is source else lift(target).unflatten(-1, (self.heads, self.channels))

    def keep_inputs_(self, channels: Tensor) -> None:
        for lift in self.lifts:
            take_(lift, columns=channels)

    @torch.no_grad()
    def _keep(self, order: int, heads: Tensor) -> None:
        scored = 1 if self.shares_hops else order
        self.lifts = self.lifts[: scored - 1]
        self.keep_rows_(heads, *self.lifts, self.lift_edge, self.att_edge)
        rows = (torch.arange(scored).unsqueeze(1) * self.heads + heads).flatten()
        self.keep_rows_(rows, self.att_source, self.att_target)
        if self.score_bias is not None:
            replace_(self, score_bias=self.score_bias[:scored, heads.to(self.score_bias.device)])
        self.shares_hops = self.shares_hops or order == 1


def _products(z: Tensor, vectors: Tensor) -> Tensor:
    """(..., V * H) inner products of (..., H, C) signals with (V, H, C) vectors: a matrix of the vectors in blocks."""
    heads = vectors.shape[1]
    blocks = vectors.unsqueeze(2) * torch.eye(heads, dtype=vectors.dtype, device=vectors.device)[:, :, None]
    return ops.linear(z.flatten(-2), blocks.flatten(2).flatten(0, 1))
