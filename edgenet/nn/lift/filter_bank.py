"""FilterBank: a scalar signal for every (output, input) pair."""

from __future__ import annotations

from typing import Self

from torch import Tensor

from edgenet.nn.lift.base import Lift
from edgenet.phi.base import LayerSpec


class FilterBank(Lift):
    """A head for every (output, input) pair, which carries that input: (..., F_in) -> (..., F_out * F_in, 1).

    With ``SumInputs`` taps, the bank of F_out F_in scalar filters of the full edge-varying EdgeNet.

    Args:
        copies: how many heads carry each input: F_out, or F_out times the number of filters in parallel.

    Example:
        >>> edgenet.nn.lift.FilterBank(2)(x).shape  # 2 outputs of 3 inputs
        torch.Size([4, 6, 1])
    """

    def __init__(self, copies: int) -> None:
        super().__init__()
        self.copies = copies

    @classmethod
    def for_layer(cls, spec: LayerSpec) -> Self:
        return cls(spec.out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return x.unsqueeze(-2).expand(*x.shape[:-1], self.copies, x.shape[-1]).flatten(-2).unsqueeze(-1)

    def walked_heads(self, heads: int, in_channels: int) -> int | None:
        return None if in_channels == -1 else self.copies * in_channels

    def extra_repr(self) -> str:
        return f"copies={self.copies}"
