"""Which nodes of a graph a picture shows, and where it puts them."""

from __future__ import annotations

import math

import networkx as nx
import numpy as np

from edgenet.graph import Graph


def neighbourhood(graph: Graph, size: int, labels: np.ndarray | None = None) -> np.ndarray:
    """Up to ``size`` nodes around a node of high in-degree, breadth first, of equals the lower number; sorted.

    Around the node of highest in-degree; with ``labels``, around that of the 64 highest whose surroundings have the
    most even mixture of classes, where the weights between classes can be seen.

    Example:
        >>> edgenet.plots.neighbourhood(graph, 2).shape
        (2,)
    """
    neighbours: list[set[int]] = [set() for _ in range(graph.num_nodes)]
    for a, b in graph.edge_index.t().tolist():
        neighbours[a].add(b)
        neighbours[b].add(a)
    in_order = [sorted(others) for others in neighbours]

    def around(start: int) -> np.ndarray:
        chosen, seen = [start], {start}
        for node in chosen:  # grows while it is walked
            fresh = [other for other in in_order[node] if other not in seen][: size - len(chosen)]
            seen.update(fresh)
            chosen += fresh
        return np.sort(np.array(chosen, dtype=int))

    starts = graph.in_degree.sort(descending=True, stable=True).indices[: 1 if labels is None else 64].tolist()
    pieces = [around(start) for start in starts]
    if labels is None:
        return pieces[0] if pieces else np.zeros(0, dtype=int)
    return max(pieces, key=lambda piece: (len(piece), _evenness(labels[piece])))


def _evenness(classes: np.ndarray) -> float:
    """Entropy of the classes' shares."""
    share = np.unique(classes, return_counts=True)[1] / max(1, len(classes))
    return float(-(share * np.log(share)).sum())


def node_layout(edges: np.ndarray, num_nodes: int, seed: int = 0) -> np.ndarray:
    """(N, 2) places of nodes in [-1, 1], linked nodes near each other; the same for the same edges and seed.

    Example:
        >>> edgenet.plots.node_layout(edges.numpy(), 4).shape
        (4, 2)
    """
    graph = nx.Graph()
    graph.add_nodes_from(range(num_nodes))
    graph.add_edges_from((int(a), int(b)) for a, b in edges.T if a != b)
    if num_nodes < 2:
        return np.zeros((num_nodes, 2))
    # a little further apart than networkx would have it: dense graphs fold into a ball otherwise
    places = nx.spring_layout(graph, seed=seed, k=2.2 / math.sqrt(num_nodes), iterations=120)
    xy = np.array([places[node] for node in range(num_nodes)])
    xy = xy @ np.linalg.svd(xy - xy.mean(0), full_matrices=False)[2].T  # the long side lies flat
    low, high = np.quantile(xy, (0.01, 0.99), axis=0)
    return np.clip((2 * xy - low - high) / np.maximum(high - low, 1e-12), -1.12, 1.12)
