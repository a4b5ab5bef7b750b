"""attention on CUDA, in Triton: scores, softmax and sum in one pass over the edges; backward recomputes the weights."""

from __future__ import annotations

import torch
from torch import Tensor

from edgenet.graph import Graph
from edgenet.ops.spmm.triton import sum_rows
from edgenet.ops.triton_rows import (
    dropout_constants,
    dropout_factor,
    jit,
    launch,
    merge_softmax,
    merge_sums,
    partial_results,
    piece,
    row_dots,
    rows_by_source,
    rows_by_target,
    tile,
    tl,
    wide,
)

#: whether ``x`` may be (N, 1, C), the same for all heads
SHARES_SIGNAL = False


def forward(
    graph: Graph,
    score_source: Tensor,
    score_target: Tensor | None,
    x: Tensor,
    slope: float,
    dropout: float,
    seed: int,
) -> tuple[Tensor, Tensor]:
    """y[i, h] = sum over in-edges e of alpha[e, h] * x[j, h], alpha the softmax of leaky_relu(score of j + score of i).

    Args:
        graph: E directed edges on N nodes.
        score_source: (sources, H).
        score_target: (N, H), or None for zeros.
        x: (sources, H, C).
        slope: of leaky_relu below 0.
        dropout: probability in [0, 1] of dropping a weight after the softmax.
        seed: of dropout, in [0, 2^32).

    Returns:
        (N, H, C), the dtype of ``x``; and (N, H) the log of the sum of exp(score), in the dtype of sums. Both are 0 for
        a node without in-edges.
    """
    if x.shape[2] == 0:
        y, lse = forward(graph, score_source, score_target, x.new_zeros(*x.shape[:2], 1), slope, dropout, seed)
        return y[..., :0], lse
    rows, x, score_source = rows_by_target(graph), x.contiguous(), score_source.contiguous()
    heads, channels = x.shape[1:]
    y = torch.empty(graph.num_nodes, heads, channels, dtype=x.dtype, device=x.device)
    lse = torch.empty(graph.num_nodes, heads, dtype=wide(x.dtype), device=x.device)
    if y.numel() == 0:
        return y, lse
    top, total = (partial_results(rows, heads, like=x) for _ in range(2))
    partial = partial_results(rows, heads, channels, like=x)
    constants, head_blocks = tile(heads, channels, x.dtype)
    launch(
        _forward,
        (len(rows.pieces), head_blocks),
        *(rows.pieces, rows.neighbour, rows.edge, score_source),
        *(
            score_source if score_target is None else score_target.contiguous(),
            x,
            y,
            lse,
            top,
            total,
            partial,
            int(seed),
        ),
        SLOPE=float(slope),
        TARGET=score_target is not None,
        **dropout_constants(dropout),
        **constants,
    )
    merge_softmax(rows, top, total, partial, y, lse)
    return y, lse


@jit(do_not_specialize=["seed"])
def _forward(
    pieces, source, edge, score_source, score_target, x, y, lse, top, total, partial, seed: tl.uint32,
    H: tl.constexpr, C: tl.constexpr, HB: tl.constexpr, CB: tl.constexpr, EB: tl.constexpr, ACC: tl.constexpr,
    SLOPE: tl.constexpr, TARGET: tl.constexpr,
    DROPOUT: tl.constexpr, THRESHOLD: tl.constexpr, SCALE: tl.constexpr,
):  # fmt: skip
    row, begin, end, slot = piece(pieces, tl.program_id(0))
    head = tl.program_id(1) * HB + tl.arange(0, HB)
    channel = tl.arange(0, CB)
    inside = (head < H)[:, None] & (channel < C)[None, :]
    at = head[:, None] * C + channel[None, :]
    m = tl.full((HB,), -float("inf"), ACC)
    z = tl.zeros((HB,), ACC)
    out = tl.zeros((HB, CB), ACC)
    if TARGET:
        own = tl.load(score_target + row * H + head, mask=head < H, other=0.0).to(ACC)
    for start in range(begin, end, EB):
        k = start + tl.arange(0, EB)
        mine = k < end
        mask = mine[:, None] & (head < H)[None, :]
        j = tl.load(source + k, mask=mine, other=0).to(tl.int64)
        v = tl.load(score_source + j[:, None] * H + head[None, :], mask=mask, other=0.0).to(ACC)
        if TARGET:
            v += own[None, :]
        v = tl.where(mask, tl.where(v > 0, v, v * SLOPE), -float("inf"))
        new = tl.maximum(m, tl.max(v, 0))
        base = tl.where(new == -float("inf"), 0.0, new)  # -inf - -inf would be NaN
        shrink = tl.exp(m - base)
        p = tl.exp(v - base[None, :])
        m = new
        z = z * shrink + tl.sum(p, 0)
        if DROPOUT:
            e = tl.load(edge + k, mask=mine, other=0).to(tl.int64)
            p *= dropout_factor(e[:, None], head[None, :], seed, H, THRESHOLD, SCALE, ACC)
        message = tl.load(
            x + j[:, None, None] * (H * C) + at[None], mask=mine[:, None, None] & inside[None], other=0.0
        ).to(ACC)
        out = out * shrink[:, None] + tl.sum(message * p[:, :, None], 0)
    if slot < 0:
        divisor = tl.where(z == 0, 1.0, z)
        tl.store(y + row * (H * C) + at, (out / divisor[:, None]).to(y.dtype.element_ty), mask=inside)
        tl.store(lse + row * H + head, tl.where(z == 0, 0.0, m + tl.log(divisor)), mask=head < H)
    else:
        tl.store(top + slot.to(tl.int64) * H + head, m, mask=head < H)
        tl.store(total + slot.to(tl.int64) * H + head, z, mask=head < H)
        tl.store(partial + slot.to(tl.int64) * (H * C) + at, out, mask=inside)


def backward(
    graph: Graph,
    score_source: Tensor,
    score_target: Tensor | None,
    x: Tensor,
    y: Tensor,
    lse: Tensor,
    grad: Tensor,
    slope: float,
    dropout: float,
    seed: int,
) -> tuple[Tensor, Tensor | None, Tensor]:
    """The gradients of ``forward``, in one pass over the edges by source and a sum of (E, H) numbers by target.

    With a the weight alpha after dropout and v the score before leaky_relu, for e = (j -> i):
    grad_x[j, h] = sum over e of a[e, h] * grad[i, h]
    grad_v[e, h] = (a[e, h] * <grad[i, h], x[j, h]> - alpha[e, h] * <grad[i, h], y[i, h]>) * leaky_relu'(v[e, h])

    Args:
        y, lse: what ``forward`` returned.
        grad: (N, H, C), the gradient in y.

    Returns:
        (sources, H), (N, H) or None, and (sources, H, C).
    """
    rows, x, grad, score_source = rows_by_source(graph), x.contiguous(), grad.contiguous(), score_source.contiguous()
    heads, channels = x.shape[1:]
    grad_x, grad_source = torch.empty_like(x), torch.empty_like(score_source)
    grad_target = None if score_target is None else torch.zeros_like(score_target)
    if channels == 0 or heads == 0:  # y has no numbers
        return grad_source.zero_(), grad_target, grad_x
    dots = row_dots(y.contiguous(), grad)
    grad_edge = lse.new_empty((graph.num_edges, heads) if score_target is not None else (1, heads))
    partial = partial_results(rows, heads, channels, like=x)
    partial_score = partial_results(rows, heads, like=x)
    constants, head_blocks = tile(heads, channels, x.dtype)
    launch(
        _backward,
        (len(rows.pieces), head_blocks),
        *(rows.pieces, rows.neighbour, rows.edge, score_source),
        *(score_source if score_target is None else score_target.contiguous(), x, lse.contiguous(), dots, grad),
        *(grad_x, grad_source, grad_edge, partial, partial_score, int(seed)),
        SLOPE=float(slope),
        TARGET=score_target is not None,
        **dropout_constants(dropout),
        **constants,
    )
    merge_sums(rows, partial, grad_x)
    merge_sums(rows, partial_score, grad_source)
    if score_target is not None:
        by_target = rows_by_target(graph)
        summed = sum_rows(by_target, by_target.edge, graph.num_nodes, None, grad_edge[:, None])
        grad_target = summed[:, 0].to(score_target.dtype)
    return grad_source, grad_target, grad_x


@jit(do_not_specialize=["seed"])
def _backward(
    pieces, target, edge, score_source, score_target, x, lse, dots, grad,
    grad_x, grad_source, grad_edge, partial, partial_score, seed: tl.uint32,
    H: tl.constexpr, C: tl.constexpr, HB: tl.constexpr, CB: tl.constexpr, EB: tl.constexpr, ACC: tl.constexpr,
    SLOPE: tl.constexpr, TARGET: tl.constexpr,
    DROPOUT: tl.constexpr, THRESHOLD: tl.constexpr, SCALE: tl.constexpr,
):  # fmt: skip
    row, begin, end, slot = piece(pieces, tl.program_id(0))
    head = tl.program_id(1) * HB + tl.arange(0, HB)
    channel = tl.arange(0, CB)
    inside = (head < H)[:, None] & (channel < C)[None, :]
    at = head[:, None] * C + channel[None, :]
    own_score = tl.load(score_source + row * H + head, mask=head < H, other=0.0).to(ACC)
    own = tl.load(x + row * (H * C) + at, mask=inside, other=0.0).to(ACC)
    out = tl.zeros((HB, CB), ACC)
    out_score = tl.zeros((HB,), ACC)
    for start in range(begin, end, EB):
        k = start + tl.arange(0, EB)
        mine = k < end
        mask = mine[:, None] & (head < H)[None, :]
        i = tl.load(target + k, mask=mine, other=0).to(tl.int64)
        e = tl.load(edge + k, mask=mine, other=0).to(tl.int64)
        there = i[:, None] * H + head[None, :]
        v = tl.broadcast_to(own_score[None, :], (EB, HB))
        if TARGET:
            v += tl.load(score_target + there, mask=mask, other=0.0).to(ACC)
        up = v > 0
        v = tl.where(up, v, v * SLOPE)
        alpha = tl.where(mask, tl.exp(v - tl.load(lse + there, mask=mask, other=0.0)), 0.0)
        a = alpha
        if DROPOUT:
            a = alpha * dropout_factor(e[:, None], head[None, :], seed, H, THRESHOLD, SCALE, ACC)
        g = tl.load(
            grad + i[:, None, None] * (H * C) + at[None], mask=mine[:, None, None] & inside[None], other=0.0
        ).to(ACC)
        out += tl.sum(g * a[:, :, None], 0)
        dot = tl.load(dots + there, mask=mask, other=0.0)
        grad_v = tl.where(mask, a * tl.sum(g * own[None], 2) - alpha * dot, 0.0)
        grad_v = tl.where(up, grad_v, grad_v * SLOPE)
        out_score += tl.sum(grad_v, 0)
        if TARGET:
            tl.store(grad_edge + e[:, None] * H + head[None, :], grad_v, mask=mask)
    if slot < 0:
        tl.store(grad_x + row * (H * C) + at, out.to(grad_x.dtype.element_ty), mask=inside)
        tl.store(grad_source + row * H + head, out_score.to(grad_source.dtype.element_ty), mask=head < H)
    else:
        tl.store(partial + slot.to(tl.int64) * (H * C) + at, out, mask=inside)
        tl.store(partial_score + slot.to(tl.int64) * H + head, out_score, mask=head < H)
