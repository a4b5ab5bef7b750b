"""unseen="shared": an edge that a table has no row for weighs the mean of all rows."""

import pytest
import torch

from edgenet import EdgeNetConv, from_pretrained, save_pretrained
from edgenet.errors import ShapeError, SupportError
from edgenet.graph import Graph
from edgenet.nn import specializations as nets
from edgenet.phi import EdgeMatrix, EdgeVarying

GRAPH = Graph(torch.tensor([[0, 1, 2, 2, 1], [1, 2, 0, 1, 1]]), 3)  # 1 -> 1 is a loop


def table(**options):
    phi = EdgeVarying(2, 2, **{"unseen": "shared", "initial": True, **options})
    phi.bind(GRAPH)
    with torch.no_grad():
        for parameter in phi.parameters():
            parameter.normal_()
    return phi


def weights(phi, edges, nodes=3, **ids):
    graph = Graph(torch.tensor(edges).t().reshape(2, -1), nodes, **ids)
    return phi(None, torch.zeros(nodes, 2, 1), graph), phi.diagonal(graph), phi.initial(graph)


def test_edges_with_a_row_keep_it_and_others_weigh_the_mean():
    phi = table()
    rows, nodes = phi.edge_table.to_dense(), phi.node_table.to_dense()
    known, diagonal, initial = weights(phi, GRAPH.edge_index.t().tolist())
    edge, own, first = weights(phi, [[0, 1], [0, 2], [4, 0], [2, 3], [3, 3]], nodes=5)
    mean = rows.mean(0).view(2, 2)  # (K, H)
    torch.testing.assert_close(edge[:, 0], known[:, 0])
    for unseen in (1, 2, 3):
        torch.testing.assert_close(edge[:, unseen], mean)
    assert (edge[:, 4] == 0).all()  # a loop is the diagonal's
    torch.testing.assert_close(own[:, :3], diagonal)
    torch.testing.assert_close(first[:3], initial)
    for node in (3, 4):
        torch.testing.assert_close(first[node], nodes.mean(0)[:2])
        torch.testing.assert_close(own[:, node], nodes.mean(0)[2:].view(2, 2))


def test_on_request_only():
    with pytest.raises(SupportError, match="unseen='shared'"):
        weights(table(unseen=None), [[0, 2]])
    with pytest.raises(SupportError, match="3 nodes"):
        weights(table(unseen=None), [[0, 1]], nodes=4)


def test_sampled_pieces_name_their_nodes():
    phi = table()
    ids = torch.tensor([7, 2, 0])
    edge, own, _ = weights(phi, [[1, 2], [0, 1]], node_id=ids)  # 2 -> 0, which is known, and 7 -> 2
    rows = phi.edge_table.to_dense()
    torch.testing.assert_close(edge[:, 0].flatten(), rows[0])
    torch.testing.assert_close(edge[:, 1].flatten(), rows.mean(0))
    torch.testing.assert_close(own[:, 0].flatten(), phi.node_table.to_dense().mean(0)[2:])


def test_edges_that_are_known_to_weigh_nothing_go_on_so():
    phi = table(nodes=torch.tensor([0]), initial=False)
    edge = weights(phi, [[2, 1], [0, 2]])[0]  # far from the important node, and never seen
    assert (edge[:, 0] == 0).all()
    torch.testing.assert_close(edge[:, 1].flatten(), phi.edge_table.to_dense().mean(0))


def test_the_mean_is_trained():
    phi = table()
    weights(phi, [[0, 2]])[0].sum().backward()
    torch.testing.assert_close(phi.edge_table.weight.grad, torch.full((4, 4), 1 / 4))


@pytest.mark.parametrize(
    "make",
    [
        lambda: EdgeNetConv(3, 2, 2, 2, concat=False, unseen="shared"),
        lambda: nets.edge_varying(3, 2, unseen="shared"),
        lambda: EdgeNetConv(3, 2, 2, phi="edge_matrix", unseen="shared"),
        lambda: nets.edge_varying(3, 2, bank="heads", unseen="shared", structure={"structure": "low_rank", "rank": 1}),
    ],
)
def test_layers_walk_graphs_that_grow(make, tmp_path):
    conv = make().bind(GRAPH)
    x, more = torch.randn(3, 3), torch.tensor([[0, 3, 2, 1], [1, 0, 3, 2]])
    known = torch.tensor([0, 3])
    y = conv(torch.cat([x, torch.randn(1, 3)]), more)
    assert y.shape == (4, 2) and bool(y.isfinite().all())
    torch.testing.assert_close(conv(x, more[:, known]), conv(x, more[:, known].flip(1)))
    save_pretrained(conv, tmp_path / "saved")
    wide = torch.randn(4, 3)
    torch.testing.assert_close(from_pretrained(tmp_path / "saved").double()(wide, more), conv(wide, more))


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ShapeError, match=r"unseen is None.*or 'shared', got 'zero'"):
        EdgeVarying(unseen="zero")
    with pytest.raises(ShapeError, match="share must be 'edge', got 'node'"):
        EdgeMatrix(1, 2, share="node", unseen="shared")
    with pytest.raises(ShapeError, match="tables of form='full', got form='cp'"):
        nets.edge_varying(3, 2, form="cp", unseen="shared")
