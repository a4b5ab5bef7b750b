"""Inner products of the rows of two signals, in Triton."""

from __future__ import annotations

import torch
from torch import Tensor

from edgenet.ops.triton_launch import cdiv, jit, launch, next_power_of_2, tl, wide


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
