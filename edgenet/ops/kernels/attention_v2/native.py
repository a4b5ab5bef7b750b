"""GATv2's attention in compiled code."""

from __future__ import annotations

from torch import Tensor

from edgenet.graph import Graph
from edgenet.ops import native
from edgenet.ops.native import attention


def forward(
    graph: Graph, x: Tensor, target: Tensor, att: Tensor, slope: float, dropout: float, seed: int,
    edges: attention.Edges = (None, None),
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """The output (N, H, C), and of the scores (N, H) the largest and the sum of exp(score - largest)."""
    inputs, sizes, heads = (x, target, att.to(native.wide(x.dtype))), _sizes(graph, x, *x.shape[1:]), x.shape[1]
    return attention.forward("edgenet_attention_v2", graph, inputs, sizes, x, heads, slope, dropout, seed, edges)


def backward(
    graph: Graph, x: Tensor, target: Tensor, att: Tensor, y: Tensor, top: Tensor, total: Tensor, grad: Tensor,
    slope: float, dropout: float, seed: int, edges: attention.Edges = (None, None),
) -> tuple[Tensor | None, ...]:  # fmt: skip
    """Gradients in ``x``, ``target``, ``att`` and what edges bring."""
    inputs, sizes = (x, target, att.to(native.wide(x.dtype))), _sizes(graph, x, *grad.shape[1:])
    kept, name = (y, top, total), "edgenet_attention_v2_backward"
    found = attention.backward(name, graph, inputs, sizes, x, *kept, grad, slope, dropout, seed, edges)
    return *found[:2], found[2].to(att.dtype), *found[3:]


def _sizes(graph: Graph, x: Tensor, heads: int, channels: int) -> attention.Sizes:
    lanes = heads * channels
    return [
        (graph.num_sources * lanes, x.dtype), (graph.num_nodes * lanes, x.dtype), (lanes, native.wide(x.dtype))
    ]  # fmt: skip
