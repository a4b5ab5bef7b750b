"""FixedCirculant: circulant blocks times signals in 16 bits, by transforms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgenet.errors import RankError, ShapeError
from edgenet.fixed.arithmetic import ACCUMULATOR, FRACTION, MOST, fitting, quantised, saturate, shifted
from edgenet.fixed.transform import forward, inverse, stages
from edgenet.structured.given import is_whole

Spectra = tuple[Tensor, Tensor]


class FixedCirculant(nn.Module):
    """y = W_1 x_1 + W_2 x_2 + ... of matrices in circulant blocks of one size, in 16 bits.

    Signals are transformed in blocks (``transform.forward``) and multiplied by spectra that were made before; the
    products of all signals and blocks are summed in 32 bits, and the sums are rounded to 16 bits and transformed back
    once. A spectrum is kept as k numbers: real parts of the k / 2 + 1 frequencies, then imaginary parts of those that
    have one.

    Sums of products cannot overflow, whatever the signals are: ``of`` chooses so few fraction bits that at every
    frequency the spectra, times 32767 and summed by their amounts, stay below 2^31 with room for the rounding.
    Signals and matrices may differ in format; the products have one in common.

    Args:
        rows: m of all matrices.
        columns: n of every one.
        block: k, a power of two; 1 for dense matrices.
        shifts: of the transform of every signal, see ``transform.forward``.
        shift: of the sums, 0 to 31.

    Raises:
        RankError, ShapeError: if an argument is out of range.

    Example:
        >>> products = edgenet.fixed.FixedCirculant(rows=8, columns=[4, 8], block=4, shifts=[0, 0], shift=0)
    """

    spectra: Tensor

    def __init__(self, rows: int, columns: Sequence[int], block: int, shifts: Sequence[int], shift: int) -> None:
        super().__init__()
        levels = stages(block)
        if not columns or any(not is_whole(size) or size < 1 for size in (rows, *columns)):
            raise ShapeError(f"rows and columns are whole numbers from 1 up, got {rows!r} and {list(columns)!r}.")
        if len(shifts) != len(columns) or any(not is_whole(one) or not 0 <= one <= levels for one in shifts):
            raise RankError(f"every one of {len(columns)} signals has 0 to {levels} shifts, got {list(shifts)!r}.")
        if not is_whole(shift) or not 0 <= shift <= 31:
            raise RankError(f"sums are shifted by 0 to 31 bits, got {shift!r}.")
        self.rows, self.columns, self.block = int(rows), [int(size) for size in columns], int(block)
        self.shifts, self.shift = [int(one) for one in shifts], int(shift)
        blocks = sum(self.blocks)
        #: (p, q, k) int16
        self.register_buffer("spectra", torch.zeros(-(-self.rows // block), blocks, block, dtype=torch.int16))

    @property
    def blocks(self) -> list[int]:
        """q of every signal."""
        return [-(-size // self.block) for size in self.columns]

    @classmethod
    def of(
        cls,
        generators: Sequence[Tensor],
        rows: int,
        columns: Sequence[int],
        shifts: Sequence[int],
        fraction_bits: Sequence[int],
        out: int,
    ) -> tuple[Self, int]:
        """The matrices of generators, as ``BlockCirculant`` has them, and the fraction bits of y.

        Args:
            generators: (p, q, k) of every matrix.
            rows, columns, shifts: as above.
            fraction_bits: of every signal, before its transform.
            out: the most fraction bits of y.

        Raises:
            RankError: if no format of the spectra will do.
        """
        levels = stages(generators[0].shape[-1])
        whole = [torch.fft.rfft(one.detach().double()) for one in generators]
        after = [bits - shifts for bits, shifts in zip(fraction_bits, shifts, strict=True)]
        most = [fitting(float(torch.view_as_real(one).abs().max())) for one in whole]
        product = min(bits + own for bits, own in zip(after, most, strict=True))
        for bits in range(min(product, out - levels + 31), min(product, out - levels) - 32, -1):
            own = [bits - each for each in after]
            if min(own) < -FRACTION:
                break
            coded = torch.cat([_packed(one, own_bits) for one, own_bits in zip(whole, own, strict=True)], 1)
            found = min(out, bits + levels)
            shift = bits + levels - found
            if int(_sums(coded).max()) * MOST + (1 << shift >> 1) <= ACCUMULATOR:
                made = cls(rows, columns, generators[0].shape[-1], shifts, shift)
                made.spectra = coded.to(torch.int16)
                return made, found
        raise RankError(
            f"a matrix of {rows} rows, with weights up to {max(float(g.abs().max()) for g in generators):g}, times "
            f"signals of {list(fraction_bits)} fraction bits has no 16-bit format whose sums fit into 32 bits. "
            f"Calibrate with other sequences, or scale the weights."
        )

    def unpacked(self) -> Tensor:
        """(frequencies, 2 q, 2 p) float64: from real and imaginary parts of signals to those of sums.

        Sums of whole numbers below 2^53 are exact in any order, so that products of matrices may be taken.
        """
        k, frequencies = self.block, self.block // 2 + 1
        real = self.spectra[..., :frequencies].double()
        imaginary = F.pad(self.spectra[..., frequencies:].double(), (1, 1 if k > 1 else 0)) if k > 2 else 0 * real
        left, right = torch.cat([real, -imaginary], 1), torch.cat([imaginary, real], 1)
        return torch.cat([left, right], 0).permute(2, 1, 0).contiguous()

    def transformed(self, place: int, x: Tensor) -> Spectra:
        """Half spectra of the blocks of signal ``place``: (..., n) -> two of (..., q, k // 2 + 1)."""
        n = self.columns[place]
        if x.shape[-1] != n:
            raise ShapeError(f"signal {place} of a fixed-point product is (..., {n}), got {tuple(x.shape)}.")
        padded = F.pad(x, (0, self.blocks[place] * self.block - n))
        return forward(padded.unflatten(-1, (-1, self.block)), self.shifts[place])

    def sums(self, place: int, x: Tensor, unpacked: Tensor) -> Tensor:
        """The products of one signal, summed: (..., n) -> (..., 2 p, frequencies) int64."""
        real, imaginary = self.transformed(place, x)
        q, before = self.blocks[place], sum(self.blocks[:place])
        total = sum(self.blocks)
        rows = torch.cat([unpacked[:, before : before + q], unpacked[:, total + before : total + before + q]], 1)
        both = torch.cat([real, imaginary], -2).double()  # (..., 2 q, frequencies)
        flat = both.reshape(-1, 2 * q, both.shape[-1]).permute(2, 0, 1)
        return torch.bmm(flat, rows).permute(1, 2, 0).reshape(*x.shape[:-1], rows.shape[-1], both.shape[-1]).long()

    def back(self, sums: Tensor) -> Tensor:
        """(..., 2 p, frequencies) -> (..., m)."""
        real, imaginary = saturate(shifted(sums, self.shift)).chunk(2, -2)
        return inverse(real, imaginary, self.block).flatten(-2)[..., : self.rows]

    def forward(self, *signals: Tensor) -> Tensor:
        """int64 of 16 bits, (..., n) each -> (..., m)."""
        unpacked = self.unpacked()
        return self.back(sum(self.sums(place, x, unpacked) for place, x in enumerate(signals)))  # type: ignore[arg-type]  # no int

    def extra_repr(self) -> str:
        return f"rows={self.rows}, columns={self.columns}, block={self.block}, shifts={self.shifts}, shift={self.shift}"


def _packed(spectra: Tensor, fraction_bits: int) -> Tensor:
    """(p, q, k) codes of half spectra."""
    frequencies = spectra.shape[-1]
    k = max(1, 2 * (frequencies - 1))
    both = torch.cat([spectra.real, spectra.imag[..., 1 : k - frequencies + 1]], -1)
    return saturate(quantised(both, fraction_bits), -MOST)


def _sums(coded: Tensor) -> Tensor:
    """(p, frequencies): amounts of real and imaginary parts, summed over all blocks."""
    k = coded.shape[-1]
    frequencies = k // 2 + 1
    amounts = coded.abs().sum(1)
    real, imaginary = amounts[:, :frequencies], amounts[:, frequencies:]
    inner = torch.zeros_like(real)
    inner[:, 1 : k - frequencies + 1] = imaginary
    return real + inner


def most_of_spectrum(x: Tensor, block: int) -> float:
    """The largest magnitude in the half spectra of the blocks of a signal (..., n); 0 of an empty one."""
    if x.numel() == 0:
        return 0.0
    padded = F.pad(x.detach().double(), (0, -x.shape[-1] % block))
    return float(torch.fft.rfft(padded.unflatten(-1, (-1, block))).abs().max())


def shifts_for(fraction_bits: int, most: float, block: int) -> int:
    """How many stages must shift so that spectra up to ``most`` fit, of a signal with so many fraction bits."""
    return min(stages(block), max(0, fraction_bits - fitting(most)))
