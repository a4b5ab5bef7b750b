"""Sum: the sum of the hops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from torch import Tensor

from edgenet.errors import PlanError
from edgenet.graph import Graph
from edgenet.nn.taps.base import Taps, check_merge, grid, merged
from edgenet.phi.base import LayerSpec


class Sum(Taps):
    """The sum of the hops; then heads side by side, averaged or summed.

    Args:
        merge: "concat" gives H * C channels, head-major; "mean" and "sum" give C.
        last: take the last hop alone (SGC).

    Example:
        >>> taps = edgenet.nn.taps.Sum("mean")
        >>> edgenet.EdgeNetConv(3, 8, heads=2, phi="attention", taps=taps, concat=False)(x, edges).shape
        torch.Size([4, 8])
    """

    commutes_with_lift = True
    keeps_width = True

    def __init__(self, merge: str = "concat", last: bool = False) -> None:
        super().__init__()
        self.merge, self.last = check_merge(merge), last

    @classmethod
    def for_layer(cls, spec: LayerSpec, merge: str | None = None, last: bool = False) -> Self:
        return cls(spec.merge if merge is None else merge, last)

    def forward(self, signals: list[Tensor], graph: Graph) -> Tensor:
        return merged(signals[-1] if self.last else sum(signals[1:], signals[0]), self.merge)

    def pairs_of(self, taps: int, heads: int) -> list[tuple[int, int]]:
        return [(t, h) for t in range(taps - 1 if self.last else 0, taps) for h in range(heads)]

    def keep_(self, pairs: Sequence[tuple[int, int]], taps: int, heads: int) -> None:
        signals, _ = grid(pairs)
        if self.last and taps - 1 not in signals:
            raise PlanError("these taps take the last hop alone, which cannot be removed.")

    def extra_repr(self) -> str:
        return f"merge={self.merge!r}" + (", last=True" if self.last else "")
