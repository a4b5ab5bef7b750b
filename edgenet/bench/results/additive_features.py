"""Readable features of the edges of a graph of documents: of words, of neighbourhoods, and of both ends. No labels."""

from __future__ import annotations

import networkx as nx
import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from edgenet.graph import Graph

_RETURN = 0.15  # share of a personalised PageRank's walkers that go home at every step
_STEPS = 40  # of them; 0.85^40 is a thousandth


def edge_features(x: Tensor, graph: Graph) -> dict[str, Tensor]:
    """Numbers that say how the ends of every edge are alike, and what its source is.

    Of the target alone there are none: a softmax over the in-edges of a node cancels what they share.
    Of self-loops, what compares two nodes is the mean over the node's other in-edges, as in ``EdgeNetConv``, so that
    they are told apart by "is a self-loop" alone.

    Args:
        x: (N, F) words of the nodes; an entry above 0 is a word that is there. May be sparse.
        graph: E edges, self-loops among them or not.

    Returns:
        {name: (E,) float32}.
    """
    source, target = graph.source.numpy(), graph.target.numpy()
    words = sparse.csr_matrix((x.to_dense() if x.layout != torch.strided else x).numpy() > 0, dtype=np.float64)
    plain = source != target
    links = sparse.csr_matrix((np.ones(plain.sum()), (target[plain], source[plain])), (graph.num_nodes,) * 2)
    links = ((links + links.T) > 0).astype(np.float64)
    pairs = {**_of_words(words, links, source, target), **_of_links(links, source, target)}
    columns = {name: _at_loops(values, target, plain, graph.num_nodes) for name, values in pairs.items()}
    for name, values in _of_nodes(words, links).items():
        columns[f"{name} of source"] = values[source]
    columns["is a self-loop"] = (~plain).astype(np.float64)
    return {name: torch.as_tensor(values, dtype=torch.float32) for name, values in columns.items()}


def noise_features(num_edges: int, number: int, seed: int = 0) -> dict[str, Tensor]:
    """{name: (E,)} standard normal numbers that mean nothing."""
    values = np.random.default_rng(seed).normal(size=(number, num_edges)).astype(np.float32)
    return {f"noise {k}": torch.as_tensor(row) for k, row in enumerate(values)}


def _of_words(words: sparse.csr_matrix, links: sparse.csr_matrix, source: np.ndarray, target: np.ndarray) -> dict:
    """What the words of both ends, and of their neighbourhoods, have in common."""
    sizes = np.asarray(words.sum(1)).ravel()
    shared = _dots(words, words, source, target)
    union = sizes[source] + sizes[target] - shared
    rarity = np.log(words.shape[0] / np.maximum(np.asarray(words.sum(0)).ravel(), 1))  # -log of the share of documents
    rare = words @ sparse.diags(np.sqrt(rarity))
    near = _averaged(links) @ words
    unit, unit_near, unit_far = _unit(words), _unit(near), _unit(_averaged(links) @ near)
    return {
        "shared words": shared,
        "cosine of words": _dots(unit, unit, source, target),
        "Jaccard of words": shared / np.maximum(union, 1),
        "shared words, rare ones count more": _dots(rare, rare, source, target),
        "cosine of words within 1 hop": _dots(unit_near, unit_near, source, target),
        "cosine of words within 2 hops": _dots(unit_far, unit_far, source, target),
        "cosine of source's words and target's surroundings": _dots(unit, unit_near, source, target),
        "cosine of source's surroundings and target's words": _dots(unit_near, unit, source, target),
    }


def _of_links(links: sparse.csr_matrix, source: np.ndarray, target: np.ndarray) -> dict:
    """How tightly the graph ties the ends."""
    degree = np.asarray(links.sum(1)).ravel()
    common = _dots(links, links, source, target)
    # a neighbour of one link alone is nobody's common one
    rare = links @ sparse.diags(1 / np.sqrt(np.log(np.maximum(degree, 2))))
    rank = _personal(links)
    return {
        "common neighbours": common,
        "Jaccard of neighbours": common / np.maximum(degree[source] + degree[target] - common, 1),
        "Adamic-Adar of neighbours": _dots(rare, rare, source, target),
        "log PageRank of source seen from target": np.log(rank[target, source] + 1e-9),
        "log PageRank of target seen from source": np.log(rank[source, target] + 1e-9),
    }


def _of_nodes(words: sparse.csr_matrix, links: sparse.csr_matrix) -> dict:
    """(N,) what a node is."""
    graph = nx.from_scipy_sparse_array(links)
    degree = np.asarray(links.sum(1)).ravel()
    nodes = range(links.shape[0])

    def listed(values: dict) -> np.ndarray:
        return np.array([values[node] for node in nodes], dtype=np.float64)

    return {
        "log degree": np.log1p(degree),
        "mean log degree of neighbours": _averaged(links, loops=False) @ np.log1p(degree),
        "log PageRank": np.log(listed(nx.pagerank(graph))),
        "core number": listed(nx.core_number(graph)),
        "clustering": listed(nx.clustering(graph)),
        "words": np.asarray(words.sum(1)).ravel(),
    }


def _averaged(links: sparse.csr_matrix, loops: bool = True) -> sparse.csr_matrix:
    """Rows that sum to 1: the mean of a node's neighbours, and of itself. Zeros where there are none."""
    if loops:
        links = links + sparse.identity(links.shape[0])
    return sparse.diags(1 / np.maximum(np.asarray(links.sum(1)).ravel(), 1)) @ links


def _personal(links: sparse.csr_matrix) -> np.ndarray:
    """(N, N) where walkers from every node are found, who go home now and then. Rows sum to 1 where there are links."""
    step, home = _averaged(links, loops=False), _RETURN * np.eye(links.shape[0])
    rank = home / _RETURN
    for _ in range(_STEPS):
        rank = home + (1 - _RETURN) * (step.T @ rank.T).T
    return rank


def _unit(rows: sparse.csr_matrix) -> sparse.csr_matrix:
    length = np.sqrt(np.asarray(rows.multiply(rows).sum(1)).ravel())
    return sparse.csr_matrix(sparse.diags(1 / np.where(length > 0, length, 1)) @ rows)


def _dots(left: sparse.csr_matrix, right: sparse.csr_matrix, source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(E,) inner products of the left rows of the sources with the right rows of the targets."""
    left, right = sparse.csr_matrix(left), sparse.csr_matrix(right)
    return np.asarray(left[source].multiply(right[target]).sum(1)).ravel()


def _at_loops(values: np.ndarray, target: np.ndarray, plain: np.ndarray, num_nodes: int) -> np.ndarray:
    """The mean over the node's other in-edges, where an edge is a self-loop."""
    total = np.bincount(target[plain], values[plain], num_nodes)
    count = np.bincount(target[plain], minlength=num_nodes)
    overall = values[plain].mean() if plain.any() else 0.0
    mean = np.where(count > 0, total / np.maximum(count, 1), overall)
    return np.where(plain, values, mean[target])
