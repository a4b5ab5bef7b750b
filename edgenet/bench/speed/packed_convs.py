"""The cases of structured convolutions: low rank, tensor trains and circulant blocks beside oneDNN's dense kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgenet.bench.speed.packed_case import Case
from edgenet.shortcuts import kept
from edgenet.structured import StructuredConv2d, StructuredMatrix, family
from edgenet.structured.bridge import attach_

CHANNELS = (128, 256)
BATCHES = (1, 32)
SIDE = 14  # of the images
TOLERANCE = 1e-4  # float32, sums of some thousand products in another order
TENTH = 20 / 256  # of the channels: the rank that is about ten times smaller

#: what the kernel is, by the number of channels
KERNELS: dict[str, Callable[[int], StructuredMatrix]] = {
    "low rank, 20 of 256": lambda channels: _random("low_rank", channels, rank=round(TENTH * channels)),
    "tensor train, rank 4, places apart": lambda channels: _random(
        "tensor_train", channels, rank=4, dims=3, places=9
    ),
    "Kronecker, 4 terms": lambda channels: _random("kronecker", channels, terms=4, places=9),
    "circulant blocks of 32 channels": lambda channels: _random("block_circulant", channels, block=32, places=9),
    "low rank in int8": lambda channels: _random(
        "uniform", channels, base={"structure": "low_rank", "rank": round(TENTH * channels)}
    ),
}  # fmt: skip


def cases() -> list[Case]:
    """Every kernel, 3 x 3 with padding, at every width and batch, without gradients.

    The baselines: ``F.conv2d`` by the dense kernel, which is oneDNN's; the same behind a bridge, as a matrix that no
    convolution knows is put into a network, with the dense kernel kept, and built at every call.
    """
    return [
        _case(f"{name}: {channels} -> {channels}, 3 x 3, {SIDE} x {SIDE}", make(channels), channels, batch)
        for name, make in KERNELS.items()
        for channels in CHANNELS
        for batch in BATCHES
    ]


def _case(what: str, matrix: StructuredMatrix, channels: int, batch: int) -> Case:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(batch, channels, SIDE, SIDE, generator=generator)
    ours = StructuredConv2d(matrix.pack(), 3, padding=1).eval()
    dense = matrix.to_dense().detach().reshape(channels, channels, 3, 3)
    bridged = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
    attach_(bridged, "weight", matrix)
    bridged.eval()

    def built() -> Tensor:
        with kept(False):
            return bridged(x)

    return Case(
        what=what,
        batch=batch,
        ours=_forward(lambda: ours(x)),
        others={
            "dense kernel (oneDNN)": _forward(lambda: F.conv2d(x, dense, padding=1)),
            "bridge, kernel kept": _forward(lambda: bridged(x)),
            "bridge, kernel built": _forward(built),
        },
        tolerance=TOLERANCE,
        check=_forward(lambda: F.conv2d(x.double(), dense.double(), padding=1).float()),
    )


def _random(name: str, channels: int, **options: Any) -> StructuredMatrix:
    """Of float32, and the same at every call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return family(name).random((channels, channels * 9), **options).float().eval()


def _forward(call: Callable[[], Tensor]) -> Callable[[], Tensor]:
    return torch.no_grad()(call)
