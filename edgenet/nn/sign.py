"""Sign: activations of one bit."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from edgenet.errors import ConfigError
from edgenet.structured.binary import signs


class Sign(nn.Module):
    """y = +1 where x >= 0, else -1: the activation of binarised networks (Courbariaux et al. 2016, section 1).

    The gradient of y goes to x where |x| <= gate, and nowhere else. Without the gate such networks lose some points
    of accuracy. Something has to bring x to about that size first: a batch norm, say. ``sign(0)`` is +1, as in packed
    bits; torch's is 0. NaN stays NaN.

    Args:
        gate: above 0; ``inf`` lets every gradient through.
        stochastic: while it trains, +1 is drawn with the probability clip((x + 1) / 2, 0, 1).

    Raises:
        ConfigError: if the gate is not above 0.

    Example:
        >>> edgenet.nn.Sign()(torch.tensor([-0.5, 0.0, 2.0])).tolist()
        [-1.0, 1.0, 1.0]
    """

    def __init__(self, gate: float = 1.0, stochastic: bool = False) -> None:
        super().__init__()
        if isinstance(gate, bool) or not isinstance(gate, int | float) or not gate > 0:
            raise ConfigError(f"Sign lets gradients through where |x| is up to its gate, above 0; got gate={gate!r}.")
        self.gate, self.stochastic = float(gate), bool(stochastic)

    def forward(self, x: Tensor) -> Tensor:
        """Any shape -> the same, of -1 and +1."""
        most = min(self.gate, torch.finfo(x.dtype).max)
        gated = x.clamp(-most, most)  # finite, but for NaN
        return signs(x, drawn=self.stochastic and self.training) + (gated - gated.detach())

    def extra_repr(self) -> str:
        gate = "" if self.gate == 1 else f"gate={'inf' if math.isinf(self.gate) else f'{self.gate:g}'}"
        return ", ".join(filter(None, [gate, "stochastic=True" if self.stochastic else ""]))
