"""segment_softmax over in-edges on CUDA, in Triton: a program normalises a node's scores, or a piece of a long row."""

from __future__ import annotations

import torch
from torch import Tensor

from edgenet.graph import Graph
from edgenet.ops.triton_launch import jit, launch, tile, tl
from edgenet.ops.triton_rows import merge_sums, partial_results, piece, rows_by_target


def forward(graph: Graph, score: Tensor) -> Tensor:
    """p[e, h] = exp(score[e, h]) over the sum of exp(score) of the edges into the same node.

    Args:
        graph: E directed edges on N nodes.
        score: (E, H). -inf gets weight 0; NaN spreads over its node and head.

    Returns:
        (E, H).
    """
    rows, score = rows_by_target(graph), score.contiguous()
    heads = score.shape[1]
    p = torch.empty_like(score)
    if p.numel() == 0:
        return p
    constants, head_blocks = tile(heads, 1, score.dtype)
    top, total = (partial_results(rows, heads, like=score) for _ in range(2))
    launch(_forward, (len(rows.pieces), head_blocks), rows.pieces, rows.edge, score, p, top, total, **constants)
    if rows.parts:
        row_top, row_total = (top.new_empty(graph.num_nodes, heads) for _ in range(2))
        launch(
            _merge,
            (len(rows.split_row), head_blocks),
            *(rows.split_row, rows.split_first, top, total, row_top, row_total),
            **constants,
        )
        launch(
            _normalise,
            (rows.parts, head_blocks),
            *(rows.pieces, rows.edge, score, p, row_top, row_total),
            **constants,
        )
    return p


@jit
def _forward(
    pieces, edge, score, p, top, total,
    H: tl.constexpr, C: tl.constexpr, HB: tl.constexpr, CB: tl.constexpr, EB: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    _, begin, end, slot = piece(pieces, tl.program_id(0))
    head = tl.program_id(1) * HB + tl.arange(0, HB)
    m = tl.full((HB,), -float("inf"), ACC)
    z = tl.zeros((HB,), ACC)
    for start in range(begin, end, EB):
        k = start + tl.arange(0, EB)
        mask = (k < end)[:, None] & (head < H)[None, :]
        e = tl.load(edge + k, mask=k < end, other=0).to(tl.int64)
        v = tl.load(score + e[:, None] * H + head[None, :], mask=mask, other=-float("inf")).to(ACC)
        new = tl.maximum(m, tl.max(v, 0))
        base = tl.where(new == -float("inf"), 0.0, new)  # -inf - -inf would be NaN
        z = z * tl.exp(m - base) + tl.sum(tl.exp(v - base[None, :]), 0)
        m = new
    if slot < 0:
        _write(edge, score, p, head, begin, end, m, z, H, EB, ACC)
    else:
        at = slot.to(tl.int64) * H + head
        tl.store(top + at, m, mask=head < H)
        tl.store(total + at, z, mask=head < H)


@jit
def _write(edge, score, p, head, begin, end, m, z, H: tl.constexpr, EB: tl.constexpr, ACC: tl.constexpr):
    """p = exp(score - m) / z for the edges of a piece; 0 where every score is -inf."""
    base = tl.where(m == -float("inf"), 0.0, m)
    divisor = tl.where(z == 0, 1.0, z)
    for start in range(begin, end, EB):
        k = start + tl.arange(0, EB)
        mask = (k < end)[:, None] & (head < H)[None, :]
        at = tl.load(edge + k, mask=k < end, other=0).to(tl.int64)[:, None] * H + head[None, :]
        v = tl.load(score + at, mask=mask, other=-float("inf")).to(ACC)
        tl.store(p + at, (tl.exp(v - base[None, :]) / divisor[None, :]).to(p.dtype.element_ty), mask=mask)


@jit
def _merge(
    split_row, split_first, top, total, row_top, row_total,
    H: tl.constexpr, C: tl.constexpr, HB: tl.constexpr, CB: tl.constexpr, EB: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    number = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1) * HB + tl.arange(0, HB)
    begin, end = tl.load(split_first + number), tl.load(split_first + number + 1)
    m = tl.full((HB,), -float("inf"), ACC)
    z = tl.zeros((HB,), ACC)
    for start in range(begin, end, EB):
        slot = start + tl.arange(0, EB)
        mask = (slot < end)[:, None] & (head < H)[None, :]
        at = slot.to(tl.int64)[:, None] * H + head[None, :]
        v = tl.load(top + at, mask=mask, other=-float("inf"))
        new = tl.maximum(m, tl.max(v, 0))
        base = tl.where(new == -float("inf"), 0.0, new)
        part = tl.load(total + at, mask=mask, other=0.0)
        z = z * tl.exp(m - base) + tl.sum(part * tl.exp(v - base[None, :]), 0)
        m = new
    at = tl.load(split_row + number).to(tl.int64) * H + head
    tl.store(row_top + at, m, mask=head < H)
    tl.store(row_total + at, z, mask=head < H)


@jit
def _normalise(
    pieces, edge, score, p, row_top, row_total,
    H: tl.constexpr, C: tl.constexpr, HB: tl.constexpr, CB: tl.constexpr, EB: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    row, begin, end, _ = piece(pieces, tl.program_id(0))
    head = tl.program_id(1) * HB + tl.arange(0, HB)
    m = tl.load(row_top + row * H + head, mask=head < H, other=0.0)
    z = tl.load(row_total + row * H + head, mask=head < H, other=0.0)
    _write(edge, score, p, head, begin, end, m, z, H, EB, ACC)


def backward(graph: Graph, p: Tensor, grad: Tensor) -> Tensor:
    """The gradient in the scores: p * (grad - mean), with mean the sum of p * grad over the edges into the same node.

    Args:
        p: (E, H), what ``forward`` returned.
        grad: (E, H).

    Returns:
        (E, H).
    """
    rows, p, grad = rows_by_target(graph), p.contiguous(), grad.contiguous()
    heads = p.shape[1]
    grad_score = torch.empty_like(p)
    if p.numel() == 0:
        return grad_score
    constants, head_blocks = tile(heads, 1, p.dtype)
    partial = partial_results(rows, heads, like=p)
    launch(
        _backward, (len(rows.pieces), head_blocks), rows.pieces, rows.edge, p, grad, grad_score, partial, **constants
    )
    if rows.parts:
        mean = partial.new_empty(graph.num_nodes, heads)
        merge_sums(rows, partial, mean)
        launch(_center, (rows.parts, head_blocks), rows.pieces, rows.edge, p, grad, grad_score, mean, **constants)
    return grad_score


@jit
def _backward(
    pieces, edge, p, grad, grad_score, partial,
    H: tl.constexpr, C: tl.constexpr, HB: tl.constexpr, CB: tl.constexpr, EB: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    _, begin, end, slot = piece(pieces, tl.program_id(0))
    head = tl.program_id(1) * HB + tl.arange(0, HB)
    mean = tl.zeros((HB,), ACC)
    for start in range(begin, end, EB):
        k = start + tl.arange(0, EB)
        mask = (k < end)[:, None] & (head < H)[None, :]
        at = tl.load(edge + k, mask=k < end, other=0).to(tl.int64)[:, None] * H + head[None, :]
        share = tl.load(p + at, mask=mask, other=0.0).to(ACC)
        mean += tl.sum(share * tl.load(grad + at, mask=mask, other=0.0).to(ACC), 0)
    if slot < 0:
        _write_centered(edge, p, grad, grad_score, head, begin, end, mean, H, EB, ACC)
    else:
        tl.store(partial + slot.to(tl.int64) * H + head, mean, mask=head < H)


@jit
def _write_centered(
    edge, p, grad, grad_score, head, begin, end, mean, H: tl.constexpr, EB: tl.constexpr, ACC: tl.constexpr
):
    """grad_score = p * (grad - mean) for the edges of a piece."""
    for start in range(begin, end, EB):
        k = start + tl.arange(0, EB)
        mask = (k < end)[:, None] & (head < H)[None, :]
        at = tl.load(edge + k, mask=k < end, other=0).to(tl.int64)[:, None] * H + head[None, :]
        share = tl.load(p + at, mask=mask, other=0.0).to(ACC)
        g = tl.load(grad + at, mask=mask, other=0.0).to(ACC)
        tl.store(grad_score + at, (share * (g - mean[None, :])).to(grad_score.dtype.element_ty), mask=mask)


@jit
def _center(
    pieces, edge, p, grad, grad_score, mean,
    H: tl.constexpr, C: tl.constexpr, HB: tl.constexpr, CB: tl.constexpr, EB: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    row, begin, end, _ = piece(pieces, tl.program_id(0))
    head = tl.program_id(1) * HB + tl.arange(0, HB)
    own = tl.load(mean + row * H + head, mask=head < H, other=0.0)
    _write_centered(edge, p, grad, grad_score, head, begin, end, own, H, EB, ACC)
