"""spmm in compiled code: sums stay in registers while a node's edges go by."""

from __future__ import annotations

import torch
from torch import Tensor

from edgenet.graph import Graph
from edgenet.ops import native


def forward(graph: Graph, weight: Tensor | None, x: Tensor) -> Tensor:
    """See ``edgenet.ops.spmm``; without ``weight`` every edge has 1."""
    return _walk(native.by_target(graph), weight, x)


def backward(
    graph: Graph, weight: Tensor | None, x: Tensor, grad: Tensor, needs_weight: bool, needs_x: bool
) -> tuple[Tensor | None, Tensor | None]:
    """Gradients in ``weight`` and ``x``, in one pass that gathers ``grad`` once."""
    order = native.by_source(graph)
    if not needs_weight:
        return None, _walk(order, weight, grad) if needs_x else None
    x, grad = x.contiguous(), grad.contiguous()
    grad_weight = torch.empty_like(weight, memory_format=torch.contiguous_format)
    grad_x = torch.empty_like(x) if needs_x else None
    if weight.numel() == 0 or x.numel() == 0:
        return grad_weight.zero_(), None if grad_x is None else grad_x.zero_()
    weight = weight.contiguous()
    native.library().edgenet_walk(
        native.pool(), native.DTYPES[x.dtype], order.wide, *order.pointers, order.rows, order.nodes,
        weight.data_ptr(), grad.data_ptr(), x.data_ptr(), native.pointer(grad_x), grad_weight.data_ptr(), *x.shape[1:],
    )  # fmt: skip
    return grad_weight, grad_x


def _walk(order: native.Order, weight: Tensor | None, x: Tensor) -> Tensor:
    x = x.contiguous()
    out = x.new_empty((order.rows, *x.shape[1:]))
    if out.numel() == 0 or x.numel() == 0:
        return out.zero_()
    weight = None if weight is None else weight.contiguous()
    native.library().edgenet_walk(
        native.pool(), native.DTYPES[x.dtype], order.wide, *order.pointers, order.rows, order.nodes,
        native.pointer(weight), x.data_ptr(), None, out.data_ptr(), None, *x.shape[1:],
    )  # fmt: skip
    return out
