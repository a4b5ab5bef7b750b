"""spmm in compiled code: sums stay in registers while a node's edges go by."""

from __future__ import annotations

import torch
from torch import Tensor

from edgenet.graph import Graph
from edgenet.ops import native
from edgenet.ops.native import gate, orders

#: whether ``x`` may be (N, 1, C), the same for all heads
SHARES_SIGNAL = True


def forward(graph: Graph, weight: Tensor | None, x: Tensor) -> Tensor:
    """See ``edgenet.ops.spmm``; ``x`` may be (N, 1, C). Without ``weight`` every edge has 1."""
    return _walk(orders.by_target(graph), weight, x)


def backward(
    graph: Graph, weight: Tensor | None, x: Tensor, grad: Tensor, needs_weight: bool, needs_x: bool
) -> tuple[Tensor | None, Tensor | None]:
    """Gradients in ``weight`` and ``x``, in one pass that gathers ``grad`` once."""
    order = orders.by_source(graph)
    if not needs_weight:
        if not needs_x:
            return None, None
        grad_x = _walk(order, weight, grad)
        return None, grad_x if grad_x.shape == x.shape else grad_x.sum(1, keepdim=True)
    grad_weight = torch.empty_like(weight, memory_format=torch.contiguous_format)
    grad_x = torch.empty_like(x, memory_format=torch.contiguous_format) if needs_x else None
    if weight.numel() == 0 or x.numel() == 0:
        return grad_weight.zero_(), None if grad_x is None else grad_x.zero_()
    dtype, (heads, channels), shared = x.dtype, grad.shape[1:], x.shape[1] < grad.shape[1]
    scalars, own = order.edges * heads, order.rows * (1 if shared else heads) * channels
    gate.call(
        "edgenet_walk", native.pool(), native.DTYPES[dtype], order.wide, *order.pointers, order.rows, order.nodes,
        (gate.plain(weight), scalars, dtype), (gate.plain(grad), order.nodes * heads * channels, dtype),
        (gate.plain(x), own, dtype), (grad_x, own, dtype), (grad_weight, scalars, dtype), heads, channels, 2 * shared,
    )  # fmt: skip
    return grad_weight, grad_x


def _walk(order: orders.Order, weight: Tensor | None, x: Tensor) -> Tensor:
    heads, channels, dtype = x.shape[1] if weight is None else weight.shape[1], x.shape[2], x.dtype
    out, shared = x.new_empty((order.rows, heads, channels)), x.shape[1] < heads
    if out.numel() == 0 or x.numel() == 0:
        return out.zero_()
    gate.call(
        "edgenet_walk", native.pool(), native.DTYPES[dtype], order.wide, *order.pointers, order.rows, order.nodes,
        (None if weight is None else gate.plain(weight), order.edges * heads, dtype),
        (gate.plain(x), order.nodes * (1 if shared else heads) * channels, dtype), None,
        (out, order.rows * heads * channels, dtype), None, heads, channels, int(shared),
    )  # fmt: skip
    return out
