"""A converted layer is one layer to whoever looks: hooks, explainers, adapters."""

import copy

import pytest
import torch
import torch_geometric.nn as pyg
from cases import CONVERTER_CASES
from torch import nn
from torch.nn.utils import prune
from torch_geometric.explain import AttentionExplainer, Explainer, GraphMaskExplainer, ModelConfig
from torch_geometric.utils import get_embeddings

from edgenet import freeze_attention, to_edgenet
from edgenet.nn.pyg_door import PygDoor
from edgenet.testing import GRAPHS

GRAPH = GRAPHS["directed"]
EDGES = GRAPH.edge_index
X = torch.linspace(-1, 1, 65, dtype=torch.float64).view(13, 5)
NEAR = {"rtol": 1e-12, "atol": 1e-12}


def twice(module, args, output):
    return 2 * output


# ---------------------------------------------------------------- one layer
@pytest.mark.parametrize("case", CONVERTER_CASES, ids=str)
def test_it_is_one_layer(case):
    layers = [module for module in to_edgenet(case.layer()).modules() if isinstance(module, pyg.MessagePassing)]
    assert len(layers) == 1 and isinstance(layers[0], PygDoor)


def test_embeddings_are_those_of_the_layers():
    theirs = pyg.GCN(5, 8, 2, 3).double().eval()
    got, wanted = (get_embeddings(model, X, EDGES) for model in (to_edgenet(theirs), theirs))
    assert len(got) == len(wanted) == 2
    for mine, value in zip(got, wanted, strict=True):
        torch.testing.assert_close(mine, value, **NEAR)


@pytest.mark.parametrize("case", CONVERTER_CASES, ids=str)
def test_messages_that_somebody_changes_are_changed(case):
    theirs = case.layer()
    ours, (args, named) = to_edgenet(theirs), case.inputs(GRAPH)
    plain, seen = ours(*args, **named), []
    for layer in (ours, theirs):
        layer.register_message_forward_hook(twice)
        layer.register_aggregate_forward_hook(lambda *_: seen.append(1))
    if sum(parameter.numel() for parameter in ours.parameters()) and GRAPH.num_edges and ours.order:
        assert not torch.equal(ours(*args, **named), plain) or plain.isnan().any()
    torch.testing.assert_close(ours(*args, **named), theirs(*args, **named), **NEAR, equal_nan=True)
    assert seen or not ours.order


@pytest.mark.parametrize("kind", [pyg.GCNConv, pyg.SAGEConv, pyg.TAGConv, pyg.GATConv, pyg.TransformerConv])
def test_messages_have_the_shape_of_pygs(kind):
    theirs, shapes = kind(5, 3).double(), []
    for layer in (to_edgenet(theirs), theirs):
        layer.register_message_forward_hook(lambda module, args, y: shapes.append((args[0]["x_j"].shape, y.shape)))
        if kind is pyg.TransformerConv:  # PyG says value_j there
            layer._message_forward_hooks.clear()
            layer.register_message_forward_hook(lambda module, args, y: shapes.append(y.shape))
        layer(X, EDGES)
    if kind is pyg.SAGEConv or kind is pyg.TAGConv:  # which may mix channels first, or last
        shapes = [[len(shape) for shape in pair] for pair in shapes]
    assert shapes[: len(shapes) // 2] == shapes[len(shapes) // 2 :]


def test_decomposed_layers_compute_the_same():
    layer, seen = to_edgenet(pyg.GCNConv(5, 6).double()), []
    wanted = layer(X, EDGES)
    layer.register_message_forward_pre_hook(lambda module, args: seen.append(args[0]["x_j"].shape[-1]))
    layer.decomposed_layers = 2
    torch.testing.assert_close(layer(X, EDGES), wanted, **NEAR)
    assert seen == [3, 3]


def test_attention_is_where_explainers_look_for_it():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = pyg.GATConv(5, 4, heads=2), pyg.GATv2Conv(8, 4, heads=2)
            self.three = pyg.TransformerConv(8, 3, heads=2)

        def forward(self, x, edge_index):
            return self.three(self.two(self.one(x, edge_index), edge_index), edge_index)

    theirs = Net().double()
    settings = {
        "explanation_type": "model",
        "edge_mask_type": "object",
        "model_config": ModelConfig(mode="multiclass_classification", task_level="node", return_type="raw"),
    }
    bare = GRAPH.without_self_loops()[0].edge_index  # PyG's explainer takes the first edges for the given ones
    masks = [
        Explainer(model, AttentionExplainer(), **settings)(X, bare).edge_mask for model in (to_edgenet(theirs), theirs)
    ]
    torch.testing.assert_close(*masks, **NEAR)


def test_graph_masks_are_those_of_pyg():
    theirs = pyg.GCN(5, 8, 2, 3).double().eval()
    settings = {
        "explanation_type": "model",
        "edge_mask_type": "object",
        "node_mask_type": "attributes",
        "model_config": ModelConfig(mode="multiclass_classification", task_level="node", return_type="raw"),
    }
    masks = []
    for model in (to_edgenet(theirs), copy.deepcopy(theirs)):
        torch.manual_seed(2)
        explainer = Explainer(model, GraphMaskExplainer(2, epochs=3, log=False), **settings)
        masks.append(explainer(X, EDGES, index=2).node_mask)
    torch.testing.assert_close(*masks, rtol=1e-6, atol=1e-6)  # through trained masks


# ---------------------------------------------------------------- hooks of the layer that is converted
@pytest.mark.parametrize("inplace", [False, True])
def test_hooks_on_calls_are_carried_over_with_their_handles(inplace):
    model = nn.ModuleDict({"conv": pyg.GATConv(5, 3)}).double()
    wanted, seen = model["conv"](X, EDGES), []
    handles = [
        model["conv"].register_forward_hook(twice),
        model["conv"].register_forward_hook(lambda module, args, kwargs, y: seen.append(kwargs), with_kwargs=True),
        model["conv"].register_forward_pre_hook(lambda module, args: (args[0], args[1])),
        model["conv"].register_full_backward_hook(lambda module, into, out: seen.append(type(module).__name__)),
    ]
    ours = to_edgenet(model, inplace=inplace)
    y = ours["conv"](X.clone().requires_grad_(), EDGES, return_attention_weights=None)
    torch.testing.assert_close(y, 2 * wanted, **NEAR)
    y.sum().backward()
    assert seen == [{"return_attention_weights": None}, "Converted"]
    for handle in handles:
        handle.remove()
    want = wanted if inplace else 2 * wanted  # of a copy, they are the handles of the first
    torch.testing.assert_close(ours["conv"](X, EDGES), want, **NEAR)


def test_a_hook_that_changes_what_comes_in_is_carried_over():
    theirs = pyg.SAGEConv(5, 3).double()
    theirs.register_forward_pre_hook(lambda module, args, kwargs: ((3 * args[0], *args[1:]), kwargs), with_kwargs=True)
    torch.testing.assert_close(to_edgenet(theirs)(X, EDGES), theirs(X, EDGES), **NEAR)


# ---------------------------------------------------------------- adapters and freezing
class Adapter(nn.Module):
    """As tuner layers do: it holds a linear map, passes its attributes on, and adds to what it computes."""

    def __init__(self, base):
        super().__init__()
        self.base, self.more = base, nn.Parameter(torch.ones(()))

    @property
    def weight(self):
        return self.base.weight

    @property
    def bias(self):
        return self.base.bias

    def forward(self, x):
        return (1 + self.more) * self.base(x)


@pytest.mark.parametrize("build", [lambda: pyg.GATConv(5, 3, heads=2), lambda: pyg.GATv2Conv(5, 3, heads=2)])
def test_attention_with_adapters_and_hooks_is_frozen_as_it_is(build):
    layer = to_edgenet(build().double())
    layer.lift.linear = Adapter(layer.lift.linear)
    layer.phi.register_forward_hook(twice)
    layer.register_edge_update_forward_hook(lambda module, args, weights: weights + 1)
    layer.register_message_forward_hook(twice)
    frozen, wanted = freeze_attention(layer, X, EDGES), layer(X, EDGES)
    torch.testing.assert_close(frozen(X, EDGES), wanted, **NEAR)
    frozen(X, EDGES).sum().backward()
    assert frozen.lift.linear.more.grad is not None and not frozen.phi.follows_signal


def test_attention_that_is_pruned_is_frozen_in_place():
    layer, x = to_edgenet(pyg.GATConv(5, 3, heads=2).double()), X
    prune.l1_unstructured(layer.phi.att_source, "weight", 0.5)
    wanted = layer(x, EDGES)
    torch.testing.assert_close(freeze_attention(layer, x, EDGES, inplace=True)(x, EDGES), wanted, **NEAR)


def test_adapters_count_in_every_linear_map():
    layer = to_edgenet(pyg.TransformerConv(5, 3, heads=2, beta=True).double())
    for place in ("lift.linear", "phi.key", "phi.query", "root", "gate"):
        adapted = copy.deepcopy(layer)
        parent, _, name = place.rpartition(".")
        setattr(adapted.get_submodule(parent), name, Adapter(adapted.get_submodule(place)))
        merged = copy.deepcopy(layer)
        part = merged.get_submodule(place)
        with torch.no_grad():
            for parameter in part.parameters():
                parameter.mul_(2)
        torch.testing.assert_close(adapted(X, EDGES), merged(X, EDGES), **NEAR)
        assert not torch.equal(adapted(X, EDGES), layer(X, EDGES))
