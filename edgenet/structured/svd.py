"""Singular values and vectors, of which only the leading ones are wanted."""

from __future__ import annotations

import torch
from torch import Tensor


def double(weight: Tensor) -> Tensor:
    """The weight in double precision: decompositions of float32 lose digits that fits need, and half has none."""
    return weight.to(torch.complex128 if weight.is_complex() else torch.float64)


def truncated_svd(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    """The ``rank`` leading singular triplets; of a very long matrix through the Gram matrix of its short side.

    (The Gram matrix loses half of the digits of small singular values: 1e-8 of the largest, in float64.)
    """
    p, q = matrix.shape
    if max(p, q) < 32 * min(p, q) or matrix.numel() < 1 << 22:
        u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
        return u[:, :rank], s[:rank], vh[:rank]
    if p > q:
        v, s, uh = truncated_svd(matrix.mH, rank)
        return uh.mH, s, v.mH
    values, vectors = torch.linalg.eigh(matrix @ matrix.mH)
    s, u = values.clamp_min(0).sqrt().flip(0)[:rank], vectors.flip(1)[:, :rank]
    return u, s, (u.mH @ matrix) / s.clamp_min(torch.finfo(s.dtype).tiny)[:, None]
