"""segment_softmax: the softmax over each segment of rows."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from edgenet.errors import ShapeError
from edgenet.graph import Graph
from edgenet.ops import backend
from edgenet.ops.kernels.segment_softmax import reference, scatter
from edgenet.ops.pinned import Pinned
from edgenet.ops.transforms import Op, joined, looped, of_batched_gradients

backend.register("segment_softmax", reference=reference.segment_softmax, scatter=scatter.segment_softmax)


def segment_softmax(score: Tensor, index: Tensor | Graph, num_segments: int | None = None) -> Tensor:
    """The softmax over the rows that share a segment; with a graph as ``index``, over each node's in-edges.

    p[e, h] = exp(score[e, h]) / sum over e' with index[e'] = index[e] of exp(score[e', h])

    Args:
        score: (E, H). A score of -inf gets weight 0; a segment of which every score is -inf gets zeros. NaN spreads
            over its segment and head. Integers are taken in torch's default dtype.
        index: (E,) segment of every row, each in [0, num_segments), in any order. Or a graph: the
            segments are its targets, and nothing is sorted anew.
        num_segments: number of segments; some may be empty. Not needed with a graph.

    Returns:
        (E, H).

    Raises:
        ShapeError: if ``score`` is not (E, H), ``index`` has another length, or ``num_segments`` is missing.

    Example:
        >>> edgenet.ops.segment_softmax(torch.zeros(3, 1), torch.tensor([0, 0, 1]), 2).flatten().tolist()
        [0.5, 0.5, 1.0]
    """
    graph, index = (index, index.target) if isinstance(index, Graph) else (None, index)
    if score.dim() != 2 or index.shape != score.shape[:1]:
        raise ShapeError(
            f"segment_softmax wants scores (E, H) and one segment a row, got {tuple(score.shape)} and "
            f"{tuple(index.shape)}."
        )
    if graph is None and num_segments is None:
        raise ShapeError("segment_softmax wants num_segments beside an index; a graph says it itself.")
    (score,) = backend.alike("segment_softmax", graph, score, integers=torch.get_default_dtype())
    if graph is None:
        return SEGMENT_SOFTMAX(score, index, num_segments)
    kernels = backend.kernels("segment_softmax", score) if backend.eager() else None
    if kernels is not None:
        return _SegmentSoftmax.apply(kernels, graph, score)
    return SEGMENT_SOFTMAX(score, index, graph.num_nodes)


class _SegmentSoftmax(torch.autograd.Function):
    """The short path: kernels on the graph, whose sort orders are built already."""

    @staticmethod
    def forward(ctx, kernels, graph, score):
        p = kernels.forward(graph, score)
        ctx.graph, ctx.pinned = graph, Pinned.of(graph, p)
        ctx.save_for_backward(p, graph.edge_index)  # edges changed in place meanwhile raise
        return p

    @staticmethod
    @of_batched_gradients
    def backward(ctx, grad):
        p, _ = ctx.saved_tensors
        ctx.pinned.check("segment_softmax", ctx.graph, p)
        plain = backend.eager() and not torch.is_grad_enabled()
        kernels = backend.kernels("segment_softmax", p, grad) if plain else None
        if kernels is not None:
            return None, None, kernels.backward(ctx.graph, p, grad)
        return None, None, _gradient(p, grad, ctx.graph.target, ctx.graph.num_nodes)


@torch.library.custom_op("edgenet::segment_softmax", mutates_args=())
def _segment_softmax(score: Tensor, index: Tensor, num_segments: int) -> Tensor:
    if score.dim() != 2 or index.shape != score.shape[:1]:
        raise ShapeError(
            f"segment_softmax wants scores (E, H) and one segment a row, got {tuple(score.shape)} and "
            f"{tuple(index.shape)}."
        )
    # contiguous in, contiguous out, as the fake below says
    kernels = backend.kernels("segment_softmax", score)
    if kernels is not None:
        edge = torch.arange(len(index), device=index.device)
        return kernels.forward(backend.checked_graph(edge, index, num_segments, len(index)), score)
    return backend.choose("segment_softmax")(score.contiguous(), index, num_segments)


@_segment_softmax.register_fake
def _(score: Tensor, index: Tensor, num_segments: int) -> Tensor:
    return torch.empty_like(score, memory_format=torch.contiguous_format)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, index, ctx.num_segments = inputs
    ctx.save_for_backward(index, output)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    index, p = ctx.saved_tensors
    return _gradient(p, grad, index, ctx.num_segments), None, None


def _gradient(p: Tensor, grad: Tensor, index: Tensor, num_segments: int) -> Tensor:
    wide = torch.float32 if p.dtype in (torch.float16, torch.bfloat16) else p.dtype
    weighted = (grad * p).to(wide)
    mean = weighted.new_zeros((num_segments, p.shape[1])).index_add(0, index, weighted)
    return (weighted - p * mean[index]).to(p.dtype)


def _batch(call, info, in_dims, score, index, num_segments):
    if in_dims[1] is not None:
        return looped(call, info, in_dims, score, index, num_segments)
    p = call(joined(score, in_dims[0], info.batch_size, 1), index, num_segments)
    return p.unflatten(1, (info.batch_size, -1)), 1


SEGMENT_SOFTMAX = Op(_segment_softmax, backend.definition("segment_softmax"), _keep, _backward, _batch)
