"""Edge weights of the usual graph shift operators (GSO): matrices with the graph's sparsity.

Every function takes a graph and (E,) edge weights (None: all 1), and leaves the edge order alone. Weights that are
integers or booleans become floats before anything is added. Operators that have a diagonal of their own return the
graph with self-loops beside the weights.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgenet.errors import ShapeError
from edgenet.graph import Graph


def adjacency(graph: Graph, edge_weight: Tensor | None = None, dtype: torch.dtype | None = None) -> Tensor:
    """(E,) the weights of A itself: ``edge_weight``, or ones. ``dtype`` is that of ones, and of what were integers.

    Raises:
        ShapeError: if ``edge_weight`` has not one number an edge.

    Example:
        >>> edgenet.gso.adjacency(graph).tolist()
        [1.0, 1.0, 1.0, 1.0]
    """
    if edge_weight is None:
        return torch.ones(graph.num_edges, dtype=dtype, device=graph.edge_index.device)
    if edge_weight.shape != (graph.num_edges,):
        raise ShapeError(f"one weight for each of {graph.num_edges} edges is wanted, got {tuple(edge_weight.shape)}.")
    return floating(edge_weight, dtype)


def floating(edge_weight: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Edge weights as floats (or complex numbers) as they are; integers and booleans, whose sums would overflow and
    whose inverses are 0, in ``dtype``, by default torch's default one.

    Example:
        >>> edgenet.gso.floating(torch.tensor([1, 2]), torch.float32).dtype
        torch.float32
    """
    if edge_weight.is_floating_point() or edge_weight.is_complex():
        return edge_weight
    return edge_weight.to(dtype or torch.get_default_dtype())


def _wide(weight: Tensor) -> Tensor:
    """Numbers that can be added up: bfloat16 cannot count to 257, and float16 not to 65,505."""
    return weight.float() if weight.is_floating_point() and weight.element_size() < 4 else weight


def degree(graph: Graph, edge_weight: Tensor | None = None, dtype: torch.dtype | None = None) -> Tensor:
    """(N,) sum of the weights of the edges that enter each node, those of less than four bytes in float32.

    Example:
        >>> edgenet.gso.degree(graph, torch.tensor([1.0, 2.0, 3.0, 4.0])).tolist()
        [4.0, 1.0, 2.0, 3.0]
    """
    weight = adjacency(graph, edge_weight, dtype)
    return _total(graph, _wide(weight)).to(weight.dtype)


def _total(graph: Graph, weight: Tensor) -> Tensor:
    return weight.new_zeros(graph.num_nodes).index_add(0, graph.target, weight)


def symmetric(graph: Graph, edge_weight: Tensor | None = None, dtype: torch.dtype | None = None) -> Tensor:
    """(E,) weights of D^(-1/2) A D^(-1/2), D the weighted in-degree. Nodes of degree 0 get weight 0, and the edges of
    nodes whose degree is negative NaN: weights are to be 0 or more.

    Kipf and Welling 2017 use it on A + I: call it on ``graph.with_self_loops()``.

    Raises:
        ShapeError: on a bipartite graph, which has no one degree a node.

    Example:
        >>> edgenet.gso.symmetric(graph)
        tensor([1., 1., 1., 1.])
    """
    if graph.is_bipartite:
        raise ShapeError("symmetric normalisation needs one set of nodes; use random_walk on a bipartite graph.")
    weight = adjacency(graph, edge_weight, dtype)
    wide = _wide(weight)
    root = _power(_total(graph, wide), -0.5)
    return (root[graph.target] * wide * root[graph.source]).to(weight.dtype)


def random_walk(graph: Graph, edge_weight: Tensor | None = None, dtype: torch.dtype | None = None) -> Tensor:
    """(E,) weights of D^(-1) A: every node averages its in-neighbours. Nodes of degree 0 get weight 0.

    Example:
        >>> star = edgenet.Graph(torch.tensor([[1, 2, 3, 0], [0, 0, 0, 1]]), num_nodes=4)
        >>> edgenet.gso.random_walk(star)
        tensor([0.3333, 0.3333, 0.3333, 1.0000])
    """
    weight = adjacency(graph, edge_weight, dtype)
    wide = _wide(weight)
    return (_power(_total(graph, wide), -1)[graph.target] * wide).to(weight.dtype)


def _power(total: Tensor, exponent: float) -> Tensor:
    """total^exponent, and 0 where the total is 0, with gradient 0 rather than NaN there."""
    empty = total == 0
    return torch.where(empty, 0, torch.where(empty, 1, total).pow(exponent))


#: The normalisations a shift operator takes by name; "none" for files, which cannot write None.
NORMALISATIONS = {"sym": symmetric, "rw": random_walk, None: adjacency, "none": adjacency}


def laplacian(
    graph: Graph, edge_weight: Tensor | None = None, normalisation: str | None = None, dtype: torch.dtype | None = None
) -> tuple[Graph, Tensor]:
    """The Laplacian D - A (None), I - D^(-1/2) A D^(-1/2) ("sym") or I - D^(-1) A ("rw") of a graph without self-loops.

    Self-loops of ``graph`` are dropped first. A normalised Laplacian has 0 on the diagonal of an isolated node.

    Returns:
        The graph with one self-loop a node, and its (E',) weights, the diagonal last.

    Example:
        >>> both_ways = edgenet.Graph(torch.cat([edges, edges.flip(0)], dim=1), num_nodes=4)
        >>> with_loops, weights = edgenet.gso.laplacian(both_ways)
        >>> with_loops.num_edges, sorted(weights.unique().tolist())
        (12, [-1.0, 2.0])
    """
    normalisation = None if normalisation == "none" else normalisation
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

    Where the iterations do not settle, because many eigenvalues are about as large, a dense solver follows.

    Raises:
        ShapeError: on a bipartite graph, or one without nodes.

    Example:
        >>> round(edgenet.gso.largest_eigenvalue(graph, 2 * torch.ones(4)), 6)
        2.0
    """
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import connected_components

    if graph.is_bipartite or graph.num_nodes == 0:
        raise ShapeError(f"eigenvalues need a square operator, got {graph.num_nodes} x {graph.num_sources}.")
    weight = adjacency(graph, edge_weight, torch.float64).detach()
    entries = weight.to(torch.complex128 if weight.is_complex() else torch.float64).cpu().resolve_conj().numpy()
    source, target = graph.edge_index.cpu().numpy()
    matrix = csr_matrix((entries, (target, source)), shape=(graph.num_nodes, graph.num_nodes))
    matrix.eliminate_zeros()
    if abs(matrix - matrix.T.conj()).max() == 0:
        return _radius(matrix, symmetric=True)
    # eigenvalues of a directed graph are those of its strongly connected components; asked of the whole, which is far
    # from normal, a solver makes large ones out of rounding errors
    count, label = connected_components(abs(matrix), connection="strong")
    size = np.bincount(label, minlength=count)
    alone = size[label] == 1
    largest = float(np.abs(matrix.diagonal()[alone]).max(initial=0))
    for nodes in np.split(np.argsort(label, kind="stable"), size.cumsum()[:-1]):
        if len(nodes) > 1:
            largest = max(largest, _radius(matrix[nodes][:, nodes], symmetric=False))
    return largest


def _radius(matrix: Any, symmetric: bool) -> float:
    """The largest absolute eigenvalue of a scipy sparse matrix; ``symmetric``, or Hermitian where it is complex."""
    from scipy.sparse.linalg import ArpackNoConvergence, eigs, eigsh

    if matrix.nnz == 0:
        return 0.0
    nodes = matrix.shape[0]
    if nodes >= 32:  # the iterative solvers need room
        start = np.random.default_rng(0).standard_normal(nodes)  # ARPACK's own start changes from call to call
        try:
            solve = eigsh if symmetric else eigs
            return float(np.abs(solve(matrix, k=1, which="LM", v0=start, return_eigenvectors=False)).max())
        except ArpackNoConvergence:
            if nodes > 3000:  # 72 MB, and minutes
                raise
    dense = matrix.toarray()
    return float(np.abs(np.linalg.eigvalsh(dense) if symmetric else np.linalg.eigvals(dense)).max())


def scaled(graph: Graph, edge_weight: Tensor | None = None, dtype: torch.dtype | None = None) -> Tensor:
    """(E,) weights of A / |lambda_max|, whose powers neither grow nor vanish; A itself if all eigenvalues are 0.

    Example:
        >>> edgenet.gso.scaled(graph, 5 * torch.ones(4))
        tensor([1., 1., 1., 1.])
    """
    weight = adjacency(graph, edge_weight, dtype)
    largest = largest_eigenvalue(graph, weight)
    return weight / largest if largest > 0 else weight
