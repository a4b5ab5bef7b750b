"""Spectra: a convolution by circulant blocks of channels, in three steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from edgenet.structured.convs import Convolve, Steps
from edgenet.structured.routes import BYTES, CALL, product_seconds

_TURNED = 4  # times: what is between the steps is copied from one order of channels into the other


@dataclass(frozen=True)
class Spectra(Steps):
    """y = inverse transform of the sum over channel blocks and places of spectrum times transformed signal.

    Transforms run over the k channels of a block, at every position alone, as products with real (2 F, k) matrices; F =
    k // 2 + 1 frequencies of real numbers, a real and an imaginary part each. At every frequency q blocks of channels
    become p, by an ordinary convolution of 2 q channels to 2 p: the frequencies are its groups.

    Attributes:
        rows, columns: p and q, blocks of channels of output and signal.
        block: k.
        places: T of the kernel.
        sides: gives the generators, (p, T q, k), as ``BlockCirculant`` has them.
    """

    rows: int
    columns: int
    block: int
    places: int
    sides: Callable[[], tuple[Tensor, ...]]
    key: int = 0
    read: bool = False

    terms = 1
    orders = (True,)

    @property
    def sizes(self) -> tuple[Hashable, ...]:
        return "spectra", self.rows, self.columns, self.block, self.places

    def factors(self, places_first: bool, kernel: Sequence[int]) -> tuple[Tensor, ...]:
        """The transform, the kernels of all frequencies, (F 2 p, 2 q, *kernel), and the inverse transform."""
        (generators,) = self.sides()
        forward, inverse = transforms(self.block, generators.dtype, generators.device)
        wide = generators.float() if generators.dtype in (torch.float16, torch.bfloat16) else generators
        spectra = torch.fft.rfft(wide).to(torch.promote_types(wide.dtype, torch.complex64))
        spectra = spectra.view(self.rows, self.places, self.columns, -1).permute(3, 0, 2, 1)  # (F, p, q, T)
        real, imaginary = spectra.real, spectra.imag
        kernels = torch.stack([torch.stack([real, -imaginary], 2), torch.stack([imaginary, real], 2)], 1)
        # (F, 2 of the output, p, 2 of the signal, q, T)
        kernels = kernels.reshape(-1, 2 * self.columns, *kernel).to(generators.dtype)
        return forward, kernels.contiguous(), inverse

    def apply(self, x: Tensor, places_first: bool, factors: tuple[Tensor, ...], convolve: Convolve) -> Tensor:
        forward, kernels, inverse = factors
        batch, channels, *size = x.shape
        p, q, k = self.rows, self.columns, self.block
        if channels < q * k:
            x = F.pad(x, [0, 0] * len(size) + [0, q * k - channels])
        z = torch.matmul(forward, x.reshape(batch, q, k, math.prod(size)))  # (batch, q, 2 F, positions)
        z = convolve(z.transpose(1, 2).reshape(batch, -1, *size), kernels)
        size = list(z.shape[2:])
        z = z.reshape(batch, -1, p, math.prod(size)).transpose(1, 2)  # (batch, p, 2 F, positions)
        return torch.matmul(inverse, z).reshape(batch, p * k, *size)

    def multiply_adds(self, places_first: bool, places: int, stride: int) -> int:
        p, q, k, both = self.rows, self.columns, self.block, self._both
        return stride * q * both * k + 2 * both * p * q * places + p * k * both

    def between(self, places_first: bool, places: int, stride: int) -> int:
        return self._both * max(stride * self.columns, self.rows)

    def seconds(self, places_first: bool, places: int, stride: int, positions: int, held: int, trains: bool) -> float:
        p, q, k, both = self.rows, self.columns, self.block, self._both
        products = product_seconds(both, q * stride * positions, k) + product_seconds(k, p * positions, both)
        products += both // 2 * product_seconds(2 * p, positions, 2 * q * places)
        moved = 4 * _TURNED * both * (stride * q + p) * positions / BYTES
        return products + (2 if trains else 1) * moved + 6 * CALL

    @property
    def _both(self) -> int:
        """Real and imaginary parts, 2 F."""
        return 2 * (self.block // 2 + 1)


def transforms(k: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """(2 F, k) and (k, 2 F): the transform of k real numbers, to real and imaginary parts of one frequency after the
    other, and its inverse."""
    frequency = torch.arange(k // 2 + 1, dtype=torch.float64)
    angle = 2 * math.pi / k * ((frequency[:, None] * torch.arange(k, dtype=torch.float64)) % k)
    forward = torch.stack([angle.cos(), -angle.sin()], 1).flatten(0, 1)
    both = torch.full_like(frequency, 2 / k)  # a frequency and its mirror image
    both[0] = 1 / k
    if k % 2 == 0:
        both[-1] = 1 / k
    inverse = (forward.view(-1, 2, k) * both[:, None, None]).flatten(0, 1).t().contiguous()
    return forward.to(device, dtype), inverse.to(device, dtype)
