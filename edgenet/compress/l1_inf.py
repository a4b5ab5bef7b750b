"""L1Inf: the penalty on the largest magnitudes of groups of weights."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from edgenet.compress.groups import Groups
from edgenet.compress.proximal import Proximal


class L1Inf(Proximal):
    """Sum of largest magnitudes, the l1,inf norm: the largest entries of a group are cut to a common magnitude, and the
    group is zero once the amount exceeds the sum of its magnitudes. The penalty of ``estimators.QuantilePath``.

    Example:
        >>> rule = edgenet.compress.L1Inf({r".*taps.*weight": ("columns", 3)}, penalty=0.01)  # hops of linear taps
    """

    def __init__(
        self,
        groups: Mapping[str, str | tuple[str, int] | Groups],
        penalty: float,
        by_size: bool = False,
        start: int = 0,
    ) -> None:
        super().__init__(groups, penalty, by_size, start)

    def prox(self, flat: Tensor, amount: float, scale: Tensor | None = None) -> Tensor:
        # v cut at the magnitude t where sum_i d_i (|v_i| - t)_+ = amount
        magnitude = flat.abs()
        falling, order = magnitude.sort(1, descending=True)
        weight = torch.ones_like(magnitude) if scale is None else scale.gather(1, order)
        excess = ((weight * falling).cumsum(1) - amount) / weight.cumsum(1)
        cut = excess.amax(1, keepdim=True).clamp(min=0)
        return torch.where(magnitude > cut, flat * (cut / magnitude), flat)

    def norm(self, flat: Tensor) -> Tensor:
        return torch.linalg.vector_norm(flat, ord=math.inf, dim=1)
