"""unified_linear in compiled code: bits and a block's magnitude become numbers in registers."""

from __future__ import annotations

import torch
from torch import Tensor

from edgenet.ops import native
from edgenet.ops.native import gate


def suits(x: Tensor, magnitudes: Tensor, block: tuple[int, int]) -> bool:
    """Whether there is a form: float32, and blocks of one row and a multiple of 16 columns."""
    return x.dtype == magnitudes.dtype == torch.float32 and block[0] == 1 and block[1] % 16 == 0


def forward(x: Tensor, magnitudes: Tensor, signs: Tensor, block: tuple[int, int], shape: tuple[int, int]) -> Tensor:
    """See ``edgenet.ops.unified_linear``; (batch, n) x."""
    (rows, columns), batch, dtype = shape, len(x), torch.float32
    out, blocks = x.new_empty(batch, rows), rows * -(-columns // block[1])
    gate.call(
        "edgenet_unified_linear", native.pool(), (gate.plain(magnitudes), blocks, dtype),
        (gate.plain(signs), blocks * block[1] // 8, torch.uint8), block[1], (gate.plain(x), batch * columns, dtype),
        batch, rows, columns, (out, batch * rows, dtype),
    )  # fmt: skip
    return out
