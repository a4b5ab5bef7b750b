"""FixedBlocks: the blocks of a weight that are unified or pruned already, while the others train on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from edgenet.errors import CheckpointError
from edgenet.structured import Unified
from edgenet.structured.block_choice import KEEP, PRUNE, UNIFY, Costs, Counts, tiled, untiled


@dataclass
class FixedBlocks:
    """The blocks of a matrix that are fixed.

    Attributes:
        shape: of the matrix.
        block: rows and columns of its blocks.
        counts: how many there are in the end.
        kinds: (blocks,) uint8; ``KEEP`` of those that are not fixed yet.
        signs: (blocks, entries) of bool, of those that are unified.
    """

    shape: tuple[int, int]
    block: tuple[int, int]
    counts: Counts
    kinds: Tensor
    signs: Tensor

    @classmethod
    def none(cls, matrix: Unified, device: torch.device) -> FixedBlocks:
        """Of a matrix that is to come, of which nothing is fixed yet."""
        blocks = len(matrix.block_kinds())
        kinds = torch.full((blocks,), KEEP, dtype=torch.uint8, device=device)
        signs = torch.zeros(blocks, math.prod(matrix.block), dtype=torch.bool, device=device)
        return cls(matrix.shape, matrix.block, matrix.counts, kinds, signs)

    @classmethod
    def of_state(cls, matrix: Unified, state: Mapping[str, Tensor], device: torch.device) -> FixedBlocks:
        """What ``state()`` gave.

        Raises:
            CheckpointError: if it is of other blocks.
        """
        made = cls.none(matrix, device)
        for name in ("kinds", "signs"):
            stored, fresh = state[name], getattr(made, name)
            if stored.shape != fresh.shape:
                raise CheckpointError(
                    f"the state has {name} of blocks of shape {tuple(stored.shape)}, and a {matrix.shape} matrix in "
                    f"blocks of {matrix.block} has {tuple(fresh.shape)}."
                )
            setattr(made, name, stored.to(fresh))
        return made

    def state(self) -> dict[str, Tensor]:
        return {"kinds": self.kinds, "signs": self.signs}

    @property
    def share(self) -> float:
        """Of the blocks that are fixed."""
        return float((self.kinds != KEEP).double().mean())

    def fix(self, weight: Tensor, share: float) -> None:
        """Have so large a share of ``counts`` fixed: beside those that are fixed the cheapest ones. Where there are
        more already, they stay."""
        pruned = max(0, math.floor(share * self.counts.pruned + 1e-9) - int((self.kinds == PRUNE).sum()))
        unified = max(0, math.ceil(share * self.counts.unified - 1e-9) - int((self.kinds == UNIFY).sum()))
        left = (self.kinds == KEEP).nonzero().flatten()
        costs = Costs.of(weight, self.block)
        costs = Costs(costs.magnitude[left], costs.unify[left], costs.prune[left])
        kinds = self.kinds.clone()
        kinds[left] = costs.choice(Counts(len(left) - unified - pruned, unified, pruned))
        self._take(kinds, weight)

    def _take(self, kinds: Tensor, weight: Tensor) -> None:
        new = (kinds == UNIFY) & (self.kinds == KEEP)
        # neither is changed in place: a state may hold them
        self.signs = torch.where(new[:, None], tiled(weight, self.block) >= 0, self.signs)
        self.kinds = kinds

    def restricted(self, weight: Tensor, gradients: bool = False) -> Tensor:
        """The weight with one magnitude in every unified block, at least 0, and zeros in pruned ones; of gradients the
        means by sign."""
        blocks = tiled(weight, self.block)
        unified, pruned = ((self.kinds == kind).nonzero().flatten() for kind in (UNIFY, PRUNE))
        sign = self.signs[unified].to(weight.dtype) * 2 - 1
        inside = tiled(torch.ones_like(weight), self.block)[unified]
        mean = (blocks[unified] * sign).sum(1) / inside.sum(1)
        mean = mean if gradients else mean.clamp_min(0)
        blocks = blocks.index_copy(0, unified, mean[:, None] * sign).index_fill(0, pruned, 0)
        return untiled(blocks, self.block, self.shape)


def fix_together(parts: Sequence[FixedBlocks], weights: Sequence[Tensor], share: float) -> None:
    """Have so large a share of the blocks of all matrices together unified: of those that are left the ones with the
    least cost over ||B||^2, and one at least in every matrix."""
    least = torch.finfo(torch.float64).tiny
    ranks = []
    for part, weight in zip(parts, weights, strict=True):
        costs = Costs.of(weight, part.block)
        rank = costs.unify / costs.prune.clamp_min(least)
        rank[rank.argmin()] = -1
        rank[part.kinds == UNIFY] = -2
        ranks.append(rank)
    total = sum(part.counts.unified for part in parts)
    order = torch.cat(ranks).argsort(stable=True)[: math.ceil(share * total - 1e-9)]
    chosen = torch.zeros_like(torch.cat(ranks), dtype=torch.bool)
    chosen[order] = True
    for part, weight, own in zip(parts, weights, chosen.split([len(rank) for rank in ranks]), strict=True):
        part._take(torch.where(own, UNIFY, part.kinds), weight)
