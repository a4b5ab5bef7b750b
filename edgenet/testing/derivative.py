"""Gradients held to the definition: how much a function grows along a direction."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from edgenet.testing.contract import require

_STEP = 1e-6
#: of central differences in float64 at that step: rounding leaves 1e-16 / 1e-6, the third derivative 1e-12
_ALLOWED = 1e-6


def check_gradients(function: Callable[[], Tensor], leaves: Mapping[str, Tensor], all_reached: bool = True) -> None:
    """Compare the gradient of a linear function of what ``function`` gives with central differences.

    Args:
        function: of nothing; it reads the leaves, which are moved and put back.
        leaves: float64 tensors that want a gradient, by name.
        all_reached: whether each leaf must have a gradient that is not zero everywhere.

    Raises:
        ContractError: with the leaf, the growth that was measured, and that which its gradient says.
    """
    if not leaves:
        return
    y = function()
    direction = torch.randn_like(y)
    found = dict(
        zip(leaves, torch.autograd.grad((y * direction).sum(), list(leaves.values()), allow_unused=True), strict=True)
    )
    for name, leaf in leaves.items():
        if all_reached and leaf.numel():
            gradient = found[name]
            require(gradient is not None and bool(gradient.ne(0).any()), f"no gradient reaches {name}")
        # a step of fixed length: the sum over many entries grows with their number
        step = torch.randn_like(leaf)
        step = step / step.norm().clamp_min(1e-12)
        values = []
        with torch.no_grad():
            before = leaf.clone()
            for side in (_STEP, -_STEP):
                leaf.copy_(before + side * step)
                values.append((function() * direction).sum())
            leaf.copy_(before)
        grown = float(values[0] - values[1]) / (2 * _STEP)
        said = 0.0 if found[name] is None else float((found[name] * step).sum())
        near = abs(grown - said) <= _ALLOWED * max(1.0, abs(grown), float(y.detach().norm()))
        require(near, f"along a direction of {name} the output grows by {grown:.8g}, and the gradient says {said:.8g}")
