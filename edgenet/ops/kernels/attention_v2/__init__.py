"""attention_v2: scores, softmax over in-edges and weighted sum of GATv2, in one op."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from edgenet.errors import ShapeError
from edgenet.graph import Graph
from edgenet.ops import backend, mask
from edgenet.ops.fused import FusedAttention
from edgenet.ops.kernels.attention import check_edges
from edgenet.ops.kernels.attention_v2 import reference
from edgenet.ops.kernels.segment_softmax import segment_softmax
from edgenet.ops.kernels.spmm import spmm


def attention_v2(
    graph: Graph, x: Tensor, target: Tensor, att: Tensor, negative_slope: float = 0.2, dropout: float = 0.0,
    edge_weight: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """One hop weighted by dynamic attention (Brody, Alon, Yahav 2022), without a message an edge in memory.

    y[i, h] = sum over edges e = (j -> i) of alpha[e, h] * edge_weight[e, h] * x[j, h],
    alpha = softmax over the in-edges of i of sum over c of att[h, c] * leaky_relu(x[j, h, c] + target[i, h, c])

    Args:
        graph: E directed edges on N nodes.
        x: (N, H, C) signals of the senders (as many rows as the graph has sources).
        target: (N, H, C) signals of the receivers, for the scores alone.
        att: (H, C).
        negative_slope, dropout, edge_weight: as in ``attention``.

    Returns:
        (N, H, C). A node with no incoming edge gets zeros.

    Raises:
        ShapeError: if the shapes do not fit each other or the graph.
        ConfigError: if ``dropout`` is not a probability.

    Example:
        >>> z, att = torch.randn(4, 2, 5), torch.randn(2, 5)
        >>> edgenet.ops.attention_v2(graph, z, z, att).shape
        torch.Size([4, 2, 5])
    """
    wanted = (graph.num_nodes, *x.shape[1:])
    if x.dim() != 3 or x.shape[0] != graph.num_sources or target.shape != wanted or att.shape != x.shape[1:]:
        raise ShapeError(
            f"attention_v2 wants signals ({graph.num_sources}, H, C), ({graph.num_nodes}, H, C) and att (H, C), got "
            f"{tuple(x.shape)}, {tuple(target.shape)} and {tuple(att.shape)}."
        )
    check_edges("attention_v2", graph, x.shape[1], edge_weight=edge_weight)
    edge_weight, *inputs = backend.alike(
        "attention_v2", graph, edge_weight, x, target, att, integers=torch.get_default_dtype()
    )
    seed, edges = mask.draw(dropout) if dropout else 0, (None, edge_weight)
    return ATTENTION_V2(graph, tuple(inputs), negative_slope, float(dropout), seed, edges=edges)


def composed(
    graph: Graph, x: Tensor, target: Tensor, att: Tensor, slope: float, dropout: float,
    seed: Tensor | int | None, score_edge: None = None, edge_weight: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The same from smaller ops, differentiable any number of times."""
    score = x.index_select(0, graph.source) + target.index_select(0, graph.target)
    alpha = mask.applied(segment_softmax((F.leaky_relu(score, slope) * att).sum(-1), graph), dropout, seed)
    return spmm(graph, alpha if edge_weight is None else alpha * edge_weight, x)


def _shapes(nodes: int, sources: int, heads: int, channels: int) -> tuple[tuple[int, ...], ...]:
    return (sources, heads, channels), (nodes, heads, channels), (heads, channels)


ATTENTION_V2 = FusedAttention(
    "attention_v2", reference, composed, signal=0, heads=(1, 1, 0), shapes=_shapes, adds=False
)
