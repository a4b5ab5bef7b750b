"""segment_softmax over the in-edges of every node in compiled code."""

from __future__ import annotations

import torch
from torch import Tensor

from edgenet.graph import Graph
from edgenet.ops import native
from edgenet.ops.native import gate, orders


def forward(graph: Graph, score: Tensor) -> Tensor:
    """See ``edgenet.ops.segment_softmax``; the segments are the targets."""
    return _run(graph, score, None)


def backward(graph: Graph, p: Tensor, grad: Tensor) -> Tensor:
    """Gradient in the scores: p (grad - <p, grad> over the segment)."""
    return _run(graph, p, grad)


def _run(graph: Graph, score: Tensor, grad: Tensor | None) -> Tensor:
    order, heads, dtype = orders.by_target(graph), score.shape[1], score.dtype
    out, size = torch.empty_like(score, memory_format=torch.contiguous_format), order.edges * heads
    if out.numel():
        ptr, _, edge = order.pointers
        gate.call(
            "edgenet_segment_softmax", native.pool(), native.DTYPES[dtype], order.wide, ptr, edge, order.rows,
            (gate.plain(score), size, dtype), (None if grad is None else gate.plain(grad), size, dtype),
            (out, size, dtype), heads,
        )  # fmt: skip
    return out
