"""Parts in whose place others stand: layers of torch's, wrappers that say nothing of what they wrap."""

from __future__ import annotations

import copy

import pytest
import torch
from layers import EDGES, NODES
from torch import Tensor, nn

from edgenet import EdgeNetConv
from edgenet.nn import specializations as nets


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
    setattr(swapped.get_submodule(path.partition(".")[0]), "linear", theirs)
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
