"""Scaled: one number for every hop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from edgenet.errors import ShapeError
from edgenet.graph import Graph
from edgenet.nn.taps.base import Taps, Walk, all_hops, check_merge, grid, merged, summed
from edgenet.phi.base import LayerSpec
from edgenet.structured.parameters import replace_


class Scaled(Taps):
    """One number for every hop, then as ``Sum``: the graph convolutional attention network (GCAT), and generalised
    PageRank where they start as ``pagerank_weights`` (Chien et al. 2021, GPR-GNN).

    y = merge over heads of sum over k of weight[k] z^(k)

    Args:
        taps: T, how many signals there are: K + 1, or K without a self tap.
        merge: as in ``Sum``.
        learned: whether the numbers are parameters; else they are a buffer.
        start: T numbers that they start with; None: 1 / T each.

    Example:
        >>> edgenet.EdgeNetConv(3, 8, order=2, heads=2, phi="attention", taps="scaled", self_tap=True)(x, edges).shape
        torch.Size([4, 16])
    """

    keeps_width = True
    weight: Tensor

    def __init__(
        self, taps: int, merge: str = "concat", learned: bool = True, start: Sequence[float] | None = None
    ) -> None:
        super().__init__()
        if taps < 1:
            raise ShapeError(f"there is one signal at least to be scaled, got {taps}: an order is 0 or more.")
        self.start = [1 / taps] * taps if start is None else [float(number) for number in start]
        if len(self.start) != taps:
            raise ShapeError(f"start has a number for each of {taps} signals, got {len(self.start)} numbers.")
        self.merge: str = check_merge(merge)
        if learned:
            self.weight = nn.Parameter(torch.empty(taps))
        else:
            self.register_buffer("weight", torch.empty(taps))
        self.reset_parameters()

    @classmethod
    def for_layer(
        cls,
        spec: LayerSpec,
        merge: str | None = None,
        learned: bool = True,
        start: Sequence[float] | None = None,
    ) -> Self:
        return cls(len(spec.hops), spec.merge if merge is None else merge, learned, start)

    def arguments(self) -> dict[str, Any]:
        return {"taps": len(self.weight), "learned": "weight" not in self._buffers}

    @torch.no_grad()
    def reset_parameters(self) -> None:
        self.weight.copy_(torch.tensor(self.start, dtype=self.weight.dtype))

    def walk(self, z: Tensor, walk: Walk) -> Tensor:
        if not walk.may_mix_first or len(self.weight) != len(walk.hops):
            return all_hops(z, walk)
        return merged(summed(z, walk, self.weight), self.merge)

    def forward(self, signals: list[Tensor], graph: Graph) -> Tensor:
        return merged(sum(w * z for w, z in zip(self.weight, signals, strict=True)), self.merge)

    def used(self, blocks: int) -> Tensor:
        return (self.weight != 0).repeat_interleave(blocks // len(self.weight))

    @torch.no_grad()
    def keep_(self, pairs: Sequence[tuple[int, int]], taps: int, heads: int) -> None:
        signals, _ = grid(pairs)
        weight = self.weight[signals]
        if "weight" in self._buffers:
            self.weight = weight
        else:
            replace_(self, weight=weight)
        self.start = [self.start[t] for t in signals]
