"""Layers that are handed the signal that their network began with, against GCN2Conv of PyG."""

import math

import pytest
import torch
from torch_geometric.nn import GCN2Conv

from edgenet import EdgeNetConv, Graph
from edgenet.errors import ConfigError, ShapeError
from edgenet.nn import specializations as nets
from edgenet.nn import taps
from edgenet.phi import Attention, ShiftOperator
from edgenet.structured import LowRank
from edgenet.testing import random_graph
from edgenet.testing.plainly import plainly

EXACT = {"rtol": 1e-10, "atol": 1e-10}
GRAPH = random_graph(13, 47)
RING = torch.tensor([[0, 1, 2, 3, 4, 1, 2], [1, 2, 3, 4, 0, 0, 1]])


def pair(depth=3):
    """Ours and PyG's, with the same numbers."""
    ours, theirs = nets.gcnii(4, 4, 0.2, 0.7, depth), GCN2Conv(4, 0.2, 0.7, depth)
    with torch.no_grad():
        ours.taps.mix.weight.copy_(theirs.weight1.T)
    return ours, theirs


@pytest.mark.parametrize("depth", [1, 3, 64])
@pytest.mark.parametrize("weighted", [True, False])
def test_gcnii_is_gcn2conv_of_pyg_forward_and_backward(depth, weighted):
    ours, theirs = pair(depth)
    x, first = (torch.randn(6, 4, requires_grad=True) for _ in range(2))
    weight = torch.rand(7).add_(0.5).requires_grad_() if weighted else None
    leaves = [x, first] + [weight] * weighted
    got, wanted = ours(x, RING, weight, initial=first), theirs(x, first, RING, weight)
    torch.testing.assert_close(got, wanted, **EXACT)
    direction = torch.randn_like(got)
    found = torch.autograd.grad(got, [*leaves, ours.taps.mix.weight], direction)
    right = torch.autograd.grad(wanted, [*leaves, theirs.weight1], direction)
    for a, b in zip(found[:-1], right[:-1], strict=True):
        torch.testing.assert_close(a, b, **EXACT)
    torch.testing.assert_close(found[-1], right[-1].T, **EXACT)


def test_without_an_initial_signal_it_is_the_layers_own():
    ours, theirs = pair()
    x = torch.randn(6, 4)
    torch.testing.assert_close(ours(x, RING), theirs(x, x, RING), **EXACT)
    wider = nets.gcnii(4, 3)
    lifted = wider.lift(torch.eye(4)).squeeze(1)
    torch.testing.assert_close(wider(x, RING), wider(x, RING, initial=x @ lifted), **EXACT)


@pytest.mark.parametrize("lead", [(2,), (2, 3), (0, 2)])
def test_signals_in_a_batch_have_initial_signals_of_their_own(lead):
    ours, _ = pair()
    x, first = torch.randn(*lead, 6, 4), torch.randn(*lead, 6, 4)
    got = ours(x, RING, initial=first)
    assert got.shape == x.shape
    for y, z, h in zip(got.reshape(-1, 6, 4), x.reshape(-1, 6, 4), first.reshape(-1, 6, 4), strict=True):
        torch.testing.assert_close(y, ours(z, RING, initial=h), **EXACT)
    if len(lead) == 1:
        with plainly():
            torch.testing.assert_close(ours(x, RING, initial=first), got, **EXACT)


def test_several_heads_and_hops_of_attention():
    phi = Attention(2, 2, 3)
    conv = EdgeNetConv(5, 3, phi=phi, taps=taps.InitialResidual(0.3, 0.5), bias=False, add_self_loops=False)
    x, first = torch.randn(13, 5), torch.randn(13, 6)
    z = conv.lift(x)
    weights = conv.phi(x, z, GRAPH)
    for k in range(2):
        z = conv.phi.hop(GRAPH, weights[k], None, z)
    u = 0.7 * z.flatten(1) + 0.3 * first
    got = conv(x, GRAPH, initial=first)
    torch.testing.assert_close(got, 0.5 * u + 0.5 * u @ conv.taps.mix.to_dense().T, **EXACT)


def test_its_matrix_is_a_slot():
    ours, _ = pair()
    x, first = torch.randn(6, 4), torch.randn(6, 4)
    wanted = ours(x, RING, initial=first)
    ours.taps.mix = LowRank.from_dense(ours.taps.mix.to_dense(), rank=4)
    torch.testing.assert_close(ours(x, RING, initial=first), wanted, **EXACT)


def test_it_compiles_whole_and_is_exported_with_an_initial_signal():
    ours, _ = pair()
    graph, x, first = Graph(RING, 6), torch.randn(6, 4), torch.randn(6, 4)
    wanted = ours(x, graph, initial=first)
    torch.compiler.reset()
    fast = torch.compile(ours, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(fast(x, graph, initial=first), wanted, **EXACT)
    nodes, edges = torch.export.Dim("nodes", min=3), torch.export.Dim("edges", min=3)
    shapes = {"x": {0: nodes}, "edge_index": {1: edges}, "initial": {0: nodes}}
    program = torch.export.export(ours, (x, RING), {"initial": first}, dynamic_shapes=shapes)
    torch.testing.assert_close(program.module()(x, RING, initial=first), wanted, **EXACT)
    other = random_graph(9, 20).edge_index
    x, first = torch.randn(9, 4), torch.randn(9, 4)
    torch.testing.assert_close(program.module()(x, other, initial=first), ours(x, other, initial=first), **EXACT)


@pytest.mark.parametrize("layer", [nets.gcnn, nets.gat, nets.appnp, nets.hybrid])
def test_taps_that_take_no_initial_signal_say_so(layer):
    with pytest.raises(ShapeError, match=r"taps take no initial signal, and one of \(6, 4\) came"):
        layer(4, 4)(torch.randn(6, 4), RING, initial=torch.randn(6, 4))


@pytest.mark.parametrize(
    ("shape", "says"),
    [((5, 4), "input's 6 rows"), ((2, 6, 4), "input's 6 rows"), ((6, 3), "3 channels, .* walked one of 4")],
)
def test_initial_signals_of_another_shape_are_refused(shape, says):
    with pytest.raises(ShapeError, match=says):
        pair()[0](torch.randn(6, 4), RING, initial=torch.randn(*shape))


def test_sparse_initial_signals_and_pairs_are_refused():
    conv = EdgeNetConv((4, 4), 4, phi=ShiftOperator(1), taps=taps.InitialResidual(), bias=False)
    first = torch.randn(6, 4)
    with pytest.raises(ShapeError, match="bipartite graph has two"):
        conv((first, first[:5]), torch.tensor([[0], [1]]), initial=first)
    with pytest.raises(ShapeError, match="is dense"):
        pair()[0](first, RING, initial=first.to_sparse())


@pytest.mark.parametrize(
    ("options", "says"),
    [({"alpha": 2.0}, "alpha"), ({"theta": -1.0}, "theta >= 0"), ({"depth": 0}, "depth >= 1")],
)
def test_options_out_of_range_are_refused(options, says):
    with pytest.raises((ConfigError, ShapeError), match=says):
        nets.gcnii(4, 4, **options)
    with pytest.raises(ConfigError, match="0 or more, got"):
        taps.InitialResidual(beta=math.nan)
