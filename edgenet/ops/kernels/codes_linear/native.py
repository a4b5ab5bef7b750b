"""codes_linear in compiled code: codes become numbers in registers, so that memory gives only their bits."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from edgenet.ops import native

_BY_TABLE = 6  # bits up to which a table of levels fits into registers
_NEAR = 2e-7  # of the largest level: float32's own error


def suits(x: Tensor, bits: int, levels: Tensor, scale: Tensor) -> bool:
    """Whether there is a form: float32 numbers, and levels of equal steps where codes have more than 6 bits."""
    return x.dtype == scale.dtype == torch.float32 and _numbers(bits, tuple(levels.tolist())) is not None


def forward(x: Tensor, codes: Tensor, bits: int, levels: Tensor, scale: Tensor, rows: int) -> Tensor:
    """See ``edgenet.ops.codes_linear``; (batch, n) x.

    Up to 6 bits the numbers are those of the decoded matrix, to the last bit; more bits are multiplied by the step,
    which is one rounding away.
    """
    steps, numbers = _numbers(bits, tuple(levels.tolist()))
    x, codes, scale = x.contiguous(), codes.contiguous(), scale.contiguous()
    out = x.new_empty(x.shape[0], rows)
    native.library().edgenet_codes_linear(
        native.pool(), codes.data_ptr(), codes.numel(), bits, int(steps), numbers.data_ptr(), scale.data_ptr(),
        int(scale.numel() > 1), x.data_ptr(), x.shape[0], rows, x.shape[1], out.data_ptr(),
    )  # fmt: skip
    return out


@lru_cache(maxsize=256)
def _numbers(bits: int, levels: tuple[float, ...]) -> tuple[bool, Tensor] | None:
    """Whether levels are told by the code of zero and a step, and those two; or 64 levels; None if neither will do."""
    if bits >= _BY_TABLE:
        step = (levels[-1] - levels[0]) / (len(levels) - 1)
        zero = round(-2 * levels[0] / step) / 2 if step else 0.0  # halves are exact beside whole codes
        largest = max(map(abs, levels))
        if all(abs((code - zero) * step - level) <= _NEAR * largest for code, level in enumerate(levels)):
            return True, torch.tensor([zero, step], dtype=torch.float32, device="cpu")
    if bits > _BY_TABLE:
        return None
    return False, torch.tensor(levels, dtype=torch.float32, device="cpu").repeat(64 >> bits)
