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
    heads = score_source.shape[1]
    inputs, sizes = (score_source, score_target, x), _sizes(graph, x, heads)
    return attention.forward("edgenet_attention", graph, inputs, sizes, x, heads, slope, dropout, seed, edges)


def backward(
    graph: Graph, score_source: Tensor, score_target: Tensor | None, x: Tensor, y: Tensor, top: Tensor, total: Tensor,
    grad: Tensor, slope: float, dropout: float, seed: int, edges: attention.Edges = (None, None),
) -> list[Tensor | None]:  # fmt: skip
    """Gradients in the scores, the signal, and what edges bring."""
    inputs, sizes, kept = (score_source, score_target, x), _sizes(graph, x, grad.shape[1]), (y, top, total)
    return attention.backward(
        "edgenet_attention_backward", graph, inputs, sizes, x, *kept, grad, slope, dropout, seed, edges
    )


def _sizes(graph: Graph, x: Tensor, heads: int) -> attention.Sizes:
    alike = heads if x.shape[1] == heads else 1
    sources = graph.num_sources
    return [
        (sources * heads, x.dtype), (graph.num_nodes * heads, x.dtype), (sources * alike * x.shape[2], x.dtype)
    ]  # fmt: skip
