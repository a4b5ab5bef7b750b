"""BinaryRecipe: the callback with which binary networks train."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from edgenet.compress.arguments import number
from edgenet.compress.rates import Rates
from edgenet.compress.recipe import Recipe, uniform_
from edgenet.errors import PlanError
from edgenet.structured import Binary, StructuredConv


class BinaryRecipe(Recipe):
    """Train ``Binary`` matrices as binarised neural networks are (Courbariaux et al. 2016): latents in [-1, 1], clipped
    after every step, at a learning rate of their own.

    A latent changes its sign after a way of its own size, so the rate has to fit that size. Without a scale
    (``per="none"``) latents fill [-1, 1] whatever the layer, and "glorot" multiplies the optimizer's rate by
    1 / sqrt(1.5 / (fan in + fan out)), 25 for a layer of 784 to 128; a convolution counts the places of its kernel.
    Latents of matrices with a scale, which follows them, have the size of weights and keep the optimizer's rate.
    These rates suit optimizers that scale their steps, as Adam does. Plain SGD wants an ``lr`` of 1 or more with them.

    Batch norms before the signs of activations, ``edgenet.nn.Sign``, and loss="squared_hinge" or the cross-entropy
    complete the recipe. Latents that are clipped, and their rates, are in the checkpoints of ``edgenet.fit``.

    Args:
        rate: "glorot", or a factor of the optimizer's rate for all matrices.
        start: of latents without a scale, when their matrix is found. "stretch": largest magnitude 1, the signs stay;
            torch's own initial weights become uniform in [-1, 1] so. "uniform": drawn anew from [-1, 1]. "keep": as
            they are.
        clip: to [-1, 1] after every step.
        pattern: of the paths of the matrices (``fc.weight``), for ``re.match``; a tied one has several.

    Raises:
        PlanError: if an argument is out of range; and where there is no such matrix, see ``Recipe``.

    Example:
        >>> rule = edgenet.compress.BinaryRecipe()  # for fit(..., callbacks=[rule])
    """

    family = Binary
    starts = ("stretch", "uniform", "keep")

    def __init__(
        self, rate: str | float = "glorot", start: str = "stretch", clip: bool = True, pattern: str = ".*"
    ) -> None:
        super().__init__(start, clip, pattern)
        if isinstance(rate, str) and rate != "glorot":
            raise PlanError(f"BinaryRecipe: rate is 'glorot' or a factor of the optimizer's rate, got {rate!r}.")
        self.rate = rate if isinstance(rate, str) else number("BinaryRecipe", "rate", rate, above=True)

    @torch.no_grad()
    def begin_(self, matrix: Any, random: torch.Generator) -> None:
        if matrix.per != "none":
            return
        for latent in matrix.latents():
            if self.start == "uniform":
                uniform_(latent, -1, 1, random)
            elif self.start == "stretch" and latent.numel():
                most = latent.abs().max()
                latent.div_(torch.where(most > 0, most, 1))

    def of(self, model: nn.Module, matrices: Mapping[int, Any]) -> Rates:
        places = self._places(model)
        groups: dict[float, list[Any]] = {}
        for identity, matrix in matrices.items():
            groups.setdefault(self.times(matrix, places.get(identity, 1)), []).extend(matrix.parameters())
        return [{"params": own, "times": times} for times, own in groups.items() if times != 1]

    def times(self, matrix: Binary, places: int = 1) -> float:
        """The factor of the optimizer's rate for a matrix, of a kernel with so many places."""
        if isinstance(self.rate, float):
            return self.rate
        if matrix.per != "none":
            return 1.0
        out, fan_in = matrix.shape
        return 1 / math.sqrt(1.5 / max(1, fan_in + out * places))

    def _places(self, model: nn.Module) -> dict[int, int]:
        """Of matrices inside convolutions, by identity."""
        convs = (module for module in model.modules() if isinstance(module, StructuredConv))
        return {id(part): conv.places for conv in convs for part in conv.weight.modules()}
