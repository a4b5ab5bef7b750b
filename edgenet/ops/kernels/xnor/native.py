"""Products of packed signs in compiled code: VPOPCNTDQ, AVX2 or plain words, as the processor has it."""

from __future__ import annotations

import torch
from torch import Tensor

from edgenet.ops import native
from edgenet.ops.native import gate

FORMS = {1: "64-bit words", 2: "AVX2", 3: "AVX-512 VPOPCNTDQ"}
_form = 0  # the best there is; tests choose another


def form() -> str:
    """The form that runs on this processor."""
    return FORMS[gate.call("edgenet_xnor_form")]


def pack_signs(x: Tensor) -> tuple[Tensor, bool]:
    """See ``edgenet.ops.pack_signs``; and whether a number is NaN."""
    if x.dtype not in native.DTYPES:
        x = x.to(torch.float32)  # which has their signs
    rows, k = x.shape
    words = torch.empty(rows, -(-k // 64), dtype=torch.int64, device="cpu")
    if not words.numel():
        return words, False
    nan = gate.call(
        "edgenet_pack_signs", native.pool(), _form, native.DTYPES[x.dtype], (gate.plain(x), rows * k, x.dtype),
        (words, rows * -(-k // 64), torch.int64), rows, k,
    )  # fmt: skip
    return words, bool(nan)


def pack_above(dots: Tensor, least: Tensor, flip: Tensor) -> Tensor:
    """See ``edgenet.ops.pack_above``."""
    rows, n = dots.shape
    width = -(-n // 64)
    words = torch.empty(rows, width, dtype=torch.int64, device="cpu")
    if words.numel():
        gate.call(
            "edgenet_pack_above", native.pool(), _form, (gate.plain(dots), rows * n, torch.int32),
            (gate.plain(least), n, torch.int32), (gate.plain(flip), width, torch.int64),
            (words, rows * width, torch.int64), rows, n,
        )  # fmt: skip
    return words


def xnor(a: Tensor, w: Tensor, k: int) -> Tensor:
    """See ``edgenet.ops.xnor``."""
    (m, words), n = a.shape, len(w)
    out = torch.empty(m, n, dtype=torch.int32, device="cpu")
    if out.numel():
        gate.call(
            "edgenet_xnor", native.pool(), _form, (gate.plain(a), m * words, torch.int64),
            (gate.plain(w), n * words, torch.int64), (out, m * n, torch.int32), m, n, words, k,
        )  # fmt: skip
    return out


def naive_product(a: Tensor, w: Tensor) -> Tensor:
    """a w^T of float32 by three loops, one number at a time: the unoptimised product of Courbariaux et al. 2016, for
    benchmarks."""
    (m, k), n, dtype = a.shape, len(w), torch.float32
    out = torch.empty(m, n, dtype=dtype, device="cpu")
    gate.call(
        "edgenet_naive_product", (gate.plain(a.to(dtype)), m * k, dtype), (gate.plain(w.to(dtype)), n * k, dtype),
        (out, m * n, dtype), m, n, k,
    )  # fmt: skip
    return out
