"""GATv2's attention in compiled code."""

from __future__ import annotations

import torch
from torch import Tensor

from edgenet.graph import Graph
from edgenet.ops import native


def forward(
    graph: Graph, x: Tensor, target: Tensor, att: Tensor, slope: float, dropout: float, seed: int
) -> tuple[Tensor, Tensor]:
    """The output (N, H, C), and the log-sum-exp of the scores (N, H)."""
    order, x, target = native.by_target(graph), x.contiguous(), target.contiguous()
    wide = torch.promote_types(x.dtype, torch.float32)
    att = att.to(wide).contiguous()
    out = x.new_empty((graph.num_nodes, *x.shape[1:]))
    lse = x.new_empty((graph.num_nodes, x.shape[1]), dtype=wide)
    if out.numel() == 0 or x.numel() == 0:
        return out.zero_(), lse.zero_()
    native.library().edgenet_attention_v2(
        native.pool(), native.DTYPES[x.dtype], order.wide, *order.pointers, order.rows, order.nodes,
        x.data_ptr(), target.data_ptr(), att.data_ptr(), out.data_ptr(), lse.data_ptr(),
        slope, dropout, seed, *x.shape[1:],
    )  # fmt: skip
    return out, lse


def backward(
    graph: Graph,
    x: Tensor,
    target: Tensor,
    att: Tensor,
    y: Tensor,
    lse: Tensor,
    grad: Tensor,
    slope: float,
    dropout: float,
    seed: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients in ``x``, ``target`` and ``att``."""
    to, by = native.by_target(graph), native.by_source(graph)
    x, target, y, grad = x.contiguous(), target.contiguous(), y.contiguous(), grad.contiguous()
    wide = att.to(torch.promote_types(x.dtype, torch.float32)).contiguous()
    grad_x, grad_target, grad_att = torch.empty_like(x), torch.empty_like(target), torch.empty_like(wide)
    if grad.numel() == 0 or x.numel() == 0:
        return grad_x.zero_(), grad_target.zero_(), grad_att.zero_().to(att.dtype)
    at = native.places(graph)
    native.library().edgenet_attention_v2_backward(
        native.pool(), native.DTYPES[x.dtype], by.wide, to.ptr.data_ptr(), to.other.data_ptr(), to.rows, *by.pointers,
        by.rows, at.data_ptr(), x.data_ptr(), target.data_ptr(), wide.data_ptr(), y.data_ptr(), lse.data_ptr(),
        grad.data_ptr(), grad_x.data_ptr(), grad_target.data_ptr(), grad_att.data_ptr(), slope, dropout, seed,
        *x.shape[1:],
    )  # fmt: skip
    return grad_x, grad_target, grad_att.to(att.dtype)
