"""spmm in compiled code: sums stay in registers while a node's edges go by."""

from __future__ import annotations

import torch
from torch import Tensor

from edgenet.graph import Graph
from edgenet.ops import native

#: whether ``x`` may be (N, 1, C), the same for all heads
SHARES_SIGNAL = True


def forward(graph: Graph, weight: Tensor | None, x: Tensor) -> Tensor:
    """See ``edgenet.ops.spmm``; ``x`` may be (N, 1, C). Without ``weight`` every edge has 1."""
    return _walk(native.by_target(graph), weight, x)


def backward(
    graph: Graph, weight: Tensor | None, x: Tensor, grad: Tensor, needs_weight: bool, needs_x: bool
) -> tuple[Tensor | None, Tensor | None]:
    """Gradients in ``weight`` and ``x``, in one pass that gathers ``grad`` once."""
    order = native.by_source(graph)
    if not needs_weight:
        if not needs_x:
            return None, None
        grad_x = _walk(order, weight, grad)
        return None, grad_x if grad_x.shape == x.shape else grad_x.sum(1, keepdim=True)
    x, grad = x.contiguous(), grad.contiguous()
    grad_weight = torch.empty_like(weight, memory_format=torch.contiguous_format)
    grad_x = torch.empty_like(x) if needs_x else None
    if weight.numel() == 0 or x.numel() == 0:
        return grad_weight.zero_(), None if grad_x is None else grad_x.zero_()
    weight = weight.contiguous()
    native.library().edgenet_walk(
        native.pool(), native.DTYPES[x.dtype], order.wide, *order.pointers, order.rows, order.nodes,
        weight.data_ptr(), grad.data_ptr(), x.data_ptr(), native.pointer(grad_x), grad_weight.data_ptr(),
        *grad.shape[1:], 2 * (x.shape[1] < grad.shape[1]),
    )  # fmt: skip
    return grad_weight, grad_x


def _walk(order: native.Order, weight: Tensor | None, x: Tensor) -> Tensor:
    x, heads = x.contiguous(), x.shape[1] if weight is None else weight.shape[1]
    out = x.new_empty((order.rows, heads, x.shape[2]))
    if out.numel() == 0 or x.numel() == 0:
        return out.zero_()
    weight = None if weight is None else weight.contiguous()
    native.library().edgenet_walk(
        native.pool(), native.DTYPES[x.dtype], order.wide, *order.pointers, order.rows, order.nodes,
        native.pointer(weight), x.data_ptr(), None, out.data_ptr(), None, *out.shape[1:],
        int(x.shape[1] < heads),
    )  # fmt: skip
    return out
