"""Layers that contracts walk over, with their signals: every specialization, and layers converted from PyG's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch_geometric.nn as pyg
from torch import nn

from edgenet import EdgeNetConv, to_edgenet
from edgenet.nn import specializations as nets
from edgenet.nn import taps
from edgenet.structured import LowRank
from edgenet.testing.layer.case import EDGES, NODES, LayerCase


def attention(order: int = 1, **options: Any) -> Callable[[Any, int], nn.Module]:
    return lambda i, o: EdgeNetConv(i, o, order, 2, "attention", fill_value=0.5, **options)


def banks(**options: Any) -> Callable[[Any, int], nn.Module]:
    return lambda i, o: nets.edge_varying(i, o, **options)


def low_rank(make: Callable[[Any, int], nn.Module], *slots: str) -> Callable[[Any, int], nn.Module]:
    """With matrices of rank 2 in some slots."""

    def compressed(i: Any, o: int) -> nn.Module:
        layer = make(i, o)
        for slot in slots:
            parent, _, name = slot.rpartition(".")
            setattr(layer.get_submodule(parent), name, LowRank.from_dense(layer.get_submodule(slot).to_dense(), rank=2))
        return layer

    return compressed


def converted(layer: Callable[[Any, int], nn.Module]) -> Callable[[Any, int], nn.Module]:
    return lambda i, o: to_edgenet(layer(i, o))


#: By name, which begins with that of the specialization.
LAYERS: dict[str, LayerCase] = {
    "gcnn": LayerCase(lambda i, o: nets.gcnn(i, o, 2)),
    "gcnn, one hop": LayerCase(lambda i, o: nets.gcnn(i, o, 1), widths=("wide",)),
    "gcnn, two operators": LayerCase(
        lambda i, o: nets.gcnn(i, o, 2, shifts=2, normalize=None), weights=2, widths=("wide",)
    ),
    "gcnn, hops 1 and 3": LayerCase(
        lambda i, o: EdgeNetConv(i, o, 3, phi="shift", normalize="rw", hops=[1, 3]), widths=("wide",)
    ),
    "gcnn, low rank": LayerCase(low_rank(lambda i, o: nets.gcnn(i, o, 2), "taps.linear.weight")),
    "gcnn, pair": LayerCase(lambda i, o: nets.gcnn((i, i + 1), o, 1, normalize=None), pair=True, widths=("wide",)),
    "gcn": LayerCase(nets.gcn),
    "gcn, weighed": LayerCase(nets.gcn, weights=1, widths=("narrow",)),
    "gcn, pair": LayerCase(
        lambda i, o: EdgeNetConv((i, i + 1), o, 1, 2, "shift", lift=None, self_tap=False),
        weights=2,
        pair=True,
        widths=("narrow",),
    ),
    "tag": LayerCase(nets.tag),
    "sgc": LayerCase(lambda i, o: nets.sgc(i, o, 3)),
    "sgc, low rank": LayerCase(low_rank(lambda i, o: nets.sgc(i, o, 2), "lift.linear.weight"), widths=("narrow",)),
    "gcnn, dropped edges": LayerCase(
        lambda i, o: EdgeNetConv(i, o, 2, phi="shift", normalize="sym", edge_dropout=0.5), widths=("wide",)
    ),
    "dagnn": LayerCase(nets.dagnn),
    "dagnn, attention": LayerCase(
        lambda i, o: EdgeNetConv(i, o, 2, 2, "attention", taps="adaptive", self_tap=True, concat=False),
        widths=("narrow",),
    ),
    "appnp": LayerCase(lambda i, o: nets.appnp(i, o, 3)),
    "appnp, weighed": LayerCase(lambda i, o: nets.appnp(i, o, 2), weights=1, widths=("narrow",)),
    "gpr": LayerCase(lambda i, o: nets.gpr(i, o, 3)),
    "mean taps": LayerCase(
        lambda i, o: EdgeNetConv(i, o, 2, phi="shift", lift="linear", taps="mean"), widths=("narrow",)
    ),
    "gcnii": LayerCase(nets.gcnii),
    "gcnii, low rank": LayerCase(
        low_rank(lambda i, o: nets.gcnii(i, o), "lift.linear.weight", "taps.mix"), widths=("narrow",)
    ),
    "grand": LayerCase(lambda i, o: nets.grand(i, o, 3)),
    "gat": LayerCase(lambda i, o: nets.gat(i, o, heads=2)),
    "gat, mean": LayerCase(lambda i, o: nets.gat(i, o, heads=2, concat=False, bias=False), widths=("narrow",)),
    "gat, one head": LayerCase(lambda i, o: nets.gat(i, o, add_self_loops=False), widths=("narrow",)),
    "gat, low rank": LayerCase(low_rank(lambda i, o: nets.gat(i, o, heads=2), "lift.linear.weight", "phi.att_source")),
    "gat, edge features": LayerCase(attention(edge_dim=3, score_bias=True), features=3, widths=("narrow",)),
    "gat, weighed": LayerCase(lambda i, o: nets.gat(i, o, heads=2), weights=1, widths=("narrow",)),
    "gat, pair": LayerCase(
        lambda i, o: nets.gat((i, i + 1), o, heads=2, add_self_loops=False), pair=True, widths=("narrow",)
    ),
    "gat, self tap": LayerCase(attention(self_tap=True), widths=("narrow",)),
    "gat, residual": LayerCase(lambda i, o: nets.gat(i, o, heads=2, residual=True, bias=False), widths=("wide",)),
    "gat, pair, residual": LayerCase(
        lambda i, o: nets.gat((i, i + 1), o, heads=2, add_self_loops=False, residual=True),
        pair=True,
        widths=("narrow",),
    ),
    "gatv2": LayerCase(lambda i, o: nets.gatv2(i, o, heads=2)),
    "gatv2, shared": LayerCase(
        lambda i, o: nets.gatv2(i, o, heads=2, concat=False, share_weights=True), widths=("narrow",)
    ),
    "gatv2, edge features": LayerCase(
        lambda i, o: nets.gatv2(i, o, edge_dim=3, fill_value=0.5), features=3, widths=("narrow",)
    ),
    "gatv2, pair": LayerCase(
        lambda i, o: nets.gatv2((i, i + 1), o, heads=2, add_self_loops=False), pair=True, widths=("wide",)
    ),
    "gcat": LayerCase(lambda i, o: nets.gcat(i, o, 2, heads=2)),
    "gcat, mean": LayerCase(lambda i, o: nets.gcat(i, o, 3, heads=2, concat=False), widths=("narrow",)),
    "gcat, matrices": LayerCase(lambda i, o: nets.gcat(i, o, 2, heads=2, taps="matrix")),
    "gcat, matrices, mean": LayerCase(
        lambda i, o: nets.gcat(i, o, 1, heads=2, concat=False, taps="matrix"), widths=("narrow",)
    ),
    "gcat, one hop": LayerCase(
        lambda i, o: EdgeNetConv(i, o, heads=2, phi="attention", taps=taps.Scaled(1)), widths=("narrow",)
    ),
    "gcat, mean of the hops": LayerCase(
        lambda i, o: nets.gcat(i, o, heads=2, taps="mean", concat=False), widths=("narrow",)
    ),
    "edge_varying_gat": LayerCase(lambda i, o: nets.edge_varying_gat(i, o, 3, heads=2)),
    "edge_varying_gat, score bias": LayerCase(
        attention(2, share_hops=False, score_bias=True, concat=False), widths=("narrow",)
    ),
    "edge_varying_gat, one hop": LayerCase(
        lambda i, o: nets.edge_varying_gat(i, o, 1, heads=2, concat=False), widths=("narrow",)
    ),
    "edge_varying": LayerCase(banks(), sparse=False),
    "edge_varying, one hop": LayerCase(banks(order=1), sparse=False, widths=("narrow",)),
    "edge_varying, important nodes": LayerCase(banks(nodes=2), sparse=False, widths=("narrow",)),
    "edge_varying, mimo": LayerCase(banks(bank="mimo"), widths=("narrow",)),
    "edge_varying, heads": LayerCase(banks(bank="heads", heads=2), widths=("wide",)),
    "edge_varying, heads, mean": LayerCase(banks(bank="heads", heads=2, concat=False), widths=("narrow",)),
    "edge_varying, heads, low rank": LayerCase(
        low_rank(
            lambda i, o: banks(bank="heads", heads=2)(i, o).bind(EDGES, NODES), "phi.edge_table", "phi.node_table"
        ),
        widths=("narrow",),
    ),
    "edge_varying, heads, pair": LayerCase(
        lambda i, o: nets.edge_varying((i, i + 1), o, order=1, bank="heads", heads=2), pair=True, widths=("narrow",)
    ),
    "edge_varying, mimo, pair": LayerCase(
        lambda i, o: nets.edge_varying((i, i + 1), o, order=1, bank="mimo"), pair=True, widths=("wide",)
    ),
    "edge_varying, heads, residual": LayerCase(
        lambda i, o: EdgeNetConv(i, o, 2, 2, residual=True, unseen="shared"), widths=("narrow",)
    ),
    "edge_varying, by node": LayerCase(banks(share="node"), sparse=False, widths=("narrow",)),
    "edge_varying, by type": LayerCase(banks(share="type", num_types=3), features=-3, sparse=False, widths=("narrow",)),
    "edge_varying, hashed rows": LayerCase(banks(share="hash", buckets=4, bank="heads", heads=2), widths=("narrow",)),
    "matrices by type": LayerCase(
        lambda i, o: EdgeNetConv(i, o, 2, phi="edge_typed", num_types=3, residual=True), features=-3
    ),
    "matrices by type, bases, pair": LayerCase(
        lambda i, o: EdgeNetConv((i, i + 1), o, phi="edge_typed", num_types=3, bases=2, residual=True),
        features=-3,
        pair=True,
        widths=("narrow",),
    ),
    "matrices by type, pair": LayerCase(
        lambda i, o: EdgeNetConv((i, i + 1), o, phi="edge_typed", num_types=3, normalize=None),
        features=-3,
        pair=True,
        widths=("wide",),
    ),
    "matrices of a network": LayerCase(
        lambda i, o: EdgeNetConv(i, o, 2, phi="edge_network", rank=2, edge_dim=3, normalize="rw"), features=3
    ),
    "matrices of a network, pair": LayerCase(
        lambda i, o: EdgeNetConv((i, i + 1), o, phi="edge_network", rank=2, residual=True),
        features=3,
        pair=True,
        widths=("wide",),
    ),
    "added features": LayerCase(lambda i, o: EdgeNetConv(i, o, 2, 2, phi="edge_added", edge_dim=3), features=3),
    "added features, pair": LayerCase(
        lambda i, o: EdgeNetConv((i, i + 1), o, phi="edge_added"), features=3, pair=True, widths=("narrow",)
    ),
    "dot product, edge features": LayerCase(
        lambda i, o: EdgeNetConv(i, o, 2, 2, phi="dot_product", edge_dim=3, add_self_loops=False), features=3
    ),
    "dot product, edge features, pair": LayerCase(
        lambda i, o: EdgeNetConv((i, i + 1), o, 1, 2, phi="dot_product", edge_dim=-1, add_self_loops=False),
        features=3,
        pair=True,
        widths=("narrow",),
    ),
    "edge_varying, cp": LayerCase(banks(form="cp", rank=2)),
    "edge_varying, cp, one hop": LayerCase(banks(form="cp", rank=2, order=1), widths=("wide",)),
    "edge_varying, cp, mimo": LayerCase(banks(form="cp", rank=2, bank="mimo", order=3)),
    "edge_varying, node_bilinear": LayerCase(banks(form="node_bilinear", rank=2, bank="mimo"), widths=("narrow",)),
    "edge_varying, kronecker": LayerCase(banks(form="kronecker", rank=2, bank="mimo")),
    "edge_varying, tensor_train": LayerCase(banks(form="tensor_train", rank=2, bank="mimo"), widths=("wide",)),
    "edge_varying, hashed": LayerCase(banks(form="hashed", rank=2, ratio=2.0, bank="mimo"), widths=("narrow",)),
    "edge_varying, shared": LayerCase(banks(form="shared", bank="mimo"), widths=("wide",)),
    "edge_varying, doped": LayerCase(banks(form="doped", density=0.05, bank="mimo"), widths=("wide",)),
    "edge_varying, doped, siso": LayerCase(banks(form="doped", density=0.05, base="cp", rank=2), widths=("narrow",)),
    "node_varying": LayerCase(lambda i, o: nets.node_varying(i, o, 2)),
    "node_varying, groups": LayerCase(lambda i, o: nets.node_varying(i, o, 2, groups=2), widths=("wide",)),
    "hybrid": LayerCase(lambda i, o: nets.hybrid(i, o, 2, nodes=2), sparse=False),
    "hybrid, heads": LayerCase(lambda i, o: nets.hybrid(i, o, 2, nodes=2, bank="heads", heads=2), widths=("narrow",)),
    "arma": LayerCase(lambda i, o: nets.arma(i, o, 1, poles=2, iterations=2), sparse=False),
    "spectral": LayerCase(nets.spectral, sparse=False),
    "spectral_product": LayerCase(lambda i, o: nets.spectral_product(i, o, 2, heads=2)),
    "additive": LayerCase(lambda i, o: nets.additive(i, o, 2, heads=2)),
    "additive, edges": LayerCase(
        lambda i, o: nets.additive(i, o, 2, 2, edge_dim=3, endpoints="none", share_hops=False, fill_value=0.5),
        features=3,
        widths=("narrow",),
    ),
    "additive, pair": LayerCase(
        lambda i, o: nets.additive((i, i + 1), o, normalize="rw", add_self_loops=False), pair=True, widths=("narrow",)
    ),
    "to_edgenet, GATConv": LayerCase(converted(lambda i, o: pyg.GATConv(i, o, heads=2, residual=True))),
    "to_edgenet, GATConv, pair": LayerCase(
        converted(lambda i, o: pyg.GATConv((i, i + 1), o, heads=2, add_self_loops=False)), pair=True, widths=("narrow",)
    ),
    "to_edgenet, GATv2Conv": LayerCase(converted(lambda i, o: pyg.GATv2Conv(i, o, heads=2)), widths=("narrow",)),
    "to_edgenet, GCNConv": LayerCase(converted(pyg.GCNConv)),
    "to_edgenet, TAGConv": LayerCase(converted(lambda i, o: pyg.TAGConv(i, o, K=2)), batches=False, widths=("wide",)),
    "to_edgenet, SGConv": LayerCase(converted(lambda i, o: pyg.SGConv(i, o, K=2)), widths=("narrow",)),
    "to_edgenet, ARMAConv": LayerCase(
        converted(lambda i, o: pyg.ARMAConv(i, o, num_stacks=2, num_layers=2)), widths=("narrow",)
    ),
    "to_edgenet, ChebConv": LayerCase(converted(lambda i, o: pyg.ChebConv(i, o, K=3)), sparse=False, widths=("wide",)),
    "to_edgenet, SAGEConv": LayerCase(
        converted(lambda i, o: pyg.SAGEConv(i, o, normalize=True, project=True)), widths=("wide",)
    ),
    "to_edgenet, TransformerConv": LayerCase(
        converted(lambda i, o: pyg.TransformerConv(i, o, heads=2, beta=True)), widths=("wide",)
    ),
}


LAYERS = {name: replace(case, name=name, width=case.widths[0]) for name, case in LAYERS.items()}


def fresh(name: str, width: str) -> tuple[nn.Module, Any, dict[str, Any]]:
    return LAYERS[name].at(width).fresh()
