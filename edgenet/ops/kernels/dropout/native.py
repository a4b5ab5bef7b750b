"""Dropout in compiled code: the mask is made in registers, as the numbers go by."""

from __future__ import annotations

import torch
from torch import Tensor

from edgenet.ops import native
from edgenet.ops.native import gate


def forward(x: Tensor, p: float, seed: int) -> Tensor:
    """See ``edgenet.ops.dropout``; of a gradient it is backward. The result is contiguous."""
    x = gate.plain(x)
    out, size = torch.empty_like(x, memory_format=torch.contiguous_format), x.numel()
    gate.call(
        "edgenet_dropout", native.pool(), native.DTYPES[x.dtype], (x, size, x.dtype), (out, size, x.dtype), size, p,
        seed,
    )  # fmt: skip
    return out
