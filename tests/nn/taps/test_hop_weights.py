"""Taps that weigh whole hops: means, given and learned numbers, and numbers that every node reads off its signals."""

import copy

import pytest
import torch
from torch import nn

from edgenet import EdgeNetConv, gso
from edgenet.errors import ConfigError, PlanError, ShapeError
from edgenet.nn import specializations as nets
from edgenet.nn import taps
from edgenet.nn.keep import keep_taps_
from edgenet.nn.lift import Identity
from edgenet.phi import Attention, ShiftOperator
from edgenet.structured import Dense, LowRank
from edgenet.testing import random_graph
from edgenet.train.numbers import default_dtype

GRAPH = random_graph(13, 47)
EXACT = {"rtol": 1e-10, "atol": 1e-10}


def walked(taps_, order=3, channels=5, **options):
    return EdgeNetConv(channels, channels, phi=ShiftOperator(order, normalize="sym"), taps=taps_, bias=False, **options)


def hops(conv, x):
    """(N, F) signals z^(0), ..., z^(K), by the dense operator."""
    graph = GRAPH.with_self_loops()[0] if conv.add_self_loops else GRAPH
    weight = gso.symmetric(graph)
    dense = torch.zeros(13, 13).index_put((graph.target, graph.source), weight, accumulate=True)
    return [torch.linalg.matrix_power(dense, k) @ x for k in range(conv.order + 1)]


def assert_same(conv, x, wanted):
    """Output and gradients."""
    leaves = [x, *conv.parameters()]
    got = conv(x, GRAPH)
    torch.testing.assert_close(got, wanted, **EXACT)
    direction = torch.randn_like(got)
    for ours, right in zip(
        torch.autograd.grad(got, leaves, direction), torch.autograd.grad(wanted, leaves, direction), strict=True
    ):
        torch.testing.assert_close(ours, right, **EXACT)


# ---------------------------------------------------------------- mean, numbers
@pytest.mark.parametrize("order", [0, 1, 4])
def test_the_mean_is_that_of_all_hops(order):
    conv, x = walked(taps.Mean(), order), torch.randn(13, 5, requires_grad=True)
    assert_same(conv, x, sum(hops(conv, x)) / (order + 1))


def test_the_mean_of_some_hops_and_heads():
    conv = EdgeNetConv(5, 5, phi=ShiftOperator(3, heads=2), taps=taps.Mean("mean"), hops=[1, 3], bias=False)
    x, weight = torch.randn(13, 5), torch.rand(47, 2)
    dense = torch.zeros(2, 13, 13).index_put(
        (torch.arange(2)[:, None], GRAPH.target, GRAPH.source), weight.T, accumulate=True
    )
    wanted = sum(torch.linalg.matrix_power(dense[h], k) @ x for h in range(2) for k in (1, 3)) / 4
    torch.testing.assert_close(conv(x, GRAPH, weight), wanted, **EXACT)


@pytest.mark.parametrize("learned", [True, False])
def test_scaled_taps_start_with_the_given_numbers_and_learn_them_or_not(learned):
    start = [0.5, -1.0, 0.25, 2.0]
    conv, x = walked(taps.Scaled(4, learned=learned, start=start)), torch.randn(13, 5, requires_grad=True)
    assert [name for name, _ in conv.named_parameters()] == (["taps.weight"] if learned else [])
    assert_same(conv, x, sum(w * z for w, z in zip(conv.taps.weight, hops(conv, x), strict=True)))
    assert conv.taps.weight.tolist() == start
    with torch.no_grad():
        conv.taps.weight.zero_()
    conv.reset_parameters()
    assert conv.taps.weight.tolist() == start


@pytest.mark.parametrize("learned", [True, False])
def test_hops_can_be_taken_from_scaled_taps(learned):
    conv, x = walked(taps.Scaled(4, learned=learned, start=[1.0, 0.0, 3.0, 0.0])), torch.randn(13, 5)
    wanted = conv(x, GRAPH)
    keep_taps_(conv, [(0, 0), (2, 0)])
    torch.testing.assert_close(conv(x, GRAPH), wanted, **EXACT)
    assert conv.taps.weight.tolist() == conv.taps.start == [1.0, 3.0]


def test_a_mean_of_fewer_hops_would_be_another():
    with pytest.raises(PlanError, match="Mean taps need all their signals"):
        keep_taps_(walked(taps.Mean()), [(0, 0), (1, 0)])


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: taps.Scaled(3, start=[1.0]), ShapeError, "a number for each of 3 signals, got 1"),
        (lambda: taps.Mean("max"), ShapeError, "merge is one of"),
        (lambda: taps.Adaptive(0), ShapeError, "channels >= 1, or -1 .* got 0"),
        (lambda: nets.gpr(4, 3, alpha=1.5), ConfigError, r"alpha, .* in \[0, 1\], got 1.5"),
    ],
)
def test_options_out_of_range_are_refused(make, error, says):
    with pytest.raises(error, match=says):
        make()


# ---------------------------------------------------------------- pagerank
@pytest.mark.parametrize("order", [0, 1, 6])
def test_scaled_taps_that_start_at_pagerank_are_the_walk_that_teleports(order):
    x = torch.randn(13, 5, requires_grad=True)
    conv = walked(taps.Scaled(order + 1, start=taps.pagerank_weights(order, 0.2)), order)
    torch.testing.assert_close(conv(x, GRAPH), walked(taps.Teleport(0.2), order)(x, GRAPH), **EXACT)
    assert sum(taps.pagerank_weights(order, 0.2)) == pytest.approx(1)


# ---------------------------------------------------------------- adaptive
def test_adaptive_taps_are_eq_8_of_dagnn():
    conv, x = walked(taps.Adaptive(5)), torch.randn(13, 5, requires_grad=True)
    nn.init.normal_(conv.taps.score.bias)
    assert_same(conv, x, adapted(conv, hops(conv, x)))


def test_adaptive_taps_weigh_all_heads_alike():
    conv = EdgeNetConv(5, 5, phi=ShiftOperator(3, heads=2), taps=taps.Adaptive(5), bias=False)
    x, weight = torch.randn(13, 5), gso.symmetric(GRAPH)
    alone = walked(taps.Adaptive(5))
    alone.taps.load_state_dict(conv.taps.state_dict())
    torch.testing.assert_close(conv(x, GRAPH, weight[:, None].expand(-1, 2)), alone(x, GRAPH).repeat(1, 2), **EXACT)


def adapted(conv, signals):
    weight, bias = conv.taps.score.weight.to_dense(), conv.taps.score.bias
    return sum(torch.sigmoid(z @ weight.T + bias) * z for z in signals)


def test_adaptive_taps_start_as_a_linear_layer_of_torch_does():
    torch.manual_seed(0)
    score = taps.Adaptive(400).score
    for parameter in (score.weight.to_dense(), score.bias):
        assert parameter.abs().max() <= 400**-0.5
    assert score.weight.to_dense().abs().max() > 0.9 * 400**-0.5


def test_adaptive_taps_read_their_width_off_the_first_signal():
    conv = EdgeNetConv(-1, -1, phi=ShiftOperator(2), taps=taps.Adaptive(), bias=False)
    assert conv(torch.randn(13, 5), GRAPH).shape == (13, 5)
    assert conv.taps.score.weight.shape == (1, 5)


def test_what_stands_in_the_slot_of_adaptive_taps_counts():
    conv, x = walked(taps.Adaptive(5)), torch.randn(13, 5)
    wanted = conv(x, GRAPH)
    other = copy.deepcopy(conv)
    other.taps.score.weight = LowRank.from_dense(conv.taps.score.weight.to_dense(), rank=1)
    torch.testing.assert_close(other(x, GRAPH), wanted, **EXACT)
    other.taps.score.weight = Dense(2 * conv.taps.score.weight.to_dense())
    assert not torch.allclose(other(x, GRAPH), wanted)


def test_adaptive_taps_serve_attention():
    phi = Attention(2, 3, 5)
    conv = EdgeNetConv(5, 5, phi=phi, lift=Identity(3), taps=taps.Adaptive(5, merge="mean"), self_tap=True)
    assert conv(torch.randn(13, 5), GRAPH).shape == (13, 5)


def test_hops_can_be_taken_from_adaptive_taps():
    conv, x = walked(taps.Adaptive(5)), torch.randn(13, 5)
    z = hops(conv, x)
    keep_taps_(conv, [(0, 0), (2, 0)])
    torch.testing.assert_close(conv(x, GRAPH), adapted(conv, [z[0], z[2]]), **EXACT)


def test_an_adapter_may_stand_in_the_place_of_the_scores_map():
    class Doubled(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            return 2 * self.inner(x)

    mine, other = taps.Adaptive(4), taps.Adaptive(4)
    other.load_state_dict({name: 2 * p for name, p in mine.state_dict().items()})
    mine.score = Doubled(mine.score)
    signals = [torch.randn(6, 1, 4) for _ in range(3)]
    torch.testing.assert_close(mine(signals, None), other(signals, None))


def test_numbers_of_hops_are_drawn_anew_in_the_precision_that_they_have():
    scaled = taps.Scaled(2, start=[0.1, 0.9]).double()
    with default_dtype(torch.float32):
        scaled.reset_parameters()
    assert scaled.weight.tolist() == [0.1, 0.9]
