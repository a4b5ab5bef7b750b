"""Sign: activations of one bit."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Sign(nn.Module):
    """y = +1 where x >= 0, else -1, with the gradient of x where |x| <= gate (Courbariaux et al. 2016, section 1).

    Args:
        gate: above 0.
        stochastic: while it trains, +1 is drawn with the probability clip((x + 1) / 2, 0, 1).
    """

    def __init__(self, gate: float = 1.0, stochastic: bool = False) -> None:
        super().__init__()
        self.gate, self.stochastic = float(gate), bool(stochastic)

    def forward(self, x: Tensor) -> Tensor:
        """Any shape -> the same, of -1 and +1."""
        positive = x >= 0
        if self.stochastic and self.training:
            positive = torch.rand_like(x) < (x + 1) / 2
        gated = x.clamp(-self.gate, self.gate)
        return torch.where(positive, 1.0, -1.0).to(x.dtype) + (gated - gated.detach())
