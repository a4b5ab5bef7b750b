"""Dropout on CUDA, in Triton: the mask is made in registers, as the numbers go by."""

from __future__ import annotations

import torch
from torch import Tensor

from edgenet.ops.triton_dropout import dropout_constants, dropout_factor
from edgenet.ops.triton_launch import cdiv, jit, launch, tl

_BLOCK = 1024


def forward(x: Tensor, p: float, seed: int) -> Tensor:
    """See ``edgenet.ops.dropout``; of a gradient it is backward. The result is contiguous."""
    x = x.contiguous()
    out = torch.empty_like(x, memory_format=torch.contiguous_format)
    constants = dropout_constants(p, x.numel())
    constants.pop("DROPOUT")
    constants |= {"BLOCK": _BLOCK, "ACC": tl.float64 if x.dtype == torch.float64 else tl.float32, "num_warps": 4}
    launch(_drop, (cdiv(x.numel(), _BLOCK), 1), x, out, x.numel(), seed, **constants)
    return out


@jit(do_not_specialize=["seed"])
def _drop(
    x, out, count, seed: tl.int64,
    BLOCK: tl.constexpr, WIDE: tl.constexpr, THRESHOLD: tl.constexpr, SCALE: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    position = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    factor = dropout_factor(position, seed, WIDE, THRESHOLD, SCALE, ACC)
    number = tl.load(x + position, mask=position < count, other=0.0).to(ACC)
    tl.store(out + position, (number * factor).to(out.dtype.element_ty), mask=position < count)
