"""Communities of a graph: drawn with it, or found in it."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from scipy.cluster.vq import kmeans2
from scipy.sparse.csgraph import connected_components

from edgenet.errors import ConfigError, DataError


def stochastic_block_model(
    num_nodes: int, communities: int, rng: np.random.Generator, within: float = 0.8, between: float = 0.2
) -> tuple[sp.csr_matrix, np.ndarray]:
    """A connected undirected graph of 0s and 1s, and the community (N,) of every node.

    Raises:
        ConfigError: if a hundred draws were not connected.
    """
    community = np.arange(num_nodes) * communities // num_nodes
    probability = np.where(community[:, None] == community, within, between)
    for _ in range(100):
        upper = np.triu(rng.random((num_nodes, num_nodes)) < probability, 1)
        adjacency = sp.csr_matrix((upper | upper.T).astype(np.float64))
        if connected_components(adjacency, directed=False)[0] == 1:
            return adjacency, community
    raise ConfigError(f"source_localisation: no connected graph of {num_nodes} nodes in 100 draws; take more nodes.")


def spectral_clusters(adjacency: sp.csr_matrix, clusters: int, rng: np.random.Generator) -> np.ndarray:
    """(N,) cluster of every node: k-means on the leading eigenvectors of D^-1/2 W D^-1/2 (Ng, Jordan, Weiss 2002)."""
    degree = np.asarray(adjacency.sum(1)).ravel()
    if clusters > len(degree) or (degree == 0).any():
        raise DataError(
            f"a graph of {len(degree)} nodes, {int((degree == 0).sum())} of them isolated, has no {clusters} clusters: "
            f"pass sources=[...], one node per class, and leave isolated nodes out."
        )
    scale = 1 / np.sqrt(degree)
    _, vectors = np.linalg.eigh(scale[:, None] * adjacency.toarray() * scale)
    rows = vectors[:, -clusters:]
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    _, community = kmeans2(rows, clusters, minit="++", seed=rng)
    return community


def hubs(adjacency: sp.csr_matrix, community: np.ndarray) -> list[int]:
    """The node of highest degree in every community; of several the first."""
    degree = np.asarray(adjacency.sum(1)).ravel()
    return [
        int(members[degree[members].argmax()])
        for members in (np.flatnonzero(community == c) for c in np.unique(community))
    ]
