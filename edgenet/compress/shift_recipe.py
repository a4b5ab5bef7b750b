"""ShiftRecipe: the callback with which powers of two train."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from edgenet.compress.arguments import number
from edgenet.compress.callbacks import Training
from edgenet.compress.rates import Rates
from edgenet.compress.recipe import Recipe, uniform_
from edgenet.structured import PowerOfTwo


class ShiftRecipe(Recipe):
    """Train ``PowerOfTwo`` matrices as DeepShift does (Elhoushi et al. 2021): shifts and signs at rates of their own,
    brought back into their ranges after every step, and decay on the weights that they stand for.

    A shift is a logarithm, and nothing changes before it has gone half a step: the rates of weights, 0.01 or less, do
    not get there in a short training. The defaults are for some hundred steps of Adam; 0.2 and 0.1 are as good. To tune
    a trained network that was converted take less. Schedules of the optimizer scale these rates along. Of the form
    "latent" the latents keep the optimizer's rate. The authors use RAdam with signs and shifts, optimizer="radam",
    which takes more steps to come as far as Adam.

    Args:
        shift: learning rate of shifts.
        sign: learning rate of the latents of signs.
        decay: adds decay / 2 times the sum of squares of the rounded weights to the loss, of all forms: a decay of the
            shifts themselves would draw weights to 1. The optimizer's own weight decay leaves these matrices alone.
        start: of signs and shifts, when their matrix is found. "keep": as the matrix has them, that is the rounded
            weights, of which small ones have the sign 0. "uniform": drawn anew as the authors do without a trained
            network, shifts from their range and signs from [-1, 1], so that half of them are 0.
        clip: call ``clip_`` of the matrices after every step.
        pattern: of the paths of the matrices (``fc.weight``), for ``re.match``; a tied one has several.

    Raises:
        PlanError: if an argument is out of range; and where there is no such matrix, see ``Recipe``.

    Example:
        >>> rule = edgenet.compress.ShiftRecipe(shift=0.1, sign=0.05)  # for fit(..., callbacks=[rule])
    """

    family = PowerOfTwo
    starts = ("keep", "uniform")

    def __init__(
        self,
        shift: float = 0.1,
        sign: float = 0.05,
        decay: float = 0.0,
        start: str = "keep",
        clip: bool = True,
        pattern: str = ".*",
    ) -> None:
        super().__init__(start, clip, pattern)
        self.shift = number("ShiftRecipe", "shift", shift, above=True)
        self.sign = number("ShiftRecipe", "sign", sign, above=True)
        self.decay = number("ShiftRecipe", "decay", decay)

    @torch.no_grad()
    def begin_(self, matrix: Any, random: torch.Generator) -> None:
        if self.start != "uniform" or matrix.form != "sign_shift":
            return
        for k, (sign, shift) in enumerate(zip(matrix.latents(), matrix.beside(), strict=True)):
            uniform_(sign, -1, 1, random)
            uniform_(shift, matrix.lowest(k), 0, random)

    def of(self, model: nn.Module, matrices: Mapping[int, Any]) -> Rates:
        pairs = [matrix for matrix in matrices.values() if matrix.form == "sign_shift"]
        shifts = [p for matrix in pairs for p in matrix.shifts.parameters()]
        signs = [p for matrix in pairs for p in matrix.base.parameters()]
        latents = [p for matrix in matrices.values() if matrix.form == "latent" for p in matrix.parameters()]
        groups: list[dict[str, Any]] = [
            {"params": shifts, "lr": self.shift},
            {"params": signs, "lr": self.sign},
            {"params": latents, "times": 1.0},
        ]
        return [{**group, "weight_decay": 0.0} for group in groups if group["params"]]

    def penalty(self, training: Training) -> Tensor | None:
        if not self.decay or not self._begun:
            return None
        squares = [
            matrix.value(k, *latents).square().sum()
            for matrix in self._begun.values()
            for k, latents in enumerate(zip(matrix.latents(), matrix.beside(), strict=True))
        ]
        return self.decay / 2 * torch.stack(squares).sum()
