"""Ranking: the largest number and the lower median of every neighbourhood, by sorting the nodes once."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from edgenet.nn.graph_signal.neighbours import Neighbourhoods

_AT_ONCE = 1 << 22  # ranks that are looked at in one go


class Ranking:
    """The nodes of a signal sorted by their numbers, feature by feature.

    Which node has the largest number, or the median, is then a question about whole numbers. The number itself is
    copied from that node, and its gradient goes back there, as those of ``torch.max`` and ``torch.median`` do. Among
    equal numbers the node of the smallest index counts as the largest. NaN is larger than all: where a neighbourhood
    has one, it is the maximum, and the median too.

    Args:
        x: (..., N, F) of floats.
    """

    def __init__(self, x: Tensor) -> None:
        self._x = x.movedim(-2, -1)  # (..., F, N)
        numbers = self._x.detach()
        self._order = numbers.argsort(dim=-1, descending=True, stable=True)
        place = torch.arange(x.shape[-2], device=x.device).expand_as(self._order)
        self._rank = torch.zeros_like(self._order).scatter(-1, self._order, place)  # 0 is the largest
        self._missing = numbers.isnan().sum(-1, keepdim=True)  # ranks below this are of NaN

    def largest(self, near: Neighbourhoods) -> Tensor:
        """(..., M, F) maxima over the neighbourhoods of M centres."""

        def best(rank: Tensor, missing: Tensor) -> Tensor:
            worst = rank.new_full((len(rank), len(near.start) - 1), near.num_nodes)
            return worst.scatter_reduce(1, near.centre.expand(len(rank), -1), rank[:, near.node], "amin")

        return self._numbers(best, near)

    def lower_median(self, near: Neighbourhoods) -> Tensor:
        """(..., M, F) medians over the neighbourhoods of M centres; of an even number of nodes, the smaller one of the
        two in the middle."""
        n = max(1, near.num_nodes)
        first = near.start[:-1]
        middle = first + near.size // 2  # counted from the largest

        def central(rank: Tensor, missing: Tensor) -> Tensor:
            inside = (near.centre * n + rank[:, near.node]).sort(dim=1).values % n
            top = inside[:, first]
            return torch.where(top < missing, top, inside[:, middle])

        return self._numbers(central, near)

    def _numbers(self, chosen: Callable[[Tensor, Tensor], Tensor], near: Neighbourhoods) -> Tensor:
        """The numbers of the nodes whose ranks are chosen, a few rows of (rows, N) ranks at a time."""
        rank, missing = self._rank.flatten(0, -2), self._missing.flatten(0, -2)
        rows = max(1, _AT_ONCE // max(1, len(near.node)))
        parts = [chosen(*some) for some in zip(rank.split(rows), missing.split(rows), strict=True)]
        place = torch.cat(parts).view(*self._rank.shape[:-1], len(near.start) - 1)
        return self._x.gather(-1, self._order.gather(-1, place)).movedim(-1, -2)
