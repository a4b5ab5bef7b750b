"""attention_v2 on CUDA, in Triton: scores, softmax and sum in one pass that reads every neighbour's signal once."""

from __future__ import annotations

import torch
from torch import Tensor

from edgenet.graph import Graph
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

#: Programs of the pass by target at most. Each keeps one partial sum for the gradient in ``att``, whatever the graph.
PROGRAMS = 4096


def forward(
    graph: Graph, x: Tensor, target: Tensor, att: Tensor, slope: float, dropout: float, seed: int
) -> tuple[Tensor, Tensor]:
    """y[i, h] = sum over in-edges e of alpha[e, h] * x[j, h], alpha the softmax of <att, leaky_relu(x_j + target_i)>.

    Args:
        graph: E directed edges on N nodes.
        x: (sources, H, C).
        target: (N, H, C).
        att: (H, C).
        slope: of leaky_relu below 0.
        dropout: probability in [0, 1] of dropping a weight after the softmax.
        seed: of dropout, in [0, 2^32).

    Returns:
        (N, H, C), the dtype of ``x``; and (N, H) the log of the sum of exp(score), in the dtype of sums. Both are 0 for
        a node without in-edges.
    """
    if x.shape[2] == 0:  # scores are 0; one channel of zeros says the same
        x, target, att = (t.new_zeros(*t.shape[:-1], 1) for t in (x, target, att))
        y, lse = forward(graph, x, target, att, slope, dropout, seed)
        return y[..., :0], lse
    rows, x, target, att = rows_by_target(graph), x.contiguous(), target.contiguous(), att.contiguous()
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
        *(rows.pieces, rows.neighbour, rows.edge, x, target, att, y, lse, top, total, partial, int(seed)),
        SLOPE=float(slope),
        **dropout_constants(dropout),
        **constants,
    )
    merge_softmax(rows, top, total, partial, y, lse)
    return y, lse


@jit(do_not_specialize=["seed"])
def _forward(
    pieces, source, edge, x, target, att, y, lse, top, total, partial, seed: tl.uint32,
    H: tl.constexpr, C: tl.constexpr, HB: tl.constexpr, CB: tl.constexpr, EB: tl.constexpr, ACC: tl.constexpr,
    SLOPE: tl.constexpr, DROPOUT: tl.constexpr, THRESHOLD: tl.constexpr, SCALE: tl.constexpr,
):  # fmt: skip
    row, begin, end, slot = piece(pieces, tl.program_id(0))
    head = tl.program_id(1) * HB + tl.arange(0, HB)
    channel = tl.arange(0, CB)
    inside = (head < H)[:, None] & (channel < C)[None, :]
    at = head[:, None] * C + channel[None, :]
    own = tl.load(target + row * (H * C) + at, mask=inside, other=0.0).to(ACC)
    direction = tl.load(att + at, mask=inside, other=0.0).to(ACC)
    m = tl.full((HB,), -float("inf"), ACC)
    z = tl.zeros((HB,), ACC)
    out = tl.zeros((HB, CB), ACC)
    for start in range(begin, end, EB):
        k = start + tl.arange(0, EB)
        mine = k < end
        mask = mine[:, None] & (head < H)[None, :]
        j = tl.load(source + k, mask=mine, other=0).to(tl.int64)
        message = tl.load(
            x + j[:, None, None] * (H * C) + at[None], mask=mine[:, None, None] & inside[None], other=0.0
        ).to(ACC)
        u = message + own[None]
        v = tl.sum(tl.where(u > 0, u, u * SLOPE) * direction[None], 2)
        v = tl.where(mask, v, -float("inf"))
        new = tl.maximum(m, tl.max(v, 0))
        base = tl.where(new == -float("inf"), 0.0, new)  # -inf - -inf would be NaN
        shrink = tl.exp(m - base)
        p = tl.exp(v - base[None, :])
        m = new
        z = z * shrink + tl.sum(p, 0)
        if DROPOUT:
            e = tl.load(edge + k, mask=mine, other=0).to(tl.int64)
            p *= dropout_factor(e[:, None], head[None, :], seed, H, THRESHOLD, SCALE, ACC)
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
    x: Tensor,
    target: Tensor,
    att: Tensor,
    y: Tensor,
    lse: Tensor,
    grad: Tensor,
    slope: float,
    dropout: float,
    seed: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of ``forward``: a pass by source for x and the scores, then one by target for target and att.

    Args:
        y, lse: what ``forward`` returned.
        grad: (N, H, C), the gradient in y.

    Returns:
        (sources, H, C), (N, H, C) and (H, C).
    """
    x, target, att, grad = x.contiguous(), target.contiguous(), att.contiguous(), grad.contiguous()
    heads, channels = x.shape[1:]
    grad_x, grad_target = torch.empty_like(x), torch.empty_like(target)
    if heads == 0 or channels == 0:
        return grad_x, grad_target, torch.zeros_like(att)
    grad_score = lse.new_empty(graph.num_edges, heads)
    constants, head_blocks = tile(heads, channels, x.dtype, tensors=2)
    rows = rows_by_source(graph)
    partial = partial_results(rows, heads, channels, like=x)
    launch(
        _backward_by_source,
        (len(rows.pieces), head_blocks),
        *(rows.pieces, rows.neighbour, rows.edge, x, target, att, lse.contiguous(), row_dots(y.contiguous(), grad)),
        *(grad, grad_x, grad_score, partial, int(seed)),
        SLOPE=float(slope),
        **dropout_constants(dropout),
        **constants,
    )
    merge_sums(rows, partial, grad_x)

    rows = rows_by_target(graph)
    partial = partial_results(rows, heads, channels, like=x)
    programs = min(len(rows.pieces), max(256, min(PROGRAMS, 2**20 // (heads * channels))))
    grad_att = lse.new_empty(programs, heads, channels)
    launch(
        _backward_by_target,
        (programs, head_blocks),
        *(rows.pieces, rows.neighbour, rows.edge, x, target, att, grad_score, grad_target, partial, grad_att),
        len(rows.pieces),
        SLOPE=float(slope),
        **constants,
    )
    merge_sums(rows, partial, grad_target)
    return grad_x, grad_target, grad_att.sum(0).to(att.dtype)


@jit(do_not_specialize=["seed"])
def _backward_by_source(
    pieces, neighbour, edge, x, target, att, lse, dots, grad, grad_x, grad_score, partial, seed: tl.uint32,
    H: tl.constexpr, C: tl.constexpr, HB: tl.constexpr, CB: tl.constexpr, EB: tl.constexpr, ACC: tl.constexpr,
    SLOPE: tl.constexpr, DROPOUT: tl.constexpr, THRESHOLD: tl.constexpr, SCALE: tl.constexpr,
):  # fmt: skip
    row, begin, end, slot = piece(pieces, tl.program_id(0))
    head = tl.program_id(1) * HB + tl.arange(0, HB)
    channel = tl.arange(0, CB)
    inside = (head < H)[:, None] & (channel < C)[None, :]
    at = head[:, None] * C + channel[None, :]
    own = tl.load(x + row * (H * C) + at, mask=inside, other=0.0).to(ACC)
    direction = tl.load(att + at, mask=inside, other=0.0).to(ACC)
    out = tl.zeros((HB, CB), ACC)
    for start in range(begin, end, EB):
        k = start + tl.arange(0, EB)
        mine = k < end
        mask = mine[:, None] & (head < H)[None, :]
        i = tl.load(neighbour + k, mask=mine, other=0).to(tl.int64)
        e = tl.load(edge + k, mask=mine, other=0).to(tl.int64)
        there = i[:, None, None] * (H * C) + at[None]
        u = tl.load(target + there, mask=mine[:, None, None] & inside[None], other=0.0).to(ACC) + own[None]
        v = tl.sum(tl.where(u > 0, u, u * SLOPE) * direction[None], 2)
        steep = tl.where(u > 0, direction[None], direction[None] * SLOPE)
        number = i[:, None] * H + head[None, :]
        alpha = tl.where(mask, tl.exp(v - tl.load(lse + number, mask=mask, other=0.0)), 0.0)
        a = alpha
        if DROPOUT:
            a = alpha * dropout_factor(e[:, None], head[None, :], seed, H, THRESHOLD, SCALE, ACC)
        g = tl.load(grad + there, mask=mine[:, None, None] & inside[None], other=0.0).to(ACC)
        dot = tl.load(dots + number, mask=mask, other=0.0)
        grad_v = tl.where(mask, a * tl.sum(g * own[None], 2) - alpha * dot, 0.0)
        tl.store(grad_score + e[:, None] * H + head[None, :], grad_v, mask=mask)
        out += tl.sum(g * a[:, :, None] + steep * grad_v[:, :, None], 0)
    if slot < 0:
        tl.store(grad_x + row * (H * C) + at, out.to(grad_x.dtype.element_ty), mask=inside)
    else:
        tl.store(partial + slot.to(tl.int64) * (H * C) + at, out, mask=inside)


@jit(do_not_specialize=["count"])
def _backward_by_target(
    pieces, neighbour, edge, x, target, att, grad_score, grad_target, partial, grad_att, count,
    H: tl.constexpr, C: tl.constexpr, HB: tl.constexpr, CB: tl.constexpr, EB: tl.constexpr, ACC: tl.constexpr,
    SLOPE: tl.constexpr,
):  # fmt: skip
    head = tl.program_id(1) * HB + tl.arange(0, HB)
    channel = tl.arange(0, CB)
    inside = (head < H)[:, None] & (channel < C)[None, :]
    at = head[:, None] * C + channel[None, :]
    direction = tl.load(att + at, mask=inside, other=0.0).to(ACC)
    out_att = tl.zeros((HB, CB), ACC)
    # every so many-th piece: which pieces a program sums does not depend on how fast others are
    for number in range(tl.program_id(0), count, tl.num_programs(0)):
        row, begin, end, slot = piece(pieces, number)
        own = tl.load(target + row * (H * C) + at, mask=inside, other=0.0).to(ACC)
        out = tl.zeros((HB, CB), ACC)
        for start in range(begin, end, EB):
            k = start + tl.arange(0, EB)
            mine = k < end
            j = tl.load(neighbour + k, mask=mine, other=0).to(tl.int64)
            e = tl.load(edge + k, mask=mine, other=0).to(tl.int64)
            u = own[None] + tl.load(
                x + j[:, None, None] * (H * C) + at[None], mask=mine[:, None, None] & inside[None], other=0.0
            ).to(ACC)
            mask = mine[:, None] & (head < H)[None, :]
            grad_v = tl.load(grad_score + e[:, None] * H + head[None, :], mask=mask, other=0.0)[:, :, None]
            out += tl.sum(tl.where(u > 0, grad_v, grad_v * SLOPE), 0)
            out_att += tl.sum(tl.where(u > 0, u, u * SLOPE) * grad_v, 0)
        out *= direction
        if slot < 0:
            tl.store(grad_target + row * (H * C) + at, out.to(grad_target.dtype.element_ty), mask=inside)
        else:
            tl.store(partial + slot.to(tl.int64) * (H * C) + at, out, mask=inside)
    tl.store(grad_att + tl.program_id(0).to(tl.int64) * (H * C) + at, out_att, mask=inside)
