"""GATv2's attention on CUDA, in Triton: after the pass that GAT has too, one by target for what belongs to targets."""

from __future__ import annotations

import torch
from torch import Tensor

from edgenet.graph import Graph
from edgenet.ops import triton_attention
from edgenet.ops.triton_attention import Scores
from edgenet.ops.triton_launch import jit, launch, tile, tl
from edgenet.ops.triton_rows import merge_sums, partial_results, piece, rows_by_target

#: whether ``x`` may be (N, 1, C), the same for all heads
SHARES_SIGNAL = False
#: Programs of the pass by target at most. Each keeps one partial sum for the gradient in ``att``, whatever the graph.
PROGRAMS = 4096


def forward(
    graph: Graph, x: Tensor, target: Tensor, att: Tensor, slope: float, dropout: float, seed: int,
    edges: tuple[None, Tensor | None] = (None, None),
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """The output (N, H, C), and of the scores (N, H) the largest and the sum of exp(score - largest)."""
    return triton_attention.forward(graph, x, Scores(None, target, att, *edges), slope, dropout, seed)


def backward(
    graph: Graph, x: Tensor, target: Tensor, att: Tensor, y: Tensor, top: Tensor, total: Tensor, grad: Tensor,
    slope: float, dropout: float, seed: int, edges: tuple[None, Tensor | None] = (None, None),
) -> tuple[Tensor | None, ...]:  # fmt: skip
    """Gradients in ``x``, ``target``, ``att`` and what edges bring."""
    if 0 in x.shape[1:]:
        return tuple(None if t is None else torch.zeros_like(t) for t in (x, target, att, *edges))
    x, target, att = x.contiguous(), target.contiguous(), att.contiguous()
    scores = Scores(None, target, att, *edges)
    grad_x, _, grad_score, grad_factor = triton_attention.backward(
        graph, x, scores, y, top, total, grad, slope, dropout, seed
    )
    heads, channels = x.shape[1:]
    rows, grad_target = rows_by_target(graph), torch.empty_like(target)
    constants, head_blocks = tile(heads, channels, x.dtype, tensors=2)
    partial = partial_results(rows, heads, channels, like=x)
    programs = min(len(rows.pieces), max(256, min(PROGRAMS, 2**20 // (heads * channels))))
    grad_att = top.new_empty(programs, heads, channels)
    launch(
        _backward_by_target,
        (programs, head_blocks),
        *(rows.pieces, rows.neighbour, rows.edge, x, target, att, grad_score, grad_target, partial, grad_att),
        len(rows.pieces),
        SLOPE=float(slope),
        **constants,
    )
    merge_sums(rows, partial, grad_target)
    return grad_x, grad_target, grad_att.sum(0).to(att.dtype), None, grad_factor


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
