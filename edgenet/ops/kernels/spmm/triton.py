"""spmm on CUDA, in Triton: a program sums a row, or a piece of a long one, in registers."""

from __future__ import annotations

import torch
from torch import Tensor

from edgenet.graph import Graph
from edgenet.ops.triton_launch import jit, launch, tile, tl
from edgenet.ops.triton_rows import Rows, merge_sums, partial_results, piece, rows_by_source, rows_by_target

#: whether ``x`` may be (N, 1, C), the same for all heads
SHARES_SIGNAL = False


def forward(graph: Graph, weight: Tensor | None, x: Tensor) -> Tensor:
    """y[i, h] = sum over edges e = (j -> i) of weight[e, h] * x[j, h]; see ``edgenet.ops.spmm``.

    Args:
        graph: E directed edges on N nodes.
        weight: (E, H), or None for ones.
        x: (sources, H, C).

    Returns:
        (N, H, C), the dtype of ``x``.
    """
    rows = rows_by_target(graph)
    return sum_rows(rows, rows.neighbour, graph.num_nodes, weight, x)


def sum_rows(rows: Rows, taken: Tensor, num_rows: int, weight: Tensor | None, x: Tensor) -> Tensor:
    """(num_rows, H, C): for every row the sum over its edges of the row of ``x`` that ``taken`` names, weighted."""
    x = x.contiguous()
    heads, channels = x.shape[1:]
    y = torch.empty(num_rows, heads, channels, dtype=x.dtype, device=x.device)
    if y.numel() == 0:
        return y
    partial = partial_results(rows, heads, channels, like=x)
    constants, head_blocks = tile(heads, channels, x.dtype)
    launch(
        _forward,
        (len(rows.pieces), head_blocks),
        *(rows.pieces, taken, rows.edge, x if weight is None else weight.contiguous(), x, y, partial),
        WEIGHTED=weight is not None,
        **constants,
    )
    merge_sums(rows, partial, y)
    return y


@jit
def _forward(
    pieces, taken, edge, weight, x, y, partial,
    H: tl.constexpr, C: tl.constexpr, HB: tl.constexpr, CB: tl.constexpr, EB: tl.constexpr, ACC: tl.constexpr,
    WEIGHTED: tl.constexpr,
):  # fmt: skip
    row, begin, end, slot = piece(pieces, tl.program_id(0))
    head = tl.program_id(1) * HB + tl.arange(0, HB)
    channel = tl.arange(0, CB)
    inside = (head < H)[:, None] & (channel < C)[None, :]
    at = head[:, None] * C + channel[None, :]
    total = tl.zeros((HB, CB), ACC)
    for start in range(begin, end, EB):
        k = start + tl.arange(0, EB)
        mine = k < end
        j = tl.load(taken + k, mask=mine, other=0).to(tl.int64)
        message = tl.load(
            x + j[:, None, None] * (H * C) + at[None], mask=mine[:, None, None] & inside[None], other=0.0
        ).to(ACC)
        if WEIGHTED:
            e = tl.load(edge + k, mask=mine, other=0).to(tl.int64)
            mask = mine[:, None] & (head < H)[None, :]
            w = tl.load(weight + e[:, None] * H + head[None, :], mask=mask, other=0.0).to(ACC)
            message *= w[:, :, None]
        total += tl.sum(message, 0)
    if slot < 0:
        tl.store(y + row * (H * C) + at, total.to(y.dtype.element_ty), mask=inside)
    else:
        tl.store(partial + slot.to(tl.int64) * (H * C) + at, total, mask=inside)


def backward(
    graph: Graph, weight: Tensor | None, x: Tensor, grad: Tensor, needs_weight: bool, needs_x: bool
) -> tuple[Tensor | None, Tensor | None]:
    """The gradients of ``forward``, in one pass over the edges by source, which reads ``grad`` once.

    grad_weight[e, h] = <grad[i, h], x[j, h]>,   grad_x[j, h] = sum over e = (j -> i) of weight[e, h] * grad[i, h]

    Args:
        grad: (N, H, C).
        needs_weight, needs_x: which of the two to compute.

    Returns:
        (E, H) or None, and (sources, H, C) or None.
    """
    rows, x, grad = rows_by_source(graph), x.contiguous(), grad.contiguous()
    heads, channels = x.shape[1:]
    grad_weight = None
    if needs_weight and weight is not None:
        grad_weight = x.new_zeros(graph.num_edges, heads, dtype=weight.dtype)
    needs_weight = grad_weight is not None
    grad_x = torch.empty_like(x) if needs_x else None
    if x.numel() == 0 or not (needs_weight or needs_x):  # no channels: inner products are 0
        return grad_weight, grad_x
    partial = partial_results(rows, heads, channels, like=x) if needs_x else x
    constants, head_blocks = tile(heads, channels, x.dtype)
    launch(
        _backward,
        (len(rows.pieces), head_blocks),
        *(rows.pieces, rows.neighbour, rows.edge, x if weight is None else weight.contiguous(), x, grad),
        *(grad_weight if needs_weight else x, grad_x if needs_x else x, partial),
        WEIGHTED=weight is not None,
        NEEDS_WEIGHT=needs_weight,
        NEEDS_X=needs_x,
        **constants,
    )
    if grad_x is not None:
        merge_sums(rows, partial, grad_x)
    return grad_weight, grad_x


@jit
def _backward(
    pieces, target, edge, weight, x, grad, grad_weight, grad_x, partial,
    H: tl.constexpr, C: tl.constexpr, HB: tl.constexpr, CB: tl.constexpr, EB: tl.constexpr, ACC: tl.constexpr,
    WEIGHTED: tl.constexpr, NEEDS_WEIGHT: tl.constexpr, NEEDS_X: tl.constexpr,
):  # fmt: skip
    row, begin, end, slot = piece(pieces, tl.program_id(0))
    head = tl.program_id(1) * HB + tl.arange(0, HB)
    channel = tl.arange(0, CB)
    inside = (head < H)[:, None] & (channel < C)[None, :]
    at = head[:, None] * C + channel[None, :]
    if NEEDS_WEIGHT:
        own = tl.load(x + row * (H * C) + at, mask=inside, other=0.0).to(ACC)
    total = tl.zeros((HB, CB), ACC)
    for start in range(begin, end, EB):
        k = start + tl.arange(0, EB)
        mine = k < end
        mask = mine[:, None] & (head < H)[None, :]
        i = tl.load(target + k, mask=mine, other=0).to(tl.int64)
        g = tl.load(
            grad + i[:, None, None] * (H * C) + at[None], mask=mine[:, None, None] & inside[None], other=0.0
        ).to(ACC)
        if WEIGHTED:
            e = tl.load(edge + k, mask=mine, other=0).to(tl.int64)[:, None] * H + head[None, :]
        if NEEDS_WEIGHT:
            product = tl.sum(g * own[None], 2)
            tl.store(grad_weight + e, product.to(grad_weight.dtype.element_ty), mask=mask)
        if NEEDS_X:
            if WEIGHTED:
                g *= tl.load(weight + e, mask=mask, other=0.0).to(ACC)[:, :, None]
            total += tl.sum(g, 0)
    if NEEDS_X:
        if slot < 0:
            tl.store(grad_x + row * (H * C) + at, total.to(grad_x.dtype.element_ty), mask=inside)
        else:
            tl.store(partial + slot.to(tl.int64) * (H * C) + at, total, mask=inside)
