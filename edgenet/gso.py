"""Edge weights of the usual graph shift operators (GSO): matrices with the graph's sparsity.

Every function takes a graph and (E,) edge weights (None: all 1), and leaves the edge order alone. Operators that have a
diagonal of their own return the graph with self-loops beside the weights.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from edgenet.errors import ShapeError
from edgenet.graph import Graph


def adjacency(graph: Graph, edge_weight: Tensor | None = None, dtype: torch.dtype | None = None) -> Tensor:
    """(E,) the weights of A itself: ``edge_weight``, or ones.

    Raises:
        ShapeError: if ``edge_weight`` has not one number an edge.
    """
    if edge_weight is None:
        return torch.ones(graph.num_edges, dtype=dtype, device=graph.edge_index.device)
    if edge_weight.shape != (graph.num_edges,):
        raise ShapeError(f"one weight for each of {graph.num_edges} edges is wanted, got {tuple(edge_weight.shape)}.")
    return edge_weight


def degree(graph: Graph, edge_weight: Tensor | None = None, dtype: torch.dtype | None = None) -> Tensor:
    """(N,) sum of the weights of the edges that enter each node."""
    weight = adjacency(graph, edge_weight, dtype)
    return weight.new_zeros(graph.num_nodes).index_add(0, graph.target, weight)


def symmetric(graph: Graph, edge_weight: Tensor | None = None, dtype: torch.dtype | None = None) -> Tensor:
    """(E,) weights of D^(-1/2) A D^(-1/2), D the weighted in-degree. Nodes of degree 0 get weight 0.

    Kipf and Welling 2017 use it on A + I: call it on ``graph.with_self_loops()``.

    Raises:
        ShapeError: on a bipartite graph, which has no one degree a node.
    """
    if graph.is_bipartite:
        raise ShapeError("symmetric normalisation needs one set of nodes; use random_walk on a bipartite graph.")
    weight = adjacency(graph, edge_weight, dtype)
    root = degree(graph, weight).pow(-0.5)
    root = torch.where(root.isinf(), 0, root)
    return root[graph.target] * weight * root[graph.source]


def random_walk(graph: Graph, edge_weight: Tensor | None = None, dtype: torch.dtype | None = None) -> Tensor:
    """(E,) weights of D^(-1) A: every node averages its in-neighbours. Nodes of degree 0 get weight 0."""
    weight = adjacency(graph, edge_weight, dtype)
    inverse = degree(graph, weight).pow(-1)
    return torch.where(inverse.isinf(), 0, inverse)[graph.target] * weight


#: The normalisations a shift operator takes by name.
NORMALISATIONS = {"sym": symmetric, "rw": random_walk, None: adjacency}


def laplacian(
    graph: Graph, edge_weight: Tensor | None = None, normalisation: str | None = None, dtype: torch.dtype | None = None
) -> tuple[Graph, Tensor]:
    """The Laplacian D - A (None), I - D^(-1/2) A D^(-1/2) ("sym") or I - D^(-1) A ("rw") of a graph without self-loops.

    Self-loops of ``graph`` are dropped first. A normalised Laplacian has 0 on the diagonal of an isolated node.

    Returns:
        The graph with one self-loop a node, and its (E',) weights, the diagonal last.
    """
    if normalisation not in NORMALISATIONS:
        raise ShapeError(f"normalisation is one of {sorted(map(str, NORMALISATIONS))}, got {normalisation!r}.")
    looped, kept = graph.with_self_loops()
    bare, _ = graph.without_self_loops()
    weight = adjacency(graph, edge_weight, dtype)[kept]
    total = degree(bare, weight)
    diagonal = total if normalisation is None else (total != 0).to(weight.dtype)
    return looped, torch.cat([-NORMALISATIONS[normalisation](bare, weight), diagonal])


def largest_eigenvalue(graph: Graph, edge_weight: Tensor | None = None) -> float:
    """The largest absolute value among the eigenvalues of the operator, by scipy's sparse solver in float64.

    Raises:
        ShapeError: on a bipartite graph, or one without nodes.
    """
    from scipy.sparse import csr_matrix
    from scipy.sparse.linalg import eigs, eigsh

    if graph.is_bipartite or graph.num_nodes == 0:
        raise ShapeError(f"eigenvalues need a square operator, got {graph.num_nodes} x {graph.num_sources}.")
    weight = adjacency(graph, edge_weight, torch.float64).detach().double().cpu().numpy()
    source, target = graph.edge_index.cpu().numpy()
    matrix = csr_matrix((weight, (target, source)), shape=(graph.num_nodes, graph.num_nodes))
    if graph.num_nodes < 32:  # the iterative solvers need room; a small dense problem is exact
        return float(np.abs(np.linalg.eigvals(matrix.toarray())).max())
    start = np.random.default_rng(0).standard_normal(graph.num_nodes)  # ARPACK's own start changes from call to call
    symmetric_matrix = abs(matrix - matrix.T).max() == 0
    solve = eigsh if symmetric_matrix else eigs
    return float(np.abs(solve(matrix, k=1, which="LM", v0=start, return_eigenvectors=False)).max())


def scaled(graph: Graph, edge_weight: Tensor | None = None, dtype: torch.dtype | None = None) -> Tensor:
    """(E,) weights of A / |lambda_max|, whose powers neither grow nor vanish; A itself if all eigenvalues are 0."""
    weight = adjacency(graph, edge_weight, dtype)
    largest = largest_eigenvalue(graph, weight)
    return weight / largest if largest > 0 else weight
