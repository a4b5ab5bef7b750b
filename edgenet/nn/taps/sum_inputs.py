"""SumInputs: the sum over hops and inputs of a bank of filters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from torch import Tensor

from edgenet.errors import PlanError
from edgenet.graph import Graph
from edgenet.nn.taps.base import Taps, grid
from edgenet.phi.base import LayerSpec


class SumInputs(Taps):
    """Sums hops, and then the inputs that a ``FilterBank`` spread out: (N, F_out * F_in, 1) -> (N, F_out).

    Args:
        out_channels: F_out.

    Example:
        >>> edgenet.nn.taps.SumInputs(8).out_channels
        8
    """

    def __init__(self, out_channels: int) -> None:
        super().__init__()
        self.out_channels = out_channels

    @classmethod
    def for_layer(cls, spec: LayerSpec) -> Self:
        return cls(spec.out_channels)

    def forward(self, signals: list[Tensor], graph: Graph) -> Tensor:
        total = sum(signals[1:], signals[0])
        return total.squeeze(-1).unflatten(-1, (self.out_channels, -1)).sum(-1)

    def keep_(self, pairs: Sequence[tuple[int, int]], taps: int, heads: int) -> None:
        if len(grid(pairs)[1]) < heads:
            raise PlanError("every pair of channels has a head here, and none can be removed; remove hops only.")

    def extra_repr(self) -> str:
        return f"out_channels={self.out_channels}"
