"""Singular values and vectors, of which only the leading ones are wanted."""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse.linalg import svds
from torch import Tensor

_SMALL = 1 << 18  # entries of a matrix that is decomposed whole
_FEW = 8  # triplets up to which iterations are faster than a decomposition


def double(weight: Tensor) -> Tensor:
    """The weight in double precision: decompositions of float32 lose digits that fits need, and half has none."""
    return weight.to(torch.complex128 if weight.is_complex() else torch.float64)


def truncated_svd(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    """The ``rank`` leading singular triplets u (p, r), s (r,), vh (r, q) of a (p, q) matrix in double precision.

    Large matrices are not decomposed whole where little of them is wanted: a few triplets come from Lanczos iterations,
    more, or those of a very long matrix, from the Gram matrix of the short side. (That loses half of the digits of
    small singular values: they are good to 1e-8 of the largest.)
    """
    short, long = sorted(matrix.shape)
    if short * long < _SMALL or (rank * 4 > short and long < 32 * short):
        u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
        return u[:, :rank], s[:rank], vh[:rank]
    if rank <= _FEW < short:
        return _lanczos(matrix, rank)
    if matrix.shape[0] > short:
        v, s, uh = truncated_svd(matrix.mH, rank)
        return uh.mH, s, v.mH
    values, vectors = torch.linalg.eigh(matrix @ matrix.mH)
    s, u = values.clamp_min(0).sqrt().flip(0)[:rank], vectors.flip(1)[:, :rank]
    return u, s, (u.mH @ matrix) / s.clamp_min(torch.finfo(s.dtype).tiny)[:, None]


def _lanczos(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    if not matrix.any():  # which ARPACK takes for a failure
        u = torch.eye(matrix.shape[0], rank, dtype=matrix.dtype, device=matrix.device)
        vh = torch.eye(rank, matrix.shape[1], dtype=matrix.dtype, device=matrix.device)
        return u, matrix.real.new_zeros(rank), vh
    start = np.random.default_rng(0).standard_normal(min(matrix.shape))
    u, s, vh = svds(matrix.detach().cpu().numpy(), k=rank, v0=start)
    order = s.argsort()[::-1]
    return tuple(torch.from_numpy(part.copy()).to(matrix.device) for part in (u[:, order], s[order], vh[order]))
