"""FixedPointActivation: signals of few bits, as arithmetic circuits hold them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgenet.errors import ConfigError, ShapeError

ROUNDINGS = ("nearest", "floor")


class FixedPointActivation(nn.Module):
    """y = q 2^-f with whole q = clip(round(x 2^f), -2^(bits - 1), 2^(bits - 1) - 1): signals in Qm.f format.

    The gradient passes straight through where x lies between the least and the largest y, and is 0 where it saturates.
    NaN stays NaN.

    "nearest" rounds half to even, as ``FixedPoint`` does for weights. "floor" rounds down, as the code of DeepShift
    (Elhoushi et al. 2021); theirs ends at 2^(bits - 1 - f) - 1 above, which leaves out the last fractions.

    Args:
        bits: 2 to 32, the sign's among them.
        fraction_bits: f, behind the point; -64 to 64.
        rounding: "nearest" or "floor".

    Raises:
        ConfigError: if an argument is out of range.

    Example:
        >>> edgenet.nn.FixedPointActivation(bits=4, fraction_bits=2)(torch.tensor([0.3, 9.0])).tolist()
        [0.25, 1.75]
    """

    def __init__(self, bits: int = 16, fraction_bits: int = 8, rounding: str = "nearest") -> None:
        super().__init__()
        for name, value, low, high in (("bits", bits, 2, 32), ("fraction_bits", fraction_bits, -64, 64)):
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise ConfigError(f"FixedPointActivation: {name} is a whole number, {low} to {high}, got {value!r}.")
        if rounding not in ROUNDINGS:
            raise ConfigError(f"FixedPointActivation: rounding is {' or '.join(ROUNDINGS)}, got {rounding!r}.")
        self.bits, self.fraction_bits, self.rounding = bits, fraction_bits, rounding

    @property
    def limits(self) -> tuple[float, float]:
        """The least and the largest y."""
        half, step = 2.0 ** (self.bits - 1), 2.0**-self.fraction_bits
        return -half * step, (half - 1) * step

    def forward(self, x: Tensor) -> Tensor:
        """Any shape -> the same.

        Raises:
            ShapeError: if the dtype of x does not hold the range and its steps, as float16 does not hold 16 bits.
        """
        least, most = self.limits
        step, end = 2.0**-self.fraction_bits, torch.finfo(x.dtype)
        if (1 << (self.bits - 2)) * end.eps > 1 or -least > end.max or step < end.tiny:
            raise ShapeError(
                f"numbers of {self.bits} bits, {self.fraction_bits} of them behind the point, are no {x.dtype}: take "
                f"fewer bits, or a wider dtype."
            )
        inside = x.clamp(least, most)
        steps = inside.detach() / step
        rounded = (steps.floor() if self.rounding == "floor" else steps.round()) * step
        return rounded + (inside - inside.detach())

    def extra_repr(self) -> str:
        return f"bits={self.bits}, fraction_bits={self.fraction_bits}, rounding={self.rounding!r}"
