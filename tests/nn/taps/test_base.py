"""Taps of a user's own: what they must write, and what they are given."""

import pytest
import torch
from torch import nn

from edgenet import EdgeNetConv
from edgenet.errors import ConfigError, ShapeError
from edgenet.nn import specializations as nets
from edgenet.nn import taps
from edgenet.nn.taps.base import Walk, summed
from edgenet.phi import ShiftOperator
from edgenet.testing import random_graph

GRAPH = random_graph(13, 47)


class Doubling(taps.Taps):
    """A walk of its own, and nothing more."""

    def walk(self, z, walk):
        for k in range(walk.order):
            z = 2 * walk.hop(k, z)
        return walk.combine([z], walk.graph)


def test_taps_may_write_a_walk_alone():
    conv = EdgeNetConv(5, 5, phi=ShiftOperator(3), taps=Doubling(), bias=False)
    x = torch.randn(13, 5)
    wanted = EdgeNetConv(5, 5, phi=ShiftOperator(3), taps=taps.Sum(last=True), bias=False)(x, GRAPH)
    torch.testing.assert_close(conv(x, GRAPH), 8 * wanted)
    conv.taps.register_forward_hook(lambda module, args, output: -output)
    torch.testing.assert_close(conv(x, GRAPH), -8 * wanted)


def test_taps_that_say_nothing_are_refused_by_name():
    class Nothing(taps.Taps):
        pass

    with pytest.raises(ConfigError, match=r"Nothing taps do not say .* write forward\(signals, graph\), or walk"):
        Nothing()


@pytest.mark.parametrize("make", [taps.Teleport, taps.InitialResidual, Doubling])
def test_a_walk_of_its_own_is_refused_between_two_sets_of_nodes(make):
    conv = EdgeNetConv((5, 5), 5, phi=ShiftOperator(1), taps=make(), bias=False)
    with pytest.raises(ShapeError, match="a bipartite graph is walked once"):
        conv((torch.randn(4, 5), torch.randn(3, 5)), torch.tensor([[0, 3], [2, 1]]))


@pytest.mark.parametrize("hops", [[0, 1, 2, 3], [1, 3], [3]])
def test_signals_are_added_up_on_the_way(hops):
    weight, z = torch.randn(len(hops)), torch.randn(13, 2, 3)
    own = torch.randn(3, 13, 13)

    def hop(k, z):
        return torch.einsum("ij,jhc->ihc", own[k], z)

    walk = Walk(GRAPH, None, hop, 3, tuple(hops), False, lambda signals, graph: None, True)
    signals = [z]
    for k in range(3):
        signals.append(hop(k, signals[-1]))
    torch.testing.assert_close(summed(z, walk, weight), sum(w * signals[k] for w, k in zip(weight, hops, strict=True)))
    torch.testing.assert_close(summed(z, walk), sum(signals[k] for k in hops))


class Adapter(nn.Module):
    """Around taps, and tells of nothing that they have."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, signals, graph):
        return -self.inner(signals, graph)


@pytest.mark.parametrize(
    "make",
    [lambda: nets.appnp(5, 4, 3), lambda: nets.gcnii(5, 4), lambda: nets.gcat(5, 4, taps="matrix", heads=2),
     lambda: nets.dagnn(5, 4, 3), lambda: nets.arma(5, 4).convs[1]],
)  # fmt: skip
def test_an_adapter_around_taps_changes_what_they_give_and_not_where_they_walk(make):
    conv, x = make(), torch.randn(13, 5)
    wanted = conv(x, GRAPH)
    if conv.bias is not None:
        wanted = wanted - 2 * conv.bias
    conv.taps = Adapter(conv.taps)
    torch.testing.assert_close(conv(x, GRAPH), -wanted)
    if isinstance(conv.taps.inner, taps.InitialResidual):
        first = torch.randn(13, 4)
        conv.taps, inner = conv.taps.inner, conv.taps
        wanted = conv(x, GRAPH, initial=first)
        conv.taps = inner
        torch.testing.assert_close(conv(x, GRAPH, initial=first), -wanted)
