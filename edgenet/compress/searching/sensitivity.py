"""Sensitivity: what an error in one slot costs the whole model."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from edgenet.compress.compress import fill
from edgenet.compress.searching.curves import Choice, Curves

_RATIOS = (64.0, 16.0, 4.0)  # how many times smaller the probes are
_FLOOR = 1e-3  # sensitivity of slots that seem to do no harm, as a share of the largest: a metric has grains


@dataclass(frozen=True)
class Sensitivity:
    """The loss of one slot at squared relative error 1, as probes of several sizes tell it: harm / error^2.

    Losses of small errors are quadratic in them at a minimum; those of large ones are not, so that every size goes by
    the probes that are next to it.

    Attributes:
        costs: of the probes, ascending.
        values: of the probes.
    """

    costs: tuple[float, ...] = (1.0,)
    values: tuple[float, ...] = (1.0,)

    def at(self, cost: float) -> float:
        """At a size: between two probes on the line in the logarithms of size and value, outside as at the last."""
        place = bisect_left(self.costs, cost)
        if place in (0, len(self.costs)):
            return self.values[min(place, len(self.costs) - 1)]
        (a, b), (low, high) = self.costs[place - 1 : place + 1], self.values[place - 1 : place + 1]
        share = math.log(cost / a) / math.log(b / a)
        return math.exp((1 - share) * math.log(low) + share * math.log(high))

    @property
    def mean(self) -> float:
        """The geometric mean of the probes."""
        return math.exp(sum(map(math.log, self.values)) / len(self.values))


def sensitivity(curves: Curves, harm: Callable[[], float]) -> dict[str, Sensitivity]:
    """Of every slot, by probes: it alone is compressed to 1/4, 1/16 and 1/64 of its size, and ``harm()`` asked.

    The probes depend on no budget, so that searches of all budgets see the same losses. A slot that a probe does not
    harm gets a thousandth of the largest.

    Args:
        curves: what the slots may be filled with.
        harm: how much worse the model is now than uncompressed; from 0 up.
    """
    found: dict[str, dict[float, float]] = {name: {} for name in curves.slots}
    for name in curves.bar(curves.slots, "sensitivity"):
        for probe in _probes(curves.choices[name]):
            assert not isinstance(probe.spec, str)
            undo = fill(curves.slots, {name: curves.fitted(name, probe.spec)})
            try:
                found[name][probe.cost] = harm() / probe.error**2
            finally:
                undo()
    most = max((value for probes in found.values() for value in probes.values()), default=0.0)
    if most <= 0:
        return dict.fromkeys(curves.slots, Sensitivity())
    least = _FLOOR * most
    return {
        name: Sensitivity(tuple(sorted(probes)), tuple(max(probes[cost], least) for cost in sorted(probes)))
        if probes
        else Sensitivity(values=(least,))
        for name, probes in found.items()
    }


def relative_change(before: Tensor, after: Tensor) -> float:
    """||y' - y||^2 / ||y||^2."""
    return float((after - before).norm() / before.norm().clamp_min(1e-300)) ** 2


def flat(output: Any) -> Tensor:
    """All floating-point tensors of an output, as one vector."""
    if isinstance(output, Tensor):
        return output.flatten().double() if output.is_floating_point() else output.new_zeros(0, dtype=torch.float64)
    if isinstance(output, Mapping):
        output = list(output.values())
    parts = [flat(item) for item in output] if isinstance(output, list | tuple) else []
    return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.float64)


def _probes(choices: list[Choice]) -> list[Choice]:
    """For each ratio the largest that is so many times smaller, else the smallest; those that would tell nothing are
    left out."""
    left, *others = choices
    if not others:
        return []
    found = {
        max((c for c in others if c.cost <= left.cost / ratio), key=lambda c: c.cost, default=others[0]).cost: ratio
        for ratio in _RATIOS
    }
    return [c for c in others if c.cost in found and c.error > 0]
