"""spmm: one hop over the graph."""

from torch import Tensor

from edgenet.errors import ShapeError
from edgenet.graph import Graph
from edgenet.ops import backend, pair
from edgenet.ops.kernels.spmm import reference, scatter

backend.register("spmm", reference=reference.spmm, scatter=scatter.spmm)


def spmm(graph: Graph, weight: Tensor | None, x: Tensor) -> Tensor:
    """One hop: every node sums its in-neighbours' signals, scaled edge by edge and head by head.

    y[i, h] = sum over edges e = (j -> i) of weight[e, h] * x[j, h]

    Differentiable any number of times in ``weight`` (by ``sddmm``) and ``x`` (by ``spmm`` on the transposed graph).

    Args:
        graph: E directed edges on N nodes.
        weight: (E, H), in the order of ``graph.edge_index``; or (E, 1), shared by all heads; or None: all 1.
        x: (N, H, C) node signals (as many rows as the graph has sources); or (N, 1, C), the same for all heads.
            Different dtypes are promoted before anything is summed: integer and bool weights to the dtype of ``x``;
            if ``x`` is of integers or bools too, both to int64. Half precision is summed in float32.

    Returns:
        (N, H, C). A node with no incoming edge gets zeros.

    Raises:
        ShapeError: if ``weight`` has not E rows, ``x`` has not one row a source, or H differs between the two.

    Example:
        >>> y = edgenet.ops.spmm(graph, torch.ones(4, 1), x.unsqueeze(1))
        >>> torch.equal(y[1, 0], x[0])
        True
    """
    if weight is not None and (weight.dim() != 2 or weight.shape[0] != graph.num_edges):
        raise ShapeError(
            f"spmm wants one row of weights for each of {graph.num_edges} edges, got {tuple(weight.shape)}."
        )
    if x.dim() != 3 or x.shape[0] != graph.num_sources:
        raise ShapeError(f"spmm wants signals ({graph.num_sources}, H, C), got {tuple(x.shape)}.")
    weight, x = backend.alike("spmm", graph, weight, x)
    heads, channels = x.shape[1:]
    if weight is None or weight.shape[1] == heads or heads == 1:
        return pair.spmm(graph, weight, x)
    if weight.shape[1] != 1:
        raise ShapeError(
            f"spmm got weights for {weight.shape[1]} heads and signals with {heads}; one of them may be 1."
        )
    # one weighting: heads are only more channels
    return pair.spmm(graph, weight, x.flatten(1).unsqueeze(1)).unflatten(2, (heads, channels))[:, 0]
