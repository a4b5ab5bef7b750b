"""EdgeNetwork: a matrix on every edge that a network makes of its features, in factors."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from edgenet import gso, ops
from edgenet.errors import ShapeError
from edgenet.graph import Graph
from edgenet.phi.base import Pair, Spmm
from edgenet.phi.channels import hop_by_factors
from edgenet.phi.matrices_from_features import MatricesFromFeatures
from edgenet.phi.shift import one_column
from edgenet.structured import SparseSignal, StructuredLinear
from edgenet.structured.base import glorot


class EdgeNetwork(MatricesFromFeatures):
    """A matrix on every edge, made of its features (Gilmer et al. 2017, sec. 5.1; Simonovsky, Komodakis 2017).

    z^(k)[i] = sum over e = (j -> i) of w[e] Theta^(k)[e] z^(k-1)[j],   Theta^(k)[e] = C_0 + sum over r of a[e, r] C_r

    with a = network(edge_attr), (E, K R). That is what a network gives whose last map is linear, from R hidden numbers
    to F_out F_in entries and with a bias C_0: PyG's ``NNConv``. The E matrices are never made: a hop is R + 1 scalar
    hops in the narrower width, and one product with the matrices side by side in a slot, ``maps.k.table``. The first
    hop leads from F_in to F_out channels. There is no matrix for the node itself: give the layer ``residual=True``.

    Args:
        order: K.
        in_channels, out_channels: F_in, F_out.
        rank: R.
        edge_dim: D, features of an edge, for the network that is made where none is given: relu(W edge_attr + b). -1
            reads it off the first.
        network: (E, D) -> (E, K R).
        constant: whether there is a C_0.
        normalize: "rw": the mean over in-edges, w = 1 / in-degree; None: the sum.
        structure: the family that the matrices are made of from the start, by name or with options; None: dense.

    Raises:
        ShapeError: if options are out of range, or sizes are not known; in ``forward``, if the network gives another
            width.

    Example:
        >>> conv = edgenet.EdgeNetConv(3, 8, phi="edge_network", rank=4, edge_dim=2)
        >>> conv(x, edges, edge_attr=torch.randn(4, 2)).shape
        torch.Size([4, 8])
    """

    def __init__(
        self,
        order: int = 1,
        in_channels: int = 1,
        out_channels: int = 1,
        rank: int = 8,
        edge_dim: int = -1,
        network: nn.Module | None = None,
        constant: bool = True,
        normalize: str | None = None,
        structure: str | dict[str, Any] | None = None,
    ) -> None:
        super().__init__(order, in_channels, out_channels, normalize, structure)
        if min(order, in_channels, out_channels, rank) < 1:
            raise ShapeError(
                f"matrices that a network makes want order, in_channels, out_channels and rank of 1 at least, known "
                f"beforehand; got {(order, in_channels, out_channels, rank)}."
            )
        self.rank, self.edge_dim, self.constant = rank, edge_dim, constant
        if network is None:
            network = nn.Sequential(StructuredLinear.dense(edge_dim, order * rank, bias=True), nn.ReLU())
        self.network = network
        self.maps = self.channel_maps(rank + constant)
        self._draw()

    def reset_parameters(self) -> None:
        for part in self.network.modules():
            reset: Any = getattr(part, "reset_parameters", None)
            if reset is not None and part is not self.network:
                reset()
        if hasattr(self.network, "reset_parameters"):
            self.network.reset_parameters()
        self._draw()

    @torch.no_grad()
    def _draw(self) -> None:
        if next(self.maps.parameters()).is_meta:  # for numbers that a file has
            return
        for part in self.maps:
            part.draw_(glorot((part.in_channels, part.out_channels)) / part.rank**0.5)

    # ---------------------------------------------------------------- using
    def forward(
        self,
        x: Tensor | Pair,
        z: Tensor | Pair,
        graph: Graph,
        edge_weight: Tensor | None = None,
        edge_attr: Tensor | None = None,
    ) -> Tensor:
        """(K, E, R) coefficients, of R + 1 columns with a constant."""
        if edge_attr is None:
            raise ShapeError("matrices that a network makes of edge features want edge_attr, and none came.")
        factors = self.network(edge_attr)
        if factors.shape != (graph.num_edges, self.order * self.rank):
            raise ShapeError(
                f"the network gives {tuple(factors.shape)} numbers, and {graph.num_edges} edges of {self.order} hops "
                f"of rank {self.rank} want {(graph.num_edges, self.order * self.rank)}."
            )
        factors = factors.unflatten(1, (self.order, self.rank)).movedim(1, 0)
        if self.constant:
            factors = torch.cat([factors, torch.ones_like(factors[..., :1])], -1)
        weight = one_column(edge_weight)
        if self.normalize is not None or weight is not None:
            weight = gso.NORMALISATIONS[self.normalize](graph, weight, factors.dtype)
            factors = factors * weight[:, None]
        return factors

    def hop(
        self,
        graph: Graph,
        weight: Tensor,
        diagonal: Tensor | None,
        z: Tensor | SparseSignal,
        spmm: Spmm = ops.spmm,
        k: int = 0,
    ) -> Tensor:
        maps = self.maps[k]
        if not isinstance(z, SparseSignal):
            z = z.squeeze(1).unflatten(1, (-1, maps.in_channels))  # (N, B, F_in)
        return hop_by_factors(maps, z, lambda signal: spmm(graph, weight, signal)).flatten(1).unsqueeze(1)

    def extra_repr(self) -> str:
        return f"order={self.order}, {self.in_channels} -> {self.out_channels}, rank={self.rank}"
