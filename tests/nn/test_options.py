"""Options of layers and models that are misspelt, or of another kind than wanted: said by name, value and remedy."""

import inspect
import json

import numpy as np
import pytest
import torch
from torch_geometric.nn import to_hetero

from edgenet import EdgeNetConv, GraphClassifier, NodeClassifier, from_pretrained
from edgenet.errors import ConfigError, ShapeError
from edgenet.models import AggregationNetwork
from edgenet.nn import SPECIALIZATIONS, taps
from edgenet.nn import specializations as nets
from edgenet.phi import PHIS, ShiftOperator

RING = torch.tensor([[0, 1, 2, 3], [1, 2, 3, 0]])

WRONG = {
    "order of EdgeNetConv is a whole number, got 1.5": lambda: EdgeNetConv(4, 3, order=1.5),
    "order of gcat is a whole number, got 1.5": lambda: nets.gcat(4, 3, order=1.5),
    "order of hybrid is a whole number, got '2'": lambda: nets.hybrid(4, 3, order="2"),
    "order of node_varying is a whole number, got None": lambda: nets.node_varying(4, 3, None),
    "heads of gat is a whole number, got 'two'": lambda: nets.gat(4, 3, heads="two"),
    "heads of gat is a whole number, got True": lambda: nets.gat(4, 3, heads=True),
    "out_channels of gcn is a whole number, got 3.5": lambda: nets.gcn(4, 3.5),
    "in_channels of gat is a whole number or 2 whole numbers, got '4'": lambda: nets.gat("4", 3),
    r"in_channels of arma is a whole number, got \(-1, -1\)": lambda: nets.arma((-1, -1), 3),
    "bias of gat is True or False, got 'no'": lambda: nets.gat(4, 3, bias="no"),
    "dropout of gat is a number, got 'half'": lambda: nets.gat(4, 3, dropout="half"),
    "normalize of gcnn is a text or None, got 5": lambda: nets.gcnn(4, 3, normalize=5),
    "nodes of edge_varying is .*, got 'x'": lambda: nets.edge_varying(4, 3, nodes="x"),
    r"phi of EdgeNetConv is .* make one first, ShiftOperator\(": lambda: EdgeNetConv(4, 3, phi=ShiftOperator),
    r"taps of EdgeNetConv is .* make one first, Sum\(": lambda: EdgeNetConv(4, 3, taps=taps.Sum),
    "hops of EdgeNetConv is a list of whole numbers or None, got 2": lambda: EdgeNetConv(4, 3, 2, hops=2),
    "dropout of Attention is a number, got 'x'": lambda: EdgeNetConv(4, 3, phi="attention", dropout="x"),
    "'attention' has no option 'droput'.*Did you mean 'dropout'": lambda: EdgeNetConv(4, 3, phi="attention", droput=0),
    "order >= 0, .* are wanted, got -1, 1, 3": lambda: nets.gcat(4, 3, order=-1),
    "normalize is one of .*, got 'zz'": lambda: nets.spectral(4, 3, normalize="zz"),
    "df, the functions of a basis, is 1 or more, got -1": lambda: nets.additive(4, 3, df=-1),
    "in_channels are 0 or more, or -1 .*, got -7": lambda: nets.gat(-7, 3),
    "in_channels are 0 or more, or -1 .*, got -2": lambda: nets.spectral(-2, 3),
    "gat has no option 'headz'.*Did you mean 'heads'": lambda: nets.gat(4, 3, headz=2),
}


@pytest.mark.parametrize("says", WRONG)
def test_an_option_of_the_wrong_kind_or_name_is_refused_by_the_layer(says):
    with pytest.raises((ConfigError, ShapeError), match=says):
        WRONG[says]()


def test_a_phi_that_is_misspelt_has_near_names():
    with pytest.raises(ShapeError, match="Did you mean 'attention'"):
        EdgeNetConv(4, 3, phi="attension")


@pytest.mark.parametrize("model", [NodeClassifier, GraphClassifier])
@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("heads", "two", "heads of {} is a whole number or None, got 'two'"),
        ("heads", 1.5, "heads of {} is a whole number or None, got 1.5"),
        ("heads", 0, "heads is 1 or more, got 0"),
        ("num_layers", "x", "num_layers of {} is a whole number, got 'x'"),
        ("hidden_channels", 2.5, "hidden_channels of {} is a whole number, got 2.5"),
        ("dropout", "y", "dropout of {} is a number, got 'y'"),
        ("attention_dropout", "y", "attention_dropout of {} is a number or None, got 'y'"),
        ("skip", "no", "skip of {} is True or False, got 'no'"),
        ("layer", 3, "layer of {} is a text, got 3"),
        ("activation", torch.relu, "activation of {} is a text"),
        ("negative_slope", "x", "negative_slope of gat is a number, got 'x'"),
        ("out_channels", 0, "out_channels is 1 or more, got 0"),
        ("in_channels", None, "in_channels of {} is a .*, got None"),
    ],
)
def test_an_option_of_the_wrong_kind_is_refused_by_the_model(model, name, value, says):
    options = {"in_channels": 4, "out_channels": 3, "layer": "gat"} | {name: value}
    with pytest.raises(ConfigError, match=says.format(model.__name__)):
        model(**options)


def test_the_last_layer_has_a_head_at_least():
    with pytest.raises(ConfigError, match="out_heads is 1 or more, got 0"):
        NodeClassifier(4, 3, out_heads=0)


def test_whole_numbers_of_numpy_and_lists_for_pairs_are_fine():
    assert nets.gat(4, np.int64(3), heads=np.int32(2)).out_width == 6
    assert NodeClassifier([4, 5], 3, num_layers=1, add_self_loops=False).convs[0].in_channels == (4, 5)
    assert nets.gat(4, 3, dropout=np.float32(0.5), negative_slope=1).phi.dropout == 0.5


def test_lists_arrays_and_ranges_stand_for_pairs_and_nodes():
    assert nets.gat([4, 4], 3).in_channels == EdgeNetConv([4, 4], 3, phi="attention").in_channels == (4, 4)
    for nodes in (np.array([0, 1]), range(2)):
        assert nets.hybrid(4, 3, nodes=nodes)(torch.randn(4, 4), RING).shape == (4, 3)


@pytest.mark.parametrize("value", [[8.5], ["8"], "8", [True], torch.ones(1), torch.tensor(8)])
def test_lists_of_whole_numbers_hold_such(value):
    with pytest.raises(ConfigError, match="channels of AggregationNetwork is a list of whole numbers"):
        AggregationNetwork(4, 3, nodes=[0], length=8, channels=value)
    with pytest.raises(ConfigError, match="hops of EdgeNetConv is a list of whole numbers"):
        EdgeNetConv(4, 3, hops=value)


def test_lists_of_numbers_of_numpy_and_torch_are_saved():
    for value in (np.array([4, 2]), torch.tensor([4, 2]), (np.int64(4), 2), range(2, 4)):
        made = AggregationNetwork(4, 3, nodes=[0], length=20, channels=value, hidden_channels=value)
        assert json.loads(json.dumps(made.config())) == made.config()


@pytest.mark.parametrize("model", [NodeClassifier, GraphClassifier])
def test_what_was_made_with_numbers_of_numpy_or_torch_is_saved(model, tmp_path):
    made = model(np.int64(4), torch.tensor(3), layer="gat", hidden_channels=np.int32(5), heads=np.int64(2),
                 dropout=np.float32(0.5), skip=np.bool_(True), negative_slope=np.float64(0.1)).eval()  # fmt: skip
    assert json.loads(json.dumps(made.config())) == made.config()
    made.save_pretrained(tmp_path)
    x = torch.randn(4, 4)
    assert torch.equal(from_pretrained(tmp_path).eval()(x, RING), made(x, RING))


def test_signatures_are_what_they_were():
    assert list(inspect.signature(nets.gcn).parameters) == ["in_channels", "out_channels", "bias"]
    assert "options" in inspect.signature(EdgeNetConv).parameters
    assert nets.gcn.__doc__.startswith("Graph convolution of Kipf")


@pytest.mark.parametrize("name", SPECIALIZATIONS)
def test_every_layer_says_how_wide_its_output_is(name):
    known = inspect.signature(SPECIALIZATIONS[name]).parameters
    for heads in (1, 3) if "heads" in known else (None,):
        for concat in (True, False) if "concat" in known else (None,):
            options = {"heads": heads, "concat": concat, "bank": "heads" if "bank" in known and heads else None}
            layer = SPECIALIZATIONS[name](4, 6, **{key: value for key, value in options.items() if value is not None})
            assert layer(torch.randn(5, 4), torch.cat([RING, RING.flip(0)], 1)).shape == (5, layer.out_width)


@pytest.mark.parametrize("name", PHIS)
def test_every_phi_refuses_options_that_it_does_not_have(name):
    with pytest.raises(ConfigError, match="nonsense"):
        EdgeNetConv(4, 3, phi=name, nonsense=1)


# ---------------------------------------------------------------- two ends of different widths
TYPES = (["paper", "author"], [("author", "writes", "paper"), ("paper", "by", "author")])
EDGES = {kind: torch.tensor([[0, 1, 2], [2, 0, 1]]) for kind in TYPES[1]}


def test_a_lazy_model_is_made_heterogeneous_where_all_types_have_one_width():
    model = to_hetero(NodeClassifier(-1, 3, layer="gat", add_self_loops=False), TYPES)
    out = model({"paper": torch.randn(3, 4), "author": torch.randn(3, 4)}, EDGES)
    assert {name: tuple(y.shape) for name, y in out.items()} == {"paper": (3, 3), "author": (3, 3)}


def test_a_lazy_model_between_types_of_different_widths_says_how_it_is_to_be_made():
    model = to_hetero(NodeClassifier(-1, 3, layer="gat", add_self_loops=False), TYPES)
    x = {"paper": torch.randn(3, 4), "author": torch.randn(3, 7)}
    with pytest.raises(ShapeError, match=r"one map, which takes \d channels.*\(-1, -1\) reads both"):
        model(x, EDGES)
    pair = to_hetero(NodeClassifier((-1, -1), 3, layer="gat", add_self_loops=False), TYPES)
    assert pair(x, EDGES)["paper"].shape == (3, 3)
