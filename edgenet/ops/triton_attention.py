"""The attention ops on CUDA, in Triton: one pass forward, and one by source backward that computes the weights anew.

GAT and GATv2 differ in where a score comes from. DYNAMIC kernels (GATv2) make it of both signals,
<att, leaky_relu(x_j + u_i)>; the others (GAT) add the scores of the two ends, leaky_relu(s_j + t_i).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from edgenet.graph import Graph
from edgenet.ops.triton_dropout import dropout_constants, dropout_factor
from edgenet.ops.triton_launch import jit, launch, tile, tl, wide
from edgenet.ops.triton_row_dots import row_dots
from edgenet.ops.triton_rows import merge_softmax, merge_sums, partial_results, piece, rows_by_source, rows_by_target


class Scores(NamedTuple):
    """Where scores come from, and what edges multiply their weights by.

    sender: (sources, H) s; None in GATv2, which takes the signal.
    receiver: (N, H) t, or None for zeros; in GATv2 (N, H, C) u.
    att: (H, C); None in GAT.
    added: (E, H) what edges add to their scores, in GAT; or None.
    factor: (E, H) factors of the weights, or None.
    """

    sender: Tensor | None
    receiver: Tensor | None
    att: Tensor | None
    added: Tensor | None = None
    factor: Tensor | None = None

    def contiguous(self) -> Scores:
        return Scores(*(None if t is None else t.contiguous() for t in self))

    def or_any(self, tensor: Tensor) -> list[Tensor]:
        """The five, with a tensor that is not read in place of None."""
        return [tensor if t is None else t for t in self]

    @property
    def constants(self) -> dict[str, bool]:
        return {
            "DYNAMIC": self.att is not None,
            "TARGET": self.receiver is not None,
            "ADDED": self.added is not None,
            "FACTOR": self.factor is not None,
        }


def forward(
    graph: Graph, x: Tensor, scores: Scores, slope: float, dropout: float, seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """y[i, h] = sum over in-edges e of alpha[e, h] * x[j, h], alpha the softmax of the scores.

    Args:
        graph: E directed edges on N nodes.
        x: (sources, H, C).
        scores: see there.
        slope: of leaky_relu below 0.
        dropout: probability in [0, 1] of dropping a weight after the softmax.
        seed: of dropout, 64 bits.

    Returns:
        (N, H, C), the dtype of ``x``; and (N, H) the largest score and the sum of exp(score - largest), in the dtype of
        sums. All are 0 for a node without in-edges.
    """
    if x.shape[2] == 0:  # one channel of zeros says the same
        x = _one_channel(x)
        if scores.att is not None:
            scores = scores._replace(receiver=_one_channel(scores.receiver), att=_one_channel(scores.att))
        y, *kept = forward(graph, x, scores, slope, dropout, seed)
        return y[..., :0], *kept
    rows, x, scores = rows_by_target(graph), x.contiguous(), scores.contiguous()
    heads, channels = x.shape[1:]
    y = torch.empty(graph.num_nodes, heads, channels, dtype=x.dtype, device=x.device)
    top, total = (torch.empty(graph.num_nodes, heads, dtype=wide(x.dtype), device=x.device) for _ in range(2))
    if y.numel() == 0:
        return y, top, total
    parts = *(partial_results(rows, heads, like=x) for _ in range(2)), partial_results(rows, heads, channels, like=x)
    constants, head_blocks = tile(heads, channels, x.dtype)
    launch(
        _forward,
        (len(rows.pieces), head_blocks),
        *(rows.pieces, rows.neighbour, rows.edge, x, *scores.or_any(x), y, top, total, *parts, int(seed)),
        SLOPE=float(slope),
        **scores.constants,
        **dropout_constants(dropout, graph.num_edges * heads),
        **constants,
    )
    merge_softmax(rows, *parts, y, top, total)
    return y, top, total


@jit(do_not_specialize=["seed"])
def _forward(
    pieces, source, edge, x, sender, receiver, att, added, factor, y, top, total, part_top, part_total, partial,
    seed: tl.int64,
    H: tl.constexpr, C: tl.constexpr, HB: tl.constexpr, CB: tl.constexpr, EB: tl.constexpr, ACC: tl.constexpr,
    SLOPE: tl.constexpr, DYNAMIC: tl.constexpr, TARGET: tl.constexpr, ADDED: tl.constexpr, FACTOR: tl.constexpr,
    DROPOUT: tl.constexpr, WIDE: tl.constexpr, THRESHOLD: tl.constexpr, SCALE: tl.constexpr,
):  # fmt: skip
    row, begin, end, slot = piece(pieces, tl.program_id(0))
    head = tl.program_id(1) * HB + tl.arange(0, HB)
    channel = tl.arange(0, CB)
    inside = (head < H)[:, None] & (channel < C)[None, :]
    at = head[:, None] * C + channel[None, :]
    m = tl.full((HB,), -float("inf"), ACC)
    z = tl.zeros((HB,), ACC)
    out = tl.zeros((HB, CB), ACC)
    if DYNAMIC:
        own = tl.load(receiver + row * (H * C) + at, mask=inside, other=0.0).to(ACC)
        direction = tl.load(att + at, mask=inside, other=0.0).to(ACC)
    elif TARGET:
        own = tl.load(receiver + row * H + head, mask=head < H, other=0.0).to(ACC)
    for start in range(begin, end, EB):
        k = start + tl.arange(0, EB)
        mine = k < end
        mask = mine[:, None] & (head < H)[None, :]
        j = tl.load(source + k, mask=mine, other=0).to(tl.int64)
        if ADDED or FACTOR or DROPOUT:
            e = tl.load(edge + k, mask=mine, other=0).to(tl.int64)
            of_edge = e[:, None] * H + head[None, :]
        if DYNAMIC:
            message = tl.load(
                x + j[:, None, None] * (H * C) + at[None], mask=mine[:, None, None] & inside[None], other=0.0
            ).to(ACC)
            u = message + own[None]
            v = tl.sum(tl.where(u > 0, u, u * SLOPE) * direction[None], 2)
        else:
            v = tl.load(sender + j[:, None] * H + head[None, :], mask=mask, other=0.0).to(ACC)
            if TARGET:
                v += own[None, :]
            if ADDED:
                v += tl.load(added + of_edge, mask=mask, other=0.0).to(ACC)
            v = tl.where(v > 0, v, v * SLOPE)
        v = tl.where(mask, v, -float("inf"))
        new = tl.maximum(m, tl.max(v, 0))
        base = tl.where(new == -float("inf"), 0.0, new)  # -inf - -inf would be NaN
        shrink = tl.exp(m - base)
        p = tl.exp(v - base[None, :])
        m = new
        z = z * shrink + tl.sum(p, 0)
        if DROPOUT:
            p *= dropout_factor(of_edge, seed, WIDE, THRESHOLD, SCALE, ACC)
        if FACTOR:
            p *= tl.load(factor + of_edge, mask=mask, other=0.0).to(ACC)
        if not DYNAMIC:
            message = tl.load(
                x + j[:, None, None] * (H * C) + at[None], mask=mine[:, None, None] & inside[None], other=0.0
            ).to(ACC)
        out = out * shrink[:, None] + tl.sum(message * p[:, :, None], 0)
    if slot < 0:
        out = out / tl.where(z == 0, 1.0, z)[:, None]
        tl.store(y + row * (H * C) + at, out.to(y.dtype.element_ty), mask=inside)
        tl.store(top + row * H + head, tl.where(m == -float("inf"), 0.0, m), mask=head < H)
        tl.store(total + row * H + head, z, mask=head < H)
    else:
        tl.store(part_top + slot.to(tl.int64) * H + head, m, mask=head < H)
        tl.store(part_total + slot.to(tl.int64) * H + head, z, mask=head < H)
        tl.store(partial + slot.to(tl.int64) * (H * C) + at, out, mask=inside)


def backward(
    graph: Graph, x: Tensor, scores: Scores, y: Tensor, top: Tensor, total: Tensor, grad: Tensor, slope: float,
    dropout: float, seed: int,
) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]:  # fmt: skip
    """The pass by source: what belongs to the senders, and the gradient of every edge's score.

    With a the weight alpha after dropout and its factor, and v the score, for e = (j -> i):
    grad_x[j, h] = sum over e of a[e, h] * grad[i, h], in GATv2 and what the scores give
    grad_v[e, h] = a[e, h] * <grad[i, h], x[j, h]> - alpha[e, h] * <grad[i, h], y[i, h]>

    Args:
        y, top, total: what ``forward`` returned.
        grad: (N, H, C), the gradient in y.

    Returns:
        The gradient in ``x`` (sources, H, C). In GAT that in ``scores.sender`` (sources, H), else None. The gradient
        (E, H) of what the receivers and the edges add to a score; None where they add nothing. That in
        ``scores.factor``, or None.
    """
    x, scores, grad = x.contiguous(), scores.contiguous(), grad.contiguous()
    heads, channels = x.shape[1:]
    dynamic, told = scores.att is not None, scores.receiver is not None or scores.added is not None
    rows, grad_x = rows_by_source(graph), torch.empty_like(x)
    grad_sender = None if dynamic else torch.empty_like(scores.sender)
    grad_edge = top.new_empty(graph.num_edges if told else 1, heads)
    grad_factor = None if scores.factor is None else torch.empty_like(scores.factor)
    partial, partial_sender = partial_results(rows, heads, channels, like=x), partial_results(rows, heads, like=x)
    constants, head_blocks = tile(heads, channels, x.dtype, tensors=2 if dynamic else 1)
    launch(
        _backward,
        (len(rows.pieces), head_blocks),
        *(rows.pieces, rows.neighbour, rows.edge, x, *scores.or_any(x), top.contiguous(), total.contiguous()),
        *(row_dots(y.contiguous(), grad), grad, grad_x, grad_x if dynamic else grad_sender, grad_edge),
        grad_edge if grad_factor is None else grad_factor,
        *(partial, partial_sender, int(seed)),
        SLOPE=float(slope),
        **scores.constants,
        **dropout_constants(dropout, graph.num_edges * heads),
        **constants,
    )
    merge_sums(rows, partial, grad_x)
    if not dynamic:
        merge_sums(rows, partial_sender, grad_sender)
    return grad_x, grad_sender, grad_edge if told else None, grad_factor


@jit(do_not_specialize=["seed"])
def _backward(
    pieces, neighbour, edge, x, sender, receiver, att, added, factor, top, total, dots, grad,
    grad_x, grad_sender, grad_edge, grad_factor, partial, partial_sender, seed: tl.int64,
    H: tl.constexpr, C: tl.constexpr, HB: tl.constexpr, CB: tl.constexpr, EB: tl.constexpr, ACC: tl.constexpr,
    SLOPE: tl.constexpr, DYNAMIC: tl.constexpr, TARGET: tl.constexpr, ADDED: tl.constexpr, FACTOR: tl.constexpr,
    DROPOUT: tl.constexpr, WIDE: tl.constexpr, THRESHOLD: tl.constexpr, SCALE: tl.constexpr,
):  # fmt: skip
    row, begin, end, slot = piece(pieces, tl.program_id(0))
    head = tl.program_id(1) * HB + tl.arange(0, HB)
    channel = tl.arange(0, CB)
    inside = (head < H)[:, None] & (channel < C)[None, :]
    at = head[:, None] * C + channel[None, :]
    own = tl.load(x + row * (H * C) + at, mask=inside, other=0.0).to(ACC)
    out = tl.zeros((HB, CB), ACC)
    if DYNAMIC:
        direction = tl.load(att + at, mask=inside, other=0.0).to(ACC)
    else:
        own_score = tl.load(sender + row * H + head, mask=head < H, other=0.0).to(ACC)
        out_score = tl.zeros((HB,), ACC)
    for start in range(begin, end, EB):
        k = start + tl.arange(0, EB)
        mine = k < end
        mask = mine[:, None] & (head < H)[None, :]
        i = tl.load(neighbour + k, mask=mine, other=0).to(tl.int64)
        e = tl.load(edge + k, mask=mine, other=0).to(tl.int64)
        number, of_edge = i[:, None] * H + head[None, :], e[:, None] * H + head[None, :]
        there = i[:, None, None] * (H * C) + at[None]
        if DYNAMIC:
            u = tl.load(receiver + there, mask=mine[:, None, None] & inside[None], other=0.0).to(ACC) + own[None]
            v = tl.sum(tl.where(u > 0, u, u * SLOPE) * direction[None], 2)
            steep = tl.where(u > 0, direction[None], direction[None] * SLOPE)
        else:
            v = tl.broadcast_to(own_score[None, :], (EB, HB))
            if TARGET:
                v += tl.load(receiver + number, mask=mask, other=0.0).to(ACC)
            if ADDED:
                v += tl.load(added + of_edge, mask=mask, other=0.0).to(ACC)
            up = v > 0
            v = tl.where(up, v, v * SLOPE)
        # two numbers, not their log-sum-exp, which has no digits left for the sum where scores are large
        z = tl.load(total + number, mask=mask, other=1.0)
        alpha = tl.exp(v - tl.load(top + number, mask=mask, other=0.0)) / tl.where(z == 0, 1.0, z)
        alpha = tl.where(mask, alpha, 0.0)
        a = alpha
        if DROPOUT:
            a = alpha * dropout_factor(of_edge, seed, WIDE, THRESHOLD, SCALE, ACC)
        g = tl.load(grad + there, mask=mine[:, None, None] & inside[None], other=0.0).to(ACC)
        inner = tl.sum(g * own[None], 2)
        if FACTOR:
            tl.store(grad_factor + of_edge, (a * inner).to(grad_factor.dtype.element_ty), mask=mask)
            a *= tl.load(factor + of_edge, mask=mask, other=0.0).to(ACC)
        dot = tl.load(dots + number, mask=mask, other=0.0)
        grad_v = tl.where(mask, a * inner - alpha * dot, 0.0)
        # both are the same number where a weight is all of its row: what is left is rounding, as large as the signals
        grad_v *= tl.where(alpha == 1, 0.0, 1.0)
        if DYNAMIC:
            out += tl.sum(g * a[:, :, None] + steep * grad_v[:, :, None], 0)
        else:
            out += tl.sum(g * a[:, :, None], 0)
            grad_v = tl.where(up, grad_v, grad_v * SLOPE)
            out_score += tl.sum(grad_v, 0)
        if TARGET or ADDED:
            tl.store(grad_edge + of_edge, grad_v, mask=mask)
    if slot < 0:
        tl.store(grad_x + row * (H * C) + at, out.to(grad_x.dtype.element_ty), mask=inside)
        if not DYNAMIC:
            tl.store(grad_sender + row * H + head, out_score.to(grad_sender.dtype.element_ty), mask=head < H)
    else:
        tl.store(partial + slot.to(tl.int64) * (H * C) + at, out, mask=inside)
        if not DYNAMIC:
            tl.store(partial_sender + slot.to(tl.int64) * H + head, out_score, mask=head < H)


def _one_channel(tensor: Tensor) -> Tensor:
    return tensor.new_zeros(*tensor.shape[:-1], 1)
