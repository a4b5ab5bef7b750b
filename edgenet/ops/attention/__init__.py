"""attention: scores, softmax over in-edges and weighted sum of GAT, in one op."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from edgenet.errors import ShapeError
from edgenet.graph import Graph
from edgenet.ops import backend
from edgenet.ops import dropout as drop
from edgenet.ops.attention import reference
from edgenet.ops.segment_softmax import segment_softmax
from edgenet.ops.spmm import spmm

backend.register("attention", reference=reference.forward)


def attention(
    graph: Graph,
    score_source: Tensor,
    score_target: Tensor | None,
    x: Tensor,
    negative_slope: float = 0.2,
    dropout: float = 0.0,
) -> Tensor:
    """One hop weighted by attention (Velickovic et al. 2018), without a message an edge in memory.

    y[i, h] = sum over edges e = (j -> i) of alpha[e, h] * x[j, h],
    alpha = softmax over the in-edges of i of leaky_relu(score_source[j, h] + score_target[i, h])

    The kernels keep one (N, H) tensor for backward, which makes one of (E, H); other backends make (E, H, C) messages.

    Args:
        graph: E directed edges on N nodes.
        score_source: (N, H) scores of the senders (as many rows as the graph has sources).
        score_target: (N, H) scores of the receivers; None for zeros.
        x: (N, H, C) signals of the senders; or (N, 1, C), the same for all heads.
        negative_slope: of the leaky_relu.
        dropout: probability in [0, 1] of dropping a weight after the softmax; the rest grow by 1 / (1 - dropout). The
            mask is a hash of edge, head and a seed from torch's generator, so that every backend draws the same.

    Returns:
        (N, H, C). A node with no incoming edge gets zeros. A score of -inf has weight 0; NaN spreads over its segment.

    Raises:
        ShapeError: if the shapes do not fit each other or the graph.
        ValueError: if ``dropout`` is not a probability.
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
    backend.check_devices("attention", graph, score_source, score_target, x)
    seed, dropout = drop.draw(dropout), float(dropout)
    dtype = torch.promote_types(score_source.dtype, x.dtype)
    score_source, x = score_source.to(dtype), x.to(dtype)
    score_target = None if score_target is None else score_target.to(dtype)
    if backend.forward_mode():
        return composed(graph, score_source, score_target, x, negative_slope, dropout, seed)
    kernels = backend.kernels("attention", x) if backend.eager() else None
    if x.shape[1] != heads and not (kernels and kernels.SHARES_SIGNAL):
        x = x.expand(-1, heads, -1)
    if not backend.eager():
        return _attention(
            graph.source, graph.target, score_source, score_target, x, graph.num_nodes, negative_slope, dropout, seed
        )[0]
    if kernels is not None:
        return _Attention.apply(graph, score_source, score_target, x, negative_slope, dropout, int(seed))
    return composed(graph, score_source, score_target, x, negative_slope, dropout, seed)


def edge_scores(graph: Graph, score_source: Tensor, score_target: Tensor | None) -> Tensor:
    """(E, H) sum of the scores at the two ends of every edge."""
    score = score_source.index_select(0, graph.source)
    return score if score_target is None else score + score_target.index_select(0, graph.target)


def composed(
    graph: Graph, score_source: Tensor, score_target: Tensor | None, x: Tensor, slope: float, dropout: float,
    seed: Tensor | int,
) -> Tensor:  # fmt: skip
    """The same from smaller ops, differentiable any number of times."""
    alpha = segment_softmax(F.leaky_relu(edge_scores(graph, score_source, score_target), slope), graph)
    if dropout > 0:
        alpha = alpha * drop.keep(*alpha.shape, dropout, seed, alpha)
    return spmm(graph, alpha, x)


def differentiable_gradients(f: Callable[..., Tensor], inputs: list[Tensor | None], grad: Tensor) -> list:
    """Gradients of ``f`` in those inputs that need one, themselves differentiable."""
    with torch.enable_grad():
        # views: one input may have been computed from another, whose gradient must not run through it
        own = [t if t is None else t.view_as(t) for t in inputs]
        wanted = [t for t in own if t is not None and t.requires_grad]
        found = iter(torch.autograd.grad(f(*own), wanted, grad, create_graph=True, allow_unused=True))
    return [next(found) if t is not None and t.requires_grad else None for t in own]


class _Attention(torch.autograd.Function):
    """The short path: kernels on the graph, whose sort orders are built already."""

    @staticmethod
    def forward(ctx, graph, score_source, score_target, x, slope, dropout, seed):
        y, lse = backend.kernels("attention", x).forward(graph, score_source, score_target, x, slope, dropout, seed)
        ctx.graph, ctx.rest = graph, (slope, dropout, seed)
        ctx.save_for_backward(score_source, score_target, x, y, lse, graph.edge_index)
        return y

    @staticmethod
    def backward(ctx, grad):
        *inputs, y, lse, _ = ctx.saved_tensors
        kernels = backend.kernels("attention", y) if backend.eager() and not torch.is_grad_enabled() else None
        if kernels is not None:
            found = kernels.backward(ctx.graph, *inputs, y, lse, grad, *ctx.rest)
        else:
            found = differentiable_gradients(lambda *own: composed(ctx.graph, *own, *ctx.rest), inputs, grad)
        return None, *found, None, None, None


@torch.library.custom_op("edgenet::attention", mutates_args=())
def _attention(
    source: Tensor, target: Tensor, score_source: Tensor, score_target: Tensor | None, x: Tensor, num_nodes: int,
    slope: float, dropout: float, seed: Tensor,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    kernels = backend.kernels("attention", x)
    if kernels is None:
        return reference.forward(source, target, score_source, score_target, x, num_nodes, slope, dropout, seed)
    graph = backend.checked_graph(source, target, num_nodes, x.shape[0])
    return kernels.forward(graph, score_source, score_target, x, slope, dropout, int(seed))


@_attention.register_fake
def _(source, target, score_source, score_target, x, num_nodes, slope, dropout, seed):
    wide = torch.promote_types(x.dtype, torch.float32)
    return x.new_empty((num_nodes, *x.shape[1:])), x.new_empty((num_nodes, x.shape[1]), dtype=wide)


@torch.library.custom_op("edgenet::attention_backward", mutates_args=())
def _attention_backward(
    source: Tensor, target: Tensor, score_source: Tensor, score_target: Tensor | None, x: Tensor, y: Tensor,
    lse: Tensor, grad: Tensor, slope: float, dropout: float, seed: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    kernels = backend.kernels("attention", x)
    if kernels is None:
        found = reference.backward(
            source, target, score_source, score_target, x, y, lse, grad, slope, dropout, seed
        )  # fmt: skip
    else:
        graph = backend.checked_graph(source, target, len(y), len(x))
        found = kernels.backward(graph, score_source, score_target, x, y, lse, grad, slope, dropout, int(seed))
    return found[0], x.new_empty(0) if found[1] is None else found[1], found[2]


@_attention_backward.register_fake
def _(source, target, score_source, score_target, x, y, lse, grad, slope, dropout, seed):
    grad_target = x.new_empty(0 if score_target is None else score_target.shape)
    return x.new_empty(score_source.shape), grad_target, x.new_empty(x.shape)


def _keep(ctx, inputs, output) -> None:
    source, target, score_source, score_target, x, _, ctx.slope, ctx.dropout, seed = inputs
    ctx.save_for_backward(source, target, score_source, score_target, x, *output, seed)
    ctx.mark_non_differentiable(output[1])


def _backward(ctx, grad, _):
    found = _attention_backward(*ctx.saved_tensors[:-1], grad, ctx.slope, ctx.dropout, ctx.saved_tensors[-1])
    grad_target = None if ctx.saved_tensors[3] is None else found[1]
    return None, None, found[0], grad_target, found[2], None, None, None, None


_attention.register_autograd(_backward, setup_context=_keep)
