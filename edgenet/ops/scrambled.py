"""scrambled: a hash of two whole numbers, which kernels in C++ compute alike."""

from __future__ import annotations

from torch import Tensor


def scrambled(a: Tensor, b: Tensor) -> Tensor:
    """A number of 64 bits for every pair of int64: multiply-xorshift with the constants of splitmix64."""
    # int64 wraps; the masks keep the shifts logical
    h = a * -7046029254386353131 + b * -4658895280553007687
    h = (h ^ ((h >> 30) & 0x3FFFFFFFF)) * -4658895280553007687
    h = (h ^ ((h >> 27) & 0x1FFFFFFFFF)) * -7723592293110705685
    return h ^ ((h >> 31) & 0x1FFFFFFFF)
