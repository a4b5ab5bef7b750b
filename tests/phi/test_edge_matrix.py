"""A matrix for every edge."""

import pytest
import torch
from edge_tables import GRAPH

from edgenet.errors import ShapeError
from edgenet.phi import EdgeMatrix, EdgeVarying
from edgenet.testing import GRAPHS


# --- a matrix for every edge ------------------------------------------------------------------------------------------
def matrix_phi(order=2, channels=3, **options):
    phi = EdgeMatrix(order, channels, **options)
    phi.bind(GRAPH)
    with torch.no_grad():
        for table in phi.parameters():
            table.normal_()
    return phi


def test_every_edge_multiplies_by_its_matrix_and_every_node_by_its_own():
    phi, z = matrix_phi(), torch.randn(13, 3, 2)
    weight, diagonal = phi(None, z, GRAPH), phi.diagonal(GRAPH)
    for k in range(2):
        wanted = torch.einsum("nfg,ngc->nfc", diagonal[k].view(13, 3, 3), z)
        for e, (j, i) in enumerate(GRAPH.edge_index.t().tolist()):
            wanted[i] += weight[k, e].view(3, 3) @ z[j]
        torch.testing.assert_close(phi.hop(GRAPH, weight[k], diagonal[k], z), wanted, rtol=1e-12, atol=1e-12)


def test_binding_matrices_again_keeps_what_they_learned():
    phi = matrix_phi()
    before = phi(None, torch.zeros(13, 3, 1), GRAPH).clone()
    phi.bind(GRAPH)
    assert torch.equal(phi(None, torch.zeros(13, 3, 1), GRAPH), before)


def test_matrices_start_with_channels_that_differ():
    phi = EdgeMatrix(1, 3)
    weight = phi(None, torch.zeros(13, 3, 1), GRAPH)[0]
    moving = weight[(GRAPH.source != GRAPH.target)]
    assert len(moving[0].unique()) == 9 and (moving < 0).any() and (moving > 0).any()


def test_matrices_have_no_initial_diagonal():
    with pytest.raises(ShapeError, match="initial=False"):
        EdgeMatrix(1, 3, initial=True)


def test_matrices_shared_by_hash_serve_any_graph():
    phi = EdgeMatrix(1, 2, share="hash", buckets=16)
    for graph in GRAPHS.values():
        assert phi(None, torch.zeros(graph.num_nodes, 2, 1), graph).shape == (1, graph.num_edges, 4)


@pytest.mark.parametrize("share", ["node", "hash"])
def test_shared_weights_are_averaged_over_the_edges_that_are_no_loops(share):
    """Loops are the diagonal's, and count for no degree."""
    graph = GRAPHS["self_loops"]
    phi = EdgeVarying(1, 1, share=share, normalize="rw", buckets=3 if share == "hash" else None)
    phi.bind(graph)
    with torch.no_grad():
        phi.edge_table.weight.fill_(1.0)
    weight = phi(torch.ones(4, 1), torch.ones(4, 1, 1), graph)[0, :, 0]
    loop = graph.source == graph.target
    assert (weight[loop] == 0).all()
    into = torch.zeros(4).index_add(0, graph.target, weight)
    torch.testing.assert_close(into, (torch.bincount(graph.target[~loop], minlength=4) > 0).to(into))
