"""Taps of Chebyshev polynomials and of isomorphism networks, against dense matrices."""

import pytest
import torch

from edgenet import EdgeNetConv
from edgenet.errors import ShapeError
from edgenet.nn.taps import Chebyshev, GraphIsomorphism, Stacks
from edgenet.phi import Attention, EdgeVarying, ShiftOperator
from edgenet.structured import Kronecker, StructuredLinear
from edgenet.testing import random_graph

GRAPH = random_graph(13, 47)


def dense_adjacency():
    return torch.zeros(13, 13).index_put((GRAPH.target, GRAPH.source), torch.ones(47), accumulate=True)


@pytest.mark.parametrize("order", [0, 1, 2, 5])
@pytest.mark.parametrize("out", [3, 9])  # narrower than the signal, which is mixed first, and wider
@pytest.mark.parametrize("batch", [None, 2])
@pytest.mark.parametrize("heads", [1, 2])
def test_chebyshev_taps_are_the_polynomials_by_their_cosines(order, out, batch, heads):
    dense = dense_adjacency() + dense_adjacency().T
    dense = dense / torch.linalg.eigvalsh(dense).abs().max()  # eigenvalues in [-1, 1]
    edge_index = dense.nonzero().t().flip(0)
    weight = dense[edge_index[1], edge_index[0]]
    taps = Chebyshev(StructuredLinear.dense(-1, out, bias=True))
    torch.nn.init.normal_(taps.linear.bias)
    columns = weight if heads == 1 else weight[:, None].expand(-1, heads)
    conv = EdgeNetConv(5, out, phi=ShiftOperator(order, heads), taps=taps, bias=False)
    x = torch.randn(*[batch] * (batch is not None), 13, 5)
    got = conv(x, edge_index, columns)
    values, vectors = torch.linalg.eigh(dense)
    polynomials = [(vectors * torch.cos(k * torch.acos(values.clamp(-1, 1)))) @ vectors.T for k in range(order + 1)]
    mix = taps.linear.weight.to_dense().view(out, order + 1, heads, 5).sum(2)
    wanted = sum(t @ x @ mix[:, k].T for k, t in enumerate(polynomials)) + taps.linear.bias
    torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-9)


def test_chebyshev_taps_of_any_structure():
    taps, dense = (Chebyshev(StructuredLinear.dense(20, 4)) for _ in range(2))
    taps.linear.weight = Kronecker.from_dense(taps.linear.weight.to_dense(), factor=(2, 4))
    dense.linear.weight.reset_parameters(taps.linear.weight.to_dense())
    x, weight = torch.randn(13, 5), torch.rand(47)
    ours, theirs = (EdgeNetConv(5, 4, phi=ShiftOperator(3), taps=t, bias=False) for t in (taps, dense))
    torch.testing.assert_close(ours(x, GRAPH, weight), theirs(x, GRAPH, weight))


def test_chebyshev_polynomials_are_of_one_operator():
    taps = Chebyshev(StructuredLinear.dense(-1, 4))
    for options in ({"phi": ShiftOperator(2), "self_tap": False}, {"phi": EdgeVarying(2, 1)}):
        with pytest.raises(ShapeError, match="one operator"):
            EdgeNetConv(5, 4, taps=taps, **options)(torch.randn(13, 5), GRAPH)


@pytest.mark.parametrize("learned", [True, False])
def test_isomorphism_taps_add_the_node_itself_a_little_more(learned):
    taps = GraphIsomorphism(0.25, learned)
    conv = EdgeNetConv(-1, -1, phi=ShiftOperator(2), taps=taps, bias=False)
    x = torch.randn(13, 5)
    dense = dense_adjacency()
    torch.testing.assert_close(conv(x, GRAPH), 1.25 * x + dense @ x + dense @ (dense @ x))
    assert [name for name, _ in conv.named_parameters()] == ["taps.epsilon"] * learned
    with torch.no_grad():
        taps.epsilon.zero_()
    conv.reset_parameters()
    assert taps.epsilon.item() == 0.25


def test_a_width_is_left_open_only_to_taps_that_keep_it():
    with pytest.raises(ShapeError, match="out_channels"):
        EdgeNetConv(5, -1, phi=ShiftOperator(2))


@pytest.mark.parametrize("options", [{"order": 0}, {"stacks": 0}, {"dropout": 1.5}])
def test_stacks_of_nothing_are_refused(options):
    with pytest.raises(ShapeError, match="stacks >= 1"):
        Stacks(5, 3, **options)


def test_stacks_take_a_batch_of_signals_and_drop_inputs_in_training():
    conv = EdgeNetConv(5, 3, phi=ShiftOperator(2, normalize="sym"), taps=Stacks(5, 3, 2, 2, dropout=0.5), bias=False)
    x = torch.randn(4, 13, 5)
    assert not torch.equal(conv(x, GRAPH), conv(x, GRAPH))
    conv.eval()
    torch.testing.assert_close(conv(x, GRAPH), torch.stack([conv(one, GRAPH) for one in x]))


def test_dot_products_and_attention_are_told_apart_by_their_lifts():
    assert EdgeNetConv(5, 4, phi="dot_product").lift.linear.bias is not None
    assert EdgeNetConv(5, 4, phi=Attention(1, 1, 4)).lift.linear.bias is None
