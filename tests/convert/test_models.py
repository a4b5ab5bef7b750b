"""Whole models keep their function, and go on being models of PyG."""

import copy
import io

import pytest
import torch
import torch.nn.functional as F
import torch_geometric.nn as pyg
from torch import nn
from torch_geometric.explain import Explainer, GNNExplainer, ModelConfig

from edgenet import EdgeNetConv, to_edgenet
from edgenet.convert import Converted
from edgenet.errors import PlanError
from edgenet.nn.keep import keep_inputs_
from edgenet.testing import GRAPHS, random_graph

GRAPH = GRAPHS["directed"]
EDGES = GRAPH.edge_index
MODELS = {
    "GCN": lambda: pyg.GCN(5, 8, 3, 4, norm="batch"),
    "GAT": lambda: pyg.GAT(5, 8, 3, 4, heads=2, edge_dim=2, jk="cat"),
    "GATv2": lambda: pyg.GAT(5, 8, 2, 4, v2=True, heads=2, residual=True),
    "GraphSAGE": lambda: pyg.GraphSAGE(5, 8, 3, 4, act="tanh"),
    "GIN": lambda: pyg.GIN(5, 8, 3, 4, train_eps=True),
}


class Net(nn.Module):
    """As users write them: layers by name, one that is used twice, a skip, an edge weight by keyword."""

    def __init__(self):
        super().__init__()
        self.first = pyg.GATConv(5, 4, heads=2)
        self.middle = pyg.GCNConv(8, 8)
        self.again = self.middle
        self.blocks = nn.ModuleDict({"a": nn.ModuleList([pyg.TransformerConv(8, 8, beta=True), nn.LayerNorm(8)])})
        self.skip, self.last = nn.Linear(5, 3), pyg.SGConv(8, 3, K=2)

    def forward(self, x, edge_index, edge_weight=None):
        y = F.elu(self.first(x, edge_index))
        y = self.middle(y, edge_index, edge_weight=edge_weight)
        y = self.again(y.relu(), edge_index, edge_weight)
        for part in self.blocks["a"]:
            y = part(y, edge_index) if isinstance(part, Converted | pyg.MessagePassing) else part(y)
        return self.last(y, edge_index) + self.skip(x)


def no_layers_of_pyg(model):
    kinds = {type(module) for module in model.modules() if isinstance(module, pyg.MessagePassing)}
    return kinds <= {Converted, EdgeNetConv}


def trained(model, x, *args, **named):
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(3):
        optimizer.zero_grad()
        model(x, *args, **named).square().mean().backward()
        optimizer.step()
    return model(x, *args, **named)


@pytest.mark.parametrize("name", MODELS)
def test_models_of_pyg_keep_their_function(name):
    theirs = MODELS[name]().double()
    ours, x = to_edgenet(theirs), torch.randn(13, 5)
    assert no_layers_of_pyg(ours) and not no_layers_of_pyg(theirs)
    named = {}
    if theirs.supports_edge_weight:
        named["edge_weight"] = torch.rand(47)
    if name == "GAT":
        named["edge_attr"] = torch.randn(47, 2)
    near = {"rtol": 1e-11, "atol": 1e-11}
    torch.testing.assert_close(ours(x, EDGES, **named), theirs(x, EDGES, **named), **near)
    torch.testing.assert_close(ours(x, EDGES), theirs(x, EDGES), **near)
    ours.eval(), theirs.eval()
    torch.testing.assert_close(ours(x, EDGES, **named), theirs(x, EDGES, **named), **near)
    ours.reset_parameters()


@pytest.mark.parametrize("name", MODELS)
def test_models_of_pyg_train_and_are_saved(name):
    ours, x = to_edgenet(MODELS[name]()), torch.randn(13, 5)
    before = ours(x, EDGES).square().mean()
    after = trained(ours, x, EDGES)
    assert after.square().mean() < before
    file = io.BytesIO()
    torch.save(ours.state_dict(), file)
    file.seek(0)
    other = to_edgenet(MODELS[name]())
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(other.eval()(x, EDGES), ours.eval()(x, EDGES))


def test_a_model_that_a_user_wrote_keeps_its_function_and_its_shared_layer():
    theirs, x, weight = Net(), torch.randn(13, 5), torch.rand(47)
    ours = to_edgenet(theirs)
    assert no_layers_of_pyg(ours) and ours.middle is ours.again and isinstance(theirs.first, pyg.GATConv)
    torch.testing.assert_close(ours(x, EDGES, weight), theirs(x, EDGES, weight), rtol=1e-11, atol=1e-11)
    gradients = []
    for model in (ours, theirs):
        inputs = x.clone().requires_grad_()
        model(inputs, EDGES, weight).sin().sum().backward()
        gradients.append([inputs.grad, model.skip.weight.grad])
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(copy.deepcopy(ours)(x, EDGES), ours(x, EDGES))


def test_inplace_changes_the_model_itself():
    model, x = Net(), torch.randn(13, 5)
    wanted = model(x, EDGES)
    assert to_edgenet(model, inplace=True) is model and no_layers_of_pyg(model)
    torch.testing.assert_close(model(x, EDGES), wanted, rtol=1e-11, atol=1e-11)


def test_optimizers_keep_parameters_that_are_taken_as_they_are():
    model = nn.ModuleList([pyg.GCNConv(5, 3)])
    weight = model[0].lin.weight
    to_edgenet(model, inplace=True)
    assert model[0].lift.linear.weight.weight is weight


def test_sequences_keep_their_function():
    x = torch.randn(13, 5)
    theirs = pyg.Sequential(
        "x, edge_index",
        [(pyg.GATConv(5, 4), "x, edge_index -> x"), nn.ReLU(), (pyg.SAGEConv(4, 3), "x, edge_index -> y"), nn.Tanh()],
    )
    ours = to_edgenet(theirs)
    assert no_layers_of_pyg(ours)
    torch.testing.assert_close(ours(x, EDGES), theirs(x, EDGES))


def test_modes_are_kept_part_by_part():
    theirs = nn.ModuleList([pyg.GINConv(nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4))), pyg.GATConv(4, 3).eval()])
    theirs[0].nn[1].eval()  # a frozen norm
    ours = to_edgenet(theirs)
    assert ours[0].training and not ours[0].after[1].training and not any(m.training for m in ours[1].modules())
    assert ours[0].after[0].training


def test_heterogeneous_models_take_converted_layers():
    metadata = (["a", "b"], [("a", "to", "b"), ("b", "to", "a"), ("a", "to", "a")])
    x = {"a": torch.randn(6, 5), "b": torch.randn(4, 5)}
    edges = {
        ("a", "to", "b"): torch.tensor([[0, 5, 2], [3, 3, 0]]),
        ("b", "to", "a"): torch.tensor([[1, 3], [5, 0]]),
        ("a", "to", "a"): torch.tensor([[1, 3, 3], [1, 0, 2]]),
    }

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.one = pyg.SAGEConv(5, 4)
            self.two = pyg.GATConv(4, 3, heads=2, add_self_loops=False)

        def forward(self, x, edge_index):
            return self.two(self.one(x, edge_index).relu(), edge_index)

    theirs = pyg.to_hetero(Two(), metadata)
    ours = to_edgenet(theirs)
    assert no_layers_of_pyg(ours)
    for kind, value in theirs(x, edges).items():
        torch.testing.assert_close(ours(x, edges)[kind], value)
    first = to_edgenet(Two())
    later = pyg.to_hetero(first, metadata)
    got = later(x, edges)
    assert no_layers_of_pyg(later) and {kind: value.shape for kind, value in got.items()} == {"a": (6, 6), "b": (4, 6)}
    convs = pyg.HeteroConv({kind: pyg.SAGEConv((5, 5), 3) for kind in edges})
    for kind, value in convs(x, edges).items():
        torch.testing.assert_close(to_edgenet(convs)(x, edges)[kind], value)


def test_explainers_see_the_edges_of_converted_layers():
    graph = random_graph(9, 30)
    theirs = pyg.GCN(5, 8, 2, 3).eval()
    ours, x = to_edgenet(theirs), torch.randn(9, 5)
    settings = {
        "explanation_type": "model",
        "edge_mask_type": "object",
        "model_config": ModelConfig(mode="multiclass_classification", task_level="node", return_type="raw"),
    }
    masks = []
    for model in (ours, theirs):
        torch.manual_seed(1)
        explanation = Explainer(model, GNNExplainer(epochs=10), **settings)(x, graph.edge_index, index=2)
        masks.append(explanation.edge_mask)
    assert masks[0].abs().sum() > 0
    torch.testing.assert_close(*masks, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(ours(x, graph.edge_index), theirs(x, graph.edge_index))


@pytest.mark.parametrize(
    "build",
    [
        lambda: pyg.GATConv(5, 3, heads=2, residual=True), lambda: pyg.GATv2Conv(5, 3, residual=True),
        lambda: pyg.TransformerConv(5, 3, heads=2, beta=True), lambda: pyg.SAGEConv(5, 3), lambda: pyg.GCNConv(5, 3),
        lambda: pyg.TAGConv(5, 3),
    ],
)  # fmt: skip
def test_input_channels_are_taken_from_every_map_that_reads_them(build):
    layer, x, kept = to_edgenet(build().double()), torch.randn(13, 5), [3, 0]
    rest = x.clone()
    rest[:, [1, 2, 4]] = 0
    wanted = layer(rest, EDGES)
    keep_inputs_(layer, kept)
    torch.testing.assert_close(layer(x[:, kept], EDGES), wanted, rtol=1e-12, atol=1e-12)


def test_input_channels_that_are_mixed_first_stay():
    layer, x = to_edgenet(pyg.SAGEConv(5, 3, project=True).double()), torch.randn(13, 5)
    wanted = layer(x, EDGES)
    with pytest.raises(PlanError, match="SAGEConv: it mixes them before its walk"):
        keep_inputs_(layer, [0, 1])
    assert torch.equal(layer(x, EDGES), wanted)


@pytest.mark.parametrize(
    "build",
    [
        lambda: pyg.GATConv(5, 3, heads=2), lambda: pyg.GATv2Conv(5, 3), lambda: pyg.GCNConv(5, 3),
        lambda: pyg.SGConv(5, 3, 2),
    ],
)  # fmt: skip
def test_layers_that_add_self_loops_are_exported_for_any_number_of_edges(build):
    layer, x = to_edgenet(build().double()).eval(), torch.randn(13, 5)
    shapes = (None, {1: torch.export.Dim("edges")})
    program = torch.export.export(layer, (x, EDGES), dynamic_shapes=shapes)
    for edges in (EDGES, EDGES[:, ::3], torch.cat([EDGES, torch.arange(13).expand(2, -1)], dim=1)):
        torch.testing.assert_close(program.module()(x, edges.contiguous()), layer(x, edges.contiguous()))
