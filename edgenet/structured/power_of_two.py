"""PowerOfTwo: signs and shifts, the weights of DeepShift."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from edgenet.errors import PlanError
from edgenet.structured.base import StructuredMatrix
from edgenet.structured.exponents import most_exponent, round_log2, two_to
from edgenet.structured.families import Structure
from edgenet.structured.parameters import Factors, refuse_computed, replace_
from edgenet.structured.quantised import Quantised, largest, nearest_scale, over, straight

_FEW = 3  # bits up to which a smaller scale than that of the largest number is tried
FORMS = ("latent", "sign_shift")


class PowerOfTwo(Quantised):
    """value = s 2^p scale with p <= 0 whole: products are shifts (Elhoushi et al. 2021, DeepShift).

    "latent" is their Q: w becomes sign(w) 2^p with p = round(log2 |w|), from -(2^(bits - 1) - 1) to 0, and the gradient
    passes straight through. All 2^bits codes are signs and shifts, so there is no zero: +-0 becomes the smallest value,
    where the authors' code, which stores no bits, leaves it 0. Only a row of zeros has a scale of 0, and stays.

    "sign_shift" is their PS: two latents a number, a shift from -(2^(bits - 1) - 2) to 0 and a sign, which is 0 up to
    |sign| = 1/2; both are rounded. The latents of the sign stand in the place of the base's parameters. Gradients are
    those of the authors: to the shift g value ln 2, to the sign g. Shifts want a learning rate of 0.1 or so.

    Args:
        base: see ``Quantised``.
        bits: 2 to 6.
        per: "tensor" or "row" for a scale 2^k, needed where numbers are above 1, or far below; "none" for the paper's
            form. For latents k follows them; for signs and shifts it is set once, when the matrix is made.
        form: "latent" or "sign_shift".
        scaled_sign: with signs and shifts, give the sign the gradient g 2^p, that of the product.

    Example:
        >>> matrix = edgenet.structured.PowerOfTwo(edgenet.structured.Dense(torch.tensor([[0.9, -0.2]])), per="none")
        >>> matrix.to_dense().tolist()
        [[1.0, -0.25]]
    """

    widest: ClassVar[tuple[int, int]] = (2, 6)
    scales: ClassVar[tuple[str, ...]] = ("tensor", "row", "none")

    def __init__(
        self,
        base: StructuredMatrix,
        bits: int | Sequence[int] = 4,
        per: str = "tensor",
        form: str = "latent",
        scaled_sign: bool = False,
    ) -> None:
        super().__init__(base, bits, per)
        if form not in FORMS:
            raise PlanError(f"PowerOfTwo has the forms {' and '.join(FORMS)}, got {form!r}.")
        self.form, self.scaled_sign = form, bool(scaled_sign)
        if form == "sign_shift":
            self.shifts = Factors(torch.zeros_like(latent) for latent in self.latents())
            for k, latent in enumerate(self.latents()):
                self.register_buffer(f"scale_{k}", torch.ones_like(largest(latent, self.axes(latent))).to(latent.dtype))

    @classmethod
    def from_dense(
        cls,
        weight: Tensor,
        base: Mapping[str, Any] | Structure | None = None,
        bits: int | Sequence[int] = 4,
        per: str = "tensor",
        form: str = "latent",
        scaled_sign: bool = False,
    ) -> Self:
        """The base is fitted, and its numbers are rounded by ratio; signs below the smallest shift become 0.

        Args:
            weight: (m, n).
            base: {"structure": name, **options}, or what makes a structured matrix of a weight. Default: dense.
            bits, per, form, scaled_sign: as above.
        """
        return cls._of(weight, base, bits=bits, per=per, form=form, scaled_sign=scaled_sign)

    def _options(self) -> dict[str, Any]:
        return {**super()._options(), "form": self.form, "scaled_sign": self.scaled_sign}

    def beside(self) -> tuple[Tensor | None, ...]:
        """The shifts."""
        return self.shifts() if self.form == "sign_shift" else super().beside()

    def lowest(self, k: int) -> int:
        """The smallest shift of parameter k."""
        return (1 if self.form == "latent" else 2) - (1 << (self.widths[k] - 1))

    def levels(self, k: int) -> Tensor:
        code = torch.arange(1 << self.widths[k])
        if self.form == "sign_shift":  # code 0 is zero, the last is none
            code = code - 1
        level = two_to(-(code >> 1)) * (1 - 2 * (code & 1))
        return level if self.form == "latent" else torch.where(code < 0, 0.0, level)

    def encode(self, k: int, latent: Tensor, beside: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if beside is None:
            scale = self._scale(k, latent)
            number = over(latent, scale)
            return 2 * -self._shift(k, number) + (number < 0), scale
        shift, sign = beside.detach(), latent.detach().round().sign().long()
        code = 1 - 2 * shift.clamp(self.lowest(k), 0).round().long() + (sign < 0)
        return torch.where(sign == 0, 0, code), getattr(self, f"scale_{k}")

    def value(self, k: int, latent: Tensor, beside: Tensor | None = None) -> Tensor:
        if beside is None:
            return super().value(k, latent)
        scale, shift = getattr(self, f"scale_{k}"), beside
        sign = straight(latent.detach().round().sign(), latent)
        power = two_to(shift.detach().clamp(self.lowest(k), 0).round()).to(latent.dtype)
        power = power * (1 + math.log(2) * (shift - shift.detach()))  # whose derivative is that of 2^shift
        if self.scaled_sign:
            return sign * power * scale
        return (sign.detach() * power + (sign - sign.detach())) * scale

    def _shift(self, k: int, number: Tensor) -> Tensor:
        return round_log2(number.abs().double()).clamp(self.lowest(k), 0)

    def _scale(self, k: int, latent: Tensor) -> Tensor:
        """2^k for numbers to be rounded: that of the largest; of few bits one of the next two, if that is nearer."""
        axes = self.axes(latent)
        most = largest(latent, axes)
        if self.per == "none":
            return torch.ones_like(most).to(latent.dtype)

        def rounded(number: Tensor) -> Tensor:
            value = two_to(self._shift(k, number)).to(number.dtype) * torch.where(number < 0, -1.0, 1.0)
            return torch.where(self._is_zero(k, number), 0.0, value)

        steps = range(3 if self.widths[k] <= _FEW else 1)
        power = round_log2(most).clamp_max(most_exponent(latent.dtype))
        powers = [torch.where(most > 0, two_to(power - step), 0.0) for step in steps]
        return nearest_scale(latent, axes, powers, rounded)

    def _is_zero(self, k: int, number: Tensor) -> Tensor:
        """Nearer to 0 than to the smallest power, by ratio to that: what has the sign 0."""
        if self.form == "latent":
            return torch.zeros_like(number, dtype=torch.bool)
        return number.abs() < 2.0 ** (self.lowest(k) - 0.5)

    @torch.no_grad()
    def settle_(self) -> None:
        if self.form == "latent":
            return
        for k, latent in enumerate(self.latents()):
            scale = self._scale(k, latent)
            number = over(latent, scale)
            getattr(self, f"scale_{k}").copy_(scale)
            self.shifts[k].copy_(self._shift(k, number))
            latent.copy_(torch.where(self._is_zero(k, number), 0.0, torch.where(number < 0, -1.0, 1.0)))

    @torch.no_grad()
    def keep_(self, rows: Tensor | None = None, columns: Tensor | None = None) -> None:
        """Where the base can. Signs, shifts and their scales follow as they are; latents as of every quantiser."""
        if self.form == "latent":
            return super().keep_(rows, columns)
        before = self.names
        copy.deepcopy(self.base).keep_(rows, columns)  # which says what is wrong, before anything changes
        refuse_computed(self.shifts, *map(str, range(len(before))))
        shifts = self._kept(self.shifts(), rows, columns)
        scales = self._kept([getattr(self, f"scale_{k}") for k in range(len(before))], rows, columns)
        super().keep_(rows, columns)
        left = [before.index(name) for name in self.names]
        replace_(self.shifts, **{str(k): shift for k, shift in zip(left, shifts, strict=True)})
        if len(left) < len(before):
            kept = [self.shifts[k] for k in left]
            self.shifts = Factors(())
            self.shifts.extend(kept)
            for k in range(len(left), len(before)):
                delattr(self, f"scale_{k}")
        for k, scale in enumerate(scales):
            most = largest(scale, self.axes(scale)).to(scale.dtype)
            setattr(self, f"scale_{k}", torch.where(most > 0, most, 1.0))

    @torch.no_grad()
    def clip_(self) -> None:
        """Shifts into their range; without a scale latents to magnitudes from the smallest power to 1, as the authors'
        code does before every product. Zeros stay."""
        for k, latent in enumerate(self.latents()):
            if self.form == "sign_shift":
                self.shifts[k].clamp_(self.lowest(k), 0)
            elif self.per == "none":
                latent.copy_(latent.sign() * latent.abs().clamp(2.0 ** self.lowest(k), 1))
