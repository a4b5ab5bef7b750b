"""Parts in whose place others stand: layers of torch's, wrappers that say nothing of what they wrap."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from edgenet import EdgeNetConv
from edgenet.errors import PlanError
from edgenet.nn import specializations as nets
from edgenet.nn.keep import combined, keep_inputs_, keep_taps_
from edgenet.selection import zeros_of
from edgenet.testing.layer.case import EDGES, NODES


class Silent(nn.Module):
    """Calls what it wraps, and says nothing of it."""

    def __init__(self, wrapped: nn.Module) -> None:
        super().__init__()
        self.inside = wrapped

    def forward(self, *args: Tensor) -> Tensor:
        return self.inside(*args)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize(
    ("layer", "path"),
    [
        (lambda: nets.gat(4, 8, heads=2), "lift.linear"),
        (lambda: nets.gat(40, 4, heads=2), "lift.linear"),
        (lambda: nets.gcn(4, 8), "lift.linear"),
        (lambda: nets.gcnn(40, 4), "taps.linear"),
        (lambda: nets.gcnn(4, 8), "taps.linear"),
    ],
)
def test_a_linear_layer_of_torch_may_stand_for_one_of_ours(layer, path: str, sparse: bool):
    layer = layer()
    x = torch.randn(NODES, layer.in_channels)
    layer(x, EDGES)
    ours = layer.get_submodule(path)
    theirs = nn.Linear(*reversed(ours.weight.shape), bias=ours.bias is not None)
    theirs.weight = ours.weight.weight
    swapped = copy.deepcopy(layer)
    swapped.get_submodule(path.partition(".")[0]).linear = theirs
    signal = x.to_sparse_csr() if sparse else x
    torch.testing.assert_close(swapped(signal, EDGES), layer(x, EDGES))


@pytest.mark.parametrize("phi", ["attention", "shift"])
def test_a_lift_may_be_made_of_layers_of_torch(phi: str):
    linear = nn.Linear(4, 8)
    lift = nn.Sequential(linear, nn.Unflatten(-1, (1, 8)))
    layer = EdgeNetConv(4, 8, phi=phi, lift=lift, taps="sum", self_tap=False)
    own = EdgeNetConv(4, 8, phi=layer.phi, lift=Silent(lift), taps="sum", self_tap=False)
    x = torch.randn(NODES, 4)
    torch.testing.assert_close(layer(x, EDGES), own(x, EDGES))


def test_a_layer_whose_taps_are_wrapped_is_bound():
    layer = nets.edge_varying(4, 8, bank="heads")
    layer.taps = Silent(layer.taps)
    layer.bind(EDGES, NODES)
    assert layer(torch.randn(NODES, 4), EDGES).shape == (NODES, 8)


# --- taking parts away ---------------------------------------------------------------------------------------------
class Adapter(nn.Module):
    """Adds a product of low rank to what it wraps, whose weight and bias it shows."""

    def __init__(self, wrapped: nn.Module) -> None:
        super().__init__()
        rows, columns = wrapped.weight.shape
        self.base = wrapped
        self.left, self.right = nn.Parameter(torch.randn(rows, 2)), nn.Parameter(torch.randn(2, columns))

    weight = property(lambda self: self.base.weight)
    bias = property(lambda self: self.base.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + x @ self.right.T @ self.left.T


@pytest.mark.parametrize("take", [lambda c: keep_taps_(c, [(c.order, 0)]), lambda c: keep_inputs_(c, [0, 1])])
@pytest.mark.parametrize(
    ("layer", "path"),
    [
        (lambda: nets.gat(4, 8, heads=2), "lift.linear"),
        (lambda: nets.gcnn(4, 8), "taps.linear"),
        (lambda: nets.edge_varying_gat(4, 8, heads=2), "phi.lifts.0"),
        (lambda: nets.gat(4, 8, heads=2), "lift"),
        (lambda: nets.gat(4, 8, heads=2), "taps"),
    ],
)
def test_nothing_is_taken_from_what_stands_around_a_part(layer, path: str, take):
    layer = layer()
    x = torch.randn(NODES, 4)
    layer(x, EDGES)
    parent, _, name = path.rpartition(".")
    inside = layer.get_submodule(path)
    setattr(layer.get_submodule(parent), name, Adapter(inside) if "." in path else Silent(inside))
    before = layer(x, EDGES)
    with pytest.raises(PlanError, match="stands in the place of"):
        take(layer)
    torch.testing.assert_close(layer(x, EDGES), before)


@pytest.mark.parametrize(
    ("layer", "path", "name"),
    [
        (lambda: nets.gat(4, 8, heads=2), "", "bias"),
        (lambda: nets.gcat(4, 8, 2, heads=2), "taps", "weight"),
        (lambda: nets.spectral_product(4, 8, 2, heads=2), "phi", "weight"),
        (lambda: nets.additive(4, 8, 2, heads=2), "phi", "intercept"),
        (lambda: nets.gatv2(4, 8, heads=2), "lift.linear", "bias"),
    ],
)
def test_computed_parameters_are_made_final_before_heads_go(layer, path: str, name: str):
    layer = layer()
    x = torch.randn(NODES, 4)
    layer(x, EDGES)
    parametrize.register_parametrization(layer.get_submodule(path), name, nn.Tanh())
    before = layer(x, EDGES)
    with pytest.raises(PlanError, match="computed of other tensors"):
        keep_taps_(layer, [(1, 0)] if path != "taps" else [(1, 0), (1, 1)])
    torch.testing.assert_close(layer(x, EDGES), before)


@pytest.mark.parametrize("on", ["adapter", "hook on the map", "hook on the part"])
@pytest.mark.parametrize(
    ("make", "part"), [(lambda: nets.gat(4, 8, heads=2), "lift"), (lambda: nets.gcnn(4, 8), "taps")]
)
def test_zeros_under_an_adapter_or_a_hook_are_none(make, part: str, on: str):
    layer = make()
    layer(torch.randn(NODES, 4), EDGES)
    outer = layer.get_submodule(part)
    with torch.no_grad():
        outer.linear.weight.weight[: 8 if part == "lift" else None, :4] = 0
    assert len(zeros_of(layer).kept.taps) == len(combined(layer)) - 1
    if on == "adapter":
        outer.linear = Adapter(outer.linear)
    else:
        (outer if on == "hook on the part" else outer.linear).register_forward_hook(lambda _m, _i, y: y + 1)
    assert len(zeros_of(layer).kept.taps) == len(combined(layer))
