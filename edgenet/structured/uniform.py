"""Uniform: evenly spaced levels, the ordinary integers of 2 to 8 bits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor

from edgenet.errors import PlanError
from edgenet.structured.base import StructuredMatrix
from edgenet.structured.families import Structure
from edgenet.structured.quantised import Quantised, largest, nearest_scale, over

_FEW = 4  # bits up to which it pays to cut the largest numbers off
_SHARES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)  # of the largest number, that the last level may stand at
#: a step over the root mean square, by bits: the least squared error of normal numbers (Max 1960), half a step off zero
_HALF_STEPS = {1: 1.5958, 2: 0.9956, 3: 0.5860, 4: 0.3352, 5: 0.1881, 6: 0.1040, 7: 0.0568, 8: 0.0308}
#: and with a level at zero
_STEPS = {2: 1.2240, 3: 0.6507, 4: 0.3534, 5: 0.1932, 6: 0.1055, 7: 0.0573, 8: 0.0309}


class Uniform(Quantised):
    """Every number is one of the levels -1, ..., -1/t, 0, 1/t, ..., 1 times a scale, with t = 2^(bits - 1) - 1.

    The scale follows the latents, and larger numbers are cut off. Gradients pass straight through, cut off or not.

    Args:
        half_step: put the levels half a step off zero, at +-1/2, +-3/2, ... steps. Then all 2^bits are used, which
            counts at 1 to 3 bits, and no number is 0.
        step: "searched": the scale is the largest magnitude; up to 4 bits the best of eight shares of it, by squared
            error. "normal": the scale that is best for normal numbers of the same root mean square (Max 1960). It
            moves smoothly with the latents and costs no search: for training in very few bits.
        base, bits, per: see ``Quantised``. Two to eight bits, and one with ``half_step``.

    Example:
        >>> matrix = edgenet.structured.Uniform(edgenet.structured.Dense(torch.tensor([[1.0, -0.4, 0.1]])), bits=2)
        >>> matrix.to_dense().unique().numel() <= 3  # levels
        True
    """

    def __init__(
        self,
        base: StructuredMatrix,
        bits: int | Sequence[int] = 8,
        per: str = "tensor",
        half_step: bool = False,
        step: str = "searched",
    ) -> None:
        if step not in ("searched", "normal"):
            raise PlanError(f"Uniform has a step that is 'searched' or 'normal', got {step!r}.")
        self.widest = (1, 8) if half_step else (2, 8)
        self.half_step, self.step = bool(half_step), step
        super().__init__(base, bits, per)

    @classmethod
    def from_dense(
        cls,
        weight: Tensor,
        base: Mapping[str, Any] | Structure | None = None,
        bits: int | Sequence[int] = 8,
        per: str = "tensor",
        half_step: bool = False,
        step: str = "searched",
    ) -> Self:
        """A good member: the base is fitted, and its numbers go to the nearest levels, at the scale that is said above.

        Args:
            weight: (m, n).
            base: {"structure": name, **options}, or what makes a structured matrix of a weight. Default: dense.
            bits, per, half_step, step: as above.
        """
        return cls._of(weight, base, bits=bits, per=per, half_step=half_step, step=step)

    def _options(self) -> dict[str, Any]:
        return {**super()._options(), "half_step": self.half_step, "step": self.step}

    def levels(self, k: int) -> Tensor:
        codes = torch.arange(1 << self.widths[k], dtype=torch.float64)
        return (codes - self._middle(k) + self._shift) / self._last(k)

    def encode(self, k: int, latent: Tensor, beside: Tensor | None = None) -> tuple[Tensor, Tensor]:
        axes, last = self.axes(latent), self._last(k)

        def steps(number: Tensor) -> Tensor:
            number = number.mul_(last)
            if self.half_step:
                number = number.sub_(0.5).round_().add_(0.5)
            else:
                number = number.round_()
            return number.clamp(-last, last)  # in place torch has no rule for vmap

        def rounded(number: Tensor) -> Tensor:
            return steps(number).div_(last)

        most = largest(latent, axes)
        if self.step == "normal" and latent.numel():
            number = latent.detach().double() / torch.where(most > 0, most, 1.0)  # whose squares no dtype loses
            steps_each = (_HALF_STEPS if self.half_step else _STEPS)[self.widths[k]]
            scale = (number.square().mean(axes, keepdim=True).sqrt() * most * (steps_each * last)).to(latent.dtype)
        else:
            shares = _SHARES if self.widths[k] <= _FEW else _SHARES[:1]
            scale = nearest_scale(latent, axes, [most * share for share in shares], rounded)
        return steps(over(latent, scale)).add_(self._middle(k) - self._shift).long(), scale

    @classmethod
    def ladder(cls, shape: tuple[int, int]) -> list[dict[str, Any]]:
        few = [{"bits": bits, "per": "row", "half_step": True} for bits in (1, 2, 3)]  # where a level more counts
        return [*few, *({"bits": bits, "per": "row"} for bits in (4, 5, 6, 7, 8))]

    @property
    def _shift(self) -> float:
        return 0.5 if self.half_step else 0.0

    def _last(self, k: int) -> float:
        """Steps from 0 to the last level."""
        return self._middle(k) - self._shift

    def _middle(self, k: int) -> int:
        """The code of 0, or of the half step above it."""
        return 1 << (self.widths[k] - 1) if self.half_step else (1 << (self.widths[k] - 1)) - 1
