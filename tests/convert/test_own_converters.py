"""A converter of one's own is one function and one entry."""

import pytest
import torch
from torch import nn
from torch_geometric.nn import GCNConv, MessagePassing

from edgenet import to_edgenet
from edgenet.convert import CONVERTERS
from edgenet.convert.pyg import check_converter
from edgenet.errors import ConversionError
from edgenet.nn.lift import LinearLift
from edgenet.phi import ShiftOperator
from edgenet.testing import GRAPHS

EDGES = GRAPHS["directed"].edge_index


class Doubled(MessagePassing):
    """Twice the sum of the neighbours, in a layer that edgenet has never heard of."""

    def __init__(self, width):
        super().__init__(aggr="add")
        self.map, self.bias = nn.Linear(width, 3, bias=False), nn.Parameter(torch.ones(3))

    def forward(self, x, edge_index, edge_weight=None):
        return self.propagate(edge_index, x=self.map(x), edge_weight=edge_weight) + self.bias

    def message(self, x_j, edge_weight):
        return 2 * (x_j if edge_weight is None else edge_weight.unsqueeze(-1) * x_j)


class Plain(nn.Module):
    """A layer that is no ``MessagePassing``."""

    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(5, 3)

    def forward(self, x, edge_index):
        return self.lin(x)


def doubled(source):
    width = source.layer.map.in_features
    with torch.no_grad():
        weight = source.made("map", [source.layer.map.weight], lambda weight: 2 * weight)
    lift = source.linear("map")
    lift.weight = source.matrix(weight)
    return source.converted(
        width, 3, source.layer.bias, calling="weighted", phi=ShiftOperator(1), lift=LinearLift(lift), taps="sum",
        self_tap=False,
    )  # fmt: skip


def test_a_function_and_an_entry_convert_a_layer_of_ones_own(monkeypatch):
    check_converter(Doubled, doubled)
    monkeypatch.setitem(CONVERTERS, Doubled, doubled)
    check_converter(Doubled, doubled)  # the same once more is no other
    model, x, weight = nn.ModuleList([Doubled(5), GCNConv(3, 3)]).double(), torch.randn(13, 5), torch.rand(47)
    ours = to_edgenet(model)
    torch.testing.assert_close(ours[0](x, EDGES, weight), model[0](x, EDGES, weight))
    assert "as Doubled(x, edge_index, edge_weight)" in repr(ours)
    with pytest.raises(TypeError, match="Doubled takes x, edge_index, edge_weight"):
        ours[0](x, EDGES, weight, weight)


def test_it_may_be_for_any_module_and_make_any(monkeypatch):
    monkeypatch.setitem(CONVERTERS, Plain, lambda source: source.linear("lin"))
    theirs, x = nn.ModuleList([Plain()]).double(), torch.randn(13, 5)
    ours = to_edgenet(theirs)
    torch.testing.assert_close(ours[0](x), theirs[0](x, EDGES))


def test_what_it_leaves_behind_is_refused(monkeypatch):
    monkeypatch.setitem(CONVERTERS, Doubled, lambda source: source.linear("map"))
    with pytest.raises(ConversionError, match=r"^0 \(Doubled\): bias=\(3,\).*Nothing is known"):
        to_edgenet(nn.ModuleList([Doubled(5)]))


@pytest.mark.parametrize(
    ("kind", "function", "says"),
    [
        ("Doubled", doubled, "a class of layers.*'Doubled'"),
        (int, doubled, "a class of layers"),
        (nn.Module, doubled, "a class of layers"),
        (GCNConv, doubled, "GCNConv has a converter already, gcn"),
        (Doubled, lambda: None, "one argument"),
        (Doubled, 3, "one argument"),
    ],
)
def test_an_entry_is_checked(kind, function, says):
    with pytest.raises(ConversionError, match=says):
        check_converter(kind, function)
