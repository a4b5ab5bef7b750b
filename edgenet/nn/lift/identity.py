"""Identity: the features walk as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from torch import Tensor

from edgenet.nn.lift.base import Lift
from edgenet.phi.base import LayerSpec
from edgenet.structured import SparseSignal


class Identity(Lift):
    """The features as they are, or a copy for each of H heads (several shift operators): (..., F) -> (..., H, F).

    Example:
        >>> edgenet.nn.lift.Identity(heads=2)(x).shape
        torch.Size([4, 2, 3])
    """

    copies_input = True

    def __init__(self, heads: int = 1) -> None:
        super().__init__()
        self.heads = heads

    @classmethod
    def for_layer(cls, spec: LayerSpec) -> Self:
        return cls(spec.heads)

    def forward(self, x: Tensor | SparseSignal) -> Tensor | SparseSignal:
        if isinstance(x, SparseSignal):  # for a first hop that reads it as it is
            return x
        return x.unsqueeze(-2).expand(*x.shape[:-1], self.heads, x.shape[-1])

    def keep_(self, heads: Sequence[int]) -> None:
        self.heads = len(heads)

    def extra_repr(self) -> str:
        return f"heads={self.heads}"
