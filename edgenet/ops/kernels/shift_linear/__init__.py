"""shift_linear: a product with signs and shifts, the matrices of DeepShift."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from edgenet.errors import RankError
from edgenet.ops.kernels.codes_linear import codes_linear


def shift_linear(
    x: Tensor, codes: Tensor, bits: int, scale: Tensor, rows: int, bias: Tensor | None = None, *, zero: bool = False
) -> Tensor:
    """x W^T + bias with W[i, j] = +-2^-shift scale[i], as ``PowerOfTwo`` packs it (Elhoushi et al. 2021).

    A code is 2 shift, and 1 more for minus; with ``zero`` (their PS) code 0 is zero, and the others are one higher.
    Real shifts of integers are slower on processors of today than looking up a float and multiplying it: this is
    ``codes_linear`` with the table of these numbers.

    Args:
        bits: 2 to 6.
        zero: whether there is a code for zero.
        x, codes, scale, rows, bias: see ``codes_linear``, which also raises.

    Example:
        >>> from edgenet.structured import Dense, PowerOfTwo
        >>> packed = PowerOfTwo(Dense(torch.randn(8, 3)), bits=4).pack()
        >>> packed(x).shape  # which calls shift_linear, where kernels can run
        torch.Size([4, 8])
    """
    if isinstance(bits, bool) or not isinstance(bits, int) or not 2 <= bits <= 6:
        raise RankError(f"shift_linear takes codes of 2 to 6 bits, got {bits!r}.")
    return codes_linear(x, codes, bits, powers(bits, zero), scale, rows, bias)


@cache
def powers(bits: int, zero: bool) -> Tensor:
    """(2^bits,) float64: the number of every code."""
    code = torch.arange(1 << bits, device="cpu") - int(zero)
    level = torch.exp2(-(code >> 1).double()) * (1 - 2 * (code & 1))
    return torch.where(code < 0, 0.0, level)
