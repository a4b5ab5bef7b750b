"""EdgeAdded: what an edge carries is its sender's signal and its own features, added up and rectified."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor

from edgenet import gso, ops
from edgenet.errors import ShapeError
from edgenet.graph import Graph
from edgenet.graph.typed import from_edges
from edgenet.phi.base import LayerSpec, Pair, Phi, Spmm, source_and_target
from edgenet.phi.edge_features import checked_features
from edgenet.phi.shift import one_column
from edgenet.structured import StructuredLinear


class EdgeAdded(Phi):
    """Edge features that are added to what walks (Hu et al. 2020, app. B: GINE).

    z^(k)[i] = sum over e = (j -> i) of w[e] relu(z^(k-1)[j] + lift(edge_attr[e]))

    Such a hop is not linear in the signal. Its weights w are those of the edges that are given to the layer, or 1, and
    what PyG's tools look at. With ``GraphIsomorphism`` taps, GINE.

    Args:
        order: K.
        heads: H.
        channels: C, of each head; -1, where there is no lift, for those of the features.
        edge_dim: D, features of an edge; -1 reads it off the first; None: they have C numbers, and are not lifted.
        normalize: "rw": the mean over in-edges instead of the sum; None.

    Raises:
        ShapeError: if options are out of range; in ``forward``, if the features have another width.

    Example:
        >>> conv = edgenet.EdgeNetConv(3, 8, phi="edge_added", edge_dim=2)
        >>> conv(x, edges, edge_attr=torch.randn(4, 2)).shape
        torch.Size([4, 8])
    """

    needs_edge_attr = True
    shares_hops = True

    def __init__(
        self,
        order: int = 1,
        heads: int = 1,
        channels: int = 1,
        edge_dim: int | None = -1,
        normalize: str | None = None,
    ) -> None:
        super().__init__()
        if order < 1 or heads < 1:
            raise ShapeError(f"hops that add edge features have order and heads of 1 at least, got {order}, {heads}.")
        if channels < 1 and not (channels == -1 and edge_dim is None):
            raise ShapeError(f"a lift of edge features leads to channels of 1 at least, got {channels}.")
        if normalize not in ("rw", None):
            raise ShapeError(f"normalize is 'rw', the mean over in-edges, or None, got {normalize!r}.")
        self.order, self.heads, self.channels, self.normalize = order, heads, channels, normalize
        self.lift_edge = None if edge_dim is None else StructuredLinear.dense(edge_dim, heads * channels, bias=True)

    @classmethod
    def for_layer(cls, spec: LayerSpec, **options: Any) -> Self:
        return cls(spec.order, spec.heads, spec.out_channels, **options)

    def arguments(self) -> dict[str, Any]:
        return {"edge_dim": None if self.lift_edge is None else self.lift_edge.weight.shape[1]}

    @property
    def commutes_with_lift(self) -> bool:
        return False

    def reset_parameters(self) -> None:
        if self.lift_edge is not None:
            self.lift_edge.reset_parameters()

    def on_edges(self, graph: Graph, edge_attr: Tensor | None) -> Tensor:
        """(E, H, C) what is added to the signals."""
        if edge_attr is None:
            raise ShapeError("hops that add edge features were asked for, and no edge_attr came.")
        width = -1 if self.lift_edge is None else getattr(self.lift_edge.weight, "shape", (-1, -1))[1]
        edge_attr = checked_features(edge_attr, graph, width)
        added = edge_attr if self.lift_edge is None else self.lift_edge(edge_attr)
        if self.lift_edge is None and self.heads > 1:
            added = added.repeat(1, self.heads)
        return added.unflatten(-1, (self.heads, -1))

    def forward(
        self,
        x: Tensor | Pair,
        z: Tensor | Pair,
        graph: Graph,
        edge_weight: Tensor | None = None,
        edge_attr: Tensor | None = None,
    ) -> Tensor:
        dtype, flat = source_and_target(z)[0].dtype, one_column(edge_weight)
        if flat is None:
            weight = graph.memo((self.normalize, dtype), lambda: gso.NORMALISATIONS[self.normalize](graph, None, dtype))
        else:
            weight = gso.NORMALISATIONS[self.normalize](graph, flat, dtype)
        return weight[:, None].expand(self.order, -1, self.heads)

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
        assert on_edges is not None  # a layer asks for it first
        width = on_edges.shape[-1]
        if z.shape[-1] % width or (self.channels not in (-1, width)):
            raise ShapeError(
                f"edge features of {width} numbers are added to signals of {z.shape[-1]} channels a head; set edge_dim "
                f"to lift them."
            )
        added = on_edges.repeat(1, 1, z.shape[-1] // width)  # a batch stands side by side
        return spmm(from_edges(graph), weight, torch.relu(z[graph.source] + added))

    def extra_repr(self) -> str:
        return f"order={self.order}, heads={self.heads}, normalize={self.normalize!r}"
