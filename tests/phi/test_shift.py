"""ShiftOperator and ShiftProduct: weights that are given."""

import oracles
import pytest
import torch

from edgenet import EdgeNetConv, gso
from edgenet.errors import ConfigError, ShapeError
from edgenet.graph import Graph
from edgenet.phi import ShiftOperator, ShiftProduct
from edgenet.testing import GRAPHS
from edgenet.testing.plainly import plainly

GRAPH = GRAPHS["directed"]
Z = torch.zeros(13, 1, 2, dtype=torch.float64)


def test_without_weights_every_edge_weighs_one():
    assert torch.equal(ShiftOperator(order=2)(None, Z, GRAPH), torch.ones(2, 47, 1))


@pytest.mark.parametrize("columns", [(), (1,)])
def test_the_given_weights_are_those_of_every_hop(columns):
    weight = torch.rand(47, *columns)
    assert torch.equal(ShiftOperator(order=3)(None, Z, GRAPH, weight), weight.view(1, 47, 1).expand(3, -1, -1))


@pytest.mark.parametrize("normalisation", ["sym", "rw"])
@pytest.mark.parametrize("weighted", [True, False])
def test_it_normalises_given_weights_and_ones(normalisation, weighted):
    weight = torch.rand(47) if weighted else None
    got = ShiftOperator(1, normalize=normalisation)(None, Z, GRAPH, weight)[0, :, 0]
    wanted = oracles.normalised(oracles.matrix(GRAPH, gso.adjacency(GRAPH, weight)), normalisation)
    torch.testing.assert_close(torch.tensor(oracles.matrix(GRAPH, got)), torch.tensor(wanted), rtol=1e-12, atol=1e-12)


def test_the_normalisation_of_a_bare_graph_is_computed_once_and_of_given_weights_every_time():
    graph = Graph(GRAPH.edge_index, 13)
    phi = ShiftOperator(2, normalize="sym")
    assert phi(None, Z, graph).data_ptr() == phi(None, Z, graph).data_ptr()
    weight = torch.ones(47, requires_grad=True)
    assert phi(None, Z, graph, weight).requires_grad
    assert ShiftOperator(2, normalize="rw")(None, Z, graph).data_ptr() != phi(None, Z, graph).data_ptr()
    assert phi(None, Z.float(), graph).dtype == torch.float32


def test_columns_are_shift_operators_of_their_own():
    weight = torch.rand(47, 3)
    assert torch.equal(ShiftOperator(2, heads=3)(None, Z, GRAPH, weight)[1], weight)


@pytest.mark.parametrize("weight", [None, torch.ones(47), torch.ones(47, 2), torch.ones(46, 3)])
def test_columns_other_than_the_heads_are_refused_with_both_shapes(weight):
    with pytest.raises(ShapeError) as error:
        ShiftOperator(2, heads=3)(None, Z, GRAPH, weight)
    assert "(47, 3)" in str(error.value)
    assert (str(None) if weight is None else str(tuple(weight.shape))) in str(error.value)


def test_an_unknown_normalisation_and_one_of_several_columns_are_refused():
    with pytest.raises(ShapeError, match=r"'sym'.*'both'"):
        ShiftOperator(normalize="both")
    with pytest.raises(ShapeError, match="3 columns"):
        ShiftOperator(heads=3, normalize="sym")


def test_a_shift_product_is_mu0_identity_plus_mu1_shift():
    phi = ShiftProduct(order=2, heads=3)
    weight, z = torch.rand(47), torch.randn(13, 3, 2)
    shift = torch.tensor(oracles.matrix(GRAPH, weight))
    for k in range(2):
        hop = phi.hop(GRAPH, phi(None, z, GRAPH, weight)[k], phi.diagonal(GRAPH)[k], z)
        for h in range(3):
            mu0, mu1 = phi.weight[k, :, h]
            wanted = mu0 * z[:, h] + mu1 * shift @ z[:, h]
            torch.testing.assert_close(hop[:, h], wanted, rtol=1e-12, atol=1e-12)


# ---------------------------------------------------------------- edges that are left out
def without(graph, kept, normalisation):
    """The weights of a graph of the edges that were kept, and 0 at the others."""
    bare = Graph(graph.edge_index[:, kept], graph.num_nodes)
    weight = gso.NORMALISATIONS[normalisation](bare, None)
    return torch.zeros(graph.num_edges).index_put((kept.nonzero().squeeze(1),), weight)


@pytest.mark.parametrize("normalisation", ["sym", "rw"])
def test_what_is_left_of_the_edges_is_normalised(normalisation):
    phi = ShiftOperator(3, normalize=normalisation, edge_dropout=0.4)
    got = phi(None, Z, GRAPH)
    assert got.shape == (3, 47, 1) and torch.equal(got[0], got[2])  # one draw for all hops of a pass
    assert not torch.equal(phi(None, Z, GRAPH), got)
    kept = got[0, :, 0] != 0
    assert 0 < kept.sum() < 47
    torch.testing.assert_close(got[0, :, 0], without(GRAPH, kept, normalisation), rtol=1e-12, atol=1e-12)


def test_loops_stay_and_each_edge_is_left_out_as_often_as_asked():
    graph, _ = GRAPH.with_self_loops()
    phi, loop = ShiftOperator(1, edge_dropout=0.25), graph.source == graph.target
    draws = torch.stack([phi(None, Z, graph)[0, :, 0] for _ in range(2000)])
    assert (draws[:, loop] == 1).all()
    assert set(draws[:, ~loop].unique().tolist()) == {0.0, 1 / 0.75}
    assert ((draws.mean(0) - 1).abs() < 5 * (0.25 / 0.75 / 2000) ** 0.5).all()  # five standard errors


def test_columns_lose_the_same_edges_and_given_weights_their_gradient_there():
    weight = (torch.rand(47, 3) + 1).requires_grad_()
    got = ShiftOperator(1, heads=3, edge_dropout=0.5)(None, Z, GRAPH, weight)[0]
    kept = got[:, 0] != 0
    loop = GRAPH.source == GRAPH.target
    factor = torch.where(loop, 1.0, 2.0 * kept)
    torch.testing.assert_close(got, weight * factor[:, None])
    got.sum().backward()
    torch.testing.assert_close(weight.grad, factor[:, None].expand(-1, 3))


def test_nothing_is_left_out_in_eval_mode():
    phi = ShiftOperator(2, normalize="sym", edge_dropout=0.5).eval()
    assert torch.equal(phi(None, Z, GRAPH), ShiftOperator(2, normalize="sym")(None, Z, GRAPH))


@pytest.mark.parametrize("chance", [-0.1, 1.0, float("nan")])
def test_a_chance_out_of_range_is_refused(chance):
    with pytest.raises(ConfigError, match=rf"edge_dropout is a probability in \[0, 1\), got {chance}"):
        ShiftOperator(edge_dropout=chance)


def test_a_layer_walks_the_edges_that_are_left_by_every_way():
    conv = EdgeNetConv(5, 3, 2, phi="shift", normalize="sym", edge_dropout=0.5, add_self_loops=True)
    graph, x = Graph(GRAPH.edge_index, 13), torch.randn(13, 5)
    torch.manual_seed(1)
    wanted = conv(x, graph)
    torch.compiler.reset()
    fast = torch.compile(conv, fullgraph=True, backend="aot_eager")
    torch.manual_seed(1)
    torch.testing.assert_close(fast(x, graph), wanted)
    torch.manual_seed(1)
    with plainly():
        torch.testing.assert_close(conv(x, graph), wanted)
    conv.eval()
    assert torch.equal(conv(x, graph), conv(x, graph))
