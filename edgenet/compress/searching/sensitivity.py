"""Sensitivity: what an error in one slot costs the whole model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from edgenet.compress.compress import fill
from edgenet.compress.searching.curves import Choice, Curves

_FLOOR = 1e-3  # sensitivity of slots that seem to do no harm, as a share of the largest: a metric has grains


def sensitivity(curves: Curves, ratio: float, harm: Callable[[], float]) -> dict[str, float]:
    """Of every slot the loss at squared relative error 1, as one probe tells it: harm / error^2.

    Each slot alone is compressed to about ``1 / ratio`` of its size, and ``harm()`` asked. Losses of small errors are
    quadratic in them at a minimum, so that a probe at one error tells of others. A slot that no probe harms gets a
    thousandth of the largest.

    Args:
        curves: what the slots may be filled with.
        ratio: how many times smaller the probes are.
        harm: how much worse the model is now than uncompressed; from 0 up.
    """
    found = {}
    for name in curves.bar(curves.slots, "sensitivity"):
        probe = _probe(curves.choices[name], ratio)
        if probe is None:
            continue
        undo = fill(curves.slots, {name: curves.fitted(name, probe.spec)})
        try:
            found[name] = harm() / probe.error**2
        finally:
            undo()
    most = max(found.values(), default=0.0)
    if most <= 0:
        return dict.fromkeys(curves.slots, 1.0)
    return {name: max(found.get(name, 0.0), _FLOOR * most) for name in curves.slots}


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


def _probe(choices: list[Choice], ratio: float) -> Choice | None:
    """The largest that is so many times smaller, else the smallest; None where it would tell nothing."""
    left, *others = choices
    if not others:
        return None
    probe = max((c for c in others if c.cost <= left.cost / ratio), key=lambda c: c.cost, default=others[0])
    return probe if probe.error > 0 else None
