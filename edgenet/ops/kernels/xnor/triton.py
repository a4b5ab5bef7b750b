"""Products of packed signs on CUDA, in Triton: a program counts the bits of a tile of rows by rows."""

from __future__ import annotations

import torch
from torch import Tensor

from edgenet.ops.kernels.xnor.reference import pack_above, pack_signs
from edgenet.ops.triton_launch import cdiv, jit, launch, tl

__all__ = ["pack_above", "pack_signs", "xnor"]

_ROWS, _COLUMNS, _WORDS = 16, 16, 4  # of a step; words of 32 bits


def xnor(a: Tensor, w: Tensor, k: int) -> Tensor:
    """See ``edgenet.ops.xnor``."""
    a, w = a.contiguous(), w.contiguous()
    out = torch.empty(len(a), len(w), dtype=torch.int32, device=a.device)
    if out.numel() == 0:
        return out
    halves = [words.view(torch.int32) for words in (a, w)]  # GPUs count 32 bits at a time
    launch(
        _forward,
        (cdiv(len(a), _ROWS), cdiv(len(w), _COLUMNS)),
        *(*halves, out, len(a), len(w), 2 * a.shape[1], k),
        BM=_ROWS, BN=_COLUMNS, BW=_WORDS, num_warps=4,
    )  # fmt: skip
    return out


@jit
def _popcount(x):
    # the sum of neighbouring bits, of pairs, of nibbles, and then of bytes by one product
    x = x - ((x >> 1) & 0x55555555)
    x = (x & 0x33333333) + ((x >> 2) & 0x33333333)
    x = (x + (x >> 4)) & 0x0F0F0F0F
    return ((x * 0x01010101) >> 24).to(tl.int32)


@jit
def _forward(a, w, out, m, n, words, k, BM: tl.constexpr, BN: tl.constexpr, BW: tl.constexpr):
    row = tl.program_id(0) * BM + tl.arange(0, BM)
    column = tl.program_id(1) * BN + tl.arange(0, BN)
    at = tl.arange(0, BW)
    a += row.to(tl.int64)[:, None] * words + at[None, :]
    w += column.to(tl.int64)[:, None] * words + at[None, :]
    differ = tl.zeros((BM, BN), tl.int32)
    for start in range(0, words, BW):
        inside = (start + at < words)[None, :]
        x = tl.load(a + start, mask=inside & (row < m)[:, None], other=0).to(tl.uint32, bitcast=True)
        y = tl.load(w + start, mask=inside & (column < n)[:, None], other=0).to(tl.uint32, bitcast=True)
        differ += tl.sum(_popcount(x[:, None, :] ^ y[None, :, :]), 2)
    inside = (row < m)[:, None] & (column < n)[None, :]
    tl.store(out + row.to(tl.int64)[:, None] * n + column[None, :], k - 2 * differ, mask=inside)
