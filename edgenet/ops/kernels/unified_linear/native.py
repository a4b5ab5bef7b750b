"""unified_linear in compiled code: bits and a block's magnitude become numbers in registers."""

from __future__ import annotations

import torch
from torch import Tensor

from edgenet.ops import native


def suits(x: Tensor, magnitudes: Tensor, block: tuple[int, int]) -> bool:
    """Whether there is a form: float32, and blocks of one row and a multiple of 16 columns."""
    return x.dtype == magnitudes.dtype == torch.float32 and block[0] == 1 and block[1] % 16 == 0


def forward(x: Tensor, magnitudes: Tensor, signs: Tensor, block: tuple[int, int], shape: tuple[int, int]) -> Tensor:
    """See ``edgenet.ops.unified_linear``; (batch, n) x."""
    x, magnitudes, signs = x.contiguous(), magnitudes.contiguous(), signs.contiguous()
    out = x.new_empty(x.shape[0], shape[0])
    native.library().edgenet_unified_linear(
        native.pool(), magnitudes.data_ptr(), signs.data_ptr(), block[1], x.data_ptr(), x.shape[0], *shape,
        out.data_ptr(),
    )  # fmt: skip
    return out
