"""Layers on graphs, weights and ids that they were not made for: refused, never nearly right."""

import dataclasses

import pytest
import torch

from edgenet import ops
from edgenet.errors import EdgeIndexError, ShapeError, SupportError
from edgenet.graph import Graph
from edgenet.nn import EdgeNetConv, Parallel, taps
from edgenet.nn import specializations as nets
from edgenet.phi import ShiftOperator

RING = torch.tensor([[0, 1, 2, 3, 1, 2, 3, 0], [1, 2, 3, 0, 0, 1, 2, 3]])
OTHER = torch.tensor([[0, 1, 2, 3, 2, 3, 0, 1], [1, 0, 3, 2, 0, 1, 2, 3]])


def test_a_spectral_filter_refuses_another_graph_and_other_weights():
    x, weight = torch.randn(4, 3), torch.rand(4).repeat(2)
    conv = nets.spectral(3, 2, normalize=None)
    y = conv(x, RING)
    shuffled = torch.randperm(8)
    torch.testing.assert_close(conv(x, RING[:, shuffled]), y)
    for edges, given in ((OTHER, None), (RING, weight)):
        with pytest.raises(SupportError, match="belongs to another graph"):
            conv(x, edges, given)
    with pytest.raises(SupportError, match="sampled pieces"):
        nets.spectral(3, 2)(x, RING, n_id=torch.arange(4))
    with pytest.raises(ShapeError, match="needs num_nodes"):
        nets.spectral(3, 2).bind(RING)


def test_a_spectral_filter_reads_the_values_of_a_sparse_adjacency():
    weight = torch.rand(4).repeat(2)
    adjacency = torch.sparse_coo_tensor(RING.flip(0), weight, (4, 4))
    x, conv = torch.randn(4, 3), nets.spectral(3, 2, normalize=None)
    y = conv(x, adjacency)
    torch.testing.assert_close(conv(x, RING, weight), y)


@pytest.mark.parametrize("layer", [nets.gcnn, nets.spectral_product, nets.spectral])
def test_several_columns_of_weights_are_refused_by_a_layer_for_one(layer):
    with pytest.raises(ShapeError, match=r"\(8, 3\)"):
        layer(3, 2)(torch.randn(4, 3), RING, torch.rand(8, 3))
    with pytest.raises(ShapeError, match=r"\(12, 3\)"):  # with the loops
        nets.gat(3, 2, heads=2)(torch.randn(4, 3), RING, torch.rand(8, 3))


@pytest.mark.parametrize("layer", [nets.gcn, nets.gat, nets.gcnn, nets.edge_varying])
def test_a_first_pass_in_inference_mode_does_not_spoil_training(layer):
    edges, x, conv = RING.clone(), torch.randn(4, 3), layer(3, 2).bind(RING, 4)
    with torch.inference_mode():
        conv(x, edges)
    conv(x, edges).sum().backward()


@pytest.mark.parametrize("layer", [lambda: nets.node_varying(3, 2), lambda: nets.edge_varying(3, 2, share="node")])
def test_rows_of_nodes_are_not_found_by_edge_ids_alone(layer):
    conv, x = layer().bind(RING, 4), torch.randn(4, 3)
    order = torch.tensor([2, 0, 3, 1])
    rank = order.argsort()
    with pytest.raises(SupportError, match="pass n_id"):
        conv(x[order], rank[RING], e_id=torch.arange(8))
    torch.testing.assert_close(conv(x[order], rank[RING], n_id=order, e_id=torch.arange(8)), conv(x, RING)[order])


def test_added_loops_of_a_piece_need_node_ids():
    conv = EdgeNetConv(3, 2, phi="edge_varying", self_loops=False, add_self_loops=True).bind(RING, 4)
    x, order = torch.randn(4, 3), torch.tensor([2, 0, 3, 1])
    y, moved = conv(x, RING), order.argsort()[RING]
    with pytest.raises(SupportError, match="pass n_id"):
        conv(x[order], moved, e_id=torch.arange(8))
    torch.testing.assert_close(conv(x[order], moved, n_id=order), y[order])


def test_binding_again_in_another_order_moves_the_edge_ids():
    conv = EdgeNetConv(3, 2, phi="edge_varying").bind(RING, 4)
    shuffled = torch.randperm(8, generator=torch.Generator().manual_seed(1))
    conv.bind(RING[:, shuffled], 4)
    x, some = torch.randn(4, 3), torch.tensor([1, 5])
    piece = RING[:, shuffled][:, some]
    torch.testing.assert_close(conv(x, piece, n_id=torch.arange(4)), conv(x, piece, n_id=torch.arange(4), e_id=some))
    loaded = EdgeNetConv(3, 2, phi="edge_varying").bind(RING, 4)
    loaded.load_state_dict(conv.state_dict())
    rows = loaded.phi.where.of_edges(Graph(piece, 4, edge_id=shuffled[some]), None)
    assert rows.tolist() == loaded.phi.where.of_edges(Graph(piece, 4), None).tolist()


def test_a_replaced_graph_is_checked_and_computed_anew():
    graph = Graph(RING, 4)
    assert graph.in_degree.tolist() == [2, 2, 2, 2]
    other = dataclasses.replace(graph, edge_index=RING[:, :3])
    assert other.in_degree.tolist() == [0, 1, 1, 1] and graph.in_degree.tolist() == [2, 2, 2, 2]
    with pytest.raises(EdgeIndexError, match="9"):
        dataclasses.replace(graph, edge_index=torch.tensor([[9], [0]]))


def test_a_graph_whose_edges_are_changed_in_place_is_computed_anew():
    edges = RING.clone()
    graph = Graph(edges, 4)
    assert graph.in_degree.tolist() == [2, 2, 2, 2]
    edges[1] = 0
    assert graph.in_degree.tolist() == [8, 0, 0, 0]


def test_a_graph_forgets_the_rows_of_tables_long_gone():
    graph, x = Graph(RING, 4), torch.randn(4, 3)
    for _ in range(40):
        nets.edge_varying(3, 2)(x, graph)
    assert len(graph._memo) < 80


def test_taps_of_several_shift_operators_are_bound_at_their_width():
    conv = EdgeNetConv(3, 2, phi=ShiftOperator(2, heads=2), taps=taps.NodeVarying(2, 3)).bind(RING, 4)
    assert conv(torch.randn(4, 3), RING, torch.rand(8, 2)).shape == (4, 2)


def test_shared_weights_keep_the_scale_of_the_signal_on_dense_graphs():
    edges = torch.randint(0, 200, (2, 10000))
    x = torch.randn(200, 8)
    for layer in (nets.edge_varying(8, 8, 3, share="hash", buckets=50, bank="heads"), nets.spectral_product(8, 8, 3)):
        assert layer(x, edges).std() < 20


def test_sums_of_layers_have_no_one_set_of_edge_weights():
    with pytest.raises(ShapeError, match="several sets of edge weights"):
        nets.hybrid(3, 2)(torch.randn(4, 3), RING, return_attention_weights=True)


def test_values_of_a_sparse_adjacency_reach_attention_as_in_pyg():
    from torch_geometric.nn import GATConv

    adjacency = torch.sparse_coo_tensor(RING.flip(0), torch.rand(8), (4, 4)).to_sparse_csr()
    x, theirs, ours = torch.randn(4, 3), GATConv(3, 2, add_self_loops=False), nets.gat(3, 2, add_self_loops=False)
    for mine, value in (
        (ours.lift.linear.weight.weight, theirs.lin.weight),
        (ours.phi.att_source.weight, theirs.att_src),
        (ours.phi.att_target.weight, theirs.att_dst),
    ):
        mine.data.copy_(value.data.view_as(mine))
    torch.testing.assert_close(ours(x, adjacency), theirs(x, adjacency))


def test_complex_signals_have_the_right_gradients():
    graph = Graph(RING, 4)
    weight = torch.randn(8, 2, dtype=torch.cdouble, requires_grad=True)
    x = torch.randn(4, 2, 3, dtype=torch.cdouble, requires_grad=True)
    assert torch.autograd.gradcheck(lambda w, z: ops.spmm(graph, w, z), (weight, x))
    a = torch.randn(4, 2, 3, dtype=torch.cdouble, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a, b: ops.sddmm(graph, a, b), (a, x))


@pytest.mark.parametrize("layer", [nets.gcnn, nets.edge_varying, nets.spectral_product])
def test_edge_features_are_refused_where_nothing_reads_them(layer):
    with pytest.raises(ShapeError, match="reads no edge features"):
        layer(3, 2)(torch.randn(4, 3), RING, edge_attr=torch.randn(8, 5))


def test_a_graph_classifier_with_tables_takes_sampled_pieces():
    from edgenet.models import GraphClassifier

    model = GraphClassifier(3, 2, layer="edge_varying", hidden_channels=4).bind(Graph(RING, 4))
    x, order = torch.randn(4, 3), torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(model(x[order], order.argsort()[RING], n_id=order), model(x, RING))


def test_a_sum_of_layers_says_whether_one_of_them_adds_loops():
    assert Parallel(nets.gcnn(4, 3), nets.gat(4, 3)).add_self_loops
    assert not Parallel(nets.gcnn(4, 3), nets.gcnn(4, 3)).add_self_loops


@pytest.mark.parametrize("groups", [None, 3])
def test_taps_of_nodes_are_found_by_number_on_a_sampled_piece(groups):
    """A node takes its own taps, wherever it stands in the piece."""
    edges = torch.tensor([[0, 1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 0]])
    layer, x = nets.node_varying(4, 3, 1, groups=groups, normalize=None).bind(edges, 6), torch.randn(6, 4)
    with torch.no_grad():
        layer.taps.table.weight.normal_()
    n_id = torch.tensor([5, 2, 4, 1])
    piece = torch.tensor([[2, 3], [0, 1]])  # 4 -> 5 and 1 -> 2
    found = layer(x[n_id], piece, n_id=n_id)[:2]  # the nodes of which all in-edges are there
    torch.testing.assert_close(found, layer(x, edges)[[5, 2]], rtol=1e-12, atol=1e-12)
