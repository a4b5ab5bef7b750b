"""Products of packed signs: the definitions in plain torch."""

from __future__ import annotations

import torch
from torch import Tensor

_EXACT = 2**24  # whole numbers up to which float32 has all


def pack_signs(x: Tensor) -> tuple[Tensor, bool]:
    """See ``edgenet.ops.pack_signs``; and whether a number is NaN."""
    return packed(x >= 0), bool(x.isnan().any()) if x.is_floating_point() else False


def pack_above(dots: Tensor, least: Tensor, flip: Tensor) -> Tensor:
    """See ``edgenet.ops.pack_above``."""
    return packed(dots >= least) ^ flip


def packed(bits: Tensor) -> Tensor:
    """(rows, k) bools -> (rows, ceil(k / 64)) words."""
    k = bits.shape[1]
    bits = torch.nn.functional.pad(bits, (0, -k % 64)).unflatten(1, (-(-k // 64), 64)).long()
    return (bits << torch.arange(64, device=bits.device)).sum(-1)  # of other bits each, so that nothing is carried


def unpacked(words: Tensor, k: int) -> Tensor:
    """(rows, ceil(k / 64)) words -> (rows, k) bits, 0 or 1."""
    bits = (words.unsqueeze(-1) >> torch.arange(64, device=words.device)) & 1
    return bits.flatten(1)[:, :k]


def xnor(a: Tensor, w: Tensor, k: int) -> Tensor:
    """See ``edgenet.ops.xnor``."""
    bits = 64 * a.shape[1]
    dtype = torch.float32 if bits <= _EXACT else torch.float64
    a, w = (2 * unpacked(words, bits).to(dtype) - 1 for words in (a, w))
    return (a @ w.mT).to(torch.int32) - (bits - k)  # bits that are no signs are alike, and count 1 each
