"""Mapped: a table in a file that is mapped into memory, larger than it if need be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgenet.errors import CheckpointError
from edgenet.scale import row_files
from edgenet.scale.row_optimizer import RowOptimizer
from edgenet.scale.row_table import Held, RowTable, Start
from edgenet.structured.base import row_numbers

_AT_ONCE = 1 << 16  # rows that are filled at once


class Mapped(RowTable):
    """A table whose rows are read from a safetensors file, and trained in it: the system keeps in memory what it can.

    The file holds ``weight`` (m, n) and, where the optimizer has a state, ``state`` (m,). Edges that are read together
    should stand near each other: a page of 4096 bytes is read and written for a single row of it. Tables that are found
    by the ends of edges are sorted by receiver. A file is one process's: two that train it overwrite each other's rows.

    Args:
        shape: (m, n).
        path: of the file; one that is there is gone on with, and is not filled.
        optimizer: of the rows, a step of which is taken in each backward pass.
        start: first numbers of a new file, asked for piece by piece.

    Raises:
        CheckpointError: if the file is there and holds another table, or a truncated one.

    Example:
        >>> table = edgenet.scale.Mapped((5, 2), "weights.safetensors", edgenet.scale.RowOptimizer("sgd", lr=1.0))
        >>> table.rows(torch.tensor([3, 3])).sum().backward()
        >>> table.rows(torch.tensor([2, 3])).tolist()
        [[0.0, 0.0], [-2.0, -2.0]]
    """

    def __init__(
        self, shape: tuple[int, int], path: str | Path, optimizer: RowOptimizer | None = None, start: Start = None
    ) -> None:
        super().__init__(shape, optimizer or RowOptimizer())
        self.path = Path(path)
        fresh = not self.path.exists()
        if fresh:
            self._make()
        begins = row_files.offsets(self.path, *self._shape)
        if self.optimizer.has_state != (row_files.STATE in begins):
            raise CheckpointError(f"{self.path}: was not trained by {self.optimizer.name}: name its optimizer.")
        self._maps: list[np.memmap] = []
        self._weight = self._view(begins[row_files.WEIGHT], self._shape)
        self._state = self._view(begins[row_files.STATE], self._shape[:1]) if self.optimizer.has_state else None
        self._trains = torch.zeros((), requires_grad=True)  # by which autograd knows that there is something to do
        if fresh and start is not None:
            self._fill_new(start)

    def rows(self, index: Tensor) -> Tensor:
        index = row_numbers(index, self._shape[0])
        return _Rows.apply(self._trains, self, index)

    def held(self) -> Held:
        return Held(0, self._weight, self._state)

    def flush(self) -> None:
        """Wait until all that was trained is on disk."""
        for view in self._maps:
            view.flush()

    def _make(self) -> None:
        """A file of zeros, which take no place on disk."""
        start, (rows, columns) = row_files.header(*self._shape, self.optimizer.has_state), self._shape
        with self.path.open("xb") as file:
            file.write(start)
            file.truncate(len(start) + 4 * rows * (columns + self.optimizer.has_state))

    def _view(self, begin: int, shape: tuple[int, ...]) -> Tensor:
        self._maps.append(np.memmap(self.path, "<f4", "r+", begin, shape))
        return torch.from_numpy(self._maps[-1])

    def _fill_new(self, start: Tensor | Any) -> None:
        for first in range(0, self._shape[0], _AT_ONCE):
            last = min(first + _AT_ONCE, self._shape[0])
            self._weight[first:last] = start[first:last] if isinstance(start, Tensor) else start(first, last)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, path={self.path.name}"


class _Rows(torch.autograd.Function):
    """Rows of a mapped table, whose gradient is a step of its optimizer."""

    @staticmethod
    def forward(ctx: Any, trains: Tensor, table: Mapped, index: Tensor) -> Tensor:
        ctx.table, ctx.index = table, index
        return table._weight[index]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, None, None]:
        table = ctx.table
        table.optimizer.step_(table._weight, table._state, ctx.index, gradients[0])
        return None, None, None
