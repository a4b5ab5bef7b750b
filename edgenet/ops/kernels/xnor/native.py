"""Products of packed signs in compiled code: VPOPCNTDQ, AVX2 or plain words, as the processor has it."""

from __future__ import annotations

import torch
from torch import Tensor

from edgenet.ops import native

FORMS = {1: "64-bit words", 2: "AVX2", 3: "AVX-512 VPOPCNTDQ"}
_form = 0  # the best there is; tests choose another


def form() -> str:
    """The form that runs on this processor."""
    return FORMS[native.library().edgenet_xnor_form()]


def pack_signs(x: Tensor) -> tuple[Tensor, bool]:
    """See ``edgenet.ops.pack_signs``; and whether a number is NaN."""
    if x.dtype not in native.DTYPES:
        x = x.to(torch.float32)  # which has their signs
    x = x.contiguous()
    rows, k = x.shape
    words = torch.empty(rows, -(-k // 64), dtype=torch.int64, device="cpu")
    if not words.numel():
        return words, False
    nan = native.library().edgenet_pack_signs(
        native.pool(), _form, native.DTYPES[x.dtype], x.data_ptr(), words.data_ptr(), rows, k
    )
    return words, bool(nan)


def pack_above(dots: Tensor, least: Tensor, flip: Tensor) -> Tensor:
    """See ``edgenet.ops.pack_above``."""
    dots, least, flip = dots.contiguous(), least.contiguous(), flip.contiguous()
    rows, n = dots.shape
    words = torch.empty(rows, len(flip), dtype=torch.int64, device="cpu")
    if words.numel():
        native.library().edgenet_pack_above(
            native.pool(), _form, dots.data_ptr(), least.data_ptr(), flip.data_ptr(), words.data_ptr(), rows, n
        )
    return words


def xnor(a: Tensor, w: Tensor, k: int) -> Tensor:
    """See ``edgenet.ops.xnor``."""
    a, w = a.contiguous(), w.contiguous()
    out = torch.empty(len(a), len(w), dtype=torch.int32, device="cpu")
    if out.numel():
        native.library().edgenet_xnor(
            native.pool(), _form, a.data_ptr(), w.data_ptr(), out.data_ptr(), len(a), len(w), a.shape[1], k
        )
    return out


def naive_product(a: Tensor, w: Tensor) -> Tensor:
    """a w^T of float32 by three loops, one number at a time: the unoptimised product of Courbariaux et al. 2016, for
    benchmarks."""
    a, w = a.to(torch.float32).contiguous(), w.to(torch.float32).contiguous()
    out = torch.empty(len(a), len(w), dtype=torch.float32, device="cpu")
    native.library().edgenet_naive_product(a.data_ptr(), w.data_ptr(), out.data_ptr(), len(a), len(w), a.shape[1])
    return out
