"""Transforms of real blocks in 16 bits: the half spectrum and back, every butterfly rounded once.

A block of k real numbers, k a power of two, has k / 2 + 1 frequencies; the others are their conjugates. Blocks of 2 h
are made of blocks of h: with the spectra E and O of the numbers at even and at odd places and w = exp(-i pi / h),

    X[f] = E[f] + w^f O[f],    X[h - f] = conj(E[f] - w^f O[f]),    f = 0 ... h / 2.

The scale 1 / k of the inverse transform may be spread over the stages of both (the shift re-distribution of C-LSTM,
Wang et al. 2018, section 4.2): a stage of the forward transform shifts its results by one bit, which keeps them from
growing out of 16 bits; the inverse transform takes spectra over k, and then shifts nothing. It cannot grow: what stands
between its stages are means of turned results.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from edgenet.errors import RankError
from edgenet.fixed.arithmetic import MOST, saturate, shifted
from edgenet.structured.given import is_whole

TWIDDLE = 14  # fraction bits of w, so that 1 is a number; a butterfly then stays in 32 bits


def stages(block: int) -> int:
    """log2 of a block size.

    Raises:
        RankError: if it is no power of two.
    """
    if not is_whole(block) or block < 1 or block & (block - 1):
        raise RankError(f"16-bit transforms are of blocks of 1, 2, 4, 8, ... numbers, got {block!r}.")
    return int(block).bit_length() - 1


def twiddle(f: int, half: int) -> tuple[int, int]:
    """cos and sin of pi f / half, with ``TWIDDLE`` fraction bits."""
    angle = math.pi * f / half
    return round(math.cos(angle) * 2**TWIDDLE), round(math.sin(angle) * 2**TWIDDLE)


def forward(x: Tensor, shifts: int) -> tuple[Tensor, Tensor]:
    """Real and imaginary part of the half spectrum over 2^shifts.

    The first stages shift, for later ones could not undo an overflow. Results saturate at +-32767, so that conjugates
    fit too.

    Args:
        x: (..., k) int64 of 16 bits.
        shifts: how many stages shift by one bit, 0 to log2 k.

    Returns:
        Two of (..., k // 2 + 1); imaginary parts of the first and last frequency are 0.

    Raises:
        RankError: if k is no power of two, or has not so many stages.
    """
    levels = stages(x.shape[-1])
    if not is_whole(shifts) or not 0 <= shifts <= levels:
        raise RankError(f"{shifts!r} stages of a transform of {x.shape[-1]} numbers are to shift; it has {levels}.")
    if levels == 0:
        return saturate(x, -MOST), torch.zeros_like(x)
    (e_re, e_im), (o_re, o_im) = (forward(x[..., part::2], min(shifts, levels - 1)) for part in (0, 1))
    bits, half = TWIDDLE + (shifts >= levels), x.shape[-1] // 2
    cos, sin = _twiddles(half, x)
    turned_re, turned_im = o_re * cos + o_im * sin, o_im * cos - o_re * sin

    def rounded(y: Tensor) -> Tensor:
        return saturate(shifted(y, bits), -MOST)

    e_re, e_im = e_re << TWIDDLE, e_im << TWIDDLE
    low_re, low_im = rounded(e_re + turned_re), rounded(e_im + turned_im)
    high_re, high_im = rounded(e_re - turned_re), rounded(turned_im - e_im)
    again = half % 2 == 0  # X[h / 2] is in both; the first is taken
    high_re, high_im = (y[..., : y.shape[-1] - again].flip(-1) for y in (high_re, high_im))
    return torch.cat([low_re, high_re], -1), torch.cat([low_im, high_im], -1)


def inverse(real: Tensor, imaginary: Tensor, block: int) -> Tensor:
    """(..., k) of a half spectrum over k, (..., k // 2 + 1); every stage saturates.

    Imaginary parts of the first and last frequency are 0.
    """
    if block == 1:
        return real
    half = block // 2
    count = half // 2 + 1
    low_re, low_im = real[..., :count], imaginary[..., :count]
    high_re, high_im = (y.flip(-1)[..., :count] for y in (real, imaginary))  # X[h - f]
    cos, sin = _twiddles(half, real)
    d_re, d_im = low_re - high_re, low_im + high_im
    even = saturate(low_re + high_re), saturate(low_im - high_im)
    odd = (
        saturate(shifted(d_re * cos - d_im * sin, TWIDDLE)),
        saturate(shifted(d_re * sin + d_im * cos, TWIDDLE)),
    )
    return torch.stack([inverse(*even, half), inverse(*odd, half)], -1).flatten(-2)


def _twiddles(half: int, like: Tensor) -> tuple[Tensor, Tensor]:
    pairs = torch.tensor([twiddle(f, half) for f in range(half // 2 + 1)], dtype=torch.int64, device=like.device)
    return pairs[:, 0], pairs[:, 1]
