"""EdgeMatrix: every edge learns its own matrix."""

from __future__ import annotations

import math
from typing import Any, Self

import torch
from torch import Tensor

from edgenet import ops
from edgenet.errors import PlanError, ShapeError
from edgenet.graph import Graph
from edgenet.phi.base import Choice, LayerSpec, Pair, Phi, Spmm
from edgenet.phi.edge_varying import EdgeVarying
from edgenet.structured.read import read
from edgenet.structured.unbound import is_unbound


class EdgeMatrix(Phi):
    """One (F, F) matrix for every edge and hop, which mixes channels as the signal walks.

    z^(k)[i] = D^(k)[i] z^(k-1)[i] + sum over e = (j -> i) of Theta^(k)[e] z^(k-1)[j]

    Unlike the bank of F_out F_in scalar filters that ``EdgeVarying`` gives with a ``FilterBank`` lift, whose channels
    meet only at the end; for one hop the two are the same. The lifted signal is (N, F, 1).

    Args:
        order: K.
        channels: F.
        options: of ``EdgeVarying`` (share, self_loops, nodes, ...), whose heads here are the F * F entries.

    Raises:
        ShapeError: with ``initial=True``: Phi^(0) is the identity here.

    Example:
        >>> layer = edgenet.EdgeNetConv(3, 8, phi="edge_matrix").bind(graph)  # an (8, 8) matrix for every edge
        >>> layer(x, graph).shape
        torch.Size([4, 8])
    """

    mixes_channels = True

    def __init__(self, order: int = 1, channels: int = 1, **options) -> None:
        super().__init__()
        if options.get("initial"):
            raise ShapeError("matrices on edges leave the input as it is before the first hop: set initial=False.")
        self.entries = EdgeVarying(order, channels * channels, **options)
        self.order, self.heads, self.channels = order, channels, channels
        self.reads_edge_attr, self.needs_edge_attr = self.entries.reads_edge_attr, self.entries.needs_edge_attr
        self.has_diagonal = self.entries.has_diagonal
        self.reset_parameters()

    @classmethod
    def for_layer(cls, spec: LayerSpec, **options: Any) -> Self:
        check_no_heads(spec)
        return cls(spec.order, spec.out_channels, **{"self_loops": not spec.is_pair, **options})

    def default_lift(self, spec: LayerSpec) -> Choice:
        return "linear", {"heads": self.channels, "width": self.channels}  # every channel is a head of its own

    def default_taps(self, spec: LayerSpec) -> Choice:
        return "sum", {"merge": "concat"}

    @property
    def numbers_an_edge(self) -> int:
        return self.entries.numbers_an_edge

    @property
    def table_rows(self) -> int:
        return self.entries.table_rows

    def bound_graph(self) -> Graph | None:
        return self.entries.bound_graph()

    def remove_edges_(self, source: Tensor, target: Tensor) -> int:
        return self.entries.remove_edges_(source, target)

    def bind(self, graph: Graph, heads: int | None = None) -> None:
        fresh = is_unbound(self.entries.edge_table)
        self.entries.bind(graph)
        if fresh:
            self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        self.entries.reset_parameters()
        if self.entries.is_bound:  # random signs and the variance of a dense (F, F) layer, so that channels differ
            table = self.entries.edge_table
            mixing = torch.empty(self.order * self.channels**2).uniform_(-1, 1) * math.sqrt(3 / self.channels)
            entries = read(table)
            table.reset_parameters(entries * mixing.to(entries))

    def forward(
        self,
        x: Tensor | Pair,
        z: Tensor | Pair,
        graph: Graph,
        edge_weight: Tensor | None = None,
        edge_attr: Tensor | None = None,
    ) -> Tensor:
        if not self.entries.is_bound:
            self.bind(graph)
        return self.entries(x, z, graph, edge_weight, edge_attr)

    def diagonal(self, graph: Graph) -> Tensor | None:
        return self.entries.diagonal(graph)

    def _keep(self, order: int, heads: Tensor) -> None:
        if len(heads) < self.heads:
            raise PlanError("the heads of matrices on edges are channels, which mix at every hop; remove hops only.")
        self.entries.keep_(order, range(self.entries.heads))

    def hop(
        self, graph: Graph, weight: Tensor, diagonal: Tensor | None, z: Tensor, spmm: Spmm = ops.spmm, k: int = 0
    ) -> Tensor:
        channels = self.channels
        # entry (f, g) of every matrix is a head that carries input channel g to output channel f
        carried = z.unsqueeze(1).expand(-1, channels, -1, -1).flatten(1, 2)
        y = spmm(graph, weight, carried)
        if diagonal is not None:
            y = torch.addcmul(y, diagonal.unsqueeze(-1), carried)
        return y.unflatten(1, (channels, channels)).sum(2)

    def extra_repr(self) -> str:
        return f"order={self.order}, channels={self.channels}"


def check_no_heads(spec: LayerSpec) -> None:
    """Refuse heads where hops mix all channels.

    Raises:
        ShapeError: if there is more than one.
    """
    if spec.heads != 1:
        raise ShapeError(f"matrices mix all channels at every hop and have no heads; got heads={spec.heads}.")
