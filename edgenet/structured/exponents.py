"""Powers of two, from the bits of a number: exact, and the same on every machine."""

from __future__ import annotations

import math
import struct

import torch
from torch import Tensor

_MANTISSA = (1 << 52) - 1
_ROOT = struct.unpack("<q", struct.pack("<d", math.sqrt(2)))[0] & _MANTISSA


def floor_log2(x: Tensor) -> Tensor:
    """The largest k with 2^k <= x, int64, of positive float64 numbers; -1023 for 0 and what has no exponent left."""
    return (x.contiguous().view(torch.int64) >> 52) - 1023


def round_log2(x: Tensor) -> Tensor:
    """The k for which 2^k is nearest by ratio: numbers from 2^(k + 1/2) on go up. A logarithm in float32 may say
    otherwise within its last digit."""
    return floor_log2(x) + ((x.contiguous().view(torch.int64) & _MANTISSA) >= _ROOT)


def two_to(k: Tensor) -> Tensor:
    """2^k of whole numbers, exact, in float64; k from -1022 to 1023, and what is beyond is set to those."""
    return ((k.long().clamp(-1022, 1023) + 1023) << 52).view(torch.float64)


def power_of_two(x: Tensor) -> Tensor:
    """AP2(x) = sign(x) 2^round(log2 |x|), the nearest power of two by ratio, in float64; 0 of 0. Without a gradient.
    Courbariaux et al. 2016."""
    wide = x.detach().double()
    return two_to(round_log2(wide.abs())) * wide.sign()


def most_exponent(dtype: torch.dtype) -> int:
    """The largest k for which a dtype has 2^k."""
    return math.frexp(torch.finfo(dtype).max)[1] - 1
