"""ShiftOperator and ShiftProduct: weights that are given."""

import oracles
import pytest
import torch

from edgenet import gso
from edgenet.errors import ShapeError
from edgenet.graph import Graph
from edgenet.phi import ShiftOperator, ShiftProduct
from edgenet.testing import GRAPHS

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
