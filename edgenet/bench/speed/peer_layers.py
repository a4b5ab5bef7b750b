"""PyG's and DGL's layers that compute what ours do, with the parameters of ours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from edgenet.bench.harness.peers import import_dgl
from edgenet.bench.speed.peer_edges import Edges
from edgenet.bench.speed.reference import LayerShape
from edgenet.bench.speed.same_parameters import Parameters


@dataclass(frozen=True)
class PeerLayer:
    """A layer of another library.

    Attributes:
        name: as the table has it.
        module: its parameters.
        call: (N, F) -> (N, F_out).
        mapping: all of its parameters made of ours, by names on both sides.
    """

    name: str
    module: nn.Module
    call: Callable[[Tensor], Tensor]
    mapping: Callable[[Parameters], dict[str, Tensor]]


class WithBias(nn.Module):
    """A layer of DGL whose heads are put side by side or averaged, and then a bias, as in ours."""

    def __init__(self, conv: nn.Module, width: int, concat: bool = True) -> None:
        super().__init__()
        self.conv, self.concat = conv, concat
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, graph: Any, x: Tensor) -> Tensor:
        y = self.conv(graph, x)
        return (y.flatten(1) if self.concat else y.mean(1)) + self.bias


def _dgl_layers() -> Any:
    import_dgl()
    import dgl.nn.pytorch

    return dgl.nn.pytorch


def pyg_gat(shape: LayerShape, edges: Edges, concat: bool = True, dropout: float = 0.0) -> PeerLayer:
    from torch_geometric.nn import GATConv

    conv = GATConv(shape.in_channels, shape.channels, heads=shape.heads or 1, concat=concat, dropout=dropout)

    def mapping(ours: Parameters) -> dict[str, Tensor]:
        return {
            "att_src": ours["phi.att_source.weight"][None],
            "att_dst": ours["phi.att_target.weight"][None],
            "lin.weight": ours["lift.linear.weight.weight"],
            "bias": ours["bias"],
        }

    return PeerLayer("PyG `GATConv`", conv, lambda x: conv(x, edges.edge_index), mapping)


def dgl_gat(shape: LayerShape, edges: Edges, concat: bool = True, dropout: float = 0.0) -> PeerLayer:
    options = {"attn_drop": dropout, "allow_zero_in_degree": True, "bias": False}
    conv = _dgl_layers().GATConv(shape.in_channels, shape.channels, shape.heads or 1, **options)
    layer = WithBias(conv, shape.width if concat else shape.channels, concat)

    def mapping(ours: Parameters) -> dict[str, Tensor]:
        return {
            "conv.attn_l": ours["phi.att_source.weight"][None],
            "conv.attn_r": ours["phi.att_target.weight"][None],
            "conv.fc.weight": ours["lift.linear.weight.weight"],
            "bias": ours["bias"],
        }

    return PeerLayer("DGL `GATConv`", layer, lambda x: layer(edges.dgl_with_loops, x), mapping)


def pyg_gatv2(shape: LayerShape, edges: Edges) -> PeerLayer:
    from torch_geometric.nn import GATv2Conv

    conv = GATv2Conv(shape.in_channels, shape.channels, heads=shape.heads or 1)

    def mapping(ours: Parameters) -> dict[str, Tensor]:
        return {
            "att": ours["phi.att.weight"][None],
            "lin_l.weight": ours["lift.linear.weight.weight"],
            "lin_l.bias": ours["lift.linear.bias"],
            "lin_r.weight": ours["phi.target.weight.weight"],
            "lin_r.bias": ours["phi.target.bias"],
            "bias": ours["bias"],
        }

    return PeerLayer("PyG `GATv2Conv`", conv, lambda x: conv(x, edges.edge_index), mapping)


def dgl_gatv2(shape: LayerShape, edges: Edges) -> PeerLayer:
    conv = _dgl_layers().GATv2Conv(shape.in_channels, shape.channels, shape.heads or 1, allow_zero_in_degree=True)
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


def pyg_gcn(shape: LayerShape, edges: Edges) -> PeerLayer:
    return _pyg_gcn(shape, "PyG `GCNConv`, edge_index", lambda: edges.edge_index)


def pyg_gcn_csr(shape: LayerShape, edges: Edges) -> PeerLayer:
    return _pyg_gcn(shape, "PyG `GCNConv`, torch.sparse CSR", lambda: edges.csr)


def _pyg_gcn(shape: LayerShape, name: str, adjacency: Callable[[], Tensor]) -> PeerLayer:
    from torch_geometric.nn import GCNConv

    conv = GCNConv(shape.in_channels, shape.channels, cached=True)

    def mapping(ours: Parameters) -> dict[str, Tensor]:
        return {"lin.weight": ours["lift.linear.weight.weight"], "bias": ours["bias"]}

    return PeerLayer(name, conv, lambda x: conv(x, adjacency()), mapping)


def dgl_gcn(shape: LayerShape, edges: Edges) -> PeerLayer:
    conv = _dgl_layers().GraphConv(shape.in_channels, shape.channels, norm="both", allow_zero_in_degree=True)

    def mapping(ours: Parameters) -> dict[str, Tensor]:
        return {"weight": ours["lift.linear.weight.weight"].t(), "bias": ours["bias"]}

    return PeerLayer("DGL `GraphConv`", conv, lambda x: conv(edges.dgl_with_loops, x), mapping)


def pyg_tag(shape: LayerShape, edges: Edges) -> PeerLayer:
    return _pyg_tag(shape, "PyG `TAGConv`, edge_index", lambda: edges.edge_index, normalize=True)


def pyg_tag_csr(shape: LayerShape, edges: Edges) -> PeerLayer:
    """Normalised beforehand, which edgenet does once for a graph and ``TAGConv`` at every call."""
    name = "PyG `TAGConv`, torch.sparse CSR, normalised beforehand"
    return _pyg_tag(shape, name, lambda: edges.normalised_csr, normalize=False)


def _pyg_tag(shape: LayerShape, name: str, adjacency: Callable[[], Tensor], normalize: bool) -> PeerLayer:
    from torch_geometric.nn import TAGConv

    conv = TAGConv(shape.in_channels, shape.channels, K=3, normalize=normalize)

    def mapping(ours: Parameters) -> dict[str, Tensor]:
        taps = ours["taps.linear.weight.weight"].chunk(4, dim=1)
        return {f"lins.{k}.weight": tap for k, tap in enumerate(taps)} | {"bias": ours["bias"]}

    return PeerLayer(name, conv, lambda x: conv(x, adjacency()), mapping)


def dgl_tag(shape: LayerShape, edges: Edges) -> PeerLayer:
    conv = _dgl_layers().TAGConv(shape.in_channels, shape.channels, k=3)

    def mapping(ours: Parameters) -> dict[str, Tensor]:
        return {"lin.weight": ours["taps.linear.weight.weight"], "lin.bias": ours["bias"]}

    return PeerLayer("DGL `TAGConv`", conv, lambda x: conv(edges.dgl, x), mapping)


Build = Callable[[LayerShape, Edges], PeerLayer]
#: layer of ours: (peer, what builds its layer) of all that compute the same
PEER_LAYERS: dict[str, list[tuple[str, Build]]] = {
    "gat": [("pyg", pyg_gat), ("dgl", dgl_gat)],
    "gatv2": [("pyg", pyg_gatv2), ("dgl", dgl_gatv2)],
    "gcn": [("pyg", pyg_gcn), ("pyg", pyg_gcn_csr), ("dgl", dgl_gcn)],
    "tag": [("pyg", pyg_tag), ("pyg", pyg_tag_csr), ("dgl", dgl_tag)],
}


def peer_layers(shape: LayerShape, edges: Edges, peers: list[str]) -> list[PeerLayer]:
    """The layers of these peers that compute what ours does."""
    return [build(shape, edges) for peer, build in PEER_LAYERS[shape.layer] if peer in peers]
