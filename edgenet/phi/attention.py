"""Attention: edge weights from the signals at their two ends, as in GAT and GATv2."""

from __future__ import annotations

from functools import partial
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgenet import ops
from edgenet.errors import ShapeError
from edgenet.graph import Graph
from edgenet.phi.base import Choice, Hop, LayerSpec, Pair, Phi, source_and_target
from edgenet.structured import Dense, StructuredLinear, StructuredMatrix
from edgenet.structured.base import glorot
from edgenet.structured.linear import take_
from edgenet.structured.parameters import replace_
from edgenet.structured.read import read, read_plain


class SoftmaxPhi(Phi):
    """What the two attentions share: softmax over in-edges, dropout, edge weights, hops."""

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
        alpha = F.dropout(alpha, self.dropout, self.training)
        if edge_weight is None:
            return alpha
        if edge_weight.dim() == 1:
            edge_weight = edge_weight.unsqueeze(-1)
        if edge_weight.dim() != 2 or edge_weight.shape[1] not in (1, self.heads):
            raise ShapeError(
                f"attention of {self.heads} heads takes (E,) or (E, {self.heads}) edge weights, got "
                f"{tuple(edge_weight.shape)}."
            )
        return alpha * _per_signal(edge_weight.expand(-1, self.heads), alpha.shape[1])

    def edge_term(self, lift: StructuredLinear | None, edge_attr: Tensor | None, graph: Graph) -> Tensor | None:
        """(E, H, C) lifted edge features."""
        if lift is None or edge_attr is None:
            if edge_attr is not None:
                raise ShapeError(
                    f"edge_attr {tuple(edge_attr.shape)} was given, but this attention was made without edge_dim; "
                    f"set edge_dim={edge_attr.shape[-1] if edge_attr.dim() > 1 else 1}."
                )
            return None
        if edge_attr.dim() == 1:
            edge_attr = edge_attr.unsqueeze(-1)
        edges, width = graph.num_edges, lift.weight.shape[1]
        if edge_attr.dim() != 2 or edge_attr.shape[0] != edges or width not in (-1, edge_attr.shape[1]):
            raise ShapeError(
                f"edge_attr wants one row for each of {edges} edges, of edge_dim={width} features, got "
                f"{tuple(edge_attr.shape)}."
            )
        return lift(edge_attr).unflatten(-1, (self.heads, self.channels))

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
                score = score + _per_signal(edge, score.shape[1])
            hops.append(self.weights(F.leaky_relu(score, self.negative_slope), graph, edge_weight))
        return hops[0].expand(self.order, -1, -1) if self.shares_hops else torch.stack(hops)

    def fused(self, x: Tensor | Pair, z: Tensor | Pair | None, graph: Graph, lift: nn.Module) -> list[Hop] | None:
        if self.shares_hops and self.order > 1:  # weights that are used again are cheaper kept
            return None
        dropout = self.dropout if self.training else 0.0
        at_source, at_target = read_plain(self.att_source, self.att_target)
        hops: list[Hop] = []
        for k in range(self.order):
            rows = slice(k * self.heads, (k + 1) * self.heads)
            vectors, both = torch.stack([at_source[rows], at_target[rows]]), None
            if k == 0 and not isinstance(x, tuple) and hasattr(lift, "inner"):
                both = lift.inner(x, vectors)  # straight from the layer's input
            scores = self._scores(k, z if k == 0 else self._lifted(x, k), vectors, both)
            hops.append(partial(ops.attention, graph, *scores, negative_slope=self.negative_slope, dropout=dropout))
        return hops

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
            of_source = of_source + _per_signal(self.score_bias[k : k + 1], of_source.shape[1])
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


class AttentionV2(SoftmaxPhi):
    """Edge weights by dynamic attention (Brody, Alon, Yahav 2022): softmax over each node's in-edges of

    att . LeakyReLU(z_j + u_i [+ V a_ij]),   e = (j -> i),

    with z the lifted signal and u = ``target`` (x), a second lift, or z itself if ``share_weights``. All hops share it.
    The vectors of all heads are a slot, ``att``, (H, C).

    Args:
        order, heads, channels, in_channels, edge_dim, negative_slope, dropout: as in ``Attention``.
        share_weights: score the receiver by the lift of the layer.
        bias: whether the lifts that make the scores, the layer's own among them, have a bias.
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

    def fused(self, x: Tensor | Pair, z: Tensor | Pair | None, graph: Graph, lift: nn.Module) -> list[Hop] | None:
        if self.order > 1:  # weights that are used again are cheaper kept
            return None
        z_target = self._ends(x, z)[1]
        att = read(self.att)
        if z_target.dim() == 4:  # a batch of signals
            att, z_target = att.repeat(z_target.shape[1], 1), z_target.flatten(1, 2)
        dropout = self.dropout if self.training else 0.0
        return [lambda z: ops.attention_v2(graph, z, z_target, att, self.negative_slope, dropout)]

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


def _products(z: Tensor, vectors: Tensor) -> Tensor:
    """(..., V * H) inner products of (..., H, C) signals with (V, H, C) vectors: a matrix of the vectors in blocks."""
    heads = vectors.shape[1]
    blocks = vectors.unsqueeze(2) * torch.eye(heads, dtype=vectors.dtype, device=vectors.device)[:, :, None]
    return ops.linear(z.flatten(-2), blocks.flatten(2).flatten(0, 1))


def _per_signal(per_head: Tensor, width: int) -> Tensor:
    """(E, H) repeated for every signal of a batch: (E, B * H)."""
    return per_head if per_head.shape[1] == width else per_head.repeat(1, width // per_head.shape[1])
