"""EdgeTyped: a matrix for every type of edges, as in relational graph convolutions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from edgenet import ops
from edgenet.errors import ShapeError
from edgenet.graph import Graph
from edgenet.graph.typed import apart
from edgenet.phi.base import Pair, Spmm
from edgenet.phi.channels import hop_by_factors
from edgenet.phi.matrices_from_features import MatricesFromFeatures
from edgenet.phi.rows import ByType
from edgenet.phi.shift import one_column
from edgenet.structured import Dense, SparseSignal, StructuredMatrix
from edgenet.structured.base import glorot
from edgenet.structured.read import read_rows


class EdgeTyped(MatricesFromFeatures):
    """A matrix for every type of edges (Schlichtkrull et al. 2018, eq. 2-3: R-GCN).

    z^(k)[i] = sum over e = (j -> i) of w[e] W_t(e)^(k) z^(k-1)[j],   w[e] = 1 / in-edges of i that have the type of e

    The first hop leads from F_in to F_out channels. All types are walked at once, in the narrower of the two widths:
    E min(F_in, F_out) multiply-adds, and one product with the matrices side by side in a slot, ``maps.k.table``. There
    is no matrix for the node itself: give the layer ``residual=True`` for the W_0 of the paper.

    Args:
        order: K.
        in_channels, out_channels: F_in, F_out.
        num_types: R; types are (E,) integers in ``edge_attr``.
        bases: B: W_r = sum over b of a[r, b] V_b, with free V and a; ``coefficients`` is a slot of (R, K B). None: W
            is free.
        normalize: "rw": as above; None: w = 1.
        structure: the family that the matrices are made of from the start, by name or with options; None: dense.

    Raises:
        ShapeError: if options are out of range, or sizes are not known; in ``forward``, if no types came.
        SupportError: in ``forward``, if there is no such type.

    Example:
        >>> conv = edgenet.EdgeNetConv(3, 8, phi="edge_typed", num_types=2)
        >>> conv(x, edges, edge_attr=torch.tensor([0, 1, 1, 0])).shape
        torch.Size([4, 8])
    """

    def __init__(
        self,
        order: int = 1,
        in_channels: int = 1,
        out_channels: int = 1,
        num_types: int = 1,
        bases: int | None = None,
        normalize: str | None = "rw",
        structure: str | dict[str, Any] | None = None,
    ) -> None:
        super().__init__(order, in_channels, out_channels, normalize, structure)
        sizes = (order, in_channels, out_channels, num_types, 1 if bases is None else bases)
        if min(sizes) < 1:
            raise ShapeError(
                f"a matrix for every type wants order, in_channels, out_channels, num_types and bases of 1 at least, "
                f"known beforehand; got {sizes}."
            )
        self.num_types, self.bases = num_types, bases
        self.shares_hops = bases is None
        self.where = ByType(num_types)
        self.maps = self.channel_maps(num_types if bases is None else bases)
        self.coefficients: StructuredMatrix | None = None if bases is None else Dense.lazy(num_types, order * bases)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        if next(self.maps.parameters()).is_meta:  # for numbers that a file has
            return
        for part in self.maps:
            part.draw_(glorot((part.in_channels, part.out_channels)))
        if self.coefficients is not None:
            self.coefficients.draw_(self.bases**-0.5)

    # ---------------------------------------------------------------- using
    def on_edges(self, graph: Graph, edge_attr: Tensor | None) -> Tensor:
        """(E,) types."""
        return self.where.of_edges(graph, edge_attr)

    def forward(
        self,
        x: Tensor | Pair,
        z: Tensor | Pair,
        graph: Graph,
        edge_weight: Tensor | None = None,
        edge_attr: Tensor | None = None,
    ) -> Tensor:
        """(K, E, 1) weights w, or (K, E, B) coefficients of the bases."""
        kind, like = self.where.of_edges(graph, edge_attr), next(self.maps.parameters())
        weight = one_column(edge_weight)
        weight = like.new_ones(graph.num_edges) if weight is None else weight.to(like.dtype)
        if self.normalize is not None:
            slot = graph.target * self.num_types + kind
            total = weight.new_zeros(graph.num_nodes * self.num_types).index_add(0, slot, weight)
            weight = weight / torch.where(total == 0, 1, total)[slot]
        if self.coefficients is None:
            return weight[:, None].expand(self.order, -1, -1)
        factors = read_rows(self.coefficients, kind).unflatten(1, (self.order, -1))  # (E, K, B)
        return (factors * weight[:, None, None]).movedim(1, 0)

    def hop(
        self,
        graph: Graph,
        weight: Tensor,
        diagonal: Tensor | None,
        z: Tensor | SparseSignal,
        spmm: Spmm = ops.spmm,
        k: int = 0,
        on_edges: Tensor | None = None,
    ) -> Tensor:
        maps = self.maps[k]
        if not isinstance(z, SparseSignal):
            z = z.squeeze(1).unflatten(1, (-1, maps.in_channels))  # (N, B, F_in)
        if self.coefficients is not None:
            y = hop_by_factors(maps, z, lambda signal: spmm(graph, weight, signal))
        else:
            assert on_edges is not None  # a layer asks for it first
            y = self._walked(graph, weight, on_edges, maps, z, spmm)
        return y.flatten(1).unsqueeze(1)

    def _walked(
        self, graph: Graph, weight: Tensor, kind: Tensor, maps: Any, z: Tensor | SparseSignal, spmm: Spmm
    ) -> Tensor:
        """(N, B, F_in) -> (N, B, F_out): sums of every type apart, and then mixed; or mixed for every type first."""
        if maps.walk_first:
            z = z.to_dense().unsqueeze(1) if isinstance(z, SparseSignal) else z
            batch = z.shape[1]
            y = spmm(apart(graph, kind, self.num_types, "target"), weight, z.flatten(1).unsqueeze(1))
            y = y.view(graph.num_nodes, self.num_types, batch, maps.in_channels).transpose(1, 2)
            return maps(y)
        y = maps(z)
        y = y.unsqueeze(1) if isinstance(z, SparseSignal) else y  # (N, B, R, F_out)
        batch = y.shape[1]
        by_type = y.transpose(1, 2).flatten(0, 1).flatten(1)  # (N R, B F_out)
        y = spmm(apart(graph, kind, self.num_types, "source"), weight, by_type.unsqueeze(1))
        return y.squeeze(1).unflatten(1, (batch, -1))

    def extra_repr(self) -> str:
        widths = f"{self.in_channels} -> {self.out_channels}"
        return f"order={self.order}, {widths}, types={self.num_types}, bases={self.bases}"
