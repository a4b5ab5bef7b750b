"""sddmm: an inner product for every edge."""

from torch import Tensor

from edgenet.errors import ShapeError
from edgenet.graph import Graph
from edgenet.ops import backend, pair
from edgenet.ops.kernels.sddmm import reference

backend.register("sddmm", reference=reference.sddmm)


def sddmm(graph: Graph, a: Tensor, b: Tensor) -> Tensor:
    """The inner product of the two ends of every edge, head by head (sampled dense-dense matrix multiplication).

    w[e, h] = sum over c of a[i, h, c] * b[j, h, c]   for e = (j -> i)

    Differentiable any number of times in ``a`` (by ``spmm``) and ``b`` (by ``spmm`` on the transposed graph).

    Args:
        graph: E directed edges on N nodes.
        a: (N, H, C) signals of the targets.
        b: (N, H, C) signals of the sources (as many rows as the graph has sources). Different dtypes are promoted;
            integers and bools are summed as int64.

    Returns:
        (E, H), in the order of ``graph.edge_index``.

    Raises:
        ShapeError: if ``a`` or ``b`` has another number of rows, or H or C differs between them.

    Example:
        >>> z = torch.randn(4, 2, 5)
        >>> edgenet.ops.sddmm(graph, z, z).shape  # edges, heads
        torch.Size([4, 2])
    """
    if a.dim() != 3 or b.dim() != 3 or a.shape[1:] != b.shape[1:]:
        raise ShapeError(
            f"sddmm wants two (nodes, H, C) signals with the same H and C, got {tuple(a.shape)}, {tuple(b.shape)}."
        )
    if (a.shape[0], b.shape[0]) != (graph.num_nodes, graph.num_sources):
        raise ShapeError(
            f"sddmm wants {graph.num_nodes} target rows and {graph.num_sources} source rows, got {a.shape[0]} "
            f"and {b.shape[0]}."
        )
    return pair.sddmm(graph, *backend.alike("sddmm", graph, a, b))
