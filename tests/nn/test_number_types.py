"""Number types, compilation and export of layers."""

import copy
from collections.abc import Callable

import pytest
import torch
from convs import DEEP, LAYERS, built, close, layers, undirected
from torch import nn

from edgenet.graph import Graph


@pytest.mark.float32
@layers
def test_bfloat16_autocast_is_near_float32(layer):
    graph = undirected()
    torch.manual_seed(1)
    conv = LAYERS[layer](3, 4).bind(graph)
    x = torch.randn(graph.num_nodes, 3, requires_grad=True)
    y = conv(x, graph)
    with torch.autocast("cpu", torch.bfloat16):
        half = conv(x, graph)
    assert half.isfinite().all()
    error = (half.float() - y).norm() / y.norm()
    assert error < 0.03, error  # bfloat16 keeps 8 bits, so 0.4 % a rounding
    half.float().sum().backward()
    assert all(p.grad.isfinite().all() for p in conv.parameters())


@layers
def test_float32_is_near_float64(layer):
    graph = undirected()
    conv = LAYERS[layer](3, 4).bind(graph)
    x = torch.randn(graph.num_nodes, 3)
    y = conv(x, graph)
    single = copy.deepcopy(conv).float()
    single = single(x.float(), graph)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), y, rtol=1e-4, atol=1e-5)  # float32


COMPILED = [
    *DEEP, "gcnn", "gcn", "gat-mean", "gatv2", "gcat", "edge_varying", "edge_varying-mimo", "node_varying", "arma",
]  # fmt: skip


def compiled(module: nn.Module) -> Callable:
    torch.compiler.reset()
    return torch.compile(module, fullgraph=True, dynamic=True, backend="aot_eager")


@pytest.mark.parametrize("layer", COMPILED)
def test_a_layer_compiles_as_one_graph_on_a_prepared_graph(layer):
    graph = undirected()
    conv = built(layer, graph)
    x = torch.randn(graph.num_nodes, 3, requires_grad=True)
    y = conv(x, graph)
    wanted = torch.autograd.grad(y.pow(2).sum(), [x, *conv.parameters()])
    out = compiled(conv)(x, graph)
    close(out, y)
    for a, b in zip(torch.autograd.grad(out.pow(2).sum(), [x, *conv.parameters()]), wanted, strict=True):
        close(a, b)


PLAIN = ["gcnn", "gat-mean", "edge_varying", "spectral_product", "arma"]


@pytest.mark.parametrize("layer", PLAIN)
def test_a_layer_compiles_as_one_graph_for_any_edge_list(layer):
    graph = undirected()
    conv = built(layer, graph)
    fast = compiled(conv)
    keep = torch.arange(graph.num_edges) % 3 != 0  # fewer edges, same nodes: tables know them
    for edge_index in (graph.edge_index, graph.edge_index[:, keep].contiguous()):
        x = torch.randn(graph.num_nodes, 3)
        close(fast(x, edge_index), conv(x, edge_index))
    if layer != "edge_varying":
        other = undirected(11)
        x = torch.randn(11, 3)
        close(fast(x, other.edge_index), conv(x, other.edge_index))


EXPORTED = [*DEEP, "gcnn", "gat", "gat-mean", "gcn", "edge_varying"]


@pytest.mark.parametrize("layer", EXPORTED)
def test_a_layer_can_be_exported_for_graphs_of_any_size(layer):
    graph = undirected()
    conv = built(layer, graph)
    nodes, edges = torch.export.Dim("nodes", min=3), torch.export.Dim("edges", min=3)
    shapes = {"x": {0: None if layer == "edge_varying" else nodes}, "edge_index": {1: edges}}
    x = torch.randn(graph.num_nodes, 3)
    program = torch.export.export(conv, (x, graph.edge_index), dynamic_shapes=shapes)
    other = Graph(graph.edge_index[:, ::2].contiguous(), 7) if layer == "edge_varying" else undirected(11)
    x = torch.randn(other.num_nodes, 3)
    close(program.module()(x, other.edge_index), conv(x, other.edge_index))
