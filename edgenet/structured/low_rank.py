"""LowRank: a product of a tall and a wide matrix."""

from __future__ import annotations

import math
from typing import Any, Self

import torch
from torch import Tensor

from edgenet import ops
from edgenet.errors import RankError
from edgenet.structured.base import StructuredMatrix
from edgenet.structured.convs import Convs, Steps
from edgenet.structured.given import checked, clipped
from edgenet.structured.parameters import parameter, replace_, taken
from edgenet.structured.svd import double, truncated_svd


class LowRank(StructuredMatrix):
    """W = L R with L (m, r) and R (r, n): low-rank matrix factorisation, LMF. The strongest plain baseline.

    x W^T = (x R^T) L^T takes r (m + n) multiply-adds a row. The nearest member is the truncated singular value
    decomposition (Eckart and Young 1936).

    Args:
        left: (m, r).
        right: (r, n).

    Raises:
        RankError: if the two have not one rank.

    Example:
        >>> matrix = edgenet.structured.LowRank.from_dense(torch.ones(8, 3), rank=1)  # the SVD
        >>> matrix(x).shape, matrix.num_parameters()
        (torch.Size([4, 8]), 11)
    """

    def __init__(self, left: Tensor, right: Tensor) -> None:
        super().__init__()
        if left.dim() != 2 or right.dim() != 2 or left.shape[1] != right.shape[0]:
            raise RankError(f"a low-rank matrix is (m, r) times (r, n), got {tuple(left.shape)}, {tuple(right.shape)}.")
        self.left = parameter(left)
        self.right = parameter(right)

    @property
    def shape(self) -> tuple[int, int]:
        return self.left.shape[0], self.right.shape[1]

    @property
    def rank(self) -> int:
        return self.left.shape[1]

    def matmul(self, x: Tensor) -> Tensor:
        return ops.linear(ops.linear(x, self.right), self.left)

    def to_dense(self) -> Tensor:
        return self.left @ self.right

    @classmethod
    def from_dense(cls, weight: Tensor, rank: int) -> Self:
        """The nearest matrix of that rank.

        Args:
            weight: (m, n).
            rank: r, at most min(m, n), where every matrix is met exactly.
        """
        weight = checked(weight)
        u, s, vh = truncated_svd(double(weight), _rank(weight.shape, rank))
        return cls((u * s.sqrt()).to(weight.dtype), (s.sqrt()[:, None] * vh).to(weight.dtype))

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        m, n = config["shape"]
        rank = _rank((m, n), config["rank"])
        return cls(torch.zeros(m, rank), torch.zeros(rank, n))

    def config(self) -> dict[str, Any]:
        return {"shape": list(self.shape), "rank": self.rank}

    @torch.no_grad()
    def draw_(self, std: float) -> None:
        self.left.normal_()
        self.right.normal_()
        gram = (self.left.mT @ self.left.conj()) * (self.right @ self.right.mH)
        norm = math.sqrt(float(gram.sum().abs()))  # of W, which is not built
        if norm > 0:
            scale = math.sqrt(std * math.sqrt(math.prod(self.shape)) / norm)
            self.left.mul_(scale)
            self.right.mul_(scale)

    @classmethod
    def ladder(cls, shape: tuple[int, int]) -> list[dict[str, Any]]:
        ranks = (1 << k for k in range(12))
        return [{"rank": r} for r in ranks if r <= min(shape) and r * sum(shape) < math.prod(shape)]

    def mix_first(self, blocks: int) -> tuple[Tensor, Tensor | None]:
        return (self.right, self.left) if self.rank < self.shape[0] else (self.to_dense(), None)

    def as_convs(self, places: int) -> list[Steps]:
        m, n = self.shape
        sides = lambda: (self.left.mT.unsqueeze(2), self.right.unsqueeze(1))  # noqa: E731
        return [Convs(self.rank, (m, 1), (1, n), sides, 0, read=True)]

    @torch.no_grad()
    def keep_(self, rows: Tensor | None = None, columns: Tensor | None = None) -> None:
        left, right = taken(self.left, rows), taken(self.right, columns=columns)
        sides = self._left_over(left.shape[0], right.shape[1])
        if self.rank > min(sides):  # the same matrix, of the largest rank that says anything
            fitted = type(self).from_dense(left @ right, rank=min(sides))
            left, right = fitted.left, fitted.right
        replace_(self, left=left, right=right)

    def rows(self, index: Tensor) -> Tensor:
        return self.left.index_select(0, index) @ self.right

    def multiply_adds(self, batch: int = 1) -> int:
        return batch * self.rank * sum(self.shape)


def _rank(shape: tuple[int, int], rank: int) -> int:
    return clipped(rank, max(1, min(shape)), "the rank of a low-rank matrix")
