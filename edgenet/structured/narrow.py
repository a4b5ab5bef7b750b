"""Narrow: convolutions to few channels, one row of the kernel's places after the other."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from edgenet.ops import backend

_LANES = 16  # channels that oneDNN computes together with AVX-512, needed or not
_ENOUGH = 1 << 24  # multiply-adds, about, from which laying the kernel out anew pays
_SAVES = 0.8  # of the lanes, at most, that rows may need


def narrow(
    x: Tensor, kernel: Tensor, stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int]
) -> Tensor | None:
    """``F.conv2d(x, kernel, None, stride, padding, dilation)`` for few outputs, where that is faster; else None.

    oneDNN computes 16 outputs at once, and so 32 for 20. The three rows of a 3 x 3 kernel as outputs of a 1 x 3 kernel
    are 60, which fill 64; they are summed afterwards, each moved by its row. 256 -> 20, 32 images of 14 x 14, one
    thread of an EPYC: 4.7 ms and 3.9 ms.

    Args:
        x: (batch, channels, H, W).
        kernel: (out, channels, rows, columns).
        stride, padding, dilation: two numbers each.
    """
    if x.numel() // max(1, x.shape[1]) * kernel.numel() < _ENOUGH or not _suits(x, kernel, stride):
        return None
    out, channels, rows, columns = kernel.shape
    height = x.shape[2] + 2 * padding[0] - dilation[0] * (rows - 1)
    width = (x.shape[3] + 2 * padding[1] - dilation[1] * (columns - 1) - 1) // stride[1] + 1
    flat = kernel.permute(2, 0, 1, 3).reshape(rows * out, channels, 1, columns)
    by_row = F.conv2d(x, flat, None, (1, stride[1]), (0, padding[1]), (1, dilation[1])).split(out, 1)
    y = x.new_zeros(len(x), out, height, width)
    for row, part in enumerate(by_row):
        move = row * dilation[0] - padding[0]
        first, last = max(0, -move), min(height, x.shape[2] - move)
        if first < last:
            y[:, :, first:last] += part[:, :, first + move : last + move]
    return y


def _suits(x: Tensor, kernel: Tensor, stride: Sequence[int]) -> bool:
    if torch.is_grad_enabled() or x.dim() != 4 or kernel.shape[1] != x.shape[1] or stride[0] != 1:
        return False
    lanes = -(-kernel.shape[0] // _LANES) * _LANES
    together = -(-kernel.shape[0] * kernel.shape[2] // _LANES) * _LANES
    if together > _SAVES * lanes * kernel.shape[2]:
        return False
    plain = x.is_cpu and x.dtype == kernel.dtype == torch.float32 and x.is_contiguous()
    return plain and backend.eager() and not torch.is_autocast_enabled("cpu") and _computes_lanes()


@cache
def _computes_lanes() -> bool:
    return torch.backends.cpu.get_cpu_capability() == "AVX512" and torch.backends.mkldnn.is_available()
