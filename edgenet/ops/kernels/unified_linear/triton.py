"""unified_linear on CUDA, in Triton: a program makes some rows, and multiplies one signal by them."""

from __future__ import annotations

import torch
from torch import Tensor

from edgenet.ops.triton_launch import cdiv, jit, launch, tl

_ROWS, _COLUMNS = 8, 128  # of one step of a program


def suits(x: Tensor, magnitudes: Tensor, block: tuple[int, int]) -> bool:
    """Whether there is a form: numbers of one dtype."""
    return x.dtype == magnitudes.dtype


def forward(x: Tensor, magnitudes: Tensor, signs: Tensor, block: tuple[int, int], shape: tuple[int, int]) -> Tensor:
    """See ``edgenet.ops.unified_linear``; (batch, n) x. Every signal makes W anew, so it is for few."""
    x, magnitudes, signs = x.contiguous(), magnitudes.contiguous(), signs.contiguous()
    out = x.new_empty(x.shape[0], shape[0])
    launch(
        _forward,
        (cdiv(shape[0], _ROWS), x.shape[0]),
        *(magnitudes, signs, x, out, *shape),
        DOWN=block[0],
        ACROSS=block[1],
        ROWS=_ROWS,
        COLUMNS=_COLUMNS,
        ACC=tl.float64 if x.dtype == torch.float64 else tl.float32,
        num_warps=4,
    )
    return out


@jit
def _forward(
    magnitudes, signs, x, out, rows, columns,
    DOWN: tl.constexpr, ACROSS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    signal = tl.program_id(1).to(tl.int64)
    beside = (columns + ACROSS - 1) // ACROSS
    total = tl.zeros((ROWS, COLUMNS), ACC)
    for start in range(0, columns, COLUMNS):
        column = start + tl.arange(0, COLUMNS)
        inside = (row < rows)[:, None] & (column < columns)[None, :]
        block = (row // DOWN).to(tl.int64)[:, None] * beside + (column // ACROSS)[None, :]
        bit = block * (DOWN * ACROSS) + (row % DOWN)[:, None] * ACROSS + (column % ACROSS)[None, :]
        size = tl.abs(tl.load(magnitudes + block, mask=inside, other=0.0)).to(ACC)
        byte = tl.load(signs + (bit >> 3), mask=inside, other=0).to(tl.int32)
        positive = ((byte >> (bit & 7).to(tl.int32)) & 1) > 0
        value = tl.load(x + signal * columns + column, mask=column < columns, other=0.0).to(ACC)
        total += tl.where(positive, size, -size) * value[None, :]
    tl.store(out + signal * rows + row, tl.sum(total, 1).to(out.dtype.element_ty), mask=row < rows)
