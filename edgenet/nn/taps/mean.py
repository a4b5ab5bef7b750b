"""Mean: the mean of the hops."""

from __future__ import annotations

from typing import Self

from torch import Tensor

from edgenet.graph import Graph
from edgenet.nn.taps.base import Taps, Walk, all_hops, check_merge, merged, summed
from edgenet.phi.base import LayerSpec


class Mean(Taps):
    """The mean of the hops: the mixed-order propagation of GRAND (Feng et al. 2020, sec. 3.1).

    y = merge over heads of (z^(0) + ... + z^(K)) / (K + 1)

    Args:
        merge: as in ``Sum``.

    Example:
        >>> edgenet.nn.specializations.grand(3, 8, order=4)(x, edges).shape  # whose taps are these
        torch.Size([4, 8])
    """

    keeps_width = True

    def __init__(self, merge: str = "concat") -> None:
        super().__init__()
        self.merge: str = check_merge(merge)

    @classmethod
    def for_layer(cls, spec: LayerSpec, merge: str | None = None) -> Self:
        return cls(spec.merge if merge is None else merge)

    def walk(self, z: Tensor, walk: Walk) -> Tensor:
        if not walk.may_mix_first:
            return all_hops(z, walk)
        return merged(summed(z, walk) / len(walk.hops), self.merge)

    def forward(self, signals: list[Tensor], graph: Graph) -> Tensor:
        return merged(sum(signals[1:], signals[0]) / len(signals), self.merge)

    def extra_repr(self) -> str:
        return f"merge={self.merge!r}"
