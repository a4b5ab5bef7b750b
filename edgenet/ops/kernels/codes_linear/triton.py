"""codes_linear on CUDA, in Triton: a program decodes some rows, and multiplies one signal by them."""

from __future__ import annotations

import torch
from torch import Tensor

from edgenet.ops.triton_launch import cdiv, jit, launch, tl

_ROWS, _COLUMNS = 8, 128  # of one step of a program


def suits(x: Tensor, bits: int, levels: Tensor, scale: Tensor) -> bool:
    """Whether there is a form: numbers of one dtype."""
    return x.dtype == scale.dtype


def forward(x: Tensor, codes: Tensor, bits: int, levels: Tensor, scale: Tensor, rows: int) -> Tensor:
    """See ``edgenet.ops.codes_linear``; (batch, n) x. Every signal decodes anew, so it is for few."""
    x, codes, scale = x.contiguous(), codes.contiguous(), scale.contiguous()
    out = x.new_empty(x.shape[0], rows)
    levels = levels.to(x.device, x.dtype)
    launch(
        _forward,
        (cdiv(rows, _ROWS), x.shape[0]),
        *(codes, levels, scale, x, out, rows, x.shape[1], codes.numel()),
        BITS=bits,
        BY_ROW=scale.numel() > 1,
        ROWS=_ROWS,
        COLUMNS=_COLUMNS,
        ACC=tl.float64 if x.dtype == torch.float64 else tl.float32,
        num_warps=4,
    )
    return out


@jit
def _forward(
    codes, levels, scale, x, out, rows, columns, size,
    BITS: tl.constexpr, BY_ROW: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    signal = tl.program_id(1).to(tl.int64)
    total = tl.zeros((ROWS, COLUMNS), ACC)
    for start in range(0, columns, COLUMNS):
        column = start + tl.arange(0, COLUMNS)
        inside = (row < rows)[:, None] & (column < columns)[None, :]
        bit = (row.to(tl.int64)[:, None] * columns + column[None, :]) * BITS
        at, shift = bit >> 3, (bit & 7).to(tl.int32)
        pair = tl.load(codes + at, mask=inside, other=0).to(tl.int32)
        if 8 % BITS != 0:  # codes that end in the next byte
            more = inside & (shift + BITS > 8) & (at + 1 < size)
            pair = pair | (tl.load(codes + at + 1, mask=more, other=0).to(tl.int32) << 8)
        level = tl.load(levels + ((pair >> shift) & ((1 << BITS) - 1)), mask=inside, other=0.0)
        value = tl.load(x + signal * columns + column, mask=column < columns, other=0.0)
        total += level.to(ACC) * value.to(ACC)[None, :]
    own = tl.load(scale + row, mask=row < rows, other=0.0) if BY_ROW else tl.load(scale)
    tl.store(out + signal * rows + row, (tl.sum(total, 1) * own).to(out.dtype.element_ty), mask=row < rows)
