"""gso: the usual shift operators, against dense matrices and against PyG."""

import math

import numpy as np
import oracles
import pytest
import torch
from torch_geometric.nn.conv.gcn_conv import gcn_norm
from torch_geometric.utils import get_laplacian

from edgenet import gso
from edgenet.errors import ShapeError
from edgenet.graph import Graph
from edgenet.nn import EdgeNetConv
from edgenet.nn import specializations as nets
from edgenet.testing import GRAPHS, random_graph

graphs = pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)
weighted = pytest.mark.parametrize("weighted", [False, True])
BIPARTITE = Graph(torch.tensor([[0, 3, 3], [1, 0, 1]]), 2, 4)


def weights(graph, weighted):
    return torch.rand(graph.num_edges) + 0.5 if weighted else None


def undirected(*edges, num_nodes):
    edge_index = torch.tensor(edges).t()
    return Graph(torch.cat([edge_index, edge_index.flip(0)], dim=1), num_nodes)


def near(got: torch.Tensor, wanted: np.ndarray) -> None:
    np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-12)


@graphs
@weighted
@pytest.mark.parametrize("normalisation", ["sym", "rw", None])
def test_the_normalised_operator_is_the_dense_one(graph, weighted, normalisation):
    weight = weights(graph, weighted)
    normalised = gso.NORMALISATIONS[normalisation](graph, weight)
    wanted = oracles.normalised(oracles.matrix(graph, gso.adjacency(graph, weight)), normalisation)
    near(oracles.matrix(graph, normalised), wanted)


@graphs
@weighted
def test_the_symmetric_operator_with_loops_is_pygs_gcn_norm(graph, weighted):
    weight = weights(graph, weighted)
    looped, kept = graph.with_self_loops()
    edge_index, wanted = gcn_norm(graph.edge_index[:, kept], None if weight is None else weight[kept], graph.num_nodes)
    ones = torch.ones(graph.num_nodes)
    got = gso.symmetric(looped, None if weight is None else torch.cat([weight[kept], ones]))
    assert torch.equal(looped.edge_index, edge_index)
    near(got, wanted)


@graphs
@weighted
@pytest.mark.parametrize("normalisation", [None, "sym", "rw"])
def test_the_laplacian_is_pygs_but_for_isolated_nodes(graph, weighted, normalisation):
    weight = weights(graph, weighted)
    looped, got = gso.laplacian(graph, weight, normalisation)
    # PyG's degree is that of row 0, so it is given the transpose; a node without in-edges has 1 on its diagonal there
    turned, wanted = get_laplacian(graph.edge_index.flip(0), weight, normalisation, num_nodes=graph.num_nodes)
    bare, _ = graph.without_self_loops()
    if normalisation is not None:
        wanted[bare.num_edges :][bare.in_degree == 0] = 0
    assert torch.equal(looped.edge_index, turned.flip(0))
    near(got, wanted)


@weighted
def test_the_rows_of_a_laplacian_sum_to_zero(weighted):
    graph = GRAPHS["directed"]
    for normalisation in (None, "rw"):
        looped, weight = gso.laplacian(graph, weights(graph, weighted), normalisation)
        near(oracles.matrix(looped, weight).sum(1), np.zeros(13))


def test_an_unknown_normalisation_is_refused_with_the_known_ones():
    with pytest.raises(ShapeError, match=r"'rw', 'sym'.*'both'"):
        gso.laplacian(GRAPHS["path"], normalisation="both")


def test_a_node_without_in_edges_has_weight_zero_and_none_is_infinite():
    graph = Graph(torch.tensor([[0, 0], [1, 2]]), 3)  # node 0 sends and never receives
    assert gso.symmetric(graph).tolist() == [0, 0] and gso.random_walk(graph).tolist() == [1, 1]


@pytest.mark.parametrize("operator", [gso.symmetric, gso.random_walk])
def test_edges_of_weight_zero_leave_no_nan_in_values_or_gradients(operator):
    weight = torch.tensor([0.0, 2.0, 0.0], requires_grad=True)
    graph = Graph(torch.tensor([[0, 1, 2], [1, 0, 1]]), 3)
    values = operator(graph, weight)
    values.sum().backward()
    assert values.isfinite().all() and weight.grad.isfinite().all()


def test_a_degree_in_bfloat16_counts_beyond_256():
    leaves = 5000
    star = Graph(torch.stack([torch.arange(1, leaves + 1), torch.zeros(leaves, dtype=torch.long)]), leaves + 1)
    for dtype in (torch.bfloat16, torch.float16):
        weight = gso.random_walk(star, dtype=dtype)
        assert weight.dtype == dtype
        assert abs(weight.float().sum().item() - 1) < 0.01  # 8 bits of mantissa


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_weights_are_made_in_the_dtype_asked_for(dtype):
    graph = GRAPHS["directed"]
    for operator in (gso.adjacency, gso.degree, gso.symmetric, gso.random_walk):
        assert operator(graph, None, dtype).dtype == dtype
        assert operator(graph, torch.ones(47, dtype=dtype)).dtype == dtype
    assert gso.laplacian(graph, dtype=dtype)[1].dtype == dtype


@pytest.mark.parametrize("shape", [(46,), (47, 1), (47, 2)])
def test_weights_of_another_shape_are_refused_with_it(shape):
    for operator in (gso.adjacency, gso.degree, gso.symmetric, gso.random_walk, gso.laplacian, gso.scaled):
        with pytest.raises(ShapeError) as error:
            operator(GRAPHS["directed"], torch.ones(shape))
        assert "47 edges" in str(error.value) and str(shape) in str(error.value)


def test_a_bipartite_graph_averages_but_has_no_symmetric_form():
    assert gso.random_walk(BIPARTITE).tolist() == [0.5, 1.0, 0.5]
    with pytest.raises(ShapeError, match="random_walk"):
        gso.symmetric(BIPARTITE)


# --- eigenvalues ------------------------------------------------------------------------------------------------------
def dense_radius(graph, weight=None):
    return np.abs(np.linalg.eigvals(oracles.matrix(graph, gso.adjacency(graph, weight)))).max()


@graphs
@weighted
def test_on_small_graphs_it_is_the_dense_largest_eigenvalue(graph, weighted):
    if graph.num_nodes == 0:
        return
    weight = weights(graph, weighted)
    assert gso.largest_eigenvalue(graph, weight) == pytest.approx(dense_radius(graph, weight), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("num_nodes", [31, 32, 300])
def test_on_undirected_graphs_of_any_size_it_is_the_known_one(num_nodes):
    path = undirected(*((i, i + 1) for i in range(num_nodes - 1)), num_nodes=num_nodes)
    assert gso.largest_eigenvalue(path) == pytest.approx(2 * math.cos(math.pi / (num_nodes + 1)), rel=1e-9)
    negative = -torch.ones(path.num_edges)
    assert gso.largest_eigenvalue(path, negative) == pytest.approx(gso.largest_eigenvalue(path), rel=1e-9)


def test_on_a_large_directed_graph_it_is_the_dense_one():
    graph = random_graph(120, 500)
    for weight in (None, torch.randn(500)):
        assert gso.largest_eigenvalue(graph, weight) == pytest.approx(dense_radius(graph, weight), rel=1e-6)


@pytest.mark.parametrize("num_nodes", [5, 60])
@pytest.mark.parametrize("hermitian", [False, True])
def test_of_complex_weights_it_counts_both_parts(num_nodes, hermitian):
    there = torch.randint(0, num_nodes, (2, 4 * num_nodes))
    weight = torch.randn(4 * num_nodes, dtype=torch.complex128)
    weight[::2] = 1j * weight[::2].imag  # entries without a real part connect nodes, too
    if hermitian:
        there, weight = torch.cat([there, there.flip(0)], 1), torch.cat([weight, weight.conj()])
    graph = Graph(there, num_nodes)
    matrix = torch.zeros(num_nodes, num_nodes, dtype=weight.dtype)
    matrix.index_put_((graph.target, graph.source), weight, accumulate=True)
    radius = torch.linalg.eigvals(matrix).abs().max().item()
    assert gso.largest_eigenvalue(graph, weight) == pytest.approx(radius, rel=1e-6)
    torch.testing.assert_close(gso.scaled(graph, weight), weight / radius, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("num_nodes", [5, 60])
def test_of_a_directed_path_it_is_zero_for_nothing_returns(num_nodes):
    nodes = torch.randperm(num_nodes)
    path = Graph(torch.stack([nodes[:-1], nodes[1:]]), num_nodes)
    assert gso.largest_eigenvalue(path) == 0
    assert torch.equal(gso.scaled(path), torch.ones(num_nodes - 1))


@pytest.mark.parametrize("num_nodes", [5, 60])
def test_of_a_directed_ring_whose_eigenvalues_are_all_as_large_it_is_one(num_nodes):
    nodes = torch.arange(num_nodes)
    ring = Graph(torch.stack([nodes, (nodes + 1) % num_nodes]), num_nodes)
    assert gso.largest_eigenvalue(ring) == pytest.approx(1, rel=1e-9)


def test_of_a_directed_graph_it_is_the_largest_among_its_loops_and_cycles():
    # a loop of weight 3 on a node that never returns; a cycle 1 -> 2 -> 1 of product 4; 40 nodes that hang on it
    hanging = torch.arange(3, 43)
    edge_index = torch.cat(
        [torch.tensor([[0, 0, 1, 2], [0, 1, 2, 1]]), torch.stack([torch.ones(40).long(), hanging])], 1
    )
    weight = torch.cat([torch.tensor([-3.0, 9.0, 8.0, 0.5]), torch.full((40,), 100.0)])
    assert gso.largest_eigenvalue(Graph(edge_index, 43), weight) == pytest.approx(3)
    weight[0] = 1.0
    assert gso.largest_eigenvalue(Graph(edge_index, 43), weight) == pytest.approx(2)


@pytest.mark.parametrize("num_nodes", [3, 50])
def test_without_edges_or_with_weights_of_zero_it_is_zero(num_nodes):
    nothing = Graph(torch.empty(2, 0, dtype=torch.long), num_nodes)
    assert gso.largest_eigenvalue(nothing) == 0 and gso.scaled(nothing).shape == (0,)
    ring = Graph(torch.stack([torch.arange(num_nodes), torch.arange(num_nodes).roll(1)]), num_nodes)
    zeros = torch.zeros(num_nodes)
    assert gso.largest_eigenvalue(ring, zeros) == 0 and torch.equal(gso.scaled(ring, zeros), zeros)


def test_a_graph_without_nodes_or_of_two_kinds_has_no_eigenvalues():
    for graph, size in ((GRAPHS["zero_nodes"], "0 x 0"), (BIPARTITE, "2 x 4")):
        with pytest.raises(ShapeError, match=size):
            gso.largest_eigenvalue(graph)


@weighted
@pytest.mark.parametrize("num_nodes", [9, 80])
def test_the_scaled_operator_has_spectral_radius_one(weighted, num_nodes):
    graph = random_graph(num_nodes, 5 * num_nodes)
    scaled = gso.scaled(graph, weights(graph, weighted))
    assert dense_radius(graph, scaled) == pytest.approx(1, rel=1e-6)


def test_the_largest_eigenvalue_comes_out_the_same_every_time():
    graph = random_graph(80, 400)
    assert len({gso.largest_eigenvalue(graph) for _ in range(3)}) == 1


# --- weights of few bits ----------------------------------------------------------------------------------------------
INTEGERS = [torch.uint8, torch.int8, torch.bool, torch.int16, torch.int32, torch.int64]
OPERATORS = {
    "adjacency": gso.adjacency,
    "degree": gso.degree,
    "symmetric": gso.symmetric,
    "random_walk": gso.random_walk,
    "laplacian": lambda *args: gso.laplacian(*args)[1],
    "symmetric laplacian": lambda graph, weight: gso.laplacian(graph, weight, "sym")[1],
    "scaled": gso.scaled,
}
BUSY = undirected(*((0, i) for i in range(1, 300)), num_nodes=300)  # one node of degree 299


def given(dtype):
    ones = torch.randint(0, 2, (BUSY.num_edges,))
    return ones.bool() if dtype == torch.bool else torch.full_like(ones, 100).to(dtype)


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
@pytest.mark.parametrize("operator", OPERATORS)
def test_integers_are_added_as_floats(operator, dtype):
    weight = given(dtype)
    got = OPERATORS[operator](BUSY, weight)
    assert got.dtype == torch.get_default_dtype()
    torch.testing.assert_close(got, OPERATORS[operator](BUSY, weight.double()), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
@pytest.mark.parametrize("build", [
    lambda: nets.gcnn(3, 2, order=2), lambda: nets.gcnn(3, 2, order=2, normalize="sym"),
    lambda: nets.gcnn(3, 2, order=2, normalize="rw"), lambda: EdgeNetConv(3, 2, 2, phi="shift_product"),
    lambda: EdgeNetConv(3, 2, 2, times_edge_weight=True), lambda: nets.gat(3, 2, add_self_loops=False),
])  # fmt: skip
def test_layers_take_integers_for_floats_of_the_signals_kind(build, dtype):
    layer, weight = build().float(), given(dtype)
    x = torch.randn(300, 3, dtype=torch.float32)
    got = layer(x, BUSY, weight)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, layer(x, BUSY, weight.float()))


def test_several_shift_operators_of_integers_are_walked_as_floats():
    layer = nets.gcnn(3, 2, order=2, shifts=2, normalize=None)
    weight = torch.full((598, 2), 100, dtype=torch.uint8)
    x = torch.randn(300, 3)
    torch.testing.assert_close(layer(x, BUSY, weight), layer(x, BUSY, weight.double()))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("operator", [gso.symmetric, gso.random_walk])
def test_floats_of_few_bits_are_normalised_as_wide_ones(operator, dtype):
    weight = torch.full((598,), 300.0, dtype=dtype)  # 299 of them are more than float16 holds
    got = operator(BUSY, weight)
    assert got.dtype == dtype
    torch.testing.assert_close(got, operator(BUSY, weight.float()).to(dtype), rtol=0, atol=0)
