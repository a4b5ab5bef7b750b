"""A graph's edges cut into pieces of work for Triton, and the partial results of the pieces merged."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from edgenet.graph import Graph
from edgenet.ops.triton_launch import cdiv, check_device, jit, launch, next_power_of_2, tile, tl, wide

#: A row of more edges is split: each piece writes a partial result, and a second kernel merges them in fixed order.
EDGES_PER_PIECE = 512
_WIDE_FROM = 2**31 - 2**16  # nodes, edges or pieces from which indices are int64


class Rows(NamedTuple):
    """The edges in one sort order, as S pieces of at most ``EDGES_PER_PIECE`` edges that belong to one row.

    pieces: (S, 4) row, its first edge, the edge after its last, and the slot of its partial result, or -1 where the
        piece is the whole row and writes the final one. Pieces of split rows come first: they take longest.
    neighbour: (E,) the other end of every edge, in this order.
    edge: (E,) its column in ``edge_index``.
    split_row: (R,) the rows that are split.
    split_first: (R + 1,) where the slots of each begin.
    parts: number of slots.
    """

    pieces: Tensor
    neighbour: Tensor
    edge: Tensor
    split_row: Tensor
    split_first: Tensor
    parts: int


def rows_by_target(graph: Graph) -> Rows:
    """One row a target node, of its in-edges.

    Raises:
        BackendError: if kernels cannot run where the graph is.
    """
    check_device(graph.edge_index.device)
    length = EDGES_PER_PIECE
    key = "triton rows", "target", length
    return graph.memo(key, lambda: _rows(graph.rowptr, graph.by_target, graph.source, graph.num_sources, length))


def rows_by_source(graph: Graph) -> Rows:
    """One row a source node, of its out-edges; raises as ``rows_by_target``."""
    check_device(graph.edge_index.device)
    length = EDGES_PER_PIECE
    key = "triton rows", "source", length
    return graph.memo(key, lambda: _rows(graph.colptr, graph.by_source, graph.target, graph.num_nodes, length))


def _rows(pointer: Tensor, order: Tensor, other_end: Tensor, nodes: int, length: int) -> Rows:
    """Of edges to ``nodes`` at the other end."""
    first, last = pointer[:-1], pointer[1:]
    count = ((last - first + length - 1) // length).clamp_min(1)  # an empty row has a piece too, which writes zeros
    whole, split = (count == 1).nonzero().squeeze(1), (count > 1).nonzero().squeeze(1)
    split_first = torch.cat([count.new_zeros(1), count[split].cumsum(0)])
    row = split.repeat_interleave(count[split])
    slot = torch.arange(len(row), device=pointer.device)
    begin = first[row] + (slot - split_first[:-1].repeat_interleave(count[split])) * length
    pieces = torch.cat(
        [
            torch.stack([row, begin, torch.minimum(begin + length, last[row]), slot], 1),
            torch.stack([whole, first[whole], last[whole], torch.full_like(whole, -1)], 1),
        ]
    )
    # half the bytes of int64; room is left for a step of the loop beyond the last edge
    narrow = torch.int32 if max(len(order), len(first), nodes, len(pieces)) < _WIDE_FROM else torch.int64
    return Rows(
        pieces.to(narrow),
        other_end[order].to(narrow),
        order.to(narrow),
        split.to(narrow),
        split_first.to(narrow),
        len(row),
    )


@jit
def piece(pieces, number):
    """Row (int64, as offsets are computed from it), first edge, the edge after the last, and slot of a piece."""
    at = pieces + tl.full((), number, tl.int64) * 4  # the number is an int in interpreted loops
    return tl.load(at).to(tl.int64), tl.load(at + 1), tl.load(at + 2), tl.load(at + 3)


# ---------------------------------------------------------------- partial results
def partial_results(rows: Rows, *shape: int, like: Tensor) -> Tensor:
    """(parts, \\*shape) in the dtype of sums, where the pieces of split rows write; one unused part if none is."""
    return torch.empty(max(rows.parts, 1), *shape, dtype=wide(like.dtype), device=like.device)


def merge_sums(rows: Rows, partial: Tensor, out: Tensor) -> None:
    """Write the sum of the partial results of every split row into its row of ``out``, always in the same order."""
    width = partial[0].numel()
    if rows.parts == 0 or width == 0:
        return
    block = min(256, next_power_of_2(width))
    launch(
        _merge_sums,
        (len(rows.split_row), cdiv(width, block)),
        partial,
        rows.split_row,
        rows.split_first,
        out,
        WIDTH=width,
        BLOCK=block,
        PARTS=max(1, 1024 // block),
        num_warps=1,
    )


@jit
def _merge_sums(partial, split_row, split_first, out, WIDTH: tl.constexpr, BLOCK: tl.constexpr, PARTS: tl.constexpr):
    number = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    row = tl.load(split_row + number).to(tl.int64)
    begin, end = tl.load(split_first + number), tl.load(split_first + number + 1)
    total = tl.zeros((BLOCK,), partial.dtype.element_ty)
    for start in range(begin, end, PARTS):
        slot = start + tl.arange(0, PARTS)
        mask = (slot < end)[:, None] & (column < WIDTH)[None, :]
        at = slot.to(tl.int64)[:, None] * WIDTH + column[None, :]
        total += tl.sum(tl.load(partial + at, mask=mask, other=0.0), 0)
    tl.store(out + row * WIDTH + column, total.to(out.dtype.element_ty), mask=column < WIDTH)


def merge_softmax(
    rows: Rows, part_top: Tensor, part_total: Tensor, partial: Tensor, y: Tensor, top: Tensor, total: Tensor
) -> None:
    """Merge the pieces of every split row of an online softmax into its rows of ``y``, ``top`` and ``total``.

    Args:
        part_top: (parts, H) largest score of every piece; part_total: (parts, H) sum of exp(score - largest).
        partial: (parts, H, C) sum of exp(score - largest) times the messages.
        y: (N, H, C); top, total: (N, H), 0 where every score is -inf. Written only in the rows that are split.
    """
    if rows.parts == 0:
        return
    heads, channels = y.shape[1:]
    constants, head_blocks = tile(heads, channels, y.dtype)
    grid = len(rows.split_row), head_blocks
    parts = part_top, part_total, partial
    launch(_merge_softmax, grid, rows.split_row, rows.split_first, *parts, y, top, total, **constants)


@jit
def _merge_softmax(
    split_row, split_first, part_top, part_total, partial, y, top, total,
    H: tl.constexpr, C: tl.constexpr, HB: tl.constexpr, CB: tl.constexpr, EB: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    number = tl.program_id(0).to(tl.int64)
    row = tl.load(split_row + number).to(tl.int64)
    begin, end = tl.load(split_first + number), tl.load(split_first + number + 1)
    head = tl.program_id(1) * HB + tl.arange(0, HB)
    channel = tl.arange(0, CB)
    inside = (head < H)[:, None] & (channel < C)[None, :]
    at = head[:, None] * C + channel[None, :]
    m = tl.full((HB,), -float("inf"), ACC)
    z = tl.zeros((HB,), ACC)
    out = tl.zeros((HB, CB), ACC)
    for start in range(begin, end, EB):
        slot = (start + tl.arange(0, EB)).to(tl.int64)
        mine = slot < end
        mask = mine[:, None] & (head < H)[None, :]
        v = tl.load(part_top + slot[:, None] * H + head[None, :], mask=mask, other=-float("inf"))
        new = tl.maximum(m, tl.max(v, 0))
        base = tl.where(new == -float("inf"), 0.0, new)  # -inf - -inf would be NaN
        shrink = tl.exp(m - base)
        share = tl.exp(v - base[None, :])
        m = new
        sums = tl.load(part_total + slot[:, None] * H + head[None, :], mask=mask, other=0.0)
        z = z * shrink + tl.sum(share * sums, 0)
        part = tl.load(
            partial + slot[:, None, None] * (H * C) + at[None], mask=mine[:, None, None] & inside[None], other=0.0
        )
        out = out * shrink[:, None] + tl.sum(part * share[:, :, None], 0)
    out = out / tl.where(z == 0, 1.0, z)[:, None]
    tl.store(y + row * (H * C) + at, out.to(y.dtype.element_ty), mask=inside)
    tl.store(top + row * H + head, tl.where(m == -float("inf"), 0.0, m), mask=head < H)
    tl.store(total + row * H + head, z, mask=head < H)
