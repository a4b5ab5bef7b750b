"""Attention that is frozen: the same outputs on its graph, from a table of edge weights."""

import copy

import pytest
import torch
import torch_geometric.nn as pyg
from torch import nn

from edgenet import EdgeNetConv, NodeClassifier, ops, to_edgenet
from edgenet import freeze_attention as freeze
from edgenet.errors import ConversionError, SupportError
from edgenet.graph import Graph
from edgenet.nn import specializations as nets
from edgenet.phi import EdgeVarying
from edgenet.structured import TensorTrain
from edgenet.testing import GRAPHS

GRAPH = GRAPHS["directed"]
SQUARE = [name for name in GRAPHS if name != "zero_nodes"]
LAYERS = {
    "gat": lambda: nets.gat(5, 3, heads=2),
    "gat walking the input": lambda: nets.gat(5, 9, heads=2, concat=False),
    "gat without loops": lambda: nets.gat(5, 3, heads=2, add_self_loops=False),
    "gat with a bias of scores": lambda: nets.gat(5, 3, heads=2, score_bias=True),
    "gatv2": lambda: nets.gatv2(5, 3, heads=2),
    "gcat": lambda: nets.gcat(5, 3, order=3, heads=2),
    "edge-varying gat": lambda: nets.edge_varying_gat(5, 3, order=2, heads=2),
    "self tap": lambda: EdgeNetConv(5, 3, heads=2, phi="attention_v2", self_tap=True),
    "dot product": lambda: EdgeNetConv(5, 3, heads=3, phi="dot_product", add_self_loops=False),
    "pair": lambda: nets.gat((5, 5), 3, heads=2),
    "pair of dot products": lambda: EdgeNetConv((5, 5), 3, phi="dot_product", self_tap=True),
}


def drawn(layer):
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_()
    return layer


def near(got, want):
    torch.testing.assert_close(got, want, rtol=1e-11, atol=1e-11)


def attention_of(model):
    return [m.phi for m in model.modules() if isinstance(m, EdgeNetConv) and m.phi.follows_signal]


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("graph", SQUARE)
def test_it_computes_the_same_on_its_graph(name, graph):
    layer, graph = drawn(LAYERS[name]()), GRAPHS[graph]
    x = torch.randn(graph.num_nodes, 5)
    frozen = freeze(layer, x, graph.edge_index)
    near(frozen(x, graph.edge_index), layer(x, graph.edge_index))
    order = torch.randperm(graph.num_edges)  # weights are found by key
    near(frozen(x, graph.edge_index[:, order]), layer(x, graph.edge_index))
    assert type(frozen.phi) is EdgeVarying and type(layer.phi) is not EdgeVarying


@pytest.mark.parametrize("name", LAYERS)
def test_no_score_is_computed_any_more(name, monkeypatch):
    layer, x = LAYERS[name](), torch.randn(13, 5)
    frozen = freeze(layer, x, GRAPH)

    def never(*_, **__):
        raise AssertionError("attention was computed")

    for op in ("attention", "attention_v2", "segment_softmax", "sddmm", "edge_scores"):
        monkeypatch.setattr(ops, op, never)
    with torch.no_grad():
        frozen(x, GRAPH)
    with torch.no_grad(), pytest.raises(AssertionError, match="was computed"):
        layer(x, GRAPH)
    assert (frozen.lift_target is None) == (layer.lift_target is None or not layer.self_tap)
    assert {name for name, _ in frozen.phi.named_parameters()} == {"edge_table.weight"}


def test_weights_stay_as_they_are_on_other_features():
    layer, x = drawn(nets.gat(5, 3, heads=2)), torch.randn(13, 5)
    frozen, other = freeze(layer, x, GRAPH), torch.randn(13, 5)
    weights = layer(x, GRAPH, return_attention_weights=True)[1][1]
    got = frozen(other, GRAPH, return_attention_weights=True)[1]
    assert torch.equal(got[0], GRAPH.with_self_loops()[0].edge_index)
    pairs = got[0][0] * 13 + got[0][1]
    for pair in pairs.unique():  # repeated edges share the mean of their weights
        near(got[1][pairs == pair].sum(0), weights[pairs == pair].sum(0))
    assert not torch.allclose(frozen(other, GRAPH), layer(other, GRAPH))


@pytest.mark.parametrize(
    "build",
    [
        lambda: pyg.GAT(5, 8, 3, 4, heads=2),
        lambda: pyg.GAT(5, 8, 2, 4, v2=True, heads=2, dropout=0.5),
        lambda: pyg.GAT(5, 8, 2, 4, heads=2, edge_dim=3, residual=True),
    ],
)
def test_models_of_pyg_freeze_after_conversion(build):
    theirs, x, attr = build().double().eval(), torch.randn(13, 5), torch.randn(47, 3)
    named = {"edge_attr": attr} if theirs.convs[0].edge_dim else {}
    ours = to_edgenet(theirs).train()
    frozen = freeze(ours, x, GRAPH.edge_index, **named)
    assert frozen.training and not attention_of(frozen)
    near(frozen.eval()(x, GRAPH.edge_index, **named), theirs(x, GRAPH.edge_index, **named))


def test_layers_after_the_first_are_frozen_on_what_reaches_them():
    model, x = drawn(NodeClassifier(5, 3, heads=2, dropout=0.5, attention_dropout=0.3)), torch.randn(13, 5)
    frozen = freeze(model, x, GRAPH.edge_index)
    near(frozen.eval()(x, GRAPH.edge_index), model.eval()(x, GRAPH.edge_index))


def test_a_sparse_adjacency_and_edge_weights_freeze_too():
    layer, x, weight = drawn(nets.gat(5, 3, heads=2)), torch.randn(13, 5), torch.rand(47)
    frozen = freeze(layer, x, GRAPH, weight)
    near(frozen(x, GRAPH, weight), layer(x, GRAPH, weight))
    theirs = pyg.GATConv(5, 3, heads=2)
    edges = GRAPH.edge_index.unique(dim=1)
    matrix = torch.sparse_coo_tensor(edges.flip(0), torch.rand(edges.shape[1]), (13, 13)).to_sparse_csr()
    near(freeze(to_edgenet(theirs), x, matrix)(x, matrix), theirs(x, matrix))


def test_a_plain_layer_is_still_given_its_edge_features():
    layer, x, attr = drawn(nets.gat(5, 3, heads=2, edge_dim=2)), torch.randn(13, 5), torch.randn(47, 2)
    near(freeze(layer, x, GRAPH, None, attr)(x, GRAPH, None, attr), layer(x, GRAPH, None, attr))


def test_the_table_is_a_slot_that_trains_and_compresses():
    layer, x = drawn(nets.gat(5, 3, heads=2)), torch.randn(13, 5)
    frozen = freeze(layer, x, GRAPH)
    wanted = frozen(x, GRAPH)
    frozen.phi.edge_table = TensorTrain.from_dense(frozen.phi.edge_table.to_dense())
    near(frozen(x, GRAPH), wanted.detach())  # at full rank
    frozen(x, GRAPH).square().sum().backward()
    assert all(p.grad is not None for p in frozen.parameters())


def test_it_belongs_to_its_graph():
    frozen = freeze(nets.gat(5, 3), torch.randn(13, 5), GRAPH)
    with pytest.raises(SupportError, match="support"):
        frozen(torch.randn(13, 5), torch.tensor([[12], [0]]))
    with pytest.raises(SupportError, match="13 nodes"):
        frozen(torch.randn(5, 5), GRAPHS["path"])


def test_checkpoints_and_copies_of_frozen_models():
    model, x = NodeClassifier(5, 3, heads=2, dropout=0.0), torch.randn(13, 5)
    frozen = freeze(model, x, GRAPH)
    wanted = frozen(x, GRAPH)
    assert torch.equal(copy.deepcopy(frozen)(x, GRAPH), wanted)
    other = freeze(drawn(copy.deepcopy(model)), x, GRAPH)
    other.load_state_dict(frozen.state_dict())
    assert torch.equal(other(x, GRAPH), wanted)


def test_modes_dtype_and_the_random_state_are_kept():
    model, x = NodeClassifier(5, 3, heads=2, dropout=0.5).float(), torch.randn(13, 5).float()
    model.convs[0].eval()
    state = torch.get_rng_state()
    frozen = freeze(model, x, GRAPH)
    assert torch.equal(torch.get_rng_state(), state)
    assert [m.training for m in frozen.convs] == [False, True] and not frozen.convs[0].phi.training
    assert {p.dtype for p in frozen.parameters()} == {torch.float32}
    assert not model.convs[0].phi._forward_hooks and len(attention_of(model)) == 2


def test_inplace_freezes_the_model_itself():
    model, x = NodeClassifier(5, 3, dropout=0.0), torch.randn(13, 5)
    wanted = model(x, GRAPH)
    assert freeze(model, x, GRAPH, inplace=True) is model and not attention_of(model)
    near(model(x, GRAPH), wanted)


class Twice(nn.Module):
    def __init__(self, calls):
        super().__init__()
        self.conv, self.other, self.calls = nets.gat(5, 5), nets.gat(5, 5), calls

    def forward(self, x, edge_index):
        x = self.other(x, edge_index)
        for _ in range(self.calls):
            x = self.conv(x, edge_index)
        return x


@pytest.mark.parametrize("calls", [0, 2])
def test_a_layer_must_run_once_in_a_pass(calls):
    model = Twice(calls)
    with pytest.raises(ConversionError, match=f"^conv runs {calls} times"):
        freeze(model, torch.randn(13, 5), GRAPH, inplace=True)
    assert len(attention_of(model)) == 2 and not model.conv.phi._forward_hooks  # as it was


def test_what_has_no_table_is_refused():
    x, layer = torch.randn(13, 5), nets.gat(5, 3)
    with pytest.raises(ConversionError, match="no attention in this EdgeNetConv"):
        freeze(nets.gcn(5, 3), x, GRAPH)
    with pytest.raises(ConversionError, match="call to_edgenet first"):
        freeze(pyg.GATConv(5, 3), x, GRAPH.edge_index)
    with pytest.raises(ConversionError, match="batch of 4 signals"):
        freeze(layer, torch.randn(4, 13, 5), GRAPH)
    with pytest.raises(ConversionError, match="sampled piece"):
        freeze(layer, x, GRAPH, n_id=torch.arange(13))
    with pytest.raises(ConversionError, match="not finite on these inputs"):
        freeze(layer, torch.full((13, 5), torch.nan), GRAPH)
    featured = EdgeNetConv(5, 3, phi="dot_product", edge_dim=2, add_self_loops=False)
    with pytest.raises(ConversionError, match="adds edge features to what its edges carry"):
        freeze(featured, x, GRAPH, edge_attr=torch.randn(GRAPH.num_edges, 2))


def test_attention_between_two_sets_of_nodes_becomes_a_table():
    across, x = Graph(torch.tensor([[12, 3, 4], [1, 0, 1]]), 2, 13), (torch.randn(13, 5), torch.randn(2, 4))
    for layer in (nets.gat((5, 4), 3, heads=2, add_self_loops=False, residual=True),
                  EdgeNetConv((5, 4), 3, phi="dot_product", self_tap=True, add_self_loops=False)):  # fmt: skip
        wanted = layer.eval()(x, across)
        frozen = freeze(layer, x, across)
        assert frozen.phi.edge_table.shape[0] == 3
        torch.testing.assert_close(frozen(x, across), wanted)
