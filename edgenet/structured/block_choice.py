"""Which blocks of a matrix share one magnitude, which are zero, and which stay as they are."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from edgenet.errors import RankError
from edgenet.structured.given import clipped, is_whole
from edgenet.structured.svd import double

#: What a block is: its own numbers, one magnitude with signs, or zero. Blocks are stored in this order.
KEEP, UNIFY, PRUNE = range(3)

Block = tuple[int, int]

ENTRIES = 16  # of a block, where nobody says


@dataclass(frozen=True)
class Counts:
    """How many blocks are of each kind.

    Attributes:
        kept, unified, pruned: numbers of blocks.
    """

    kept: int
    unified: int
    pruned: int

    @classmethod
    def of(cls, blocks: int, ratio: float, prune: float) -> Counts:
        """Of so many blocks the share ``ratio``, rounded up, is unified or zero, and the share ``prune``, to the
        nearest number, is zero; one block at least is not.

        Raises:
            RankError: if not 0 < ratio <= 1 or not 0 <= prune <= ratio, or prune is 1.
        """
        for name, share in (("ratio", ratio), ("prune", prune)):
            if not isinstance(share, int | float) or isinstance(share, bool) or not 0 <= share <= 1:
                raise RankError(f"the {name} of unified blocks is a share of all blocks, in [0, 1], got {share!r}.")
        if ratio == 0 or prune > ratio or prune == 1:
            raise RankError(
                f"a share of blocks above 0 shares a magnitude, some of them the magnitude 0, not all: 0 < ratio <= 1 "
                f"and prune <= ratio, prune < 1; got ratio={ratio!r} and prune={prune!r}."
            )
        # a share that was made of a number of blocks gives this number again
        restricted = min(blocks, max(1, math.ceil(ratio * blocks - 1e-6)))
        pruned = min(restricted, blocks - 1, round(prune * blocks))
        return cls(blocks - restricted, restricted - pruned, pruned)

    @property
    def kinds(self) -> list[int]:
        """Those of which there are any."""
        return [kind for kind, number in enumerate((self.kept, self.unified, self.pruned)) if number]


@dataclass(frozen=True)
class Costs:
    """What it costs to restrict a block, in squared distance.

    Attributes:
        magnitude: (blocks,) mean |w| of the entries inside the matrix, the best magnitude.
        unify: (blocks,) sum of (|w| - magnitude)^2.
        prune: (blocks,) sum of w^2, never less.
    """

    magnitude: Tensor
    unify: Tensor
    prune: Tensor

    @classmethod
    def of(cls, weight: Tensor, block: Block) -> Costs:
        """In float64. What reaches over the edges counts nowhere."""
        size = tiled(double(weight).abs(), block)
        inside = tiled(torch.ones_like(weight, dtype=torch.bool), block)
        magnitude = size.sum(1) / inside.sum(1)
        # not sum(w^2) - number * magnitude^2, which is not quite 0 for what is unified already
        unify = ((size - magnitude[:, None]) * inside).square().sum(1)
        return cls(magnitude, unify, size.square().sum(1))

    def choice(self, counts: Counts) -> Tensor:
        """(blocks,) uint8, the kind of every block: so many of each, at the least cost together. Among equal ones those
        that come first are unified."""
        kinds = torch.full_like(self.unify, KEEP, dtype=torch.uint8)
        if counts.pruned == 0:
            kinds[self.unify.argsort(stable=True)[: counts.unified]] = UNIFY
        elif counts.kept == 0:
            kinds.fill_(UNIFY)
            kinds[(self.prune - self.unify).argsort(stable=True)[: counts.pruned]] = PRUNE
        else:
            # Of two blocks, one zero and one unified, to swap them saves nothing: so in the order of the difference
            # there is a place before which none is unified, and after which none is zero. All places are tried.
            order = (self.prune - self.unify).argsort(stable=True)
            prune, unify = self.prune[order], self.unify[order]
            before = _cheapest(prune.tolist(), counts.pruned)
            after = _cheapest(unify.flip(0).tolist(), counts.unified)[::-1]
            place = min(range(len(before)), key=lambda k: before[k] + after[k])
            kinds[order[:place][prune[:place].argsort(stable=True)[: counts.pruned]]] = PRUNE
            kinds[order[place:][unify[place:].argsort(stable=True)[: counts.unified]]] = UNIFY
        return kinds

    def total(self, kinds: Tensor) -> float:
        """What a choice costs."""
        return float(self.unify[kinds == UNIFY].sum() + self.prune[kinds == PRUNE].sum())


def _cheapest(costs: list[float], number: int) -> list[float]:
    """The sum of so many smallest costs of the first k, for k from 0 on; infinite where there are not so many."""
    held: list[float] = []  # the largest on top
    total, sums = 0.0, [0.0 if number == 0 else math.inf]
    for cost in costs:
        if len(held) < number:
            heapq.heappush(held, -cost)
            total += cost
        elif number:
            total += cost + heapq.heappushpop(held, -cost)
        sums.append(total if len(held) == number else math.inf)
    return sums


def tiled(weight: Tensor, block: Block) -> Tensor:
    """(blocks, entries of a block) of an (m, n) matrix, block row after block row, filled up with zeros."""
    (m, n), (rows, columns) = weight.shape, block
    weight = F.pad(weight, (0, -n % columns, 0, -m % rows))
    return weight.unflatten(1, (-1, columns)).unflatten(0, (-1, rows)).transpose(1, 2).reshape(-1, rows * columns)


def untiled(blocks: Tensor, block: Block, shape: tuple[int, int]) -> Tensor:
    """The (m, n) matrix of such blocks."""
    (m, n), (rows, columns) = shape, block
    high, wide = -(-m // rows), -(-n // columns)
    return blocks.view(high, wide, rows, columns).transpose(1, 2).reshape(high * rows, wide * columns)[:m, :n]


def forms(shape: tuple[int, int], entries: int) -> list[Block]:
    """Blocks of so many entries: a piece of a row, a piece of a column, and the squarest. Those that fit the matrix;
    where none does, what is left of each."""
    side = next(k for k in range(math.isqrt(entries), 0, -1) if entries % k == 0)
    every = list(dict.fromkeys([(1, entries), (entries, 1), (side, entries // side)]))
    fitting = [block for block in every if block[0] <= shape[0] and block[1] <= shape[1]]
    if fitting:
        return fitting
    cut = {(min(rows, shape[0]), min(columns, shape[1])) for rows, columns in every}
    most = max(map(math.prod, cut))
    return sorted(block for block in cut if math.prod(block) == most)


def block_of(
    shape: Sequence[int],
    block: Sequence[int] | str,
    entries: int,
    ratio: float,
    prune: float,
    weight: Tensor | None = None,
) -> Block:
    """The block that options name, cut to the matrix. "auto" is the one of ``forms`` at which a weight loses least, the
    first of equal ones; without a weight the first.

    Raises:
        RankError: if they name none.
    """
    m, n = shape
    if block == "auto":
        if not is_whole(entries) or entries < 1:
            raise RankError(f"entries of a unified block are a whole number from 1, got {entries!r}.")
        found = forms((m, n), int(entries))

        def cost(form: Block) -> float:
            costs = Costs.of(cast(Tensor, weight), form)
            return costs.total(costs.choice(Counts.of(len(costs.unify), ratio, prune)))

        return found[0] if weight is None or len(found) == 1 else min(found, key=cost)
    if not isinstance(block, list | tuple) or len(block) != 2 or not all(is_whole(k) and k >= 1 for k in block):
        raise RankError(f"a unified block is (rows, columns), two whole numbers from 1, or 'auto', got {block!r}.")
    what = ("the rows of a unified block", "the columns of a unified block")
    sizes = [clipped(int(size), max(1, most), name) for size, most, name in zip(block, shape, what, strict=True)]
    return sizes[0], sizes[1]
