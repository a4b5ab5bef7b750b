"""Density: the share of a matrix's entries that are kept, and which ones they are."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from edgenet.errors import RankError


def number_of(shape: tuple[int, int], density: float) -> int:
    """How many entries of an (m, n) matrix a density keeps: the nearest number, and at least one.

    Raises:
        RankError: if the density is not in (0, 1].
    """
    real = isinstance(density, int | float) and not isinstance(density, bool)
    if not real or not 0 < density <= 1:
        raise RankError(f"a density is a share of entries in (0, 1], got {density!r}.")
    entries = math.prod(shape)
    return min(entries, max(1, round(density * entries)))


def largest(weight: Tensor, number: int) -> Tensor:
    """(m, n) mask of the entries of largest magnitude, exactly so many; among equal ones any."""
    mask = torch.zeros(weight.numel(), dtype=torch.bool, device=weight.device)
    mask[weight.abs().flatten().topk(number, sorted=False).indices] = True
    return mask.view(weight.shape)
