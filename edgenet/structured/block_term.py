"""BlockTerm: a sum of small Tucker decompositions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor

from edgenet.errors import RankError
from edgenet.structured.base import checked, clipped
from edgenet.structured.kronecker import rearranged
from edgenet.structured.mode_matrix import ModeMatrix
from edgenet.structured.padding import matched_modes, padded
from edgenet.structured.parameters import Factors, parameter
from edgenet.structured.svd import double, truncated_svd

_SWEEPS = 50
_TOLERANCE = 1e-7  # of the error's relative change, at which sweeps end
_STARTS = 3
_STEPS = 200  # of the quasi-Newton polish
_LARGE = 1 << 20  # entries above which there is one start, few sweeps and no polish: seconds, not minutes


class BlockTerm(ModeMatrix):
    """Block-term matrix (Ye et al. 2018, eq. 3): W = sum over blocks z of core_z x_1 A_{z,1} x_2 ... x_d A_{z,d}.

    W[i, j] = sum over z, s_1..s_d of core_z[s_1, ..., s_d] A_{z,1}[i_1, j_1, s_1] ... A_{z,d}[i_d, j_d, s_d], with
    indices split in C order and cropped to (m, n). One block is a Tucker decomposition; rank 1 is a sum of Kronecker
    products.

    Args:
        core: (blocks, R_1, ..., R_d).
        factors: d >= 2 of (blocks, m_k, n_k, R_k).
        shape: (m, n), at most the products of the modes; those by default.

    Raises:
        RankError: if core and factors do not fit.
    """

    iterates = True

    def __init__(self, core: Tensor, factors: Sequence[Tensor], shape: tuple[int, int] | None = None) -> None:
        fits = core.dim() == len(factors) + 1 >= 3 and all(
            f.dim() == 4 and (f.shape[0], f.shape[3]) == (core.shape[0], r)
            for f, r in zip(factors, core.shape[1:], strict=False)
        )
        if not fits:
            raise RankError(
                f"a block-term core is (blocks, R_1, ..., R_d) with d >= 2, and its d factors (blocks, m_k, n_k, R_k); "
                f"got {tuple(core.shape)} and {[tuple(f.shape) for f in factors]}."
            )
        out_modes, in_modes = tuple(f.shape[1] for f in factors), tuple(f.shape[2] for f in factors)
        super().__init__(shape or (math.prod(out_modes), math.prod(in_modes)), out_modes, in_modes)
        self.core = parameter(core)
        self.factors = Factors(factors)

    @property
    def blocks(self) -> int:
        return self.core.shape[0]

    @property
    def terms(self) -> tuple[int, ...]:
        sides = self.core.shape[1:]
        cuts = range(1, len(sides))
        return tuple(self.blocks * min(math.prod(sides[:cut]), math.prod(sides[cut:])) for cut in cuts)

    def links(self, first: int, second: int) -> tuple[int, int, int]:
        sides = self.core.shape[1:]
        return self.blocks, math.prod(sides[:first]), math.prod(sides[second:])

    def _tensors(self) -> tuple[Tensor, ...]:
        return self.core, *self.factors()

    def pair(self, cut: int) -> tuple[Tensor, Tensor]:
        core, *factors = self._tensors()
        left, right = _merged(factors[:cut]), _merged(factors[cut:])  # (blocks, R, M, N)
        core = core.reshape(self.blocks, left.shape[1], right.shape[1])
        if left.shape[1] <= right.shape[1]:
            right = torch.einsum("zlr,zrmn->zlmn", core, right)
        else:
            left = torch.einsum("zlr,zlmn->zrmn", core, left)
        return left.flatten(0, 1), right.flatten(0, 1)

    def triple(self, first: int, second: int) -> tuple[Tensor, Tensor, Tensor]:
        core, *factors = self._tensors()
        a, g, b = (_merged(part) for part in (factors[:first], factors[first:second], factors[second:]))
        core = core.reshape(self.blocks, a.shape[1], g.shape[1], b.shape[1])
        return a, torch.einsum("zlgr,zgmn->zlrmn", core, g), b

    @classmethod
    def from_dense(
        cls,
        weight: Tensor,
        blocks: int = 1,
        rank: int | None = None,
        out_modes: Sequence[int] | None = None,
        in_modes: Sequence[int] | None = None,
        dims: int | None = None,
    ) -> Self:
        """A good member, by an iteration: one block by HOOI (De Lathauwer et al. 2000); more by fitting block after
        block to what is left, and then alternating over the blocks, from several starts. No start is sure to
        end in the nearest; one block of full rank is exact.

        Args:
            weight: (m, n), padded with zeros to the products of the modes.
            blocks: N.
            rank: Tucker rank R of every mode, at most m_k n_k each. None: full.
            out_modes, in_modes, dims: as of ``TensorTrain.from_dense``.
        """
        weight = checked(weight)
        modes = {"out_modes": out_modes, "in_modes": in_modes, "dims": dims}
        matrix = cls._empty_like(double(weight), blocks=blocks, rank=rank, **modes)
        sizes = list(zip(matrix.out_modes, matrix.in_modes, strict=True))
        tensor = padded(double(weight), math.prod(matrix.out_modes), math.prod(matrix.in_modes))
        core, factors = _fit(rearranged(tensor, sizes), tuple(matrix.core.shape[1:]), matrix.blocks)
        with torch.no_grad():
            matrix.core.copy_(core)
            for own, found, (m, n) in zip(matrix.factors, factors, sizes, strict=True):
                own.copy_(found.view(matrix.blocks, m, n, -1))
        matrix._spread()  # before the cast: the core holds the size of the whole weight until then
        return matrix._apply(lambda t: t.to(weight.dtype))

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        shape = tuple(config["shape"])
        out_modes, in_modes = matched_modes(shape, config.get("out_modes"), config.get("in_modes"), config.get("dims"))
        sizes = [m * n for m, n in zip(out_modes, in_modes, strict=True)]
        rank, blocks = config.get("rank"), config.get("blocks", 1)
        rank = max(sizes) if rank is None else clipped(rank, max(sizes), "the Tucker rank of a block")
        # so many blocks of rank one make every matrix
        blocks = clipped(blocks, math.prod(sizes) // max(sizes), "the blocks of a block-term matrix")
        ranks = [min(rank, size) for size in sizes]
        factors = [torch.zeros(blocks, m, n, r) for m, n, r in zip(out_modes, in_modes, ranks, strict=True)]
        return cls(torch.zeros(blocks, *ranks), factors, shape)

    def config(self) -> dict[str, Any]:
        return {**self._modes(), "blocks": self.blocks, "rank": max(self.core.shape[1:])}

    @torch.no_grad()
    def draw_(self, std: float) -> None:
        for tensor in self._tensors():
            tensor.normal_()
        self._spread(std)

    @classmethod
    def ladder(cls, shape: tuple[int, int]) -> list[dict[str, Any]]:
        if min(shape) < 2:
            return []
        sizes = [m * n for m, n in zip(*matched_modes(shape, dims=2), strict=True)]
        rungs = []
        for blocks, rank in ((1, 1), (1, 2), (2, 2), (1, 4), (2, 4), (4, 4), (2, 8), (4, 8), (8, 8), (4, 16), (8, 16)):
            ranks = [min(rank, size) for size in sizes]
            count = blocks * (math.prod(ranks) + sum(s * r for s, r in zip(sizes, ranks, strict=True)))
            if rank <= max(sizes) and blocks <= min(sizes) and count < shape[0] * shape[1]:
                rungs.append((count, {"dims": 2, "blocks": blocks, "rank": rank}))
        return [options for _, options in sorted(rungs, key=lambda rung: rung[0])]


def _merged(factors: Sequence[Tensor]) -> Tensor:
    """(blocks, R, M, N) Kronecker products of neighbouring factors (blocks, m, n, r), for every choice of ranks."""
    merged = factors[0].movedim(-1, 1)
    for factor in factors[1:]:
        (z, r, m, n), (_, p, q, s) = merged.shape, factor.shape
        merged = torch.einsum("zrmn,zpqs->zrsmpnq", merged, factor).reshape(z, r * s, m * p, n * q)
    return merged


# --- fitting ----------------------------------------------------------------------------------------------------------
def _fit(tensor: Tensor, ranks: tuple[int, ...], blocks: int) -> tuple[Tensor, list[Tensor]]:
    """core (blocks, R_1, ..., R_d) and d factors (blocks, size, R_k) of orthonormal columns."""
    best, least = None, math.inf
    for start in range(_STARTS if blocks > 1 and tensor.numel() <= _LARGE else 1):
        terms = _deflated(tensor, ranks, blocks, start)
        error = _refine(tensor, ranks, terms)
        if error < least:
            best, least = [(core.clone(), list(factors)) for core, factors in terms], error
        if least <= 1e-12 * float(tensor.norm()):
            break
    factors = [torch.stack([factors[k] for _, factors in best]) for k in range(tensor.dim())]
    return torch.stack([core for core, _ in best]), factors


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
