"""GAT's attention on CUDA, in Triton."""

from __future__ import annotations

import torch
from torch import Tensor

from edgenet.graph import Graph
from edgenet.ops import triton_attention
from edgenet.ops.kernels.spmm.triton import sum_rows
from edgenet.ops.triton_attention import Scores
from edgenet.ops.triton_rows import rows_by_target

#: whether ``x`` may be (N, 1, C), the same for all heads
SHARES_SIGNAL = False


def forward(
    graph: Graph, score_source: Tensor, score_target: Tensor | None, x: Tensor, slope: float, dropout: float, seed: int,
    edges: tuple[Tensor | None, Tensor | None] = (None, None),
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """The output (N, H, C), and of the scores (N, H) the largest and the sum of exp(score - largest)."""
    return triton_attention.forward(graph, x, Scores(score_source, score_target, None, *edges), slope, dropout, seed)


def backward(
    graph: Graph, score_source: Tensor, score_target: Tensor | None, x: Tensor, y: Tensor, top: Tensor, total: Tensor,
    grad: Tensor, slope: float, dropout: float, seed: int, edges: tuple[Tensor | None, Tensor | None] = (None, None),
) -> tuple[Tensor | None, ...]:  # fmt: skip
    """Gradients in the scores, the signal, and what edges bring; of the targets' scores they are sums over in-edges."""
    if 0 in x.shape[1:]:
        return tuple(None if t is None else torch.zeros_like(t) for t in (score_source, score_target, x, *edges))
    scores = Scores(score_source, score_target, None, *edges)
    grad_x, grad_source, grad_edge, grad_factor = triton_attention.backward(
        graph, x, scores, y, top, total, grad, slope, dropout, seed
    )
    grad_target = None
    if score_target is not None:
        rows = rows_by_target(graph)
        grad_target = sum_rows(rows, rows.edge, graph.num_nodes, None, grad_edge[:, None])[:, 0].to(score_target.dtype)
    grad_added = None if edges[0] is None else grad_edge.to(edges[0].dtype)
    return grad_source, grad_target, grad_x, grad_added, grad_factor
