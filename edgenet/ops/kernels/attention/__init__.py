"""attention: scores, softmax over in-edges and weighted sum of GAT, in one op."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from edgenet.errors import ShapeError
from edgenet.graph import Graph
from edgenet.ops import backend, mask
from edgenet.ops.fused import FusedAttention
from edgenet.ops.kernels.attention import reference
from edgenet.ops.kernels.segment_softmax import segment_softmax
from edgenet.ops.kernels.spmm import spmm


def attention(
    graph: Graph,
    score_source: Tensor,
    score_target: Tensor | None,
    x: Tensor,
    negative_slope: float = 0.2,
    dropout: float = 0.0,
    score_edge: Tensor | None = None,
    edge_weight: Tensor | None = None,
) -> Tensor:
    """One hop weighted by attention (Velickovic et al. 2018), without a message an edge in memory.

    y[i, h] = sum over edges e = (j -> i) of alpha[e, h] * edge_weight[e, h] * x[j, h],
    alpha = softmax over the in-edges of i of leaky_relu(score_source[j, h] + score_target[i, h] + score_edge[e, h])

    The kernels keep two (N, H) tensors for backward, which makes one of (E, H); other backends make (E, H, C) messages.

    Args:
        graph: E directed edges on N nodes.
        score_source: (N, H) scores of the senders (as many rows as the graph has sources).
        score_target: (N, H) scores of the receivers; None for zeros.
        x: (N, H, C) signals of the senders; or (N, 1, C), the same for all heads. Different dtypes are promoted.
        negative_slope: of the leaky_relu.
        dropout: probability in [0, 1] of dropping a weight after the softmax; the rest grow by 1 / (1 - dropout). The
            mask is a hash of edge, head and a seed from torch's generator, so that every backend draws the same.
        score_edge: (E, H) scores of the edges; None for zeros.
        edge_weight: (E, H) factors of the weights after softmax and dropout; None for ones.

    Returns:
        (N, H, C). A node with no incoming edge gets zeros. A score of -inf has weight 0; NaN spreads over its segment.

    Raises:
        ShapeError: if the shapes do not fit each other or the graph.
        ConfigError: if ``dropout`` is not a probability.

    Example:
        >>> z = torch.randn(4, 2, 5)  # two heads of five channels
        >>> scores = torch.randn(4, 2)
        >>> edgenet.ops.attention(graph, scores, scores, z).shape
        torch.Size([4, 2, 5])
    """
    sources, heads = graph.num_sources, score_source.shape[-1] if score_source.dim() else 0
    if x.dim() != 3 or x.shape[0] != sources or score_source.shape != (sources, heads) or x.shape[1] not in (1, heads):
        raise ShapeError(
            f"attention wants signals ({sources}, H, C) and scores ({sources}, H), got {tuple(x.shape)} and "
            f"{tuple(score_source.shape)}."
        )
    if score_target is not None and score_target.shape != (graph.num_nodes, heads):
        raise ShapeError(
            f"attention wants ({graph.num_nodes}, {heads}) scores of the targets, got {tuple(score_target.shape)}."
        )
    if score_edge is not None or edge_weight is not None:
        check_edges("attention", graph, heads, score_edge=score_edge, edge_weight=edge_weight)
    *edges, score_source, score_target, x = backend.alike(
        "attention", graph, score_edge, edge_weight, score_source, score_target, x, integers=torch.get_default_dtype()
    )
    seed, inputs, shared = mask.draw(dropout) if dropout else 0, (score_source, score_target, x), x.shape[1] != heads
    return ATTENTION(graph, inputs, negative_slope, float(dropout), seed, shared, tuple(edges))


def check_edges(op: str, graph: Graph, heads: int, **brought: Tensor | None) -> None:
    """Refuse what edges bring in another shape than (E, H).

    Raises:
        ShapeError: naming it.
    """
    for name, tensor in brought.items():
        if tensor is not None and tensor.shape != (graph.num_edges, heads):
            raise ShapeError(f"{op} wants {name} ({graph.num_edges}, {heads}), got {tuple(tensor.shape)}.")


def edge_scores(graph: Graph, score_source: Tensor, score_target: Tensor | None) -> Tensor:
    """(E, H) sum of the scores at the two ends of every edge.

    Example:
        >>> edgenet.ops.edge_scores(graph, torch.ones(4, 2), torch.ones(4, 2)).shape
        torch.Size([4, 2])
    """
    score = score_source.index_select(0, graph.source)
    return score if score_target is None else score + score_target.index_select(0, graph.target)


def composed(
    graph: Graph, score_source: Tensor, score_target: Tensor | None, x: Tensor, slope: float, dropout: float,
    seed: Tensor | int | None, score_edge: Tensor | None = None, edge_weight: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The same from smaller ops, differentiable any number of times."""
    score = edge_scores(graph, score_source, score_target)
    score = score if score_edge is None else score + score_edge
    alpha = mask.applied(segment_softmax(F.leaky_relu(score, slope), graph), dropout, seed)
    return spmm(graph, alpha if edge_weight is None else alpha * edge_weight, x)


def _shapes(nodes: int, sources: int, heads: int, channels: int) -> tuple[tuple[int, ...], ...]:
    return (sources, heads), (nodes, heads), (sources, heads, channels)


ATTENTION = FusedAttention("attention", reference, composed, signal=2, heads=(1, 1, 1), shapes=_shapes)
