"""Adaptive: every node weighs its hops by what they hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from edgenet.errors import ShapeError
from edgenet.graph import Graph
from edgenet.nn.taps.base import Taps, check_merge, grid, merged
from edgenet.phi.base import LayerSpec
from edgenet.structured import StructuredLinear


class Adaptive(Taps):
    """Every node weighs its hops by what they hold: the adaptive adjustment of DAGNN (Liu, Gao, Ji 2020, eq. 8).

    y = merge over heads of sum over k of sigmoid(<s, z^(k)> + b) z^(k)

    One s and b serve all nodes, heads and hops. They start as the authors' code has them, uniform to 1 / sqrt(C).

    Args:
        channels: C, of each head; -1 reads it off the first signal.
        merge: as in ``Sum``.

    Example:
        >>> edgenet.EdgeNetConv(8, 8, order=4, phi="shift", taps="adaptive")(torch.randn(4, 8), edges).shape
        torch.Size([4, 8])
    """

    keeps_width = True

    def __init__(self, channels: int = -1, merge: str = "concat") -> None:
        super().__init__()
        if channels == 0 or channels < -1:
            raise ShapeError(f"signals to be weighed have channels >= 1, or -1 for those of the first, got {channels}.")
        self.merge: str = check_merge(merge)
        self.score = StructuredLinear.dense(channels, 1, bias=True)
        self.reset_parameters()

    @classmethod
    def for_layer(cls, spec: LayerSpec, channels: int = -1, merge: str | None = None) -> Self:
        return cls(channels, spec.merge if merge is None else merge)

    def arguments(self) -> dict[str, Any]:
        return {"channels": self.score.weight.shape[1]}

    @torch.no_grad()
    def reset_parameters(self) -> None:
        matrix = self.score.weight
        if not matrix.is_lazy:
            channels = matrix.shape[1]
            matrix.draw_((3 * channels) ** -0.5)
            if self.score.bias is not None:
                nn.init.uniform_(self.score.bias, -(channels**-0.5), channels**-0.5)

    def forward(self, signals: list[Tensor], graph: Graph) -> Tensor:
        z = torch.stack(signals, dim=-2)  # (N, [B,] H, T, C)
        if getattr(getattr(self.score, "weight", None), "is_lazy", False):  # which an adapter need not tell
            self.score.weight.materialise(1, z.shape[-1])
            self.reset_parameters()
        return merged((torch.sigmoid(self.score(z)) * z).sum(-2), self.merge)

    def keep_(self, pairs: Sequence[tuple[int, int]], taps: int, heads: int) -> None:
        grid(pairs)  # each signal is weighed by itself, whatever others there are

    def extra_repr(self) -> str:
        return f"merge={self.merge!r}"
