"""Layers of nn by the name of a case, and what their tests ask of them."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from edgenet.graph import Graph
from edgenet.nn import EdgeNetConv, SpectralConv, specializations
from edgenet.testing import GRAPHS

graphs = pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)
close = partial(torch.testing.assert_close, rtol=1e-10, atol=1e-10)


def dense(graph: Graph, weight: Tensor) -> Tensor:
    """(..., E) weights -> (..., N, N_source) matrices, [i, j] the sum over the edges j -> i."""
    matrix = weight.new_zeros(*weight.shape[:-1], graph.num_nodes, graph.num_sources)
    for e in range(graph.num_edges):
        matrix[..., graph.target[e], graph.source[e]] += weight[..., e]
    return matrix


def undirected(n: int = 7, seed: int = 3) -> Graph:
    """A random undirected graph without loops, connected by a ring."""
    pairs = torch.rand(n, n, generator=torch.Generator().manual_seed(seed)).triu(1) > 0.6
    pairs |= torch.eye(n, dtype=torch.bool).roll(1, 1)
    return Graph((pairs | pairs.T).fill_diagonal_(False).nonzero().T.contiguous(), n)


def edge_weights(conv: EdgeNetConv, x: Tensor, graph: Graph) -> Tensor:
    """(K, E, H) weights of every hop, as the layer reports them."""
    weight = conv(x, graph, return_attention_weights=True)[1][1]
    return weight if weight.dim() == 3 else weight.expand(conv.order, -1, -1)


def redraw_(module: nn.Module) -> nn.Module:
    """Every parameter at random: many start equal, or at 0."""
    for parameter in module.parameters():
        nn.init.uniform_(parameter, -1, 1)
    return module


# ---------------------------------------------------------------- every layer, by a name of the case
LAYERS: dict[str, Callable[[int, int], nn.Module]] = {
    "gcnn": specializations.gcnn,
    "gcnn-unnormalised": partial(specializations.gcnn, order=3, normalize=None),
    "gcnn-order-0": partial(specializations.gcnn, order=0),
    "gcn": specializations.gcn,
    "tag": specializations.tag,
    "sgc": specializations.sgc,
    "dagnn": specializations.dagnn,
    "appnp": specializations.appnp,
    "gpr": specializations.gpr,
    "gcnii": specializations.gcnii,
    "grand": specializations.grand,
    "gat": partial(specializations.gat, heads=2),
    "gat-mean": partial(specializations.gat, heads=2, concat=False, add_self_loops=False),
    "gatv2": partial(specializations.gatv2, heads=2),
    "gcat": partial(specializations.gcat, heads=2),
    "edge_varying_gat": partial(specializations.edge_varying_gat, heads=2),
    "edge_varying": specializations.edge_varying,
    "edge_varying-mimo": partial(specializations.edge_varying, bank="mimo"),
    "edge_varying-heads": partial(specializations.edge_varying, bank="heads", heads=2),
    "edge_varying-by-node": partial(specializations.edge_varying, bank="heads", heads=2, share="node"),
    "edge_varying-by-hash": partial(specializations.edge_varying, share="hash", buckets=5),
    "node_varying": specializations.node_varying,
    "node_varying-by-group": partial(specializations.node_varying, groups=1),
    "hybrid": partial(specializations.hybrid, nodes=1),
    "hybrid-heads": partial(specializations.hybrid, nodes=0.5, bank="heads", heads=2),
    "arma": partial(specializations.arma, poles=2),
    "spectral": specializations.spectral,
    "spectral_product": partial(specializations.spectral_product, heads=2),
    "additive": partial(specializations.additive, heads=2),
}
layers = pytest.mark.parametrize("layer", LAYERS)


def built(layer: str, graph: Graph, in_channels: int = 3, out_channels: int = 4) -> nn.Module:
    """The layer, bound to the graph where it has tables, every parameter at random."""
    conv = LAYERS[layer](in_channels, out_channels)
    conv.bind(graph)
    if isinstance(conv, SpectralConv):
        conv(torch.zeros(graph.num_nodes, in_channels), graph)  # its weight has a width from now on
    return redraw_(conv)


DEEP = ["dagnn", "appnp", "gpr", "gcnii", "grand"]
