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
from edgenet.structured.given import checked, clipped
from edgenet.structured.padding import padded
from edgenet.structured.parameters import parameter
from edgenet.structured.svd import double

_FEW = 4  # rows of a batch up to which three matrix products beat Fourier transforms
_PIECE = 128  # rows of a batch whose transforms stay in the cache together
_HALF = (torch.float16, torch.bfloat16)


class BlockCirculant(StructuredMatrix):
    """W in blocks of (k, k), each circulant: W[i k + a, j k + b] = generators[i, j, (a - b) mod k].

    The generator of a block is its first column, so that block times v is ifft(fft(generator) fft(v)). (The text of
    C-LSTM, Wang et al. 2018, tells a block by its first row, which makes the product a correlation: conj(fft(row))
    in its place.) Every block is read once, k numbers for k^2 entries; sums are taken before transforming back,
    so that there is one inverse transform for a row of blocks and not one for every block.

    The last blocks reach over the edge of a matrix that k does not divide. Generators all of whose entries lie outside
    have zero gradients.

    Args:
        generators: (p, q, k).
        shape: (m, n), of p and q blocks; p k and q k by default.

    Raises:
        RankError: if the shape has not p and q blocks.
    """

    def __init__(self, generators: Tensor, shape: tuple[int, int] | None = None) -> None:
        super().__init__()
        if generators.dim() != 3 or generators.shape[2] < 1:
            raise RankError(f"generators are (block rows, block columns, block size), got {tuple(generators.shape)}.")
        p, q, k = generators.shape
        m, n = shape or (p * k, q * k)
        if (-(-m // k), -(-n // k)) != (p, q):
            raise RankError(
                f"a matrix of shape ({m}, {n}) has {-(-m // k)} x {-(-n // k)} blocks of {k}, not {p} x {q}."
            )
        self.generators = parameter(generators)
        self._shape = (int(m), int(n))

    @property
    def shape(self) -> tuple[int, int]:
        return self._shape

    @property
    def block(self) -> int:
        return self.generators.shape[2]

    # ---------------------------------------------------------------- multiplying
    def matmul(self, x: Tensor) -> Tensor:
        m, n = self._shape
        if x.shape[-1] != n:
            raise ShapeError(f"a ({m}, {n}) matrix multiplies rows of {n} numbers, got {tuple(x.shape)}.")
        if not torch.compiler.is_compiling() and x.numel() == 0:  # which no transform takes
            return ops.linear(x, self.to_dense())
        p, q, k = self.generators.shape
        flat = x if x.dim() == 2 else x.reshape(-1, n)
        if q * k != n:
            flat = F.pad(flat, (0, q * k - n))
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
        inverse transform, (4 frequencies, k)."""
        spectra = self._spectra()
        forward, inverse = _transforms(self.block, spectra.real.dtype, spectra.device)
        return forward, torch.cat([spectra.real, spectra.imag], 2), inverse

    def multiply_adds(self, batch: int = 1) -> int:
        """Four for every product of two complex numbers, and 1.25 k log2 k for a transform."""
        p, q, k = self.generators.shape
        frequencies = k if self.generators.is_complex() else k // 2 + 1
        return batch * (4 * frequencies * p * q + round(1.25 * k * math.log2(k) * (p + q)))

    # ---------------------------------------------------------------- reading
    def to_dense(self) -> Tensor:
        (p, q, k), (m, n) = self.generators.shape, self._shape
        turn = torch.arange(k, device=self.generators.device)
        blocks = self.generators[:, :, (turn[:, None] - turn) % k]  # (p, q, k, k)
        return blocks.transpose(1, 2).reshape(p * k, q * k)[:m, :n]

    def rows(self, index: Tensor) -> Tensor:
        _, q, k = self.generators.shape
        index = row_numbers(index, self._shape[0])
        turn = torch.arange(k, device=index.device)
        own = self.generators.index_select(0, index // k)  # (I, q, k)
        place = ((index % k)[:, None] - turn) % k
        return own.gather(2, place[:, None].expand(-1, q, -1)).flatten(1)[:, : self._shape[1]]

    # ---------------------------------------------------------------- making
    @classmethod
    def from_dense(cls, weight: Tensor, block: int) -> Self:
        """The nearest member: every generator entry is the mean of the entries of W that it stands for, those inside
        the matrix alone.

        Args:
            weight: (m, n).
            block: k, at most the larger of m and n. Block 1 meets every matrix exactly.
        """
        weight = checked(weight)
        (m, n), k = weight.shape, _block(weight.shape, block)
        p, q = -(-m // k), -(-n // k)
        column = torch.arange(k, device=weight.device)
        row = (column[:, None] + column) % k  # [s, b]: the row of entry s of the generator in column b
        whole = padded(double(weight), p * k, q * k)
        sums = whole.view(p, k, q, k)[:, row, :, column].sum(1)  # (k of s, p, q); indices go first
        inside_row = (torch.arange(p * k, device=weight.device) < m).view(p, k).double()
        inside_column = (torch.arange(q * k, device=weight.device) < n).view(q, k).double()
        number = torch.einsum("psb,qb->spq", inside_row[:, row], inside_column)
        return cls((sums / number.clamp_min(1)).permute(1, 2, 0).to(weight.dtype), (m, n))

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        m, n = config["shape"]
        k = _block((m, n), config["block"])
        return cls(torch.zeros(-(-m // k), -(-n // k), k), (m, n))

    def config(self) -> dict[str, Any]:
        return {"shape": list(self._shape), "block": self.block}

    @torch.no_grad()
    def draw_(self, std: float) -> None:
        self.generators.normal_(0, std)

    @classmethod
    def ladder(cls, shape: tuple[int, int]) -> list[dict[str, Any]]:
        sizes = [2**power for power in range(11, 0, -1)]
        return [{"block": k} for k in sizes if k <= min(shape)]


def _transforms(k: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Real matrices of the transform of k real numbers, and of the inverse of products, in the order real times real,
    real times imaginary, imaginary times real, imaginary times imaginary."""
    frequency = torch.arange(k // 2 + 1, dtype=torch.float64)
    angle = 2 * math.pi / k * ((frequency[:, None] * torch.arange(k, dtype=torch.float64)) % k)
    cosine, sine = angle.cos(), angle.sin()
    forward = torch.stack([cosine, -sine], 1).flatten(0, 1)
    both = torch.full_like(frequency, 2 / k)  # a frequency and its mirror image
    both[0] = 1 / k
    if k % 2 == 0:
        both[-1] = 1 / k
    real, imaginary = both[:, None] * cosine, -both[:, None] * sine
    inverse = torch.stack([real, imaginary, imaginary, -real], 1).flatten(0, 1)
    return forward.to(device, dtype), inverse.to(device, dtype)


def _block(shape: tuple[int, int], block: int) -> int:
    return clipped(block, max(1, *shape), "the block size of a block-circulant matrix")
