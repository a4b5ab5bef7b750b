"""Singular values and vectors, of which only the leading ones are wanted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from scipy.sparse.linalg import svds
from torch import Tensor

_SMALL = 1 << 18  # entries of a matrix that is decomposed whole
_FEW = 8  # triplets up to which iterations are faster than a decomposition
_WIDE = 2048  # the short side up to which all triplets take seconds
_HELD = 8  # matrices whose triplets are kept: fits that iterate decompose hundreds

Triplets = tuple[Tensor, Tensor, Tensor]
_KEPT: list[tuple[Tensor, Triplets]] | None = None  # (matrix, all its triplets), inside of ``shared_svd``


def double(weight: Tensor) -> Tensor:
    """The weight in double precision: decompositions of float32 lose digits that fits need, and half has none."""
    return weight.to(torch.complex128 if weight.is_complex() else torch.float64)


@contextmanager
def shared_svd() -> Iterator[None]:
    """Inside, a large matrix is decomposed once, for all ranks that are asked for: a search fits many sizes of many
    families to one weight. Some are kept, the latest ones, and let go at the end. Not for several threads at once."""
    global _KEPT
    before, _KEPT = _KEPT, []
    try:
        yield
    finally:
        _KEPT = before


def truncated_svd(matrix: Tensor, rank: int) -> Triplets:
    """The ``rank`` leading singular triplets u (p, r), s (r,), vh (r, q) of a (p, q) matrix in double precision.

    Large matrices come from Lanczos iterations where a few triplets are wanted, else from the Gram matrix of the short
    side. (That loses half of the digits of small singular values: they are good to 1e-8 of the largest. The spaces that
    singular vectors span are orthogonal to rounding, and products u (u^H W) exact.)
    """
    short, long = sorted(matrix.shape)
    if short * long < _SMALL:
        u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
        return u[:, :rank], s[:rank], vh[:rank]
    if _KEPT is not None and short <= _WIDE:
        u, s, vh = _all_of(matrix, _KEPT)
        return u[:, :rank], s[:rank], vh[:rank]
    if rank <= _FEW < short:
        return _lanczos(matrix, rank)
    return _by_gram(matrix, rank)


def _all_of(matrix: Tensor, kept: list[tuple[Tensor, Triplets]]) -> Triplets:
    for place, (known, _) in enumerate(kept):
        if known.shape == matrix.shape and known.dtype == matrix.dtype and torch.equal(known, matrix):
            kept.append(kept.pop(place))
            break
    else:
        kept.append((matrix.clone(), _by_gram(matrix, min(matrix.shape))))
        del kept[:-_HELD]
    return kept[-1][1]


def _by_gram(matrix: Tensor, rank: int) -> Triplets:
    short = min(matrix.shape)
    if matrix.shape[0] > short:
        v, s, uh = _by_gram(matrix.mH, rank)
        return uh.mH, s, v.mH
    u = torch.linalg.eigh(matrix @ matrix.mH)[1].flip(1)[:, :rank]
    scaled = u.mH @ matrix
    s = scaled.norm(dim=1)  # roots of eigenvalues may be 0 where this is not, and the quotient would overflow
    return u, s, scaled / s.clamp_min(torch.finfo(s.dtype).tiny)[:, None]


def _lanczos(matrix: Tensor, rank: int) -> Triplets:
    if not matrix.any():  # which ARPACK takes for a failure
        u = torch.eye(matrix.shape[0], rank, dtype=matrix.dtype, device=matrix.device)
        vh = torch.eye(rank, matrix.shape[1], dtype=matrix.dtype, device=matrix.device)
        return u, matrix.real.new_zeros(rank), vh
    start = np.random.default_rng(0).standard_normal(min(matrix.shape))
    u, s, vh = svds(matrix.detach().cpu().numpy(), k=rank, v0=start)
    order = s.argsort()[::-1]
    return tuple(torch.from_numpy(part.copy()).to(matrix.device) for part in (u[:, order], s[order], vh[order]))
