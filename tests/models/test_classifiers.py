"""Whole models: every layer by its name, rebuilt from configuration and state, and refusing what they do not know."""

import json

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader
from torch_geometric.nn import GATConv

from edgenet.errors import ConfigError, ShapeError
from edgenet.graph import Graph
from edgenet.models import GraphClassifier, NodeClassifier
from edgenet.models.layers import layer_options
from edgenet.nn import SPECIALIZATIONS

layers = pytest.mark.parametrize("layer", SPECIALIZATIONS)
N, F = 8, 4


def ring(nodes: int = N) -> Graph:
    node = torch.arange(nodes)
    onward = torch.stack([node, (node + 1) % nodes])
    return Graph(torch.cat([onward, onward.flip(0)], 1), nodes)


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def redraw_(module: nn.Module) -> nn.Module:
    for parameter in module.parameters():
        nn.init.uniform_(parameter, -1, 1)
    return module


# ---------------------------------------------------------------- scores of nodes
@layers
@pytest.mark.parametrize("num_layers", [1, 3])
def test_every_layer_scores_every_node(layer, num_layers):
    graph, x = ring(), torch.randn(N, F)
    model = NodeClassifier(F, 3, layer=layer, hidden_channels=6, num_layers=num_layers)
    y = model(x, graph)
    assert y.shape == (N, 3) and y.isfinite().all()
    y.pow(2).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@layers
@pytest.mark.parametrize("bound", [True, False], ids=["bound", "after a pass"])
def test_a_node_classifier_is_rebuilt_from_its_config_and_state(layer, bound):
    """Tables of edge weights, node taps and eigenvectors included, though the fresh model never saw the graph."""
    graph, x = ring(), torch.randn(N, F)
    model = NodeClassifier(F, 3, layer=layer, hidden_channels=6, skip=True)
    if bound:
        model.bind(graph)
    model.eval()(x, graph)
    redraw_(model)
    fresh = NodeClassifier(**json.loads(json.dumps(model.config()))).eval()
    fresh.load_state_dict(model.state_dict())
    close(fresh(x, graph), model(x, graph))
    assert fresh.config() == model.config()


@layers
def test_the_width_of_the_features_can_be_left_to_the_first_input(layer):
    graph, x = ring(), torch.randn(N, F)
    model = NodeClassifier(-1, 3, layer=layer, hidden_channels=6, skip=True).eval()
    known = NodeClassifier(F, 3, layer=layer, hidden_channels=6, skip=True).eval()
    known(x, graph), model(x, graph)
    model.load_state_dict(known.state_dict())
    close(model(x, graph), known(x, graph))


@pytest.mark.parametrize("layer", [name for name in SPECIALIZATIONS if "heads" in layer_options(name)])
def test_heads_are_put_side_by_side_in_hidden_layers_and_averaged_in_the_last(layer):
    options = {"bank": "heads"} if "bank" in layer_options(layer) else {}
    out_heads = 1 if layer in NO_MEAN else 3
    model = NodeClassifier(F, 3, layer=layer, hidden_channels=6, num_layers=3, heads=2, out_heads=out_heads, **options)
    assert model(torch.randn(N, F), ring()).shape == (N, 3)
    assert model.convs[1].in_channels == (6 if layer in NO_CONCAT else 12)
    assert model.convs[2].in_channels == model.convs[1].in_channels


NO_CONCAT = ("hybrid",)  # its two parts have one width
NO_MEAN = ("hybrid", "spectral_product")


def test_heads_that_cannot_be_averaged_are_refused_in_the_last_layer():
    with pytest.raises(ConfigError, match="out_heads must be 1, got 3"):
        NodeClassifier(F, 3, layer="spectral_product", out_heads=3)


def test_heads_are_refused_in_a_bank_without_heads():
    for layer in ("edge_varying", "hybrid"):
        with pytest.raises(ShapeError, match="heads=2 with bank='siso'"):
            NodeClassifier(F, 3, layer=layer, heads=2)


@pytest.mark.parametrize("layer", ["gcnn", "gcn", "node_varying", "arma", "spectral"])
def test_heads_are_refused_where_a_layer_has_none(layer):
    with pytest.raises(ConfigError, match=f"{layer!r} has no heads"):
        NodeClassifier(F, 3, layer=layer, heads=2)


def test_a_skip_adds_a_linear_map_of_each_layers_input():
    graph, x = ring(), torch.randn(N, F)
    model = redraw_(NodeClassifier(F, 3, layer="gat", hidden_channels=5, heads=2, skip=True)).eval()
    hidden = nn.functional.relu(model.convs[0](x, graph) + model.skips[0](x))
    close(model(x, graph), model.convs[1](hidden, graph) + model.skips[1](hidden))


@pytest.mark.parametrize(
    ("activation", "function"),
    [("relu", torch.relu), ("elu", nn.functional.elu), ("tanh", torch.tanh), ("none", lambda x: x)],
)
def test_the_activation_stands_between_layers_and_not_after_the_last(activation, function):
    graph, x = ring(), torch.randn(N, F)
    model = redraw_(NodeClassifier(F, 3, layer="gcnn", activation=activation)).eval()
    close(model(x, graph), model.convs[1](function(model.convs[0](x, graph)), graph))


def test_dropout_acts_in_training_alone():
    graph, x = ring(), torch.randn(N, F)
    model = NodeClassifier(F, 3, layer="gat", dropout=0.5, attention_dropout=0.5)
    assert model.convs[0].phi.dropout == 0.5
    assert not torch.equal(model(x, graph), model(x, graph))
    model.eval()
    assert torch.equal(model(x, graph), model(x, graph))


def test_a_graph_classifier_drops_features_before_the_readout_in_training():
    graph, x = ring(), torch.randn(2, N, F)
    model = GraphClassifier(F, 3, dropout=0.5)
    assert not torch.equal(model(x, graph), model(x, graph))
    model.eval()
    assert torch.equal(model(x, graph), model(x, graph))


def test_edge_weights_reach_every_layer():
    graph, x = ring(), torch.randn(N, F)
    model = NodeClassifier(F, 3, layer="gcnn").eval()
    weight = torch.rand(graph.num_edges)
    wanted = model.convs[1](torch.relu(model.convs[0](x, graph, weight)), graph, weight)
    close(model(x, graph, weight), wanted)


def test_parameters_of_a_model_can_be_drawn_anew():
    model = NodeClassifier(F, 3, layer="hybrid", skip=True).bind(ring())
    before = {name: p.detach().clone() for name, p in redraw_(model).named_parameters()}
    model.reset_parameters()
    assert all(not p.equal(before[name]) for name, p in model.named_parameters())


# ---------------------------------------------------------------- scores of graphs and signals
READOUTS = {"mean": {}, "flatten": {"num_nodes": N}, "node": {"target_node": 3}}


@layers
@pytest.mark.parametrize("readout", READOUTS)
def test_every_layer_scores_signals_on_one_graph(layer, readout):
    graph, x = ring(), torch.randn(5, N, F)
    model = GraphClassifier(F, 3, layer=layer, hidden_channels=6, readout=readout, **READOUTS[readout]).eval()
    y = model(x, graph)
    assert y.shape == (5, 3) and y.isfinite().all()
    close(y, torch.cat([model(signal, graph) for signal in x]))


@layers
def test_a_graph_classifier_is_rebuilt_from_its_config_and_state(layer):
    graph, x = ring(), torch.randn(5, N, F)
    model = GraphClassifier(F, 3, layer=layer, hidden_channels=6, num_layers=2, readout="flatten", num_nodes=N).eval()
    model(x, graph)
    redraw_(model)
    fresh = GraphClassifier(**json.loads(json.dumps(model.config()))).eval()
    fresh.load_state_dict(model.state_dict())
    close(fresh(x, graph), model(x, graph))


def test_readouts_are_what_they_say():
    graph, x = ring(), torch.randn(2, N, F)
    for readout, options in READOUTS.items():
        model = redraw_(GraphClassifier(F, 3, readout=readout, **options)).eval()
        hidden = torch.relu(model.convs[0](x, graph))
        read = {"mean": hidden.mean(1), "flatten": hidden.reshape(2, -1), "node": hidden[:, 3]}[readout]
        close(model(x, graph), model.head(read))


def test_a_batch_of_graphs_is_averaged_graph_by_graph():
    graphs = [Data(x=torch.randn(n, F), edge_index=ring(n).edge_index) for n in (3, 6, 4)]
    batch = next(iter(DataLoader(graphs, batch_size=3)))
    model = redraw_(GraphClassifier(F, 2, layer="gat", num_layers=2)).eval()
    close(model(batch.x, batch.edge_index, batch=batch.batch), torch.cat([model(g.x, g.edge_index) for g in graphs]))


def test_a_last_graph_without_nodes_counts_where_the_number_of_graphs_is_given():
    graph, x = ring(), torch.randn(N, F)
    model = redraw_(GraphClassifier(F, 2)).eval()
    batch = torch.zeros(N, dtype=torch.long)
    y = model(x, graph, batch=batch, num_graphs=3)
    close(y[0], model(x, graph)[0])
    close(y[1:], model.head.bias.expand(2, -1))
    assert model(x, graph, batch=batch).shape == (1, 2)
    empty = Graph(torch.empty(2, 0, dtype=torch.long), 0)
    assert model(torch.empty(0, F), empty, batch=batch[:0]).shape == (0, 2)


# ---------------------------------------------------------------- what is refused
@pytest.mark.parametrize("model", [NodeClassifier, GraphClassifier])
def test_unknown_names_are_refused_with_those_there_are(model):
    with pytest.raises(ConfigError, match=r"'edge_variing'.*gcnn.*Did you mean 'edge_varying'"):
        model(F, 3, layer="edge_variing")
    with pytest.raises(ConfigError, match=r"'gcnn' has no option 'ordr'; it takes order, "):
        model(F, 3, layer="gcnn", ordr=3)
    with pytest.raises(ConfigError, match=r"no activation is called 'rleu'; there are relu, elu, tanh, none"):
        model(F, 3, layer="gcnn", activation="rleu")


def test_near_names_of_options_and_activations_are_suggested():
    with pytest.raises(ConfigError, match="Did you mean 'order'"):
        NodeClassifier(F, 3, layer="gcnn", ordr=3)
    with pytest.raises(ConfigError, match="Did you mean 'relu'"):
        NodeClassifier(F, 3, layer="gcnn", activation="rleu")
    with pytest.raises(ConfigError, match="Did you mean 'flatten'"):
        GraphClassifier(F, 3, readout="flaten")


def test_numbers_out_of_range_are_refused():
    for options in ({"num_layers": 0}, {"hidden_channels": 0}, {"dropout": 1.0}, {"dropout": -0.1}):
        value = str(next(iter(options.values())))
        for model in (NodeClassifier, GraphClassifier):
            with pytest.raises(ConfigError) as error:
                model(F, 3, layer="gcnn", **options)
            assert value in str(error.value)
    with pytest.raises(ConfigError, match=r"\[0, 1\)"):
        NodeClassifier(F, 3, layer="gat", attention_dropout=1.5)


def test_attention_dropout_is_refused_where_there_is_no_attention():
    with pytest.raises(ConfigError, match="dropout"):
        NodeClassifier(F, 3, layer="gcnn", attention_dropout=0.5)


def test_incomplete_readouts_are_refused():
    with pytest.raises(ConfigError, match="mean, sum, max, attention, flatten, node"):
        GraphClassifier(F, 3, readout="largest")
    with pytest.raises(ConfigError, match="num_nodes"):
        GraphClassifier(F, 3, readout="flatten")
    with pytest.raises(ConfigError, match="target_node"):
        GraphClassifier(F, 3, readout="node")


def test_readouts_for_one_graph_refuse_others():
    model = GraphClassifier(F, 3, readout="flatten", num_nodes=N)
    with pytest.raises(ShapeError, match=f"{N} nodes and got 5"):
        model(torch.randn(5, F), ring(5))
    with pytest.raises(ShapeError, match=r"'flatten'.*8 nodes, and graph 1 of the batch has 0"):
        model(torch.randn(N, F), ring(), batch=torch.zeros(N, dtype=torch.long), num_graphs=2)


def test_a_node_that_is_not_there_cannot_be_read():
    model = GraphClassifier(F, 3, readout="node", target_node=N)
    with pytest.raises(ShapeError, match=f"node {N}.*{N} nodes"):
        model(torch.randn(2, N, F), ring())


def test_a_state_of_another_shape_is_refused():
    state = NodeClassifier(F, 3, layer="gat", hidden_channels=5).state_dict()
    with pytest.raises(RuntimeError, match="size mismatch"):
        NodeClassifier(F, 3, layer="gat", hidden_channels=6).load_state_dict(state)


# ---------------------------------------------------------------- layers of others
@pytest.mark.parametrize("concat", [True, False])
def test_a_layer_of_pyg_with_heads_is_as_wide_as_it_says(concat, monkeypatch):
    monkeypatch.setitem(SPECIALIZATIONS, "theirs", GATConv)
    options = {"layer": "theirs", "hidden_channels": 5, "heads": 3, "concat": concat, "num_layers": 3, "skip": True}
    x, edges = torch.randn(N, F), ring().edge_index
    assert NodeClassifier(F, 2, **options).bind(ring())(x, edges).shape == (N, 2)
    model = GraphClassifier(F, 2, **options)
    assert model.head.in_features == (15 if concat else 5)
    assert model(x, edges, torch.zeros(N, dtype=torch.long)).shape == (1, 2)


def test_a_layer_that_says_no_width_has_the_one_it_was_made_for(monkeypatch):
    class Mixed(nn.Module):
        def __init__(self, in_channels, out_channels):
            super().__init__()
            self.linear = nn.Linear(in_channels, out_channels)

        def forward(self, x, edge_index):
            return self.linear(x)

    monkeypatch.setitem(SPECIALIZATIONS, "mixed", Mixed)
    assert NodeClassifier(F, 2, layer="mixed", hidden_channels=7)(torch.randn(N, F), ring().edge_index).shape == (N, 2)
