"""EdgeVarying and EdgeMatrix: weights of edges stay with their edges, or an error says why they cannot."""

import copy
import re

import pytest
import torch
from edge_tables import GRAPH, bound, piece, weights

from edgenet import gso
from edgenet.errors import ShapeError, SupportError
from edgenet.graph import Graph
from edgenet.nn import EdgeNetConv
from edgenet.phi import EdgeMatrix, EdgeVarying
from edgenet.phi.rows import important_nodes
from edgenet.testing import GRAPHS, random_graph

graphs = pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)


def without_edges(num_nodes=3):
    return Graph(torch.empty(2, 0, dtype=torch.long), num_nodes)


# --- whose weight it is -----------------------------------------------------------------------------------------------
@graphs
@pytest.mark.parametrize("self_loops", [True, False])
def test_every_pair_of_nodes_with_an_edge_has_a_row_ordered_by_target_then_source(graph, self_loops):
    phi = bound(graph, self_loops=self_loops)
    pairs = [(i, j) for j, i in graph.edge_index.t().tolist()]
    rows = sorted({(i, j) for i, j in pairs if i != j or not self_loops})
    assert phi.edge_table.shape == (len(rows), 2 * 3)
    got = weights(phi, graph)
    for e, pair in enumerate(pairs):
        wanted = phi.edge_table.to_dense()[rows.index(pair)].view(2, 3) if pair in rows else torch.zeros(2, 3)
        assert torch.equal(got[:, e], wanted)


def test_repeated_edges_share_a_row():
    phi = bound(GRAPHS["repeated_edges"])
    got = weights(phi, GRAPHS["repeated_edges"])
    assert phi.where.edge_rows == 3
    assert torch.equal(got[:, 0], got[:, 2]) and torch.equal(got[:, 0], got[:, 4])


@pytest.mark.parametrize("listed", [True, False])
def test_a_layer_is_the_same_function_whether_or_not_self_loops_are_listed(listed):
    bare, _ = GRAPH.without_self_loops()
    layer = EdgeNetConv(3, 4, order=2, heads=2, phi="edge_varying")
    layer.bind(GRAPH if listed else bare)
    with torch.no_grad():
        layer.phi.node_table.weight.normal_()
    x = torch.randn(13, 3)
    wanted = layer(x, bare)
    torch.testing.assert_close(layer(x, GRAPH), wanted, rtol=1e-12, atol=1e-12)
    everywhere, _ = GRAPH.with_self_loops()
    torch.testing.assert_close(layer(x, everywhere), wanted, rtol=1e-12, atol=1e-12)


def test_without_a_diagonal_loops_are_edges_like_others():
    phi = bound(GRAPHS["self_loops"], self_loops=False)
    assert phi.node_table is None and phi.diagonal(GRAPHS["self_loops"]) is None
    assert (weights(phi, GRAPHS["self_loops"]) != 0).all()
    everywhere, _ = GRAPHS["self_loops"].with_self_loops()
    with pytest.raises(SupportError, match="0 -> 0"):
        weights(phi, everywhere)


def test_diagonals_live_in_node_order_the_initial_one_first():
    phi = bound(GRAPH, order=2, heads=3, initial=True)
    table = phi.node_table.to_dense().view(13, 3, 3)
    assert torch.equal(phi.initial(GRAPH), table[:, 0])
    assert torch.equal(phi.diagonal(GRAPH), table[:, 1:].movedim(1, 0))


# --- sampled pieces ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("ids", ["node", "edge", "both"])
@pytest.mark.parametrize("self_loops", [True, False])
def test_a_sampled_piece_has_the_weights_of_the_full_graph(ids, self_loops):
    phi = bound(self_loops=self_loops)
    full = weights(phi, GRAPH)
    for nodes in (torch.tensor([7, 0, 12, 3, 9, 4]), torch.randperm(13), torch.tensor([12]), torch.arange(0)):
        part, kept = piece(GRAPH, nodes, node_id=ids != "edge", edge_id=ids != "node")
        assert torch.equal(weights(phi, part), full[:, kept])
        if self_loops and ids != "edge":
            assert torch.equal(phi.diagonal(part), phi.diagonal(GRAPH)[:, nodes])


def test_the_diagonal_of_a_piece_that_does_not_name_its_nodes_is_refused():
    phi = bound()
    for nodes in (torch.tensor([7, 0, 3]), torch.arange(13).roll(1)):  # all nodes in another order, too
        part, _ = piece(GRAPH, nodes, node_id=False)
        with pytest.raises(SupportError, match="n_id"):
            phi.diagonal(part)


def test_the_diagonal_of_all_nodes_in_their_order_needs_no_node_ids():
    phi = bound()
    part, _ = piece(GRAPH, torch.arange(13), node_id=False)
    fewer = Graph(part.edge_index[:, :20], 13, edge_id=part.edge_id[:20])
    assert torch.equal(phi.diagonal(fewer), phi.diagonal(GRAPH))


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_node_ids_of_any_integer_type_name_the_same_edges_of_a_large_graph(dtype):
    n = 100_000  # n * n does not fit into int32
    graph = Graph(torch.tensor([[n - 1, 0, 50_000], [n - 2, n - 1, 70_000]]), n)
    phi = bound(graph)
    part = Graph(torch.tensor([[0], [1]]), 2, node_id=torch.tensor([n - 1, n - 2], dtype=dtype))
    assert torch.equal(weights(phi, part)[:, 0], weights(phi, graph)[:, 0])


@pytest.mark.parametrize(
    "ids, says",
    [
        ({"node_id": torch.tensor([0, 13])}, "n_id holds 13.*0 to 12"),
        ({"node_id": torch.tensor([-1, 2])}, "n_id holds -1"),
        ({"edge_id": torch.tensor([47])}, "e_id holds 47.*47 edges"),
        ({"edge_id": torch.tensor([-2])}, "e_id holds -2"),
    ],
)
def test_ids_that_name_nothing_are_refused_with_their_value(ids, says):
    with pytest.raises(SupportError, match=says):
        weights(bound(), Graph(torch.tensor([[0], [1]]), 2, **ids))


# --- refusals ---------------------------------------------------------------------------------------------------------
def test_an_edge_outside_the_support_is_named():
    phi = bound(GRAPHS["path"])
    with pytest.raises(SupportError, match=re.escape("edge 1 (4 -> 0)") + ".*1 of 2"):
        weights(phi, Graph(torch.tensor([[0, 4], [1, 0]]), 5))


def test_an_edge_outside_the_support_of_a_piece_is_named_by_its_nodes_in_the_full_graph():
    phi = bound(GRAPHS["path"])
    with pytest.raises(SupportError, match=re.escape("(4 -> 0)")):
        weights(phi, Graph(torch.tensor([[0], [1]]), 2, node_id=torch.tensor([4, 0])))


def test_the_reverse_of_an_edge_is_another_edge():
    phi = bound(Graph(torch.tensor([[0], [1]]), 2))
    with pytest.raises(SupportError, match="1 -> 0"):
        weights(phi, Graph(torch.tensor([[1], [0]]), 2))


@pytest.mark.parametrize("share", ["edge", "node"])
def test_a_graph_of_another_size_is_refused_with_both(share):
    phi = bound(share=share)
    with pytest.raises(SupportError, match=r"13 nodes.*one of 5"):
        weights(phi, GRAPHS["path"])


def test_binding_again_to_the_same_graph_keeps_the_weights_and_to_another_is_refused():
    phi = bound()
    before = weights(phi, GRAPH).clone()
    shuffled = Graph(GRAPH.edge_index[:, torch.randperm(47)], 13)
    for graph in (GRAPH, shuffled, Graph(GRAPH.edge_index.clone(), 13)):
        phi.bind(graph)
        assert torch.equal(weights(phi, GRAPH), before)
    others = (
        (random_graph(13, 47, seed=1), "13 nodes and"),
        (GRAPH.transpose(), "13 nodes and"),  # as many pairs, but others
        (GRAPHS["path"], "of 5 nodes and 8 edges"),
    )
    for other, says in others:
        with pytest.raises(SupportError, match=rf"bound to a graph of 13 nodes.*{says}"):
            phi.bind(other)
    assert torch.equal(weights(phi, GRAPH), before)


@pytest.mark.parametrize("make", [EdgeVarying, EdgeMatrix])
@pytest.mark.parametrize("share", ["edge", "node"])
@pytest.mark.parametrize("ids", [{"node_id": torch.tensor([4, 5])}, {"edge_id": torch.tensor([3])}])
def test_the_first_graph_must_not_be_a_piece(make, share, ids):
    part = Graph(torch.tensor([[0], [1]]), 2, **ids)
    with pytest.raises(SupportError, match="full"):
        make(1, 1, share=share).bind(part)
    with pytest.raises(SupportError, match="full"):
        make(1, 1, share=share)(None, torch.zeros(2, 1, 1), part)


@pytest.mark.parametrize("share", ["edge", "edge_id"])
def test_edges_between_two_sets_of_nodes_have_no_diagonal(share):
    across = Graph(torch.tensor([[0], [1]]), 2, 5)
    with pytest.raises(SupportError, match=r"no diagonal: .* in_channels=\(sources, targets\), .* self_loops=False"):
        EdgeVarying(share=share).bind(across)
    with pytest.raises(SupportError, match="important nodes are of one set of nodes"):
        EdgeVarying(self_loops=False, nodes=1).bind(across)


@pytest.mark.parametrize(
    "options, says",
    [
        ({"share": "colour"}, "'edge', 'edge_id', 'node', 'type', 'hash'.*'colour'"),
        ({"share": "type"}, "num_types"),
        ({"share": "hash"}, "buckets"),
        ({"share": "hash", "buckets": 4, "nodes": 3}, "share must be 'edge'"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, says):
    with pytest.raises(ShapeError, match=says):
        EdgeVarying(**options)


def test_a_signal_with_other_heads_is_refused_by_the_hop():
    phi = bound(heads=3)
    z = torch.zeros(13, 2, 1)
    with pytest.raises(ShapeError, match="3 heads and signals with 2"):
        phi.hop(GRAPH, phi(None, z, GRAPH)[0], None, z)


# --- important nodes --------------------------------------------------------------------------------------------------
def test_important_nodes_are_given_or_those_of_highest_in_degree_ties_by_index():
    degree = GRAPH.in_degree.tolist()
    ranked = sorted(range(13), key=lambda node: (-degree[node], node))
    assert important_nodes(GRAPH, 4).tolist() == ranked[:4]
    assert important_nodes(GRAPH, 0.5).tolist() == ranked[:6]
    assert important_nodes(GRAPH, 1.0).tolist() == ranked
    assert important_nodes(GRAPH, 0.001).tolist() == ranked[:1]
    assert important_nodes(GRAPH, torch.tensor([5, 2])).tolist() == [5, 2]


@pytest.mark.parametrize("nodes", [0, 14, -1, 0.0, -0.5, 1.5, torch.tensor([3, 13]), torch.tensor([-1])])
def test_important_nodes_that_are_not_there_are_refused(nodes):
    with pytest.raises(ShapeError, match="important nodes"):
        important_nodes(GRAPH, nodes)


@pytest.mark.parametrize("nodes", [torch.tensor([2, 5]), 3, 0.4])
def test_only_edges_that_touch_an_important_node_are_weighed(nodes):
    phi = bound(nodes=nodes, initial=True)
    chosen = set(important_nodes(GRAPH, nodes).tolist())
    got = weights(phi, GRAPH)
    learned = [j != i and (j in chosen or i in chosen) for j, i in GRAPH.edge_index.t().tolist()]
    assert (got != 0).all(2).all(0).tolist() == learned and (got != 0).any(2).any(0).tolist() == learned
    for diagonal in (phi.initial(GRAPH), phi.diagonal(GRAPH)[1]):
        assert (diagonal != 0).all(1).nonzero().squeeze(1).tolist() == sorted(chosen)
    assert phi.node_table.shape[0] == len(chosen)
    pairs = zip(map(tuple, GRAPH.edge_index.t().tolist()), learned, strict=True)
    assert phi.edge_table.shape[0] == len({pair for pair, yes in pairs if yes})


def test_pieces_know_the_important_nodes_of_the_full_graph():
    phi = bound(nodes=3)
    part, kept = piece(GRAPH, torch.tensor([7, 0, 12, 3, 9, 4]))
    assert torch.equal(weights(phi, part), weights(phi, GRAPH)[:, kept])
    assert torch.equal(phi.diagonal(part), phi.diagonal(GRAPH)[:, part.node_id])


# --- life -------------------------------------------------------------------------------------------------------------
def test_the_weights_start_as_multiples_of_the_normalised_adjacency():
    phi = EdgeVarying(2, 3, initial=True)
    got = weights(phi, GRAPHS["star"])
    factor = got[:, :1]
    assert torch.equal(got, factor.expand_as(got)) and ((factor.abs() * 6**0.5 - 1).abs() <= 0.5).all()
    assert not phi.diagonal(GRAPHS["star"]).any() and phi.initial(GRAPHS["star"]).any()
    assert len(factor.unique()) == 6


STARTS = {
    "dense": None,
    "low rank": {"structure": "low_rank", "rank": 2},
    "tensor train": {"structure": "tensor_train", "rank": 4},
    "hashed": {"structure": "hashed", "ratio": 2.0},
    "block term": {"structure": "block_term", "blocks": 2, "rank": 3},
    "power of two": {"structure": "power_of_two"},
    "unified": {"structure": "unified", "block": [1, 1]},
}


@pytest.mark.parametrize("structure", STARTS.values(), ids=STARTS)
def test_a_fresh_bank_has_both_signs_and_the_scale_of_the_normalised_adjacency(structure):
    """Walks of positive weights alone are low-pass filters, every one of them."""
    graph, order, lanes = random_graph(40, 160), 4, 6
    phi = EdgeVarying(order, lanes, initial=True, structure=structure)
    phi.bind(graph)
    apart, _ = graph.without_self_loops()
    shift = gso.symmetric(apart)
    size = (weights(phi, apart) * shift[:, None]).sum(1) / shift.square().sum()
    assert size.shape == (order, lanes)
    assert (size > 0).any() and (size < 0).any(), "taps of both signs"
    assert any(len(lane.sign().unique()) == 2 for lane in size.T), "within a filter, too"
    assert 0.6 < size.abs().mean() < 1.4  # of 24 numbers in [0.5, 1.5]


def test_heads_are_read_off_the_first_signal():
    phi = EdgeVarying(2, heads=-1)
    with pytest.raises(ShapeError, match="heads is not known"):
        phi.bind(GRAPH)
    phi = EdgeVarying(2, heads=-1)
    assert phi(None, torch.zeros(13, 5, 1), GRAPH).shape == (2, 47, 5) and phi.heads == 5


def test_an_optimizer_made_before_binding_trains_the_tables():
    phi = EdgeVarying(1, 2)
    optimizer = torch.optim.SGD(phi.parameters(), lr=1.0)
    before = weights(phi, GRAPH).detach().clone()
    (weights(phi, GRAPH).sum() + phi.diagonal(GRAPH).sum()).backward()
    optimizer.step()
    assert (weights(phi, GRAPH) < before)[:, GRAPH.source != GRAPH.target].all()
    assert (phi.diagonal(GRAPH) == -1).all()


def test_dtype_set_before_binding_holds():
    assert weights(EdgeVarying(1, 2).float(), GRAPH).dtype == torch.float32


def test_a_graph_remembers_the_rows_of_a_table():
    phi, graph = bound(), Graph(GRAPH.edge_index, 13)
    phi(None, torch.zeros(13, 3, 1), graph)
    calls = []
    phi.where.of_edges = lambda *args: calls.append(args)  # would return None
    phi(None, torch.zeros(13, 3, 1), graph)
    assert not calls


@pytest.mark.parametrize(
    "graph", [without_edges(), without_edges(1), GRAPHS["one_node"], GRAPHS["zero_nodes"]], ids=str
)
def test_without_edges_the_diagonal_is_left(graph):
    phi = bound(graph, order=1, heads=2)
    assert not weights(phi, graph).any()
    z = torch.randn(graph.num_nodes, 2, 3, requires_grad=True)
    y = phi.hop(graph, weights(phi, graph)[0], phi.diagonal(graph)[0], z)
    assert torch.equal(y, phi.diagonal(graph)[0][..., None] * z)
    y.sum().backward()
    assert z.grad.shape == z.shape


def test_given_edge_weights_multiply_where_asked():
    phi, plain = bound(times_edge_weight=True), bound()
    plain.load_state_dict(phi.state_dict())
    z, flat, columns = torch.zeros(13, 3, 1), torch.rand(47), torch.rand(47, 3)
    learned = weights(phi, GRAPH)
    assert torch.equal(phi(None, z, GRAPH, flat), learned * flat[:, None])
    assert torch.equal(phi(None, z, GRAPH, columns), learned * columns)
    assert torch.equal(plain(None, z, GRAPH, flat), learned)


# --- checkpoints ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("options", [{}, {"nodes": 3}, {"share": "node"}, {"initial": True}, {"heads": -1}], ids=str)
def test_a_loaded_table_knows_its_graph_and_serves_pieces_at_once(options):
    stored = bound(heads=3, **{k: v for k, v in options.items() if k != "heads"})
    phi = EdgeVarying(2, **({"heads": 3} | options))
    phi.load_state_dict(stored.state_dict())
    part, kept = piece(GRAPH, torch.tensor([7, 0, 12, 3, 9, 4]))
    z = torch.zeros(6, 3, 1)
    assert torch.equal(phi(None, z, part), weights(stored, GRAPH)[:, kept])
    assert phi.heads == 3
    phi.bind(GRAPH)  # the same graph: nothing changes
    assert torch.equal(weights(phi, GRAPH), weights(stored, GRAPH))


def test_a_table_bound_to_the_same_graph_takes_the_stored_weights():
    stored, phi = bound(), bound()
    weights(phi, GRAPH)
    phi.load_state_dict(stored.state_dict())
    assert torch.equal(weights(phi, GRAPH), weights(stored, GRAPH))


def test_a_table_bound_to_another_graph_of_equal_sizes_moves_to_the_stored_one_whole():
    here = Graph(torch.tensor([[0, 1, 2], [1, 2, 0]]), 3)
    there = Graph(torch.tensor([[1, 2, 0], [0, 1, 2]]), 3)
    stored, phi = bound(there), bound(here)
    weights(phi, here)  # its rows are remembered
    phi.load_state_dict(stored.state_dict())
    assert torch.equal(weights(phi, there), weights(stored, there))
    for graph in (here, Graph(here.edge_index.clone(), 3)):
        with pytest.raises(SupportError, match="outside the support"):
            weights(phi, graph)


@pytest.mark.parametrize("share", ["edge", "node"])
@pytest.mark.parametrize("other", [GRAPHS["path"], GRAPHS["isolated_node"]], ids=["other nodes", "other edges"])
def test_a_table_bound_to_a_graph_of_other_sizes_refuses_and_keeps_its_edges(share, other):
    graph = GRAPHS["star"] if other is GRAPHS["path"] else GRAPHS["path"]
    if share == "node" and graph.num_nodes == other.num_nodes:
        pytest.skip("weights by node are legal on any edges between the nodes")
    phi, stored = bound(graph, share=share), bound(other, share=share)
    before = {name: value.clone() for name, value in phi.where.state_dict().items()}
    with pytest.raises(RuntimeError, match=rf"where is bound to a graph of {graph.num_nodes} nodes.*unbound layer"):
        phi.load_state_dict(stored.state_dict())
    for name, value in phi.where.state_dict().items():
        assert torch.equal(value, before[name])
    assert weights(phi, graph).shape == (2, graph.num_edges, 3)


def test_a_bound_table_refuses_the_checkpoint_of_one_that_was_never_bound():
    phi = bound()
    before = weights(phi, GRAPH).clone()
    with pytest.raises(RuntimeError, match="is bound to a graph of 13 nodes"):
        phi.load_state_dict(EdgeVarying(2, 3).state_dict())
    assert torch.equal(weights(phi, GRAPH), before)


def test_an_unbound_checkpoint_loads_into_an_unbound_table_which_binds_afterwards():
    phi = EdgeVarying(2, 3)
    phi.load_state_dict(EdgeVarying(2, 3).state_dict())
    assert not phi.is_bound and weights(phi, GRAPH).shape == (2, 47, 3)


def test_a_deep_copy_binds_apart():
    phi = EdgeVarying(2, 3)
    twin = copy.deepcopy(phi)
    twin.bind(GRAPHS["path"])
    assert not phi.is_bound
    phi.bind(GRAPH)
    third = copy.deepcopy(phi)
    with torch.no_grad():
        third.edge_table.weight.zero_()
    assert weights(phi, GRAPH).any() and not weights(third, GRAPH).any()
