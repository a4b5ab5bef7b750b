"""Layers that contracts walk over, with their signals: every specialization, and layers converted from PyG's."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
import torch_geometric.nn as pyg
from torch import nn
from torch_geometric.nn import MessagePassing

from edgenet import EdgeNetConv, to_edgenet
from edgenet.nn import specializations as nets
from edgenet.nn import taps
from edgenet.structured import LowRank

NODES, TARGETS = 7, 5
#: undirected, for spectral filters; the last node has no edges, and one has a loop
EDGES = torch.tensor([[1, 0, 2, 1, 4, 3, 0, 2, 5, 3, 4, 1, 0], [0, 1, 1, 2, 3, 4, 2, 0, 3, 5, 1, 4, 0]])
LOOPLESS = EDGES[:, :-1]
ACROSS = torch.tensor([[6, 0, 2, 1, 4, 3, 0, 2, 5], [0, 1, 1, 2, 3, 4, 2, 0, 3]])  # from 7 sources to 5 targets
WIDTHS = {"narrow": (4, 8), "wide": (40, 4)}


@dataclass(frozen=True)
class Case:
    """A layer to look into.

    Attributes:
        make: the layer, of its numbers of input and output channels.
        weights: columns of edge weights that it is given; 0 for none.
        features: edge features that it is given.
        widths: names of the widths at which its shortcuts differ.
        batches: whether it takes a batch of signals on one graph.
        sparse: whether it reads sparse features.
        pair: whether it is called with the signals of sources and targets.
    """

    make: Callable[[Any, int], nn.Module]
    weights: int = 0
    features: int = 0
    widths: tuple[str, ...] = ("narrow", "wide")
    batches: bool = True
    sparse: bool = True
    pair: bool = False


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
LAYERS: dict[str, Case] = {
    "gcnn": Case(lambda i, o: nets.gcnn(i, o, 2)),
    "gcnn, one hop": Case(lambda i, o: nets.gcnn(i, o, 1), widths=("wide",)),
    "gcnn, two operators": Case(lambda i, o: nets.gcnn(i, o, 2, shifts=2, normalize=None), weights=2, widths=("wide",)),
    "gcnn, hops 1 and 3": Case(
        lambda i, o: EdgeNetConv(i, o, 3, phi="shift", normalize="rw", hops=[1, 3]), widths=("wide",)
    ),
    "gcnn, low rank": Case(low_rank(lambda i, o: nets.gcnn(i, o, 2), "taps.linear.weight")),
    "gcnn, pair": Case(lambda i, o: nets.gcnn((i, i + 1), o, 1, normalize=None), pair=True, widths=("wide",)),
    "gcn": Case(nets.gcn),
    "gcn, weighed": Case(nets.gcn, weights=1, widths=("narrow",)),
    "gcn, pair": Case(
        lambda i, o: EdgeNetConv((i, i + 1), o, 1, 2, "shift", lift=None, self_tap=False),
        weights=2,
        pair=True,
        widths=("narrow",),
    ),
    "tag": Case(nets.tag),
    "sgc": Case(lambda i, o: nets.sgc(i, o, 3)),
    "sgc, low rank": Case(low_rank(lambda i, o: nets.sgc(i, o, 2), "lift.linear.weight"), widths=("narrow",)),
    "gat": Case(lambda i, o: nets.gat(i, o, heads=2)),
    "gat, mean": Case(lambda i, o: nets.gat(i, o, heads=2, concat=False, bias=False), widths=("narrow",)),
    "gat, one head": Case(lambda i, o: nets.gat(i, o, add_self_loops=False), widths=("narrow",)),
    "gat, low rank": Case(low_rank(lambda i, o: nets.gat(i, o, heads=2), "lift.linear.weight", "phi.att_source")),
    "gat, edge features": Case(attention(edge_dim=3, score_bias=True), features=3, widths=("narrow",)),
    "gat, weighed": Case(lambda i, o: nets.gat(i, o, heads=2), weights=1, widths=("narrow",)),
    "gat, pair": Case(
        lambda i, o: nets.gat((i, i + 1), o, heads=2, add_self_loops=False), pair=True, widths=("narrow",)
    ),
    "gat, self tap": Case(attention(self_tap=True), widths=("narrow",)),
    "gatv2": Case(lambda i, o: nets.gatv2(i, o, heads=2)),
    "gatv2, shared": Case(lambda i, o: nets.gatv2(i, o, heads=2, concat=False, share_weights=True), widths=("narrow",)),
    "gatv2, edge features": Case(
        lambda i, o: nets.gatv2(i, o, edge_dim=3, fill_value=0.5), features=3, widths=("narrow",)
    ),
    "gatv2, pair": Case(
        lambda i, o: nets.gatv2((i, i + 1), o, heads=2, add_self_loops=False), pair=True, widths=("wide",)
    ),
    "gcat": Case(lambda i, o: nets.gcat(i, o, 2, heads=2)),
    "gcat, mean": Case(lambda i, o: nets.gcat(i, o, 3, heads=2, concat=False), widths=("narrow",)),
    "gcat, one hop": Case(
        lambda i, o: EdgeNetConv(i, o, heads=2, phi="attention", taps=taps.Scaled(1)), widths=("narrow",)
    ),
    "edge_varying_gat": Case(lambda i, o: nets.edge_varying_gat(i, o, 3, heads=2)),
    "edge_varying_gat, score bias": Case(
        attention(2, share_hops=False, score_bias=True, concat=False), widths=("narrow",)
    ),
    "edge_varying_gat, one hop": Case(
        lambda i, o: nets.edge_varying_gat(i, o, 1, heads=2, concat=False), widths=("narrow",)
    ),
    "edge_varying": Case(banks(), sparse=False),
    "edge_varying, one hop": Case(banks(order=1), sparse=False, widths=("narrow",)),
    "edge_varying, important nodes": Case(banks(nodes=2), sparse=False, widths=("narrow",)),
    "edge_varying, mimo": Case(banks(bank="mimo"), widths=("narrow",)),
    "edge_varying, heads": Case(banks(bank="heads", heads=2), widths=("wide",)),
    "edge_varying, heads, mean": Case(banks(bank="heads", heads=2, concat=False), widths=("narrow",)),
    "edge_varying, heads, low rank": Case(
        low_rank(
            lambda i, o: banks(bank="heads", heads=2)(i, o).bind(EDGES, NODES), "phi.edge_table", "phi.node_table"
        ),
        widths=("narrow",),
    ),
    "edge_varying, by node": Case(banks(share="node"), sparse=False, widths=("narrow",)),
    "edge_varying, by type": Case(banks(share="type", num_types=3), features=-3, sparse=False, widths=("narrow",)),
    "edge_varying, hashed rows": Case(banks(share="hash", buckets=4, bank="heads", heads=2), widths=("narrow",)),
    "edge_varying, cp": Case(banks(form="cp", rank=2)),
    "edge_varying, cp, one hop": Case(banks(form="cp", rank=2, order=1), widths=("wide",)),
    "edge_varying, cp, mimo": Case(banks(form="cp", rank=2, bank="mimo", order=3)),
    "edge_varying, node_bilinear": Case(banks(form="node_bilinear", rank=2, bank="mimo"), widths=("narrow",)),
    "edge_varying, kronecker": Case(banks(form="kronecker", rank=2, bank="mimo")),
    "edge_varying, tensor_train": Case(banks(form="tensor_train", rank=2, bank="mimo"), widths=("wide",)),
    "edge_varying, hashed": Case(banks(form="hashed", rank=2, ratio=2.0, bank="mimo"), widths=("narrow",)),
    "edge_varying, shared": Case(banks(form="shared", bank="mimo"), widths=("wide",)),
    "edge_varying, doped": Case(banks(form="doped", density=0.05, bank="mimo"), widths=("wide",)),
    "edge_varying, doped, siso": Case(banks(form="doped", density=0.05, base="cp", rank=2), widths=("narrow",)),
    "node_varying": Case(lambda i, o: nets.node_varying(i, o, 2)),
    "node_varying, groups": Case(lambda i, o: nets.node_varying(i, o, 2, groups=2), widths=("wide",)),
    "hybrid": Case(lambda i, o: nets.hybrid(i, o, 2, nodes=2), sparse=False),
    "hybrid, heads": Case(lambda i, o: nets.hybrid(i, o, 2, nodes=2, bank="heads", heads=2), widths=("narrow",)),
    "arma": Case(lambda i, o: nets.arma(i, o, 1, poles=2, iterations=2), sparse=False),
    "spectral": Case(nets.spectral, sparse=False),
    "spectral_product": Case(lambda i, o: nets.spectral_product(i, o, 2, heads=2)),
    "additive": Case(lambda i, o: nets.additive(i, o, 2, heads=2)),
    "additive, edges": Case(
        lambda i, o: nets.additive(i, o, 2, 2, edge_dim=3, endpoints="none", share_hops=False, fill_value=0.5),
        features=3,
        widths=("narrow",),
    ),
    "additive, pair": Case(
        lambda i, o: nets.additive((i, i + 1), o, normalize="rw", add_self_loops=False), pair=True, widths=("narrow",)
    ),
    "to_edgenet, GATConv": Case(converted(lambda i, o: pyg.GATConv(i, o, heads=2, residual=True))),
    "to_edgenet, GATConv, pair": Case(
        converted(lambda i, o: pyg.GATConv((i, i + 1), o, heads=2, add_self_loops=False)), pair=True, widths=("narrow",)
    ),
    "to_edgenet, GATv2Conv": Case(converted(lambda i, o: pyg.GATv2Conv(i, o, heads=2)), widths=("narrow",)),
    "to_edgenet, GCNConv": Case(converted(pyg.GCNConv)),
    "to_edgenet, TAGConv": Case(converted(lambda i, o: pyg.TAGConv(i, o, K=2)), batches=False, widths=("wide",)),
    "to_edgenet, SGConv": Case(converted(lambda i, o: pyg.SGConv(i, o, K=2)), widths=("narrow",)),
    "to_edgenet, ARMAConv": Case(
        converted(lambda i, o: pyg.ARMAConv(i, o, num_stacks=2, num_layers=2)), widths=("narrow",)
    ),
    "to_edgenet, ChebConv": Case(converted(lambda i, o: pyg.ChebConv(i, o, K=3)), sparse=False, widths=("wide",)),
    "to_edgenet, SAGEConv": Case(
        converted(lambda i, o: pyg.SAGEConv(i, o, normalize=True, project=True)), widths=("wide",)
    ),
    "to_edgenet, TransformerConv": Case(
        converted(lambda i, o: pyg.TransformerConv(i, o, heads=2, beta=True)), widths=("wide",)
    ),
}


@lru_cache
def prepared(name: str, width: str) -> tuple[nn.Module, Any, dict[str, Any]]:
    """The layer with numbers in all its parameters, its signal, and the rest of its arguments."""
    torch.manual_seed(0)
    case, (i, o) = LAYERS[name], WIDTHS[width]
    layer = case.make(i, o)
    edges = ACROSS if case.pair else LOOPLESS if case.weights else EDGES
    count = edges.shape[1]
    x = (torch.randn(NODES, i), torch.randn(TARGETS, i + 1)) if case.pair else torch.randn(NODES, i)
    more: dict[str, Any] = {"edge_index": edges}
    if case.weights:
        more["edge_weight"] = torch.rand(count, case.weights).squeeze(1) + 0.5
    if case.features:  # types of edges, or numbers
        features = torch.randint(-case.features, (count,)) if case.features < 0 else torch.randn(count, case.features)
        more["edge_attr"] = features
    with torch.no_grad():
        if not case.pair and hasattr(layer, "bind"):  # tables that are structured from the start want it
            layer.bind(edges, NODES)
        layer(x, **more)
        for parameter in layer.parameters():
            parameter.add_(torch.rand_like(parameter).mul_(0.3).add_(0.1))
    return layer.train(), x, more


def fresh(name: str, width: str) -> tuple[nn.Module, Any, dict[str, Any]]:
    layer, x, more = prepared(name, width)
    # what PyG has learned of the class is large, and stays as it is
    told = {id(m.inspector): m.inspector for m in layer.modules() if isinstance(m, MessagePassing)}
    return copy.deepcopy(layer, told), x, more
