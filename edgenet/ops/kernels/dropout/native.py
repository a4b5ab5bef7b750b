"""Dropout in compiled code: the mask is made in registers, as the numbers go by."""

from __future__ import annotations

import torch
from torch import Tensor

from edgenet.ops import native


def forward(x: Tensor, p: float, seed: int) -> Tensor:
    """See ``edgenet.ops.dropout``; of a gradient it is backward. The result is contiguous."""
    x = x.contiguous()
    out = torch.empty_like(x, memory_format=torch.contiguous_format)
    native.library().edgenet_dropout(
        native.pool(), native.DTYPES[x.dtype], x.data_ptr(), out.data_ptr(), x.numel(), p, seed
    )
    return out
