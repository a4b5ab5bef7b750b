"""Binary: one bit a number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from edgenet.structured.base import StructuredMatrix
from edgenet.structured.families import Structure
from edgenet.structured.quantised import Quantised, largest, straight


class Binary(Quantised):
    """value = alpha sign(w) with sign(0) = +1: the weights of binarised networks (Courbariaux et al. 2016), alpha = 1,
    and of XNOR-Net (Rastegari et al. 2016), alpha = mean |w|.

    With alpha the gradient is that of alpha sign(w), in which sign has the gradient 1; so alpha learns too.

    Args:
        base: see ``Quantised``.
        per: "row" or "tensor", what a mean is taken over; "none" for alpha = 1.
        stochastic: while it trains, +1 has the probability clip((w + 1) / 2, 0, 1), drawn at every call. In ``eval``
            mode and packed it is the sign.
        gate: let no gradient to latents with |w| > 1. After every step of an optimizer ``clip_`` brings those back
            that have left: a gated one gets no gradient that could.

    Example:
        >>> signs = edgenet.structured.Binary(edgenet.structured.Dense(torch.tensor([[0.5, -1.5]])))
        >>> signs.to_dense().tolist()  # the mean of the magnitudes, with signs
        [[1.0, -1.0]]
    """

    widest: ClassVar[tuple[int, int]] = (1, 1)
    scales: ClassVar[tuple[str, ...]] = ("row", "tensor", "none")

    def __init__(self, base: StructuredMatrix, per: str = "row", stochastic: bool = False, gate: bool = True) -> None:
        super().__init__(base, 1, per)
        self.stochastic, self.gate = bool(stochastic), bool(gate)

    @classmethod
    def from_dense(
        cls,
        weight: Tensor,
        base: Mapping[str, Any] | Structure | None = None,
        per: str = "row",
        stochastic: bool = False,
        gate: bool = True,
    ) -> Self:
        """The base is fitted, and its numbers become signs. The nearest one where the base is dense and has a scale.

        Args:
            weight: (m, n).
            base: {"structure": name, **options}, or what makes a structured matrix of a weight. Default: dense.
            per, stochastic, gate: as above.
        """
        return cls._of(weight, base, per=per, stochastic=stochastic, gate=gate)

    def _options(self) -> dict[str, Any]:
        return {"per": self.per, "stochastic": self.stochastic, "gate": self.gate}

    def levels(self, k: int) -> Tensor:
        return torch.tensor([-1.0, 1.0], dtype=torch.float64)

    def encode(self, k: int, latent: Tensor, beside: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return (latent.detach() >= 0).long(), self._alpha(latent.detach())

    def value(self, k: int, latent: Tensor, beside: Tensor | None = None) -> Tensor:
        sign = signs(latent.detach(), drawn=self.stochastic and self.training)
        return straight(sign, latent.clamp(-1, 1) if self.gate else latent) * self._alpha(latent)

    def _alpha(self, latent: Tensor) -> Tensor:
        """mean |w|, differentiable, in float64 until it is stored."""
        axes = self.axes(latent)
        if self.per == "none" or latent.numel() == 0:
            return torch.ones_like(largest(latent, axes)).to(latent.dtype)
        # of what is scaled to 1, whose sum overflows in no dtype
        most = largest(latent, axes)
        return (
            (latent.double().abs() / torch.where(most > 0, most, 1.0))
            .mean(axes, keepdim=True)
            .mul(most)
            .to(latent.dtype)
        )

    @torch.no_grad()
    def draw_(self, std: float) -> None:
        """Latents of that variance; without a scale uniform from -1 to 1, whatever ``std`` is."""
        super().draw_(std)
        if self.per == "none":
            for latent in self.latents():
                latent.uniform_(-1, 1)

    @torch.no_grad()
    def clip_(self) -> None:
        """To [-1, 1]."""
        for latent in self.latents():
            latent.clamp_(-1, 1)


def signs(x: Tensor, drawn: bool = False) -> Tensor:
    """+1 where x >= 0, -0 too, else -1; or drawn, +1 with the probability clip((x + 1) / 2, 0, 1). In the dtype of x,
    without a gradient."""
    x = x.detach()
    up = torch.rand_like(x) < (x + 1) / 2 if drawn else x >= 0
    return torch.where(up, 1.0, -1.0).to(x.dtype)
