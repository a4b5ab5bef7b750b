"""DGL's layers that compute what ours do. Self-loops are in its graphs beforehand, degrees as ours."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from edgenet.bench.harness.peers import import_dgl
from edgenet.bench.speed.peer_edges import Edges
from edgenet.bench.speed.reference import LayerShape
from edgenet.bench.speed.same_parameters import Parameters, PeerLayer


class WithBias(nn.Module):
    """A layer of DGL whose heads are put side by side or averaged, and then a bias, as in ours."""

    def __init__(self, conv: nn.Module, width: int, concat: bool = True) -> None:
        super().__init__()
        self.conv, self.concat = conv, concat
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, graph: Any, x: Tensor) -> Tensor:
        y = self.conv(graph, x)
        return (y.flatten(1) if self.concat else y.mean(1)) + self.bias


def _layers() -> Any:
    import_dgl()
    import dgl.nn.pytorch

    return dgl.nn.pytorch


def gat(shape: LayerShape, edges: Edges, concat: bool = True, dropout: float = 0.0) -> PeerLayer:
    """``GATConv``; ``dropout`` is that of attention. Features may be sparse: it drops none of its own."""
    options = {"attn_drop": dropout, "allow_zero_in_degree": True, "bias": False}
    conv = _layers().GATConv(shape.in_channels, shape.channels, shape.heads or 1, **options)
    conv.feat_drop = nn.Identity()  # dropout at 0, which torch has not for sparse tensors
    layer = WithBias(conv, shape.width if concat else shape.channels, concat)

    def mapping(ours: Parameters) -> dict[str, Tensor]:
        return {
            "conv.attn_l": ours["phi.att_source.weight"][None],
            "conv.attn_r": ours["phi.att_target.weight"][None],
            "conv.fc.weight": ours["lift.linear.weight.weight"],
            "bias": ours["bias"],
        }

    return PeerLayer("DGL `GATConv`", layer, lambda x: layer(edges.dgl_with_loops, x), mapping)


def gatv2(shape: LayerShape, edges: Edges) -> PeerLayer:
    """``GATv2Conv``."""
    conv = _layers().GATv2Conv(shape.in_channels, shape.channels, shape.heads or 1, allow_zero_in_degree=True)
    layer = WithBias(conv, shape.width)

    def mapping(ours: Parameters) -> dict[str, Tensor]:
        return {
            "conv.attn": ours["phi.att.weight"][None],
            "conv.fc_src.weight": ours["lift.linear.weight.weight"],
            "conv.fc_src.bias": ours["lift.linear.bias"],
            "conv.fc_dst.weight": ours["phi.target.weight.weight"],
            "conv.fc_dst.bias": ours["phi.target.bias"],
            "bias": ours["bias"],
        }

    return PeerLayer("DGL `GATv2Conv`", layer, lambda x: layer(edges.dgl_with_loops, x), mapping)


def gcn(shape: LayerShape, edges: Edges) -> PeerLayer:
    """``GraphConv``."""
    conv = _layers().GraphConv(shape.in_channels, shape.channels, norm="both", allow_zero_in_degree=True)

    def mapping(ours: Parameters) -> dict[str, Tensor]:
        return {"weight": ours["lift.linear.weight.weight"].t(), "bias": ours["bias"]}

    return PeerLayer("DGL `GraphConv`", conv, lambda x: conv(edges.dgl_with_loops, x), mapping)


def tag(shape: LayerShape, edges: Edges) -> PeerLayer:
    """``TAGConv`` of order 3."""
    conv = _layers().TAGConv(shape.in_channels, shape.channels, k=3)

    def mapping(ours: Parameters) -> dict[str, Tensor]:
        return {"lin.weight": ours["taps.linear.weight.weight"], "lin.bias": ours["bias"]}

    return PeerLayer("DGL `TAGConv`", conv, lambda x: conv(edges.dgl, x), mapping)
