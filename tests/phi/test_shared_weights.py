"""Weights that edges share: by node, by type and by hash."""

import pytest
import torch
from edge_tables import GRAPH, bound, piece, weights

from edgenet.errors import ShapeError, SupportError
from edgenet.graph import Graph
from edgenet.phi import EdgeVarying
from edgenet.testing import GRAPHS


# --- shared weights ---------------------------------------------------------------------------------------------------
def test_shared_by_node_every_receiver_has_one_weight_for_its_in_edges_old_and_new():
    phi = bound(share="node")
    got = weights(phi, GRAPH)
    table = phi.edge_table.to_dense().view(13, 2, 3)
    loop = GRAPH.source == GRAPH.target
    assert torch.equal(got[:, ~loop], table[GRAPH.target[~loop]].movedim(0, 1)) and not got[:, loop].any()
    new = Graph(torch.tensor([[12], [4]]), 13)  # an edge that was not there
    assert torch.equal(weights(phi, new)[:, 0], table[4])
    part = Graph(torch.tensor([[0], [1]]), 2, node_id=torch.tensor([12, 4]))
    assert torch.equal(weights(phi, part)[:, 0], table[4])
    assert torch.equal(phi.diagonal(part), phi.diagonal(GRAPH)[:, [12, 4]])
    with pytest.raises(SupportError, match=r"13 nodes already.*5"):
        phi.bind(GRAPHS["path"])


def test_shared_by_type_a_weight_follows_its_type_to_any_graph():
    phi = bound(share="type", num_types=4)
    for graph in (GRAPH, GRAPHS["path"], GRAPHS["no_edges"], GRAPHS["zero_nodes"]):
        kind = torch.randint(0, 4, (graph.num_edges,))
        got, loop = weights(phi, graph, kind), graph.source == graph.target
        wanted = phi.edge_table.to_dense().view(4, 2, 3)[kind].movedim(0, 1)
        assert torch.equal(got, wanted * ~loop[:, None])
        assert phi.diagonal(graph).shape == (2, graph.num_nodes, 3)
    path = GRAPHS["path"]
    column, flat = torch.zeros(8, 1, dtype=torch.int32), torch.zeros(8, dtype=torch.long)
    assert torch.equal(weights(phi, path, column), weights(phi, path, flat))


@pytest.mark.parametrize(
    "kind, error, says",
    [
        (None, ShapeError, r"\(8,\) integer types.*none"),
        (torch.zeros(8), ShapeError, r"integer types.*float"),
        (torch.zeros(7, dtype=torch.long), ShapeError, r"\(8,\).*\(7,\)"),
        (torch.full((8,), 4), SupportError, "edge type 4.*0 to 3"),
        (torch.full((8,), -1), SupportError, "edge type -1"),
    ],
)
def test_types_that_are_missing_or_unknown_are_refused(kind, error, says):
    with pytest.raises(error, match=says):
        weights(bound(share="type", num_types=4), GRAPHS["path"], kind)


def test_the_types_of_one_graph_may_change_from_call_to_call():
    phi = bound(share="type", num_types=2)
    path = GRAPHS["path"]
    first, second = (weights(phi, path, torch.full((8,), kind)) for kind in (0, 1))
    assert not torch.equal(first, second)


def test_shared_by_hash_a_weight_follows_its_pair_of_ids_to_any_graph():
    phi = bound(share="hash", buckets=64)
    full = weights(phi, GRAPH)
    part, kept = piece(GRAPH, torch.tensor([7, 0, 12, 3, 9, 4]))
    assert torch.equal(weights(phi, part), full[:, kept])
    assert torch.equal(phi.diagonal(part), phi.diagonal(GRAPH)[:, part.node_id])
    larger = Graph(torch.cat([GRAPH.edge_index, torch.tensor([[40], [41]])], dim=1), 50)  # never seen
    assert torch.equal(weights(phi, larger)[:, :47], full)


def test_the_hash_is_splitmix_in_64_bit_arithmetic_whatever_the_integer_type():
    where = EdgeVarying(share="hash", buckets=1000).where
    ids = torch.tensor([0, 1, 2, 12345, 2**31 - 1])

    def by_hand(a, b):
        mask = 2**64 - 1
        h = (a * 0x9E3779B97F4A7C15 + b * 0xBF58476D1CE4E5B9) & mask
        h = ((h ^ (h >> 30)) * 0xBF58476D1CE4E5B9) & mask
        h = ((h ^ (h >> 27)) * 0x94D049BB133111EB) & mask
        h ^= h >> 31
        return (h - 2**64 if h >= 2**63 else h) % 1000

    edge_index = torch.cartesian_prod(torch.arange(5), torch.arange(5)).t()
    wanted = [by_hand(int(ids[j]), int(ids[i])) for j, i in edge_index.t().tolist()]
    for dtype in (torch.int64, torch.int32):
        graph = Graph(edge_index, 5, node_id=ids.to(dtype))
        assert where.of_edges(graph, None).tolist() == wanted
        assert where.of_nodes(graph).tolist() == [by_hand(i, i) for i in ids.tolist()]


@pytest.mark.parametrize("buckets", [7, 64, 1000])
def test_the_hash_spreads_edges_and_nodes_evenly(buckets):
    where = EdgeVarying(share="hash", buckets=buckets).where
    edge_index = torch.cartesian_prod(torch.arange(300), torch.arange(300)).t()
    for row in (
        where.of_edges(Graph(edge_index, 300), None),
        where.of_edges(Graph(edge_index[:, ::7], 300, node_id=torch.arange(300) * 4096), None),
        where.of_nodes(Graph(edge_index[:, :0], 90_000)),
    ):
        count = torch.bincount(row, minlength=buckets).double()
        assert len(count) == buckets
        expected = len(row) / buckets
        chi_square = ((count - expected) ** 2 / expected).sum()
        # mean buckets - 1, variance twice that: six standard deviations, both ways
        assert abs(chi_square - (buckets - 1)) < 6 * (2 * (buckets - 1)) ** 0.5 + 6


def test_an_edge_and_its_reverse_hash_apart():
    where = EdgeVarying(share="hash", buckets=1000).where
    graph = GRAPHS["path"]
    assert not torch.equal(where.of_edges(graph, None), where.of_edges(graph.transpose(), None))
