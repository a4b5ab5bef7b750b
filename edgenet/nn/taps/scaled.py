"""Scaled: one learned number for every hop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from edgenet.errors import ShapeError
from edgenet.graph import Graph
from edgenet.nn.taps.base import Taps, grid, merged
from edgenet.phi.base import LayerSpec
from edgenet.structured.parameters import replace_


class Scaled(Taps):
    """One learned number for every hop, then as ``Sum``: the graph convolutional attention network (GCAT).

    y = merge over heads of sum over k of weight[k] z^(k)

    Args:
        taps: how many signals there are: K + 1, or K without a self tap.
        merge: as in ``Sum``.
    """

    def __init__(self, taps: int, merge: str = "concat") -> None:
        super().__init__()
        if taps < 1:
            raise ShapeError(f"there is one signal at least to be scaled, got {taps}: an order is 0 or more.")
        self.merge = merge
        self.weight = nn.Parameter(torch.empty(taps))
        self.reset_parameters()

    @classmethod
    def for_layer(cls, spec: LayerSpec, merge: str | None = None) -> Self:
        return cls(len(spec.hops), spec.merge if merge is None else merge)

    def arguments(self) -> dict[str, Any]:
        return {"taps": len(self.weight), "merge": self.merge}

    def reset_parameters(self) -> None:
        nn.init.constant_(self.weight, 1 / len(self.weight))

    def forward(self, signals: list[Tensor], graph: Graph) -> Tensor:
        return merged(sum(w * z for w, z in zip(self.weight, signals, strict=True)), self.merge)

    def used(self, blocks: int) -> Tensor:
        return (self.weight != 0).repeat_interleave(blocks // len(self.weight))

    @torch.no_grad()
    def keep_(self, pairs: Sequence[tuple[int, int]], taps: int, heads: int) -> None:
        signals, _ = grid(pairs)
        replace_(self, weight=self.weight[signals])
