"""GroupLasso: the penalty on the lengths of groups of weights."""

from __future__ import annotations

import torch
from torch import Tensor

from edgenet.compress.proximal import Proximal

_NEWTON = 12  # steps, of which the last ones change nothing


class GroupLasso(Proximal):
    """Sum of Euclidean norms (Yuan and Lin 2006): every group is shortened by the same amount, or set to zero.

    Of the functions of ``phi.Additive`` it is the functional soft threshold of sparse additive models.

    Example:
        >>> rule = edgenet.compress.GroupLasso({r".*phi.*coefficients": "functions"}, penalty=0.03)
    """

    def prox(self, flat: Tensor, amount: float, scale: Tensor | None = None) -> Tensor:
        if scale is None:
            size = self.norm(flat).unsqueeze(1)
            return torch.where(size <= amount, 0, flat * (1 - amount / size))  # NaN stays NaN
        # x_i = v_i r / (r + amount / d_i) with r = ||x||: the root of ||v / (r + amount / d)|| = 1. Its inverse is
        # concave in r, so that Newton's method from 0 comes from the left and never oversteps
        left, r = amount / scale, flat.new_zeros(len(flat), 1)
        stays = ~(self.norm(flat * scale).unsqueeze(1) <= amount)  # NaN stays NaN
        for _ in range(_NEWTON if amount else 0):
            terms = flat.square() / (r + left) ** 2
            size = terms.sum(1, keepdim=True).sqrt()
            slope = (terms / (r + left)).sum(1, keepdim=True) / size  # of -size
            r = torch.where(stays, r + (size - 1) * size / slope, 0)
        return torch.where(stays, flat * (r / (r + left)), 0) if amount else flat

    def norm(self, flat: Tensor) -> Tensor:
        return torch.linalg.vector_norm(flat, dim=1)
