"""codes_linear in compiled code: codes become numbers in registers, so that memory gives only their bits."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from edgenet.ops import native
from edgenet.ops.native import gate

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
    (batch, columns), by_row, dtype = x.shape, scale.numel() > 1, torch.float32
    out, size = x.new_empty(batch, rows), -(-rows * columns * bits // 8)
    gate.call(
        "edgenet_codes_linear", native.pool(), (gate.plain(codes), size, torch.uint8), size, bits, int(steps),
        (numbers, 2 if steps else 64, dtype), (gate.plain(scale), rows if by_row else 1, dtype), int(by_row),
        (gate.plain(x), batch * columns, dtype), batch, rows, columns, (out, batch * rows, dtype),
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
