"""GAT's attention in compiled code: no tensor has a row an edge, but for the scores' gradient."""

from __future__ import annotations

from torch import Tensor

from edgenet.graph import Graph
from edgenet.ops.native import attention

#: whether ``x`` may be (N, 1, C), the same for all heads
SHARES_SIGNAL = True


def forward(
    graph: Graph, score_source: Tensor, score_target: Tensor | None, x: Tensor, slope: float, dropout: float, seed: int,
    edges: attention.Edges = (None, None),
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """The output (N, H, C), and of the scores (N, H) the largest and the sum of exp(score - largest)."""
    inputs, heads = (score_source, score_target, x), score_source.shape[1]
    return attention.forward("edgenet_attention", graph, inputs, x, heads, slope, dropout, seed, edges)


def backward(
    graph: Graph, score_source: Tensor, score_target: Tensor | None, x: Tensor, y: Tensor, top: Tensor, total: Tensor,
    grad: Tensor, slope: float, dropout: float, seed: int, edges: attention.Edges = (None, None),
) -> list[Tensor | None]:  # fmt: skip
    """Gradients in the scores, the signal, and what edges bring."""
    inputs, kept = (score_source, score_target, x), (y, top, total)
    return attention.backward("edgenet_attention_backward", graph, inputs, x, *kept, grad, slope, dropout, seed, edges)
