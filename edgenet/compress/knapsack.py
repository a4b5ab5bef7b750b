"""One choice from every group, for the least loss within a budget: the multiple-choice knapsack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_MOST = 20_000  # partial solutions kept after each group


@dataclass(frozen=True)
class Front:
    """All ways to choose that no other way beats in both cost and loss.

    Attributes:
        cost: (S,) ascending.
        loss: (S,) descending.
    """

    cost: np.ndarray
    loss: np.ndarray
    _steps: tuple[tuple[np.ndarray, np.ndarray], ...]  # of each group: what came before, and the choice

    def picks(self, index: int) -> list[int]:
        """The choice from every group in solution ``index``."""
        chosen = []
        for before, choice in reversed(self._steps):
            chosen.append(int(choice[index]))
            index = int(before[index])
        return chosen[::-1]

    def within(self, budget: float) -> int | None:
        """The solution of least loss whose cost is at most the budget; None if all cost more."""
        number = int(np.searchsorted(self.cost, budget * (1 + 1e-12), side="right"))
        return number - 1 if number else None


def front(groups: Sequence[Sequence[tuple[float, float]]]) -> Front:
    """The front of sums over groups.

    Exact by the method of Nemhauser and Ullmann 1969: a partial solution that another beats in both is beaten however
    it goes on. Where more than 20,000 are left they are thinned, evenly in the logarithm of the cost, and what comes
    out is near the best. The same input gives the same solution; of equal ones the first.

    Args:
        groups: the (cost, loss) of every choice. Each group has one at least.
    """
    cost, loss = np.zeros(1), np.zeros(1)
    steps = []
    for group in groups:
        own = np.asarray(group, dtype=float).reshape(-1, 2)
        costs = (cost[:, None] + own[:, 0]).ravel()
        losses = (loss[:, None] + own[:, 1]).ravel()
        order = np.lexsort((np.arange(len(costs)), losses, costs))
        lowest = np.minimum.accumulate(losses[order])
        better = np.concatenate([[True], losses[order][1:] < lowest[:-1]])
        unbeaten = _thinned(order[better], costs)
        steps.append((unbeaten // len(own), unbeaten % len(own)))
        cost, loss = costs[unbeaten], losses[unbeaten]
    return Front(cost, loss, tuple(steps))


def _thinned(unbeaten: np.ndarray, costs: np.ndarray) -> np.ndarray:
    """At most about ``_MOST`` of them: of each small range of costs the one of least loss, and always the cheapest."""
    if len(unbeaten) <= _MOST:
        return unbeaten
    place = np.log(np.maximum(costs[unbeaten], np.finfo(float).tiny))
    bucket = ((place - place[0]) / max(place[-1] - place[0], 1e-300) * (_MOST - 1)).astype(int)
    last = np.concatenate([bucket[1:] != bucket[:-1], [True]])
    last[0] = True
    return unbeaten[last]
