"""ShiftAdaMax: AdaMax whose divisions are shifts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from edgenet.errors import ConfigError, ShapeError
from edgenet.structured.exponents import power_of_two


class ShiftAdaMax(torch.optim.Optimizer):
    """AdaMax (Kingma, Ba 2015) in shifts (Courbariaux et al. 2016, algorithm 4), for what learns in hardware::

        m = b1 m + (1 - b1) g
        v = max(b2 v, |g|)
        p = p - lr AP2(1 / (1 - b1^t)) m AP2(1 / v)

    AP2(x) = sign(x) 2^round(log2 |x|) is the nearest power of two by ratio. The defaults are the paper's: lr and the
    1 - b are powers of two, so that no product is more than a shift. A number whose gradient has always been 0 stays.
    On a processor nothing is faster by it.

    Args:
        params: parameters, or groups of them.
        lr: positive, or 0.
        betas: b1 and b2, in [0, 1).
        weight_decay: this times p is added to g.

    Raises:
        ConfigError: if a number is out of range.

    Example:
        >>> layer = torch.nn.Linear(3, 1)
        >>> optimizer = edgenet.train.ShiftAdaMax(layer.parameters())
        >>> layer(x).sum().backward()
        >>> optimizer.step()
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2.0**-10,
        betas: tuple[float, float] = (1 - 2.0**-3, 1 - 2.0**-10),
        weight_decay: float = 0.0,
    ) -> None:
        if not (0 <= lr < math.inf and 0 <= weight_decay < math.inf and all(0 <= beta < 1 for beta in betas)):
            raise ConfigError(
                f"ShiftAdaMax has a rate and a weight decay of 0 or more, and betas in [0, 1); got lr={lr}, "
                f"weight_decay={weight_decay}, betas={betas}."
            )
        super().__init__(params, {"lr": lr, "betas": tuple(betas), "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of every parameter that has a gradient; what ``closure`` gives, if there is one.

        Raises:
            ShapeError: if a gradient is sparse, or of complex numbers.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self._move(p, group)
        return loss

    def _move(self, p: Tensor, group: dict[str, Any]) -> None:
        gradient, (first, second), state = p.grad, group["betas"], self.state[p]
        if gradient is None or gradient.is_sparse or p.is_complex():
            raise ShapeError(f"ShiftAdaMax steps by dense gradients of real numbers, got {p.dtype}; try adam.")
        if group["weight_decay"]:
            gradient = gradient + group["weight_decay"] * p
        if not state:
            state.update(step=torch.zeros(()), mean=torch.zeros_like(p), most=torch.zeros_like(p))
        state["step"] += 1
        mean, most = state["mean"], state["most"]
        mean.mul_(first).add_(gradient, alpha=1 - first)
        torch.maximum(most.mul_(second), gradient.abs(), out=most)
        start = power_of_two(torch.tensor(1 / (1 - first ** float(state["step"])), dtype=torch.float64)).item()
        # 2^-round(log2 v) is AP2(1 / v); where v is 0 so is m. In float64: 1 / v ends no dtype there
        inverse = power_of_two(torch.where(most > 0, most.double().reciprocal(), 0.0))
        p.sub_((group["lr"] * start * mean.double() * inverse).to(p.dtype))
