"""attention_v2: scores, softmax over in-edges and weighted sum of GATv2, in one op."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from edgenet.errors import ShapeError
from edgenet.graph import Graph
from edgenet.ops import backend
from edgenet.ops import dropout as drop
from edgenet.ops.attention import differentiable_gradients
from edgenet.ops.attention_v2 import reference
from edgenet.ops.segment_softmax import segment_softmax
from edgenet.ops.spmm import spmm

backend.register("attention_v2", reference=reference.forward)


def attention_v2(
    graph: Graph, x: Tensor, target: Tensor, att: Tensor, negative_slope: float = 0.2, dropout: float = 0.0
) -> Tensor:
    """One hop weighted by dynamic attention (Brody, Alon, Yahav 2022), without a message an edge in memory.

    y[i, h] = sum over edges e = (j -> i) of alpha[e, h] * x[j, h],
    alpha = softmax over the in-edges of i of sum over c of att[h, c] * leaky_relu(x[j, h, c] + target[i, h, c])

    Args:
        graph: E directed edges on N nodes.
        x: (N, H, C) signals of the senders (as many rows as the graph has sources).
        target: (N, H, C) signals of the receivers, for the scores alone.
        att: (H, C).
        negative_slope, dropout: as in ``attention``.

    Returns:
        (N, H, C). A node with no incoming edge gets zeros.

    Raises:
        ShapeError: if the shapes do not fit each other or the graph.
        ValueError: if ``dropout`` is not a probability.
    """
    wanted = (graph.num_nodes, *x.shape[1:])
    if x.dim() != 3 or x.shape[0] != graph.num_sources or target.shape != wanted or att.shape != x.shape[1:]:
        raise ShapeError(
            f"attention_v2 wants signals ({graph.num_sources}, H, C), ({graph.num_nodes}, H, C) and att (H, C), got "
            f"{tuple(x.shape)}, {tuple(target.shape)} and {tuple(att.shape)}."
        )
    backend.check_devices("attention_v2", graph, x, target, att)
    seed, dropout = drop.draw(dropout), float(dropout)
    dtype = torch.promote_types(torch.promote_types(x.dtype, target.dtype), att.dtype)
    x, target, att = x.to(dtype), target.to(dtype), att.to(dtype)
    if backend.forward_mode():
        return composed(graph, x, target, att, negative_slope, dropout, seed)
    if not backend.eager():
        return _attention_v2(graph.source, graph.target, x, target, att, negative_slope, dropout, seed)[0]
    if backend.kernels("attention_v2", x) is not None:
        return _AttentionV2.apply(graph, x, target, att, negative_slope, dropout, int(seed))
    return composed(graph, x, target, att, negative_slope, dropout, seed)


def composed(
    graph: Graph, x: Tensor, target: Tensor, att: Tensor, slope: float, dropout: float, seed: Tensor | int
) -> Tensor:
    """The same from smaller ops, differentiable any number of times."""
    score = x.index_select(0, graph.source) + target.index_select(0, graph.target)
    alpha = segment_softmax((F.leaky_relu(score, slope) * att).sum(-1), graph)
    if dropout > 0:
        alpha = alpha * drop.keep(*alpha.shape, dropout, seed, alpha)
    return spmm(graph, alpha, x)


class _AttentionV2(torch.autograd.Function):
    """The short path: kernels on the graph, whose sort orders are built already."""

    @staticmethod
    def forward(ctx, graph, x, target, att, slope, dropout, seed):
        y, lse = backend.kernels("attention_v2", x).forward(graph, x, target, att, slope, dropout, seed)
        ctx.graph, ctx.rest = graph, (slope, dropout, seed)
        ctx.save_for_backward(x, target, att, y, lse, graph.edge_index)
        return y

    @staticmethod
    def backward(ctx, grad):
        *inputs, y, lse, _ = ctx.saved_tensors
        kernels = backend.kernels("attention_v2", y) if backend.eager() and not torch.is_grad_enabled() else None
        if kernels is not None:
            found = kernels.backward(ctx.graph, *inputs, y, lse, grad, *ctx.rest)
        else:
            found = differentiable_gradients(lambda *own: composed(ctx.graph, *own, *ctx.rest), inputs, grad)
        return None, *found, None, None, None


@torch.library.custom_op("edgenet::attention_v2", mutates_args=())
def _attention_v2(
    source: Tensor, target: Tensor, x: Tensor, u: Tensor, att: Tensor, slope: float, dropout: float, seed: Tensor
) -> tuple[Tensor, Tensor]:
    kernels = backend.kernels("attention_v2", x)
    if kernels is None:
        return reference.forward(source, target, x, u, att, slope, dropout, seed)
    graph = backend.checked_graph(source, target, len(u), len(x))
    return kernels.forward(graph, x, u, att, slope, dropout, int(seed))


@_attention_v2.register_fake
def _(source, target, x, u, att, slope, dropout, seed):
    wide = torch.promote_types(x.dtype, torch.float32)
    return x.new_empty(u.shape), x.new_empty(u.shape[:2], dtype=wide)


@torch.library.custom_op("edgenet::attention_v2_backward", mutates_args=())
def _attention_v2_backward(
    source: Tensor, target: Tensor, x: Tensor, u: Tensor, att: Tensor, y: Tensor, lse: Tensor, grad: Tensor,
    slope: float, dropout: float, seed: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    kernels = backend.kernels("attention_v2", x)
    if kernels is None:
        return reference.backward(source, target, x, u, att, y, lse, grad, slope, dropout, seed)
    graph = backend.checked_graph(source, target, len(u), len(x))
    return kernels.backward(graph, x, u, att, y, lse, grad, slope, dropout, int(seed))


@_attention_v2_backward.register_fake
def _(source, target, x, u, att, y, lse, grad, slope, dropout, seed):
    return x.new_empty(x.shape), u.new_empty(u.shape), att.new_empty(att.shape)


def _keep(ctx, inputs, output) -> None:
    source, target, x, u, att, ctx.slope, ctx.dropout, seed = inputs
    ctx.save_for_backward(source, target, x, u, att, *output, seed)
    ctx.mark_non_differentiable(output[1])


def _backward(ctx, grad, _):
    found = _attention_v2_backward(*ctx.saved_tensors[:-1], grad, ctx.slope, ctx.dropout, ctx.saved_tensors[-1])
    return None, None, *found, None, None, None


_attention_v2.register_autograd(_backward, setup_context=_keep)
