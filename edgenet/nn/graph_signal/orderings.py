"""Orderings: which nodes say most of the signals on a graph. Each function gives all nodes, the best first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgenet import gso
from edgenet.errors import ConfigError, ShapeError
from edgenet.graph import Graph

Ordering = Callable[..., Tensor]


def by_degree(graph: Graph, edge_weight: Tensor | None = None) -> Tensor:
    """Nodes by their degree, the largest first: the sum of the weights of the edges that enter. Equal ones keep their
    order.

    Example:
        >>> star = edgenet.Graph(torch.tensor([[1, 2, 3, 0], [0, 0, 0, 1]]), num_nodes=4)
        >>> edgenet.nn.graph_signal.by_degree(star).tolist()
        [0, 1, 2, 3]
    """
    return gso.degree(graph, edge_weight).argsort(descending=True, stable=True)


def spectral_proxies(graph: Graph, edge_weight: Tensor | None = None, power: int = 8) -> Tensor:
    """Nodes by greedy sampling of band-limited signals (Anis, Gadde, Ortega 2016, "Efficient sampling set selection for
    bandlimited graph signals using graph spectral proxies", algorithm 1, for all N nodes).

    Of the nodes that are left, the smoothest signal is the eigenvector of the smallest eigenvalue of their part of
    (S^T)^k S^k. The node where it is largest is taken next. As alegnn, S is the operator itself, not a Laplacian: the
    signals whose proxies are small are then those that S shrinks.

    The graph is dense here, and N eigenvectors are computed: for some hundreds of nodes.

    Args:
        edge_weight: (E,) entries of S; ones by default.
        power: k, 1 or more.

    Example:
        >>> both_ways = edgenet.Graph(torch.cat([edges, edges.flip(0)], dim=1), num_nodes=4)
        >>> sorted(edgenet.nn.graph_signal.spectral_proxies(both_ways).tolist())
        [0, 1, 2, 3]
    """
    if power < 1:
        raise ConfigError(f"the power of spectral proxies is 1 or more, got {power}.")
    shift = _dense(graph, edge_weight)
    largest = np.abs(shift).max(initial=0)
    powers = np.linalg.matrix_power(shift / largest if largest > 0 else shift, power)
    proxy = powers.T @ powers
    left, found = list(range(len(shift))), []
    while left:
        smallest = np.linalg.eigh(proxy[np.ix_(left, left)])[1][:, 0]  # eigenvalues rise
        found.append(left.pop(int(np.argmax(np.abs(smallest)))))
    return torch.tensor(found, dtype=torch.long, device=graph.edge_index.device)


def designed_sampling(graph: Graph, edge_weight: Tensor | None = None) -> Tensor:
    """Nodes by the score of experimentally designed sampling, the largest first: score_i = max over k of |V_ik|^2, with
    the columns of V the eigenvectors of S (Varma, Chen, Kovacevic 2015, "Spectrum-blind signal recovery on graphs").

    A node scores high where some frequency is concentrated on it. Where an eigenvalue is repeated, its eigenvectors,
    and so the scores, are one choice of many.

    Args:
        edge_weight: (E,) entries of S; ones by default.

    Example:
        >>> both_ways = edgenet.Graph(torch.cat([edges, edges.flip(0)], dim=1), num_nodes=4)
        >>> sorted(edgenet.nn.graph_signal.designed_sampling(both_ways).tolist())
        [0, 1, 2, 3]
    """
    shift = _dense(graph, edge_weight)
    symmetric = np.allclose(shift, shift.T, atol=1e-12)
    vectors = np.linalg.eigh(shift)[1] if symmetric else np.linalg.eig(shift)[1]
    score = np.square(np.abs(vectors)).max(axis=1, initial=0)
    # rounding must not decide between nodes that score the same
    order = np.argsort(-np.round(score, 12), kind="stable")
    return torch.tensor(order, dtype=torch.long, device=graph.edge_index.device)


def as_numbered(graph: Graph, edge_weight: Tensor | None = None) -> Tensor:
    """Nodes as they are numbered.

    Example:
        >>> edgenet.nn.graph_signal.as_numbered(graph).tolist()
        [0, 1, 2, 3]
    """
    return torch.arange(graph.num_nodes, device=graph.edge_index.device)


#: The orderings by name.
ORDERINGS: dict[str, Ordering] = {
    "degree": by_degree,
    "spectral_proxies": spectral_proxies,
    "designed_sampling": designed_sampling,
    "identity": as_numbered,
}


def _dense(graph: Graph, edge_weight: Tensor | None) -> Any:
    """(N, N) entries of S in which S[i, j] belongs to the edge from j to i, in float64."""
    if graph.is_bipartite:
        raise ShapeError(
            f"an ordering is of one set of nodes, got {graph.num_sources} sources and {graph.num_nodes} targets."
        )
    weight = gso.adjacency(graph, edge_weight, torch.float64).detach().double()
    if not bool(weight.isfinite().all()):
        raise ShapeError("eigenvectors need finite edge weights; some are NaN or infinite.")
    shift = weight.new_zeros(graph.num_nodes, graph.num_nodes)
    return shift.index_put((graph.target, graph.source), weight, accumulate=True).cpu().numpy()
