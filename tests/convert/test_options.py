"""Options of the PyG layer that are set after it was converted are obeyed as PyG does, or refused."""

import copy
import inspect

import pytest
import torch
import torch_geometric.nn as pyg
from cases import CONVERTER_CASES
from torch import nn

from edgenet import freeze_attention, to_edgenet
from edgenet.errors import ShapeError
from edgenet.testing import GRAPHS

GRAPH = GRAPHS["directed"]
EDGES = GRAPH.edge_index
X = torch.linspace(-1, 1, 65, dtype=torch.float64).view(13, 5)
OTHER = {
    "dropout": 1.0,  # the one probability whose draws are alike
    "negative_slope": 0.7,
    "fill_value": 2.0,
    "normalization": "rw",
    "act": torch.tanh,
    "K": 1,
    "num_layers": 1,
    "num_stacks": 1,
    "nn": torch.sin,
    "aggr": "max",
}
FIXED_SIZES = ("in_channels", "out_channels", "heads", "edge_dim", "bias", "kwargs", "eps", "train_eps")
CASES = [case for case in CONVERTER_CASES if case.pair is None]


OPTIONS = [
    pytest.param(case, name, id=f"{case.name}: {name}")
    for case in CASES
    for name in inspect.signature(type(case.build())).parameters
    if name not in FIXED_SIZES and name in vars(case.build())
]


@pytest.mark.parametrize(("case", "name"), OPTIONS)
def test_an_option_that_is_set_later_is_obeyed_or_refused(case, name):
    theirs = case.layer()
    ours, (args, named) = to_edgenet(theirs), case.inputs(GRAPH)
    value = OTHER[name] if name in OTHER else not getattr(theirs, name)
    try:
        setattr(ours, name, value)
    except AttributeError as error:
        assert name in str(error)
        return
    setattr(theirs, name, value)
    torch.testing.assert_close(ours(*args, **named), theirs(*args, **named), rtol=1e-12, atol=1e-12, equal_nan=True)
    assert getattr(ours, name) is value


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_direction_of_messages_may_be_turned_later(case):
    theirs = case.layer()
    ours, (args, named) = to_edgenet(theirs), case.inputs(GRAPH)
    for layer in (ours, theirs):
        layer.flow = "target_to_source" if layer.flow == "source_to_target" else "source_to_target"
    try:
        got = ours(*args, **named)
    except ShapeError as error:
        assert "against the flow; set fill_value to a number" in str(error)
        return
    torch.testing.assert_close(got, theirs(*args, **named), rtol=1e-12, atol=1e-12, equal_nan=True)


@pytest.mark.parametrize("hooked", [False, True])
@pytest.mark.parametrize(
    "layer", [pyg.GCNConv(5, 3), pyg.ChebConv(5, 3, K=2), pyg.SAGEConv(5, 3)], ids=lambda layer: type(layer).__name__
)
def test_the_axis_of_the_nodes_is_that_of_pyg_or_refused(layer, hooked):
    x, theirs = torch.randn(2, 13, 5), copy.deepcopy(layer).double()
    ours = to_edgenet(theirs)
    if hooked:
        ours.register_message_forward_hook(lambda *_: None)
    for axis in (-2, 1):
        ours.node_dim = theirs.node_dim = axis
        torch.testing.assert_close(ours(x, EDGES), theirs(x, EDGES))
    ours.node_dim = 0
    with pytest.raises(ShapeError, match=r"node_dim=0.*axis -2 of a signal \(2, 13, 5\)"):
        ours(x, EDGES)
    assert ours(x[0], EDGES).shape == (13, 3)


def test_another_aggregation_is_obeyed():
    theirs = pyg.GCNConv(5, 3)
    ours = to_edgenet(theirs)
    ours.aggr_module = theirs.aggr_module = pyg.MaxAggregation()
    torch.testing.assert_close(ours(X, EDGES), theirs(X, EDGES))


def test_options_can_be_read():
    layer = to_edgenet(pyg.GATConv(5, 3, dropout=0.25))
    layer.dropout = 0.5
    assert layer.dropout == layer.phi.dropout == 0.5 and layer.negative_slope == 0.2
    assert not hasattr(layer, "act") and not hasattr(to_edgenet(pyg.GCNConv(5, 3)), "dropout")
    assert to_edgenet(pyg.GINConv(nn.Linear(5, 3))).nn.weight.shape == (3, 5)
    layer = copy.deepcopy(to_edgenet(pyg.GINConv(nn.Linear(5, 3), train_eps=True)))
    layer.nn = nn.Linear(5, 2)
    assert layer(X, EDGES).shape == (13, 2) and "nn" not in dict(layer.named_children())
    frozen = freeze_attention(to_edgenet(pyg.GATConv(5, 3)), X, EDGES)
    with pytest.raises(AttributeError, match="dropout"):
        print(frozen.dropout)


def test_a_fixed_option_says_when_it_could_be_set():
    layer = to_edgenet(pyg.GCNConv(5, 3))
    for name in ("improved", "normalize", "cached"):
        with pytest.raises(AttributeError, match=f"GCNConv was converted, and {name} cannot .* before to_edgenet"):
            setattr(layer, name, True)
    layer.own = 3  # anything else may stand on it
