"""Arithmetic of 16-bit numbers: what every operation of a fixed-point network is, to the bit.

A number of format Qm.f is q 2^-f with whole q of 16 bits. Tensors here are int64 and hold such q; sums and products in
them stay below 2^31 before they are rounded, so that 32 bits hold them wherever the same is computed elsewhere.
Rounding is half to even, and what does not fit saturates, as in ``structured.FixedPoint``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from edgenet.errors import ConfigError, ShapeError
from edgenet.structured.given import is_whole

LEAST, MOST = -32768, 32767  # of 16 bits
ACCUMULATOR = 2**31 - 1  # the largest sum of products
FRACTION = 64  # the most fraction bits, and the least below zero


def saturate(x: Tensor, least: int = LEAST, most: int = MOST) -> Tensor:
    """min(max(x, least), most)."""
    return x.clamp(least, most)


def shifted(x: Tensor, bits: int) -> Tensor:
    """round(x 2^-bits), half to even. Does not saturate.

    Args:
        x: int64.
        bits: 0 to 31.

    Raises:
        ConfigError: if bits are out of range.
    """
    if not is_whole(bits) or not 0 <= bits <= 31:
        raise ConfigError(f"a shift is by 0 to 31 bits, got {bits!r}.")
    if bits == 0:
        return x
    half_or_less = (1 << (bits - 1)) - 1
    return (x + half_or_less + ((x >> bits) & 1)) >> bits


def quantised(value: Tensor, fraction_bits: int) -> Tensor:
    """q = clip(round(value 2^f), -32768, 32767), half to even; int64.

    Args:
        value: any shape, of a floating dtype. Infinite numbers saturate.
        fraction_bits: f, -64 to 64.

    Raises:
        ConfigError: if f is out of range.
        ShapeError: if a value is NaN, which no whole number stands for.
    """
    if not is_whole(fraction_bits) or abs(fraction_bits) > FRACTION:
        raise ConfigError(f"fraction bits are a whole number from -{FRACTION} to {FRACTION}, got {fraction_bits!r}.")
    nan = value.isnan()
    if nan.any():
        first = nan.nonzero()[0].tolist()
        raise ShapeError(
            f"{int(nan.sum())} of {value.numel()} numbers are NaN, the first at {first}; 16 bits have no number for "
            f"that. Find out where they come from, or mask them."
        )
    steps = value.double() * 2.0**fraction_bits
    return saturate(steps.clamp(2.0 * LEAST, 2.0 * MOST).round().long())


def values(codes: Tensor, fraction_bits: int, dtype: torch.dtype | None = None) -> Tensor:
    """q 2^-f, in a floating dtype (torch's default one); exact where that holds 16 bits."""
    return (codes.double() * 2.0**-fraction_bits).to(dtype or torch.get_default_dtype())


def fitting(most: float, highest: int = FRACTION) -> int:
    """The most fraction bits with which numbers up to ``most`` fit into 16 bits, but no more than ``highest``.

    Raises:
        ConfigError: if ``most`` is not finite or negative, or so large that no format holds it.
    """
    if not 0 <= most < math.inf:
        raise ConfigError(f"a range of numbers ends at a finite number from 0 up, got {most!r}.")
    if most == 0:
        return highest
    bits = math.floor(math.log2(MOST / most))
    bits -= round(most * 2.0**bits) > MOST  # where the logarithm was rounded up
    if bits < -FRACTION:
        raise ConfigError(f"numbers up to {most:g} have no format of 16 bits; scale them.")
    return min(bits, highest)
