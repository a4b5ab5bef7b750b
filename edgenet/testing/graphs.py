"""Awkward graphs: what breaks layers that were tried on pleasant ones."""

from __future__ import annotations

import torch

from edgenet.graph import Graph


def small_graph(num_nodes: int, *edges: tuple[int, int]) -> Graph:
    """A graph of (source, target) pairs."""
    return Graph(torch.tensor(edges, dtype=torch.long).reshape(-1, 2).t().contiguous(), num_nodes)


def random_graph(num_nodes: int, num_edges: int, seed: int = 0) -> Graph:
    """Directed edges at random, some repeated and some self-loops, in no order; the last node has none.

    Example:
        >>> edgenet.testing.random_graph(num_nodes=6, num_edges=10, seed=0).num_edges
        10
    """
    generator = torch.Generator().manual_seed(seed)
    edge_index = torch.randint(0, max(1, num_nodes - 1), (2, num_edges), generator=generator)
    edge_index[:, 1] = edge_index[:, 0]  # one repeated edge and one self-loop at least
    edge_index[1, 2] = edge_index[0, 2]
    return Graph(edge_index, num_nodes)


#: By name; "path" is the plainest.
GRAPHS: dict[str, Graph] = {
    "path": small_graph(5, (0, 1), (1, 0), (1, 2), (2, 1), (2, 3), (3, 2), (3, 4), (4, 3)),
    "star": small_graph(7, *((leaf, 0) for leaf in range(1, 7)), *((0, leaf) for leaf in range(1, 7))),
    "isolated_node": small_graph(5, (3, 0), (0, 3), (4, 3), (3, 4), (0, 4)),  # 1 and 2 have no edges
    "self_loops": small_graph(4, (2, 2), (0, 1), (1, 1), (1, 0), (3, 1)),
    "repeated_edges": small_graph(3, (1, 0), (0, 2), (1, 0), (2, 1), (1, 0), (0, 2)),
    "one_node": small_graph(1, (0, 0)),
    "no_edges": small_graph(3),
    "directed": random_graph(13, 47),
    "zero_nodes": small_graph(0),
}
