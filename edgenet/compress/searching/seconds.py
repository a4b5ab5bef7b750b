"""Seconds: what the product of a slot takes on this machine, for budgets of latency."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgenet.compress.places import Place
from edgenet.compress.positions import convolves
from edgenet.compress.slot import Slot
from edgenet.structured import StructuredConv, StructuredMatrix, structured_conv


@torch.no_grad()
def seconds(slot: Slot, matrix: StructuredMatrix, rows: int) -> float:
    """What a slot does with a batch in all its places, each by the best of several timings. A row is one position of a
    convolution's output."""
    matrix = matrix.eval()
    weight = slot.weight()
    x = torch.zeros(rows, weight.shape[1], dtype=weight.dtype, device=weight.device)
    index = torch.zeros(rows, dtype=torch.long, device=weight.device)
    calls = {
        "rows": lambda: matrix.rows(index),
        "tensor": lambda: F.linear(x, matrix.to_dense()),
        "product": lambda: matrix(x),
    }
    images = [_image(place.reader, matrix, x) for place in slot.holders if _convolves(place)]
    uses = Counter(place.use for place in slot.holders if not _convolves(place))
    others = sum(count * _best_time(calls[use], weight) for use, count in uses.items())
    return others + sum(_best_time(call, weight) for call in images)


def _convolves(place: Place) -> bool:
    return place.use == "product" and convolves(place.reader)


def _image(reader: nn.Module, matrix: StructuredMatrix, x: Tensor) -> Callable[[], Tensor]:
    """The convolution of an image whose output has as many positions as x has rows, or a few more."""
    conv = structured_conv(cast(StructuredConv, reader), matrix).eval()
    conv.padding = (0,) * conv.dims
    side = math.ceil(len(x) ** (1 / conv.dims))
    sizes = zip(conv.kernel_size, conv.stride, conv.dilation, strict=True)
    image = x.new_zeros(1, conv.in_channels, *((side - 1) * step + d * (k - 1) + 1 for k, step, d in sizes))
    return lambda: conv(image)


def _best_time(call: Any, weight: Tensor) -> float:
    best = math.inf
    for _ in range(7):  # the first fills caches
        start = time.perf_counter()
        call()
        if weight.is_cuda:
            torch.cuda.synchronize(weight.device)
        best = min(best, time.perf_counter() - start)
    return best
