"""Attention that weighs and walks at once is the attention whose weights can be looked at."""

import pytest
import torch
from torch import nn

from edgenet import EdgeNetConv, NodeClassifier, ops, phi
from edgenet.nn import specializations as nets
from edgenet.nn import taps
from edgenet.structured import LowRank
from edgenet.testing import GRAPHS, random_graph

LAYERS = {
    "gat": lambda: nets.gat(5, 3, heads=2),
    "gat, wide output": lambda: nets.gat(2, 7, heads=3),  # walks the input and lifts afterwards
    "gat, mean": lambda: nets.gat(2, 7, heads=3, concat=False),
    "gat, wide input": lambda: nets.gat(40, 3, heads=2),  # scores from the lifted signal
    "gat, no loops": lambda: nets.gat(5, 3, heads=2, add_self_loops=False),
    "gatv2": lambda: nets.gatv2(5, 3, heads=2),
    "gatv2, shared": lambda: nets.gatv2(5, 3, heads=2, share_weights=True),
    "gcat": lambda: nets.gcat(5, 3, 2, heads=2),
    "edge-varying gat": lambda: nets.edge_varying_gat(5, 3, 2, heads=2),
    "self tap": lambda: EdgeNetConv(5, 3, heads=2, phi="attention", self_tap=True),
    "scaled taps": lambda: EdgeNetConv(2, 7, heads=2, phi="attention", taps=taps.Scaled(1)),
}


#: layers whose edges bring something: features, for those that take them, and weights
EDGE_LAYERS = {
    "gat": lambda: nets.gat(5, 3, heads=2, edge_dim=4),
    "gat, wide output": lambda: nets.gat(2, 7, heads=3, edge_dim=4),
    "gat, lazy": lambda: nets.gat(5, 3, heads=2, edge_dim=-1),
    "gat, low rank": lambda: compressed(nets.gat(5, 3, heads=2, edge_dim=4)),
    "gat, score bias": lambda: nets.gat(5, 3, heads=2, edge_dim=4, score_bias=True),
    "gatv2": lambda: nets.gatv2(5, 3, heads=2, edge_dim=4),
    "gatv2, weights alone": lambda: nets.gatv2(5, 3, heads=2),
    "edge-varying gat": lambda: EdgeNetConv(5, 3, 2, 2, "attention", share_hops=False, edge_dim=4),
    "gcat": lambda: EdgeNetConv(5, 3, 2, 2, "attention", edge_dim=4),
}


def compressed(layer):
    layer.phi.lift_edge.weight = LowRank.from_dense(layer.phi.lift_edge.weight.to_dense().detach(), rank=2)
    return layer


def results(layer, x, graph, edges=None, **options):
    edges = edges or {}
    leaves = [t.clone().requires_grad_() for t in (x, *edges.values())]
    y = layer(leaves[0], graph, **dict(zip(edges, leaves[1:], strict=True)), **options)
    y = y[0] if isinstance(y, tuple) else y
    direction = torch.linspace(-1, 2, y.numel()).reshape(y.shape)
    return [y, *torch.autograd.grad((y * direction).sum(), [*leaves, *layer.parameters()], allow_unused=True)]


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("batch", [None, 4])
@pytest.mark.parametrize("graph", ["directed", "isolated_node", "self_loops", "repeated_edges", "no_edges"])
@pytest.mark.parametrize("backend", ops.available("attention"))
def test_a_layer_is_the_same_with_and_without_its_weights_in_memory(name, batch, graph, backend):
    layer, graph = LAYERS[name](), GRAPHS[graph]
    width = layer.in_channels
    x = torch.randn(graph.num_nodes, width) if batch is None else torch.randn(batch, graph.num_nodes, width)
    with ops.use(backend):
        for got, wanted in zip(
            results(layer, x, graph), results(layer, x, graph, return_attention_weights=True), strict=True
        ):
            torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("name", EDGE_LAYERS)
@pytest.mark.parametrize("batch", [None, 4])
@pytest.mark.parametrize("weights", [None, (), (1,), "heads"])
@pytest.mark.parametrize("graph", ["directed", "self_loops", "no_edges"])
def test_what_edges_bring_is_the_same_with_and_without_weights_in_memory(name, batch, weights, graph):
    layer, graph = EDGE_LAYERS[name](), GRAPHS[graph]
    x = torch.randn(*(() if batch is None else (batch,)), graph.num_nodes, layer.in_channels)
    edges = {} if name == "gatv2, weights alone" else {"edge_attr": torch.randn(graph.num_edges, 4)}
    if weights is not None:
        edges["edge_weight"] = torch.randn(graph.num_edges, *((layer.heads,) if weights == "heads" else weights))
    layer(x, graph, **edges)  # sizes what is lazy
    found = results(layer, x, graph, edges), results(layer, x, graph, edges, return_attention_weights=True)
    for got, wanted in zip(*found, strict=True):
        torch.testing.assert_close(got, wanted)


def test_hooks_on_the_lift_of_edge_features_count():
    layer, graph = nets.gat(5, 3, heads=2, edge_dim=4), random_graph(9, 30)
    x, attr = torch.randn(9, 5), torch.randn(30, 4)
    before = layer(x, graph, edge_attr=attr)
    handle = layer.phi.lift_edge.register_forward_hook(lambda module, inputs, output: 3 * output)
    assert not torch.allclose(layer(x, graph, edge_attr=attr), before)
    handle.remove()
    torch.testing.assert_close(layer(x, graph, edge_attr=attr), before)


@pytest.mark.parametrize("make", [nets.gat, nets.gatv2])
def test_what_stands_around_the_lift_of_edge_features_need_not_show_its_weight(make):
    class Doubled(nn.Module):
        def __init__(self, inside):
            super().__init__()
            self.inside = inside

        def forward(self, x):
            return 2 * self.inside(x)

    layer, graph = make(5, 3, heads=2, edge_dim=4), random_graph(9, 30)
    x, attr = torch.randn(9, 5), torch.randn(30, 4)
    wanted = layer(x, graph, edge_attr=2 * attr)  # what enters the loops is a mean of features
    layer.phi.lift_edge = Doubled(layer.phi.lift_edge)
    torch.testing.assert_close(layer(x, graph, edge_attr=attr), wanted)


@pytest.mark.parametrize("name", ["gat", "gat, wide output", "gatv2"])
def test_a_bipartite_layer_is_the_same_with_and_without_its_weights_in_memory(name):
    layer = LAYERS[name]()
    pair = {"gat": nets.gat, "gat, wide output": nets.gat, "gatv2": nets.gatv2}[name](
        (layer.in_channels, 4), layer.out_channels, heads=layer.heads, add_self_loops=False
    )
    edges = torch.tensor([[0, 4, 4, 2, 4], [1, 0, 1, 2, 1]])
    x = torch.randn(6, layer.in_channels), torch.randn(3, 4)
    torch.testing.assert_close(pair(x, edges), pair(x, edges, return_attention_weights=True)[0])
    if name == "gat":
        alone = pair((x[0], None), edges, size=(6, 3))
        torch.testing.assert_close(alone, pair((x[0], None), edges, size=(6, 3), return_attention_weights=True)[0])


def test_no_layer_of_attention_holds_a_number_an_edge(monkeypatch):
    def never(*arguments):
        raise AssertionError("the weights were built")

    monkeypatch.setattr("edgenet.phi.softmax.SoftmaxPhi.weights", never)
    graph = random_graph(9, 30)
    for name in ("gat", "gat, wide output", "gatv2", "edge-varying gat", "self tap"):
        LAYERS[name]()(torch.randn(9, LAYERS[name]().in_channels), graph)
    monkeypatch.setattr("edgenet.phi.softmax.SoftmaxPhi.edge_term", never)  # (E, H, C) lifted features
    for name in ("gat", "gat, wide output", "gat, low rank", "edge-varying gat"):
        layer = EDGE_LAYERS[name]()
        layer(torch.randn(9, layer.in_channels), graph, edge_attr=torch.randn(30, 4), edge_weight=torch.rand(30))
    nets.gatv2(5, 3, heads=2)(torch.randn(9, 5), graph, edge_weight=torch.rand(30))
    with pytest.raises(AssertionError, match="were built"):
        LAYERS["gcat"]()(torch.randn(9, 5), graph)  # weights that are used again are kept


def test_a_wide_output_is_walked_in_the_input(monkeypatch):
    widths = []
    attention = ops.attention

    def watched(graph, at_source, at_target, x, **rest):
        widths.append(tuple(x.shape[1:]))
        return attention(graph, at_source, at_target, x, **rest)

    monkeypatch.setattr(ops, "attention", watched)
    graph = random_graph(9, 30)
    LAYERS["gat, wide output"]()(torch.randn(9, 2), graph)
    LAYERS["gat"]()(torch.randn(9, 5), graph)
    assert widths == [(1, 2), (2, 3)]


def test_dropout_of_attention_drops_weights_in_training_only():
    graph, x = random_graph(9, 60), torch.randn(9, 5)
    model = NodeClassifier(5, 3, heads=2, dropout=0.0, attention_dropout=0.5)
    assert not torch.equal(model(x, graph), model(x, graph))
    assert torch.equal(model.eval()(x, graph), model(x, graph))
    dropped = EdgeNetConv(5, 3, phi=phi.Attention(channels=3, dropout=0.5))
    torch.manual_seed(1)
    first = dropped(x, graph)
    torch.manual_seed(1)
    assert torch.equal(first, dropped(x, graph))


@pytest.mark.parametrize("name", ["gat", "gat, wide output", "gat, wide input", "gatv2"])
def test_an_activation_in_place_does_not_change_what_backward_reads(name):
    torch.manual_seed(0)
    layer, graph = LAYERS[name](), random_graph(13, 47)
    layer.bias = None
    x = torch.randn(13, {"gat, wide output": 2, "gat, wide input": 40}.get(name, 5))
    found, wanted = x.clone().requires_grad_(), x.clone().requires_grad_()
    layer(found, graph).relu_().square().sum().backward()
    layer(wanted, graph).relu().square().sum().backward()
    torch.testing.assert_close(found.grad, wanted.grad, rtol=1e-10, atol=1e-10)
