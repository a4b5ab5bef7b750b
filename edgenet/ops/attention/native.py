"""GAT's attention in compiled code: no tensor has a row an edge, but for the scores' gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from edgenet.graph import Graph
from edgenet.ops import native

#: whether ``x`` may be (N, 1, C), the same for all heads
SHARES_SIGNAL = True


def forward(
    graph: Graph,
    score_source: Tensor,
    score_target: Tensor | None,
    x: Tensor,
    slope: float,
    dropout: float,
    seed: int,
) -> tuple[Tensor, Tensor]:
    """The output (N, H, C), and the log-sum-exp of the scores (N, H)."""
    order, x, score_source = native.by_target(graph), x.contiguous(), score_source.contiguous()
    score_target = None if score_target is None else score_target.contiguous()
    heads = score_source.shape[1]
    out = x.new_empty((graph.num_nodes, heads, x.shape[2]))
    lse = x.new_empty((graph.num_nodes, heads), dtype=torch.promote_types(x.dtype, torch.float32))
    if out.numel() == 0 or x.numel() == 0:
        return out.zero_(), lse.zero_()
    native.library().edgenet_attention(
        native.pool(), native.DTYPES[x.dtype], order.wide, *order.pointers, order.rows, order.nodes,
        score_source.data_ptr(), native.pointer(score_target), x.data_ptr(), out.data_ptr(), lse.data_ptr(),
        slope, dropout, seed, *out.shape[1:], int(x.shape[1] < heads),
    )  # fmt: skip
    return out, lse


def backward(
    graph: Graph,
    score_source: Tensor,
    score_target: Tensor | None,
    x: Tensor,
    y: Tensor,
    lse: Tensor,
    grad: Tensor,
    slope: float,
    dropout: float,
    seed: int,
) -> tuple[Tensor, Tensor | None, Tensor]:
    """Gradients in the scores and the signal, in one pass over the source order that computes the weights anew."""
    target, source = native.by_target(graph), native.by_source(graph)
    x, y, grad, score_source = x.contiguous(), y.contiguous(), grad.contiguous(), score_source.contiguous()
    score_target = None if score_target is None else score_target.contiguous()
    grad_source, grad_x = torch.empty_like(score_source), torch.empty_like(x)
    grad_target = None if score_target is None else torch.empty_like(score_target)
    if grad.numel() == 0 or x.numel() == 0:
        return grad_source.zero_(), None if grad_target is None else grad_target.zero_(), grad_x.zero_()
    at = native.places(graph)
    native.library().edgenet_attention_backward(
        native.pool(), native.DTYPES[x.dtype], source.wide, target.ptr.data_ptr(), target.rows, *source.pointers,
        source.rows, at.data_ptr(), score_source.data_ptr(), native.pointer(score_target), x.data_ptr(), y.data_ptr(),
        lse.data_ptr(), grad.data_ptr(), grad_source.data_ptr(), native.pointer(grad_target), grad_x.data_ptr(),
        slope, dropout, seed, *y.shape[1:], int(x.shape[1] < y.shape[1]),
    )  # fmt: skip
    return grad_source, grad_target, grad_x
