"""BlockTerm: a sum of small Tucker decompositions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor

from edgenet.errors import RankError
from edgenet.structured.block_term_fit import fit
from edgenet.structured.given import checked, clipped
from edgenet.structured.kronecker import rearranged
from edgenet.structured.mode_matrix import ModeMatrix
from edgenet.structured.padding import matched_modes, padded
from edgenet.structured.parameters import Factors, parameter
from edgenet.structured.svd import double


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

    Example:
        >>> matrix = edgenet.structured.BlockTerm.random((16, 24), blocks=2, rank=2)
        >>> matrix(torch.randn(5, 24)).shape
        torch.Size([5, 16])
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
        places: int = 1,
    ) -> Self:
        """Of two modes the nearest, from singular values. Of more a good member, by an iteration: one block by HOOI (De
        Lathauwer et al. 2000); more by fitting block after block to what is left, and then alternating over the
        blocks, from several starts. No start is sure to end in the nearest; one block of full rank is exact.

        Args:
            weight: (m, n), padded with zeros to the products of the modes.
            blocks: N.
            rank: Tucker rank R of every mode, at most m_k n_k each. None: full.
            out_modes, in_modes, dims, places: as of ``TensorTrain.from_dense``.
        """
        weight = checked(weight)
        modes = {"out_modes": out_modes, "in_modes": in_modes, "dims": dims, "places": places}
        matrix = cls._empty_like(double(weight), blocks=blocks, rank=rank, **modes)
        sizes = list(zip(matrix.out_modes, matrix.in_modes, strict=True))
        tensor = padded(double(weight), math.prod(matrix.out_modes), math.prod(matrix.in_modes))
        core, factors = fit(rearranged(tensor, sizes), tuple(matrix.core.shape[1:]), matrix.blocks)
        with torch.no_grad():
            matrix.core.copy_(core)
            for own, found, (m, n) in zip(matrix.factors, factors, sizes, strict=True):
                own.copy_(found.view(matrix.blocks, m, n, -1))
        matrix._spread()  # before the cast: the core holds the size of the whole weight until then
        return matrix._apply(lambda t: t.to(weight.dtype))

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        shape = tuple(config["shape"])
        known = ("out_modes", "in_modes", "dims", "places")
        out_modes, in_modes = matched_modes(shape, **{key: config[key] for key in known if key in config})
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
        return cls.ladder_for(shape, 1)

    @classmethod
    def ladder_for(cls, shape: tuple[int, int], places: int) -> list[dict[str, Any]]:
        if min(shape[0], shape[1] // places) < 2:
            return []
        layout = {"dims": 2} if places == 1 else {"dims": 3, "places": places}
        sizes = [m * n for m, n in zip(*matched_modes(shape, **layout), strict=True)]
        rungs = []
        for blocks, rank in ((1, 1), (1, 2), (2, 2), (1, 4), (2, 4), (4, 4), (2, 8), (4, 8), (8, 8), (4, 16), (8, 16)):
            ranks = [min(rank, size) for size in sizes]
            count = blocks * (math.prod(ranks) + sum(s * r for s, r in zip(sizes, ranks, strict=True)))
            if rank <= max(sizes) and blocks <= min(sizes) and count < shape[0] * shape[1]:
                rungs.append((count, {**layout, "blocks": blocks, "rank": rank}))
        return [options for _, options in sorted(rungs, key=lambda rung: rung[0])]


def _merged(factors: Sequence[Tensor]) -> Tensor:
    """(blocks, R, M, N) Kronecker products of neighbouring factors (blocks, m, n, r), for every choice of ranks."""
    merged = factors[0].movedim(-1, 1)
    for factor in factors[1:]:
        (z, r, m, n), (_, p, q, s) = merged.shape, factor.shape
        merged = torch.einsum("zrmn,zpqs->zrsmpnq", merged, factor).reshape(z, r * s, m * p, n * q)
    return merged
