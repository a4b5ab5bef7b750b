"""segment_softmax over the in-edges of every node in compiled code."""

from __future__ import annotations

import torch
from torch import Tensor

from edgenet.graph import Graph
from edgenet.ops import native


def forward(graph: Graph, score: Tensor) -> Tensor:
    """See ``edgenet.ops.segment_softmax``; the segments are the targets."""
    return _run(graph, score, None)


def backward(graph: Graph, p: Tensor, grad: Tensor) -> Tensor:
    """Gradient in the scores: p (grad - <p, grad> over the segment)."""
    return _run(graph, p, grad)


def _run(graph: Graph, score: Tensor, grad: Tensor | None) -> Tensor:
    order, score = native.by_target(graph), score.contiguous()
    grad = None if grad is None else grad.contiguous()
    out = torch.empty_like(score)
    if out.numel():
        native.library().edgenet_segment_softmax(
            native.pool(), native.DTYPES[score.dtype], order.wide, order.ptr.data_ptr(), native.pointer(order.edge),
            order.rows, score.data_ptr(), native.pointer(grad), out.data_ptr(), score.shape[1],
        )  # fmt: skip
    return out
