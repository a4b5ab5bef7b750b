"""Tables of edge weights on a small graph, and sampled pieces of it."""

import torch

from edgenet.graph import Graph
from edgenet.phi import EdgeVarying
from edgenet.testing import GRAPHS

GRAPH = GRAPHS["directed"]  # has repeated edges, self-loops and an isolated node


def bound(graph=GRAPH, order=2, heads=3, **options):
    """A phi bound to a graph, with tables at random."""
    phi = EdgeVarying(order, heads, **options)
    phi.bind(graph)
    with torch.no_grad():
        for table in phi.parameters():
            table.normal_()
    return phi


def weights(phi, graph, edge_attr=None):
    return phi(None, torch.zeros(graph.num_nodes, phi.heads, 1), graph, None, edge_attr)


def piece(graph, nodes, node_id=True, edge_id=True):
    """The subgraph on some nodes, in their order, as a loader gives it; and which edges of the whole it has."""
    local = torch.full((graph.num_nodes,), -1)
    local[nodes] = torch.arange(len(nodes))
    ends = local[graph.edge_index]
    kept = (ends >= 0).all(0).nonzero().squeeze(1)
    kept = kept[torch.randperm(len(kept))]
    ids = nodes if node_id else None, kept if edge_id else None
    return Graph(ends[:, kept], len(nodes), node_id=ids[0], edge_id=ids[1]), kept
