"""BlockCirculant: blocks whose columns are one vector, turned."""

from __future__ import annotations

import math
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from edgenet import ops
from edgenet.errors import RankError, ShapeError
from edgenet.ops import backend
from edgenet.structured.base import StructuredMatrix, row_numbers
from edgenet.structured.convs import Steps
from edgenet.structured.given import checked, clipped
from edgenet.structured.padding import of_channels, padded
from edgenet.structured.parameters import parameter
from edgenet.structured.spectra import Spectra, transforms
from edgenet.structured.svd import double

_FEW = 4  # rows of a batch up to which three matrix products beat Fourier transforms
_PIECE = 128  # rows of a batch whose transforms stay in the cache together
_HALF = (torch.float16, torch.bfloat16)


class BlockCirculant(StructuredMatrix):
    """W in blocks of (k, k), each circulant: W[i k + a, j k + b] = generators[i, j, (a - b) mod k].

    Of a kernel of T places the columns are channels by places, and blocks turn over channels alone, every place by
    itself: W[i k + a, (j k + b) T + t] = generators[i, t q + j, (a - b) mod k], with q blocks of channels.

    The generator of a block is its first column, so that block times v is ifft(fft(generator) fft(v)). (The text of
    C-LSTM, Wang et al. 2018, tells a block by its first row, which makes the product a correlation: conj(fft(row))
    in its place.) Every block is read once, k numbers for k^2 entries; sums are taken before transforming back,
    so that there is one inverse transform for a row of blocks and not one for every block.

    The last blocks reach over the edge of a matrix that k does not divide. Generators all of whose entries lie outside
    have zero gradients.

    Args:
        generators: (p, q, k); (p, T q, k) of a kernel.
        shape: (m, n), of p and q blocks; p k and q k by default.
        places: T of a kernel; 1 elsewhere.

    Raises:
        RankError: if the shape has not p and q blocks, or not so many places.

    Example:
        >>> matrix = edgenet.structured.BlockCirculant.from_dense(torch.randn(8, 12), block=4)
        >>> matrix(torch.randn(5, 12)).shape, matrix.num_parameters()  # a quarter of 96 numbers
        (torch.Size([5, 8]), 24)
    """

    def __init__(self, generators: Tensor, shape: tuple[int, int] | None = None, places: int = 1) -> None:
        super().__init__()
        if generators.dim() != 3 or generators.shape[2] < 1:
            raise RankError(f"generators are (block rows, block columns, block size), got {tuple(generators.shape)}.")
        p, q, k = generators.shape
        m, n = shape or (p * k, q * k)
        wide = of_channels(n, places)
        if (-(-m // k), -(-wide // k) * places) != (p, q):
            raise RankError(
                f"a matrix of shape ({m}, {n}) has {-(-m // k)} x {-(-wide // k) * places} blocks of {k}, not {p} x "
                f"{q}."
            )
        self.generators = parameter(generators)
        self._shape = (int(m), int(n))
        self.places = places

    @property
    def shape(self) -> tuple[int, int]:
        return self._shape

    @property
    def block(self) -> int:
        return self.generators.shape[2]

    # ---------------------------------------------------------------- multiplying
    #: whether Fourier transforms multiply; copies for files that have none set it to False, and are built
    transforms = True

    def matmul(self, x: Tensor) -> Tensor:
        m, n = self._shape
        if x.shape[-1] != n:
            raise ShapeError(f"a ({m}, {n}) matrix multiplies rows of {n} numbers, got {tuple(x.shape)}.")
        if not self.transforms or (not torch.compiler.is_compiling() and x.numel() == 0):  # which no transform takes
            return ops.linear(x, self.to_dense())
        p, q, k = self.generators.shape
        flat = x if x.dim() == 2 else x.reshape(-1, n)
        if self.places > 1:
            flat = flat.unflatten(1, (-1, self.places)).mT  # (rows, places, channels)
        if q * k != n:
            flat = F.pad(flat, (0, q * k // self.places - flat.shape[-1]))
        flat = flat.reshape(-1, q * k)
        if torch.is_grad_enabled() or self.training or not backend.eager():
            y = self._by_transforms(flat)
        elif len(flat) <= _FEW and flat.dtype == self.generators.dtype in (torch.float32, torch.float64):
            y = self._by_products(flat)
        elif len(flat) <= 2 * _PIECE:
            y = self._by_transforms(flat)
        else:
            y = flat.new_empty(len(flat), p * k)
            for part, out in zip(flat.split(_PIECE), y.split(_PIECE), strict=True):
                out.copy_(self._by_transforms(part))
        if p * k != m:
            y = y[:, :m]
        return y if x.dim() == 2 else y.reshape(*x.shape[:-1], m)

    def _by_transforms(self, x: Tensor) -> Tensor:
        p, q, k = self.generators.shape
        dtype = x.dtype
        if dtype in _HALF:  # which CPUs cannot transform
            x = x.float()
        spectra = self.cache.get(self, "spectra", (self.generators,), self._spectra)
        x = x.reshape(-1, q, k)
        if self.generators.is_complex():
            y = torch.bmm(torch.fft.fft(x).permute(2, 0, 1), spectra)  # (frequencies, batch, p)
            return torch.fft.ifft(y.permute(1, 2, 0)).reshape(-1, p * k)
        y = torch.bmm(torch.fft.rfft(x).permute(2, 0, 1), spectra)
        return torch.fft.irfft(y.permute(1, 2, 0), k).reshape(-1, p * k).to(dtype)

    def _spectra(self) -> Tensor:
        """(frequencies, q, p)."""
        w = self.generators
        if w.is_complex():
            return torch.fft.fft(w).permute(2, 1, 0).contiguous()
        return torch.fft.rfft(w.float() if w.dtype in _HALF else w).permute(2, 1, 0).contiguous()

    def _by_products(self, x: Tensor) -> Tensor:
        """The transforms as products with real matrices. For few rows calls are what costs, and these are three.

        Signals keep real and imaginary parts as rows of a product, spectra as its columns; all four pairs come out,
        and the inverse transform puts them together.
        """
        (p, q, k), rows = self.generators.shape, len(x)
        frequencies = k // 2 + 1
        forward, spectra, inverse = self.cache.get(self, "products", (self.generators,), self._factors)
        x = torch.mm(forward, x.reshape(rows * q, k).t()).view(frequencies, 2 * rows, q)
        y = torch.bmm(x, spectra)
        if rows == 1:
            return torch.mm(y.view(4 * frequencies, p).t(), inverse).view(1, p * k)
        y = y.view(frequencies, 2, rows, 2, p).permute(2, 4, 0, 1, 3)
        return torch.mm(y.reshape(rows * p, 4 * frequencies), inverse).view(rows, p * k)

    def _factors(self) -> tuple[Tensor, Tensor, Tensor]:
        """The transform, (2 frequencies, k); spectra, (frequencies, q, 2 p), real parts and then imaginary parts; the
        inverse transform of products, (4 frequencies, k): of real times real, real times imaginary, imaginary times
        real, imaginary times imaginary."""
        spectra = self._spectra()
        forward, inverse = transforms(self.block, spectra.real.dtype, spectra.device)
        real, imaginary = inverse.t().unflatten(0, (-1, 2)).unbind(1)
        products = torch.stack([real, imaginary, imaginary, -real], 1).flatten(0, 1)
        return forward, torch.cat([spectra.real, spectra.imag], 2), products

    def multiply_adds(self, batch: int = 1) -> int:
        """Four for every product of two complex numbers, and 1.25 k log2 k for a transform."""
        p, q, k = self.generators.shape
        frequencies = k if self.generators.is_complex() else k // 2 + 1
        return batch * (4 * frequencies * p * q + round(1.25 * k * math.log2(k) * (p + q)))

    def as_convs(self, places: int) -> list[Steps]:
        if places != self.places or self.generators.is_complex():
            return []
        p, q, k = self.generators.shape
        return [Spectra(p, q // places, k, places, lambda: (self.generators,))]

    # ---------------------------------------------------------------- reading
    def to_dense(self) -> Tensor:
        (p, q, k), m = self.generators.shape, self._shape[0]
        turn = torch.arange(k, device=self.generators.device)
        blocks = self.generators[:, :, (turn[:, None] - turn) % k]  # (p, q, k, k)
        return self._by_channels(blocks.transpose(1, 2).reshape(p * k, q * k)[:m])

    def _by_channels(self, rows: Tensor) -> Tensor:
        """(I, n) of rows that are padded and places by channels."""
        if self.places == 1:
            return rows[:, : self._shape[1]]
        return rows.unflatten(1, (self.places, -1))[..., : self._shape[1] // self.places].mT.flatten(1)

    def rows(self, index: Tensor) -> Tensor:
        _, q, k = self.generators.shape
        index = row_numbers(index, self._shape[0])
        turn = torch.arange(k, device=index.device)
        own = self.generators.index_select(0, index // k)  # (I, q, k)
        place = ((index % k)[:, None] - turn) % k
        return self._by_channels(own.gather(2, place[:, None].expand(-1, q, -1)).flatten(1))

    # ---------------------------------------------------------------- making
    @classmethod
    def from_dense(cls, weight: Tensor, block: int, places: int = 1) -> Self:
        """The nearest member: every generator entry is the mean of the entries of W that it stands for, those inside
        the matrix alone.

        Args:
            weight: (m, n).
            block: k, at most the larger of m and n. Block 1 meets every matrix exactly.
            places: T of a kernel, whose columns are channels by places; plans tell it of convolutions.
        """
        weight = checked(weight)
        m, wide = weight.shape[0], of_channels(weight.shape[1], places)
        k = _block((m, wide), block)
        p, q = -(-m // k), -(-wide // k) * places
        column = torch.arange(k, device=weight.device)
        row = (column[:, None] + column) % k  # [s, b]: the row of entry s of the generator in column b
        each = double(weight).reshape(m, wide, places).movedim(2, 0)
        whole = torch.cat([padded(one, p * k, q * k // places) for one in each], 1)
        sums = whole.view(p, k, q, k)[:, row, :, column].sum(1)  # (k of s, p, q); indices go first
        inside_row = (torch.arange(p * k, device=weight.device) < m).view(p, k).double()
        column_of_place = torch.arange(q * k, device=weight.device) % (q * k // places)
        inside_column = (column_of_place < wide).view(q, k).double()
        number = torch.einsum("psb,qb->spq", inside_row[:, row], inside_column)
        return cls((sums / number.clamp_min(1)).permute(1, 2, 0).to(weight.dtype), tuple(weight.shape), places)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        m, n = config["shape"]
        places = config.get("places", 1)
        wide = of_channels(n, places)
        k = _block((m, wide), config["block"])
        return cls(torch.zeros(-(-m // k), -(-wide // k) * places, k), (m, n), places)

    def config(self) -> dict[str, Any]:
        told = {"shape": list(self._shape), "block": self.block}
        return told if self.places == 1 else {**told, "places": self.places}

    @torch.no_grad()
    def draw_(self, std: float) -> None:
        self.generators.normal_(0, std)

    @classmethod
    def ladder(cls, shape: tuple[int, int]) -> list[dict[str, Any]]:
        sizes = [2**power for power in range(11, 0, -1)]
        return [{"block": k} for k in sizes if k <= min(shape)]

    @classmethod
    def ladder_for(cls, shape: tuple[int, int], places: int) -> list[dict[str, Any]]:
        rungs = cls.ladder((shape[0], shape[1] // places))
        return rungs if places == 1 else [{**rung, "places": places} for rung in rungs]


def _block(shape: tuple[int, int], block: int) -> int:
    return clipped(block, max(1, *shape), "the block size of a block-circulant matrix")
