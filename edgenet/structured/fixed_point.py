"""FixedPoint: numbers of Qm.f format, as arithmetic circuits have them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from edgenet.errors import RankError
from edgenet.structured.base import StructuredMatrix
from edgenet.structured.exponents import floor_log2, most_exponent, two_to
from edgenet.structured.families import Structure
from edgenet.structured.given import is_whole
from edgenet.structured.quantised import Quantised, largest, over

_FRACTION = 64  # the most fraction bits, and the least below zero


class FixedPoint(Quantised):
    """value = q 2^-f with whole q = clip(round(w 2^f), -2^(bits - 1), 2^(bits - 1) - 1): rounds half to even, and
    saturates. Gradients pass straight through, saturated or not.

    16 bits are the format of C-LSTM (Wang et al. 2018): Q3.12 has ``fraction_bits`` 12, one sign and three digits
    before the point.

    Args:
        base: see ``Quantised``.
        bits: 2 to 16.
        fraction_bits: f, -64 to 64. Default: for every parameter the most with which its largest number fits; at the
            end of a dtype's range it saturates. Numbers that the dtype of the latents does not have raise a RankError
            when they are made.

    Example:
        >>> latents = edgenet.structured.Dense(torch.tensor([[0.3, -0.6]]))
        >>> matrix = edgenet.structured.FixedPoint(latents, bits=8, fraction_bits=2)
        >>> matrix.to_dense().tolist()  # quarters
        [[0.25, -0.5]]
    """

    widest: ClassVar[tuple[int, int]] = (2, 16)
    scales: ClassVar[tuple[str, ...]] = ("tensor",)

    def __init__(
        self, base: StructuredMatrix, bits: int | Sequence[int] = 16, fraction_bits: int | None = None
    ) -> None:
        super().__init__(base, bits)
        if fraction_bits is not None and not (is_whole(fraction_bits) and abs(fraction_bits) <= _FRACTION):
            raise RankError(
                f"fraction bits are a whole number from -{_FRACTION} to {_FRACTION}, got {fraction_bits!r}."
            )
        self.fraction_bits = None if fraction_bits is None else int(fraction_bits)

    @classmethod
    def from_dense(
        cls,
        weight: Tensor,
        base: Mapping[str, Any] | Structure | None = None,
        bits: int | Sequence[int] = 16,
        fraction_bits: int | None = None,
    ) -> Self:
        """The base is fitted, and its numbers are rounded.

        Args:
            weight: (m, n).
            base: {"structure": name, **options}, or what makes a structured matrix of a weight. Default: dense.
            bits, fraction_bits: as above.
        """
        return cls._of(weight, base, bits=bits, fraction_bits=fraction_bits)

    def _options(self) -> dict[str, Any]:
        return {"bits": super()._options()["bits"], "fraction_bits": self.fraction_bits}

    @classmethod
    def ladder(cls, shape: tuple[int, int]) -> list[dict[str, Any]]:
        return [{"bits": bits} for bits in (2, 3, 4, 5, 6, 8, 10, 12, 14, 16)]

    def levels(self, k: int) -> Tensor:
        half = 1 << (self.widths[k] - 1)
        return torch.arange(-half, half, dtype=torch.float64) / half

    def encode(self, k: int, latent: Tensor, beside: Tensor | None = None) -> tuple[Tensor, Tensor]:
        half = 1 << (self.widths[k] - 1)
        most = largest(latent, self.axes(latent))
        if self.fraction_bits is None:
            # the largest number is below; or saturates, where the dtype ends
            power = torch.where(most > 0, floor_log2(most) + 1, 0).clamp_max(most_exponent(latent.dtype))
        else:
            power = torch.full_like(most, self._whole_bits(k, latent.dtype), dtype=torch.long)
        scale = two_to(power).to(latent.dtype)
        return (over(latent, scale).mul(half).round().clamp(-half, half - 1) + half).long(), scale

    def _whole_bits(self, k: int, dtype: torch.dtype) -> int:
        """Bits before the point, without the sign's.

        Raises:
            RankError: if the dtype ends below, or begins above.
        """
        whole = self.widths[k] - 1 - (self.fraction_bits or 0)
        if not 2.0**whole <= torch.finfo(dtype).max or 2.0 ** (whole + 1 - self.widths[k]) < torch.finfo(dtype).tiny:
            raise RankError(
                f"numbers of {self.widths[k]} bits, {self.fraction_bits} of them behind the point, are no {dtype}; "
                f"choose other fraction bits or a wider dtype."
            )
        return whole
