"""The walk that returns to its first signal, against APPNP of PyG."""

import pytest
import torch
from torch_geometric.nn import APPNP

from edgenet import EdgeNetConv
from edgenet.errors import ConfigError, PlanError
from edgenet.nn import specializations as nets
from edgenet.nn import taps
from edgenet.nn.keep import keep_taps_
from edgenet.phi import Attention, EdgeVarying
from edgenet.testing import random_graph

EXACT = {"rtol": 1e-10, "atol": 1e-10}
GRAPH = random_graph(13, 47)
RING = torch.tensor([[0, 1, 2, 3, 4, 1, 2], [1, 2, 3, 4, 0, 0, 1]])


@pytest.mark.parametrize("order", [0, 1, 10])
@pytest.mark.parametrize("weighted", [True, False])
def test_appnp_is_that_of_pyg_forward_and_backward(order, weighted):
    conv, theirs = nets.appnp(4, 3, order, alpha=0.15), APPNP(order, 0.15)
    torch.nn.init.normal_(conv.lift.linear.bias)
    x = torch.randn(6, 4, requires_grad=True)
    weight = torch.rand(7).add_(0.5).requires_grad_() if weighted else None
    leaves = [leaf for leaf in (x, weight, *conv.parameters()) if leaf is not None]
    linear = x @ conv.lift.linear.weight.to_dense().T + conv.lift.linear.bias
    wanted, got = theirs(linear, RING, weight), conv(x, RING, weight)
    torch.testing.assert_close(got, wanted, **EXACT)
    direction = torch.randn_like(got)
    pair = (torch.autograd.grad(y, leaves, direction, allow_unused=order == 0) for y in (got, wanted))
    for ours, right in zip(*pair, strict=True):
        assert (ours is None) == (right is None)
        if ours is not None:
            torch.testing.assert_close(ours, right, **EXACT)


@pytest.mark.parametrize("batch", [(), (2,), (2, 3)])
def test_it_walks_any_weights_and_batches(batch):
    x = torch.randn(*batch, 13, 5)
    for phi in (EdgeVarying(3, 2), Attention(3, 2, 4)):
        conv = EdgeNetConv(5, 4, phi=phi, lift="linear", taps=taps.Teleport(0.3), add_self_loops=False, bias=False)
        conv.bind(GRAPH)
        for signal, got in zip(x.view(-1, 13, 5), conv(x, GRAPH).reshape(-1, 13, 8), strict=True):
            z = h = conv.lift(signal)
            weights, diagonal = conv.phi(signal, z, GRAPH), conv.phi.diagonal(GRAPH)
            for k in range(3):
                own = None if diagonal is None else diagonal[k]
                h = 0.7 * conv.phi.hop(GRAPH, weights[k], own, h) + 0.3 * z
            torch.testing.assert_close(got, h.flatten(1), **EXACT)


def test_a_chance_is_in_its_range():
    with pytest.raises(ConfigError, match=r"in \[0, 1\], got -0.1"):
        nets.appnp(4, 3, alpha=-0.1)


@pytest.mark.parametrize("make", [nets.appnp, nets.gcnii])
def test_no_hop_can_be_taken_from_a_walk_that_goes_on_from_all(make):
    conv = make(4, 3)
    before = dict(conv.named_parameters())
    with pytest.raises(PlanError, match="taps need all their signals"):
        keep_taps_(conv, [(conv.hops[0], 0)])
    assert dict(conv.named_parameters()) == before
