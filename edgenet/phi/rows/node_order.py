"""Orders of nodes: by importance, and by community."""

from __future__ import annotations

import torch
from torch import Tensor

from edgenet.errors import ShapeError
from edgenet.graph import Graph


def important_nodes(graph: Graph, nodes: Tensor | list[int] | int | float) -> Tensor:
    """(I,) the nodes themselves, or the ``nodes`` (a number, or a share in (0, 1]) of highest in-degree, ties by index.

    Raises:
        ShapeError: if there are not that many nodes, or an index names none.

    Example:
        >>> star = edgenet.Graph(torch.tensor([[1, 2, 3, 0], [0, 0, 0, 1]]), num_nodes=4)
        >>> edgenet.phi.rows.important_nodes(star, 1).tolist()
        [0]
    """
    if isinstance(nodes, list | tuple):
        nodes = torch.tensor(nodes, dtype=torch.long)
    if isinstance(nodes, Tensor):
        if nodes.numel() and not 0 <= int(nodes.min()) <= int(nodes.max()) < graph.num_nodes:
            raise ShapeError(f"important nodes must be among 0 to {graph.num_nodes - 1}, got {nodes.tolist()[:8]}.")
        return nodes.to(graph.edge_index.device)
    count = nodes if isinstance(nodes, int) else max(1, int(nodes * graph.num_nodes))
    if not 0 < count <= max(1, graph.num_nodes) or (isinstance(nodes, float) and not 0 < nodes <= 1):
        raise ShapeError(f"{nodes} important nodes are asked for, the graph has {graph.num_nodes}.")
    return torch.sort(graph.in_degree, descending=True, stable=True).indices[:count]


def community_rank(graph: Graph) -> Tensor:
    """(N,) place of every node when nodes are sorted by community, then by index: communities by Louvain's method
    (Blondel, Guillaume, Lambiotte, Lefebvre 2008) as networkx has it, with a fixed seed, on undirected edges.

    Example:
        >>> sorted(edgenet.phi.rows.community_rank(graph).tolist())
        [0, 1, 2, 3]
    """
    import networkx  # slow to import

    whole = networkx.Graph()
    whole.add_nodes_from(range(graph.num_nodes))
    whole.add_edges_from(graph.edge_index.t().tolist())
    groups = networkx.community.louvain_communities(whole, seed=0) if graph.num_edges else [range(graph.num_nodes)]
    order = torch.tensor([node for group in groups for node in sorted(group)], dtype=torch.long)
    rank = torch.empty_like(order).index_put((order,), torch.arange(len(order)))
    return rank.to(graph.edge_index.device)
