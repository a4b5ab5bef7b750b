"""What the Triton kernels share: a graph's edges cut into pieces of work, tiles, sums of partial results, dropout."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from edgenet.errors import BackendError
from edgenet.graph import Graph

try:
    import triton
    import triton.language as tl
except Exception:  # absent, or built for another machine; reported when a kernel is asked for
    triton = tl = None

#: A row of more edges is split: each piece writes a partial result, and a second kernel merges them in fixed order.
EDGES_PER_PIECE = 512


#: Of the compiler. Triton warns where fused multiply-adds are neither asked for nor forbidden.
OPTIONS = {"enable_fp_fusion": True}


def jit(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """``triton.jit``; without triton the plain function, so that modules with kernels can be imported."""
    if function is None:
        return lambda later: jit(later, **options)
    return function if triton is None else triton.jit(function, **options)


# ---------------------------------------------------------------- the graph
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
    _check_device(graph.edge_index.device)
    length = EDGES_PER_PIECE
    key = "triton rows", "target", length
    return graph.memo(key, lambda: _rows(graph.rowptr, graph.by_target, graph.source, length))


def rows_by_source(graph: Graph) -> Rows:
    """One row a source node, of its out-edges; raises as ``rows_by_target``."""
    _check_device(graph.edge_index.device)
    length = EDGES_PER_PIECE
    key = "triton rows", "source", length
    return graph.memo(key, lambda: _rows(graph.colptr, graph.by_source, graph.target, length))


def _rows(pointer: Tensor, order: Tensor, other_end: Tensor, length: int) -> Rows:
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
    narrow = torch.int32 if max(len(order), len(first), len(pieces)) < 2**31 - 2**16 else torch.int64
    return Rows(
        pieces.to(narrow),
        other_end[order].to(narrow),
        order.to(narrow),
        split.to(narrow),
        split_first.to(narrow),
        len(row),
    )


# ---------------------------------------------------------------- launching
@cache
def interpreted() -> bool:
    """Whether kernels run in Triton's interpreter: TRITON_INTERPRET=1 was set when triton and edgenet were imported."""
    # the library of triton.language is made of kernels too, and both must be of one kind
    return triton is not None and not any(isinstance(kernel, triton.JITFunction) for kernel in (tl.sum, piece))


@cache
def available() -> bool:
    """Whether a kernel can run: triton imports, and there is a GPU or the interpreter."""
    return triton is not None and (interpreted() or torch.cuda.is_available())


def _check_device(device: torch.device) -> None:
    if triton is not None and (device.type == "cuda" or interpreted()):
        return
    reason = "triton does not import (`pip install triton`)" if triton is None else f"the graph is on {device}"
    raise BackendError(
        f"the triton kernels cannot run: {reason}. They need a GPU, or TRITON_INTERPRET=1 in the environment "
        f"before Python starts."
    )


def launch(kernel: Any, grid: tuple[int, int], *arguments: Any, **constants: Any) -> None:
    """Run one program for every point of the grid, on the device of the first argument, a tensor."""
    if 0 in grid:
        return
    device = arguments[0].device
    if device.type != "cuda":
        kernel[grid](*arguments, **constants)
        return
    with torch.cuda.device(device):  # triton launches on the current one
        kernel[grid](*arguments, **OPTIONS, **constants)


def cdiv(count: int, size: int) -> int:
    """How many blocks of a size hold ``count``."""
    return -(-count // size)


def next_power_of_2(count: int) -> int:
    """The smallest power of two that is at least ``count``."""
    return 1 << max(count - 1, 0).bit_length()


@cache
def tile(heads: int, channels: int, dtype: torch.dtype, tensors: int = 1) -> tuple[dict[str, Any], int]:
    """How one program covers (edges, heads, channels), so that its accumulators and one step stay in registers.

    Args:
        heads, channels: H and C of the signal.
        dtype: its dtype, which decides the dtype of sums.
        tensors: how many (edges, heads, channels) tiles the program holds at a time.

    Returns:
        The constants of the kernel (H, C; HB heads, CB channels and EB edges a step, powers of two; ACC the dtype of
        sums; warps), and the number of blocks of heads. Heads do not mix, so blocks of them are programs of their own.
    """
    channel_block = next_power_of_2(channels)
    head_block = min(next_power_of_2(heads), max(1, 1024 // channel_block))
    width = head_block * channel_block
    warps = 1 if width <= 128 else 2 if width <= 256 else 4 if width <= 1024 else 8
    numbers = 1024 * warps // tensors // (2 if dtype == torch.float64 else 1)  # 32 registers a thread
    if channels * dtype.itemsize % 16:  # loads are not of 128 bits, and every number has an address of its own
        numbers //= 2
    constants = {
        "H": heads,
        "C": channels,
        "HB": head_block,
        "CB": channel_block,
        "EB": min(32, max(1, numbers // width)),
        "ACC": tl.float64 if dtype == torch.float64 else tl.float32,
        "num_warps": warps,
    }
    return constants, cdiv(heads, head_block)


def wide(dtype: torch.dtype) -> torch.dtype:
    """The dtype of sums: float32 for half precision."""
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype


# ---------------------------------------------------------------- inside kernels
@jit
def piece(pieces, number):
    """Row (int64, as offsets are computed from it), first edge, the edge after the last, and slot of a piece."""
    at = pieces + tl.full((), number, tl.int64) * 4  # the number is an int in interpreted loops
    return tl.load(at).to(tl.int64), tl.load(at + 1), tl.load(at + 2), tl.load(at + 3)


@jit
def dropout_factor(edge, head, seed, H: tl.constexpr, THRESHOLD: tl.constexpr, SCALE: tl.constexpr, ACC: tl.constexpr):
    """SCALE where dropout keeps (edge, head), else 0: by a hash of its number and the seed, alike in every backend."""
    key = (edge * H + head).to(tl.uint32) ^ seed.to(tl.uint32)
    key ^= key >> 16
    key *= 0x7FEB352D
    key ^= key >> 15
    key *= 0x846CA68B
    key ^= key >> 16
    return (key.to(tl.int64) >= THRESHOLD).to(ACC) * SCALE


def dropout_constants(dropout: float) -> dict[str, Any]:
    """The constants of a kernel with dropout of probability ``dropout``: DROPOUT, THRESHOLD and SCALE."""
    return {
        "DROPOUT": dropout > 0,
        "THRESHOLD": int(dropout * 2**32),
        "SCALE": 1 / (1 - dropout) if dropout < 1 else 0.0,
    }


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


def row_dots(a: Tensor, b: Tensor) -> Tensor:
    """(N, H) inner products of two (N, H, C) signals, in the dtype of sums."""
    nodes, heads, channels = a.shape
    out = torch.empty(nodes, heads, dtype=wide(a.dtype), device=a.device)
    channel_block = next_power_of_2(channels)
    row_block = max(1, 2048 // channel_block)
    constants = {"C": channels, "CB": channel_block, "RB": row_block, "num_warps": 4 if channel_block <= 2048 else 8}
    launch(_row_dots, (cdiv(nodes * heads, row_block), 1), a, b, out, nodes * heads, **constants)
    return out


@jit(do_not_specialize=["rows"])
def _row_dots(a, b, out, rows, C: tl.constexpr, CB: tl.constexpr, RB: tl.constexpr):
    row = tl.program_id(0).to(tl.int64) * RB + tl.arange(0, RB)
    channel = tl.arange(0, CB)
    at = row[:, None] * C + channel[None, :]
    mask = (row < rows)[:, None] & (channel < C)[None, :]
    product = tl.load(a + at, mask=mask, other=0.0).to(out.dtype.element_ty) * tl.load(b + at, mask=mask, other=0.0).to(
        out.dtype.element_ty
    )
    tl.store(out + row, tl.sum(product, 1), mask=row < rows)
