"""Sign: activations of one bit."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgenet.errors import ConfigError
from edgenet.structured.quantised import straight


class Sign(nn.Module):
    """y = +1 where x >= 0, else -1; the gradient passes where |x| <= gate (Courbariaux et al. 2016, eq. 4).

    Args:
        gate: above 0. Without it a network of signs does not train.
        stochastic: while it trains, +1 has the probability clip((x + 1) / 2, 0, 1).

    Raises:
        ConfigError: if the gate is not above 0.
    """

    def __init__(self, gate: float = 1.0, stochastic: bool = False) -> None:
        super().__init__()
        if not gate > 0:
            raise ConfigError(f"the gate of a Sign is above 0, got {gate!r}.")
        self.gate, self.stochastic = float(gate), bool(stochastic)

    def forward(self, x: Tensor) -> Tensor:
        """Of any shape."""
        up = x >= 0
        if self.stochastic and self.training:
            up = torch.rand_like(x) < (x + 1) / 2
        return straight(torch.where(up, 1.0, -1.0).to(x.dtype), x.clamp(-self.gate, self.gate))
