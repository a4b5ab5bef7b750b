"""A tensor as a sum of small Tucker decompositions: block after block, then all in turn, from several starts; a matrix
by its singular values."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from edgenet.structured.svd import truncated_svd

_SWEEPS = 50
_TOLERANCE = 1e-7  # of the error's relative change, at which sweeps end
_STARTS = 3
_STEPS = 200  # of the quasi-Newton polish
_LARGE = 1 << 20  # entries above which there is one start, few sweeps and no polish: seconds, not minutes


def fit(tensor: Tensor, ranks: tuple[int, ...], blocks: int) -> tuple[Tensor, list[Tensor]]:
    """core (blocks, R_1, ..., R_d) and d factors (blocks, size, R_k) of orthonormal columns."""
    if tensor.dim() == 2:
        return _of_matrix(tensor, min(ranks), ranks, blocks)
    best: list[tuple[Tensor, list[Tensor]]] = []
    least = math.inf
    for start in range(_STARTS if blocks > 1 and tensor.numel() <= _LARGE else 1):
        terms = _deflated(tensor, ranks, blocks, start)
        error = _refine(tensor, ranks, terms)
        if error < least:
            best, least = [(core.clone(), list(factors)) for core, factors in terms], error
        if least <= 1e-12 * float(tensor.norm()):
            break
    factors = [torch.stack([factors[k] for _, factors in best]) for k in range(tensor.dim())]
    return torch.stack([core for core, _ in best]), factors


def _of_matrix(tensor: Tensor, rank: int, ranks: tuple[int, ...], blocks: int) -> tuple[Tensor, list[Tensor]]:
    """The nearest, for two modes: blocks of rank R make every matrix of rank ``blocks`` R, of which the nearest is
    known (Eckart and Young 1936). Each takes its share of the singular triplets."""
    u, s, vh = truncated_svd(tensor, min(blocks * rank, *tensor.shape))
    generator = torch.Generator().manual_seed(0)
    core, sides = tensor.new_zeros(blocks, *ranks), list[list[Tensor]]([[], []])
    for z in range(blocks):
        own = slice(z * rank, (z + 1) * rank)
        core[z].diagonal()[: len(s[own])] = s[own]
        for side, vectors, size in zip(sides, (u[:, own], vh[own].mT), ranks, strict=True):
            more = _completed(vectors, size, generator)[:, vectors.shape[1] :]
            side.append(torch.cat([vectors, more], 1))
    return core, [torch.stack(side) for side in sides]


def _deflated(tensor: Tensor, ranks: tuple[int, ...], blocks: int, start: int) -> list[tuple[Tensor, list[Tensor]]]:
    """Blocks fitted one by one to what the ones before have left; later starts begin elsewhere."""
    generator = torch.Generator().manual_seed(start)
    terms, rest = [], tensor
    for _ in range(blocks):
        factors = [truncated_svd(rest.movedim(k, 0).flatten(1), r)[0] for k, r in enumerate(ranks)]
        factors = [_completed(u, r, generator) for u, r in zip(factors, ranks, strict=True)]
        if start:
            noise = [torch.randn(u.shape, generator=generator, dtype=torch.float64).to(u) for u in factors]
            factors = [torch.linalg.qr(u + n)[0] for u, n in zip(factors, noise, strict=True)]
        terms.append(_hooi(rest, ranks, factors, _SWEEPS if blocks == 1 else 3))
        rest = rest - _expanded(*terms[-1])
    return terms


def _completed(u: Tensor, rank: int, generator: torch.Generator) -> Tensor:
    """Orthonormal columns, as many as the rank: an unfolding may be wider than its rank is large."""
    if u.shape[1] == rank:
        return u
    more = torch.randn(u.shape[0], rank - u.shape[1], generator=generator, dtype=torch.float64).to(u)
    return torch.linalg.qr(torch.cat([u, more], 1))[0]


def _refine(tensor: Tensor, ranks: tuple[int, ...], terms: list[tuple[Tensor, list[Tensor]]]) -> float:
    """Alternate over the blocks, each fitted to what all others leave, and polish; the error that remains."""
    whole = sum(_expanded(*term) for term in terms)
    before = float((tensor - whole).norm())
    if len(terms) == 1:
        return before
    for _ in range(_SWEEPS if tensor.numel() <= _LARGE else _SWEEPS // 10):
        for z, (core, factors) in enumerate(terms):
            whole = whole - _expanded(core, factors)
            terms[z] = _hooi(tensor - whole, ranks, factors, 1)
            whole = whole + _expanded(*terms[z])
        error = float((tensor - whole).norm())
        if before - error <= _TOLERANCE * before:
            break
        before = error
    return _polished(tensor, terms) if tensor.numel() <= _LARGE else error


def _polished(tensor: Tensor, terms: list[tuple[Tensor, list[Tensor]]]) -> float:
    """Quasi-Newton steps in all blocks at once: alternation creeps where blocks resemble each other."""
    free = [
        t.detach().clone(memory_format=torch.contiguous_format).requires_grad_()
        for core, factors in terms
        for t in (core, *factors)
    ]
    dims, scale = tensor.dim() + 1, float(tensor.abs().square().sum()) or 1.0
    parts = [free[z * dims : (z + 1) * dims] for z in range(len(terms))]
    optimizer = torch.optim.LBFGS(
        free, max_iter=_STEPS, history_size=20, line_search_fn="strong_wolfe", tolerance_grad=1e-14,
        tolerance_change=1e-16,
    )  # fmt: skip

    def closure() -> Tensor:
        optimizer.zero_grad()
        rest = tensor - sum(_expanded(core, factors) for core, *factors in parts)
        loss = rest.abs().square().sum() / scale
        loss.backward()
        return loss

    with torch.enable_grad():
        optimizer.step(closure)
        loss = closure()
    terms[:] = [(core.detach(), [f.detach() for f in factors]) for core, *factors in parts]
    return math.sqrt(float(loss.detach()) * scale)


def _hooi(tensor: Tensor, ranks: tuple[int, ...], factors: list[Tensor], sweeps: int) -> tuple[Tensor, list[Tensor]]:
    """Higher-order orthogonal iteration: the best subspace of every mode, given those of the others."""
    before = 0.0
    for _ in range(sweeps):
        for k, rank in enumerate(ranks):
            inner = tensor
            for other, factor in enumerate(factors):
                if other != k:
                    inner = _along(inner, factor.mH, other)
            u = truncated_svd(inner.movedim(k, 0).flatten(1), rank)[0]
            if u.shape[1] == rank:  # else the others leave fewer directions than the rank, and all of them are in
                factors = [*factors[:k], u, *factors[k + 1 :]]
        core = tensor
        for k, factor in enumerate(factors):
            core = _along(core, factor.mH, k)
        now = float(core.norm())
        if now - before <= _TOLERANCE * now:
            break
        before = now
    return core, factors


def _along(tensor: Tensor, matrix: Tensor, axis: int) -> Tensor:
    """The matrix times the tensor along one of its axes."""
    return torch.tensordot(matrix, tensor, dims=([1], [axis])).movedim(0, axis)


def _expanded(core: Tensor, factors: list[Tensor]) -> Tensor:
    for k, factor in enumerate(factors):
        core = _along(core, factor, k)
    return core
