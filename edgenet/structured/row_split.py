"""RowSplit: some rows dense, the rest in blocks of rank one."""

from __future__ import annotations

import math
from typing import Any, Self

import torch
from torch import Tensor

from edgenet import ops
from edgenet.errors import RankError
from edgenet.structured.base import StructuredMatrix, row_numbers
from edgenet.structured.given import checked, clipped
from edgenet.structured.parameters import parameter, replace_, taken
from edgenet.structured.svd import double, truncated_svd


class RowSplit(StructuredMatrix):
    """The first rows of W are dense; the others are split into blocks of rows, each of rank one: block j = u_j v_j^T.

    Hybrid matrix decomposition, HMD (Thakker et al. 2019), with as many blocks as are asked for. Blocks have one
    size, but for the first ones, which have one row more where rows are left over.

    Args:
        dense: (rows, n).
        scale: (m - rows,), the u of all blocks in a row.
        directions: (blocks, n), the v.

    Raises:
        RankError: if widths differ, or there is a block without a row or a row without a block.

    Example:
        >>> matrix = edgenet.structured.RowSplit.from_dense(torch.randn(8, 6), rows=2, blocks=3)
        >>> matrix(torch.randn(5, 6)).shape, matrix.num_parameters()
        (torch.Size([5, 8]), 36)
    """

    def __init__(self, dense: Tensor, scale: Tensor, directions: Tensor) -> None:
        super().__init__()
        fits = dense.dim() == directions.dim() == 2 and scale.dim() == 1 and dense.shape[1] == directions.shape[1]
        if not fits or len(directions) > len(scale) or (len(scale) > 0) != (len(directions) > 0):
            raise RankError(
                f"a row-split matrix is (rows, n) dense, (m - rows,) scales and (blocks, n) directions with a row or "
                f"more for every block; got {tuple(dense.shape)}, {tuple(scale.shape)} and {tuple(directions.shape)}."
            )
        self.dense = parameter(dense)
        self.scale = parameter(scale)
        self.directions = parameter(directions)

    @property
    def shape(self) -> tuple[int, int]:
        return self.dense.shape[0] + self.scale.shape[0], self.dense.shape[1]

    def matmul(self, x: Tensor) -> Tensor:
        return torch.cat([ops.linear(x, self.dense), self._scaled(ops.linear(x, self.directions))], -1)

    def _blocks(self) -> tuple[int, int]:
        """How many blocks have one row more than the others, and how many rows these others have."""
        size, longer = divmod(len(self.scale), max(1, len(self.directions)))
        return longer, size

    def _scaled(self, y: Tensor) -> Tensor:
        """(..., blocks) -> (..., m - rows): every number times the scales of its block's rows."""
        longer, size = self._blocks()
        head, tail = self.scale[: longer * (size + 1)], self.scale[longer * (size + 1) :]
        parts = [y[..., longer:, None] * tail.view(-1, max(1, size))]
        if longer:
            parts.insert(0, y[..., :longer, None] * head.view(longer, size + 1))
        return torch.cat([part.flatten(-2) for part in parts], -1)

    def _line(self, row: Tensor) -> Tensor:
        """Which of the dense rows and directions a row of W is a multiple of."""
        longer, size = self._blocks()
        dense, split = len(self.dense), longer * (size + 1)
        below = row - dense
        block = torch.where(below < split, below // (size + 1), longer + (below - split) // max(1, size))
        return torch.where(row < dense, row, dense + block)

    def _stacked(self) -> tuple[Tensor, Tensor]:
        """(rows + blocks, n) dense rows and directions, and (m,) how many times each row of W is one of them."""
        factor = torch.cat([self.scale.new_ones(len(self.dense)), self.scale])
        return torch.cat([self.dense, self.directions]), factor

    def to_dense(self) -> Tensor:
        return torch.cat([self.dense, self._scaled(self.directions.mT).mT])

    def rows(self, index: Tensor) -> Tensor:
        index = row_numbers(index, self.shape[0])
        stacked, factor = self._stacked()
        return stacked.index_select(0, self._line(index)) * factor[index][:, None]

    def mix_first(self, blocks: int) -> tuple[Tensor, Tensor | None]:
        """One signal for every dense row, and one for every block."""
        inner, factor = self._stacked()
        if len(inner) >= len(factor):
            return self.to_dense(), None
        row = torch.arange(len(factor), device=factor.device)
        outer = factor.new_zeros(len(factor), len(inner))
        return inner, outer.index_put((row, self._line(row)), factor)

    @classmethod
    def from_dense(cls, weight: Tensor, rows: int, blocks: int = 1) -> Self:
        """The nearest member: the first rows as they are, and the leading singular triplet of every block.

        Which rows stand first is the caller's choice.

        Args:
            weight: (m, n).
            rows: that are kept dense, from 0 to m.
            blocks: of the other rows, at most one for each, where every matrix is met exactly.
        """
        weight = checked(weight)
        rows, blocks = _sizes(weight.shape, rows, blocks)
        below = double(weight[rows:])
        scale, directions = weight.new_zeros(len(below)), weight.new_zeros(blocks, weight.shape[1])
        here = 0
        for k, piece in enumerate(below.tensor_split(blocks) if blocks else ()):
            u, s, vh = truncated_svd(piece, 1)
            scale[here : here + len(piece)] = (u[:, 0] * s.sqrt()).to(weight.dtype)
            directions[k] = (s.sqrt() * vh[0]).to(weight.dtype)
            here += len(piece)
        return cls(weight[:rows], scale, directions)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        m, n = config["shape"]
        rows, blocks = _sizes((m, n), config["rows"], config.get("blocks", 1))
        return cls(torch.zeros(rows, n), torch.zeros(m - rows), torch.zeros(blocks, n))

    def config(self) -> dict[str, Any]:
        return {
            "shape": list(self.shape),
            "rows": self.dense.shape[0],
            "blocks": max(1, self.directions.shape[0]),
        }

    @torch.no_grad()
    def keep_(self, rows: Tensor | None = None, columns: Tensor | None = None) -> None:
        """Columns alone: rows left over make no blocks of one size."""
        if rows is not None:
            super().keep_(rows, columns)
        dense, directions = taken(self.dense, columns=columns), taken(self.directions, columns=columns)
        self._left_over(self.shape[0], dense.shape[1])
        replace_(self, dense=dense, directions=directions)

    @torch.no_grad()
    def draw_(self, std: float) -> None:
        self.dense.normal_(0, std)
        self.scale.normal_()
        self.directions.normal_()
        n = self.shape[1]
        if self.scale.numel() and n:  # all directions of one length, and the scales to the norm that W then has
            self.directions.mul_(math.sqrt(std * n) / self.directions.norm(dim=1, keepdim=True))
            self.scale.mul_(math.sqrt(std * self.scale.numel()) / self.scale.norm())

    @classmethod
    def ladder(cls, shape: tuple[int, int]) -> list[dict[str, Any]]:
        m, n = shape
        blocks, rungs = max(1, m // 64), []
        for rows in sorted({0, *(m // share for share in (256, 128, 64, 32, 24, 16, 12, 8, 6, 4, 2))}):
            if blocks <= m - rows and rows * n + blocks * n + m - rows < m * n:
                rungs.append({"rows": rows, "blocks": blocks})
        return rungs

    def multiply_adds(self, batch: int = 1) -> int:
        rows, n = self.dense.shape
        return batch * ((rows + self.directions.shape[0]) * n + self.scale.shape[0])


def _sizes(shape: tuple[int, int], rows: int, blocks: int) -> tuple[int, int]:
    m = shape[0]
    if not (isinstance(rows, int) and rows == 0) or isinstance(rows, bool):  # none is a choice here
        rows = clipped(rows, m, "the number of dense rows of a row-split matrix")
    if rows == m:
        clipped(blocks, max(m, 1), "the number of blocks of a row-split matrix")
        return m, 0
    return rows, clipped(blocks, m - rows, "the number of blocks of a row-split matrix")
