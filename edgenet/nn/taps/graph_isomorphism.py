"""GraphIsomorphism: the node's own signal beside its neighbours'."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor, nn

from edgenet.graph import Graph
from edgenet.nn.taps.base import Taps
from edgenet.phi.base import LayerSpec


class GraphIsomorphism(Taps):
    """The node's own signal, a little more or less than its neighbours' (Xu et al. 2019, eq. 4.1: GIN).

    y = (1 + epsilon) z^(0) + z^(1) + ... + z^(K),   heads side by side

    Args:
        epsilon: its value, or its first value if it is learned.
        learned: whether it is a parameter.

    Example:
        >>> edgenet.EdgeNetConv(3, 3, phi="shift", taps=edgenet.nn.taps.GraphIsomorphism(learned=True))(x, edges).shape
        torch.Size([4, 3])
    """

    keeps_width = True

    def __init__(self, epsilon: float = 0.0, learned: bool = False) -> None:
        super().__init__()
        self.start = epsilon
        if learned:
            self.epsilon = nn.Parameter(torch.empty(1))
        else:
            self.register_buffer("epsilon", torch.empty(1))
        self.reset_parameters()

    @classmethod
    def for_layer(cls, spec: LayerSpec, epsilon: float = 0.0, learned: bool = False) -> Self:
        return cls(epsilon, learned)

    def arguments(self) -> dict[str, Any]:
        return {"epsilon": self.start, "learned": isinstance(self.epsilon, nn.Parameter)}

    @torch.no_grad()
    def reset_parameters(self) -> None:
        self.epsilon.fill_(self.start)

    def forward(self, signals: list[Tensor], graph: Graph) -> Tensor:
        return (sum(signals[2:], signals[1]) + (1 + self.epsilon) * signals[0]).flatten(-2)

    def extra_repr(self) -> str:
        return f"epsilon={self.epsilon.item():g}"
