"""sddmm in compiled code."""

from torch import Tensor

from edgenet.graph import Graph
from edgenet.ops import native
from edgenet.ops.native import gate, orders


def forward(graph: Graph, a: Tensor, b: Tensor) -> Tensor:
    """See ``edgenet.ops.sddmm``."""
    order, dtype, (heads, channels) = orders.by_target(graph), a.dtype, a.shape[1:]
    out = a.new_empty((order.edges, heads))
    if out.numel() == 0 or a.numel() == 0:
        return out.zero_()
    gate.call(
        "edgenet_walk", native.pool(), native.DTYPES[dtype], order.wide, *order.pointers, order.rows, order.nodes, None,
        (gate.plain(b), order.nodes * heads * channels, dtype), (gate.plain(a), order.rows * heads * channels, dtype),
        None, (out, order.edges * heads, dtype), heads, channels, 0,
    )  # fmt: skip
    return out
