"""TensorTrain: a matrix as a chain of small cores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor

from edgenet.errors import RankError
from edgenet.structured.given import checked, clipped
from edgenet.structured.kronecker import rearranged
from edgenet.structured.mode_matrix import ModeMatrix
from edgenet.structured.padding import default_dims, matched_modes, padded
from edgenet.structured.parameters import Factors
from edgenet.structured.svd import double, truncated_svd


class TensorTrain(ModeMatrix):
    """Tensor-train matrix (Novikov, Podoprikhin, Osokin, Vetrov 2015, eq. 3-5).

    W[i, j] = G_1[:, i_1, j_1, :] G_2[:, i_2, j_2, :] ... G_d[:, i_d, j_d, :], with i <-> (i_1, ..., i_d) and
    j <-> (j_1, ..., j_d) in C order, cropped to (m, n).

    Args:
        cores: two or more, (r_{k-1}, m_k, n_k, r_k), with r_0 = r_d = 1.
        shape: (m, n), at most the products of the modes; those by default.

    Raises:
        RankError: if the cores do not form a chain.

    Example:
        >>> matrix = edgenet.structured.TensorTrain.from_dense(torch.randn(64, 1433), rank=4)
        >>> matrix(torch.randn(5, 1433)).shape, matrix.num_parameters() < 64 * 1433 / 20
        (torch.Size([5, 64]), True)
    """

    def __init__(self, cores: Sequence[Tensor], shape: tuple[int, int] | None = None) -> None:
        ends = [1, *(core.shape[-1] for core in cores)]
        chained = all(core.dim() == 4 and core.shape[0] == r for core, r in zip(cores, ends, strict=False))
        if len(cores) < 2 or not chained or ends[-1] != 1:
            raise RankError(
                f"TT cores are two or more of (r, m_k, n_k, r'), each beginning with the rank that the one before ends "
                f"with, and 1 at both ends; got {[tuple(core.shape) for core in cores]}."
            )
        out_modes, in_modes = tuple(c.shape[1] for c in cores), tuple(c.shape[2] for c in cores)
        super().__init__(shape or (math.prod(out_modes), math.prod(in_modes)), out_modes, in_modes)
        self.cores = Factors(cores)

    @property
    def ranks(self) -> tuple[int, ...]:
        """(d - 1) TT ranks between the cores."""
        return tuple(core.shape[3] for core in self._tensors()[:-1])

    terms = ranks

    def links(self, first: int, second: int) -> tuple[int, int, int]:
        ranks = self.ranks
        return 1, ranks[first - 1], ranks[second - 1]

    def _tensors(self) -> tuple[Tensor, ...]:
        return self.cores()

    def pair(self, cut: int) -> tuple[Tensor, Tensor]:
        cores = self._tensors()
        return _merged(cores[:cut])[0].movedim(-1, 0), _merged(cores[cut:])[..., 0]

    def triple(self, first: int, second: int) -> tuple[Tensor, Tensor, Tensor]:
        cores = self._tensors()
        a, g, b = (_merged(part) for part in (cores[:first], cores[first:second], cores[second:]))
        return a.movedim(-1, 1), g.permute(0, 3, 1, 2).unsqueeze(0), b.movedim(-1, 0)

    @classmethod
    def from_dense(
        cls,
        weight: Tensor,
        rank: int | Sequence[int] | None = None,
        out_modes: Sequence[int] | None = None,
        in_modes: Sequence[int] | None = None,
        dims: int | None = None,
        tolerance: float | None = None,
        places: int = 1,
    ) -> Self:
        """TT-SVD (Oseledets 2011): within sqrt(d - 1) of the best of these ranks, and exact at full rank.

        Args:
            weight: (m, n), padded with zeros to the products of the modes.
            rank: one for all cuts, at most what each can use, or a list of d - 1. None: full.
            out_modes, in_modes: d factors whose products are at least m and n. Default: ``padding.suggest_modes``.
            dims: d, where modes are suggested. Default: such that modes are about 16.
            tolerance: in [0, 1): take the smallest ranks whose error is at most ``tolerance`` times ||W||.
            places: of a kernel, whose columns are channels by places: suggested modes keep the places apart, in the
                last core, so that there are two convolutions (``as_convs``). Plans tell it of convolutions.
        """
        weight = checked(weight)
        out_modes, in_modes = matched_modes(tuple(weight.shape), out_modes, in_modes, dims, places)
        ranks = _ranks(out_modes, in_modes, rank)
        if tolerance is not None and not (isinstance(tolerance, int | float) and 0 <= tolerance < 1):
            raise RankError(f"tolerance is a share of the weight's norm, in [0, 1), got {tolerance!r}.")
        sizes = list(zip(out_modes, in_modes, strict=True))
        rest = rearranged(padded(double(weight), math.prod(out_modes), math.prod(in_modes)), sizes)
        spare = 0.0 if tolerance is None else tolerance**2 * float(rest.abs().square().sum()) / (len(sizes) - 1)
        cores, before = [], 1
        for (m, n), rank in zip(sizes, ranks, strict=False):
            rest = rest.reshape(before * m * n, -1)
            u, s, vh = truncated_svd(rest, min(rank, *rest.shape))
            if tolerance is not None:
                lost = float(rest.abs().square().sum()) - s.square().cumsum(0)  # at rank 1, 2, ...
                fine = (lost <= spare).nonzero()
                keep = int(fine[0]) + 1 if len(fine) else len(s)
                u, s, vh = u[:, :keep], s[:keep], vh[:keep]
            cores.append(u.reshape(before, m, n, -1))
            rest, before = s[:, None].to(vh.dtype) * vh, len(s)
        cores.append(rest.reshape(before, *sizes[-1], 1))
        matrix = cls(cores, tuple(weight.shape))
        matrix._spread()  # before the cast: one core holds the size of the whole weight until then
        return matrix._apply(lambda t: t.to(weight.dtype))

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        shape = tuple(config["shape"])
        known = ("out_modes", "in_modes", "dims", "places")
        out_modes, in_modes = matched_modes(shape, **{key: config[key] for key in known if key in config})
        ranks = [1, *_ranks(out_modes, in_modes, config.get("rank")), 1]
        modes = zip(ranks, out_modes, in_modes, ranks[1:], strict=False)
        return cls([torch.zeros(size) for size in modes], shape)

    def config(self) -> dict[str, Any]:
        return {**self._modes(), "rank": list(self.ranks)}

    @torch.no_grad()
    def draw_(self, std: float) -> None:
        """Cores of random orthonormal columns: products of plain normal ones have heavy tails."""
        for core in self._tensors():
            core.normal_()
            flat = core.flatten(0, 2)
            if flat.shape[0] >= flat.shape[1] > 1:
                wide = torch.float32 if core.dtype in (torch.float16, torch.bfloat16) else core.dtype
                core.copy_(torch.linalg.qr(flat.to(wide))[0].view(core.shape))
        self._spread(std)

    @classmethod
    def ladder(cls, shape: tuple[int, int]) -> list[dict[str, Any]]:
        return cls.ladder_for(shape, 1)

    @classmethod
    def ladder_for(cls, shape: tuple[int, int], places: int) -> list[dict[str, Any]]:
        wide = shape[0], shape[1] // places
        if min(wide) < 2:
            return []
        apart = places > 1
        rungs = {}
        for dims in sorted({2, default_dims(wide) + apart}):
            modes = matched_modes(shape, dims=dims, places=places)
            full = max(_ranks(*modes, None))
            for rank in (r for r in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64) if r <= full):
                ends = [1, *(min(rank, r) for r in _ranks(*modes, None)), 1]
                size = sum(a * m * n * b for a, m, n, b in zip(ends, *modes, ends[1:], strict=False))
                if size < shape[0] * shape[1]:
                    rungs.setdefault(size, {"dims": dims, "rank": rank, **({"places": places} if apart else {})})
        sizes = sorted(rungs)
        step = max(1, math.ceil(len(sizes) / 12))
        return [rungs[size] for size in sizes[::-1][::step]][::-1]


def _ranks(out_modes: Sequence[int], in_modes: Sequence[int], rank: int | Sequence[int] | None) -> list[int]:
    """(d - 1) ranks: those asked for, at most what a cut can use."""
    sizes = [m * n for m, n in zip(out_modes, in_modes, strict=True)]
    useful = [min(math.prod(sizes[:cut]), math.prod(sizes[cut:])) for cut in range(1, len(sizes))]
    if rank is None:
        return useful
    if isinstance(rank, str) or not isinstance(rank, Sequence):  # one for all: short cuts take less without a word
        most = max(useful)
        rank = clipped(rank, most, "a TT rank")
        return [min(rank, most) for most in useful]
    if len(rank) == len(sizes) + 1 and rank[0] == rank[-1] == 1:  # with the ends, as other libraries write them
        rank = rank[1:-1]
    if len(rank) != len(useful):
        raise RankError(f"{len(sizes)} modes have {len(useful)} TT ranks between them, got {list(rank)}.")
    return [
        clipped(r, most, f"TT rank {k} of {len(useful)},")
        for k, (r, most) in enumerate(zip(rank, useful, strict=True), 1)
    ]


def _merged(cores: Sequence[Tensor]) -> Tensor:
    """(r, M, N, r') product of neighbouring cores."""
    merged = cores[0]
    for core in cores[1:]:
        (a, m, n, _), (_, p, q, b) = merged.shape, core.shape
        merged = torch.einsum("amnr,rpqb->ampnqb", merged, core).reshape(a, m * p, n * q, b)
    return merged
