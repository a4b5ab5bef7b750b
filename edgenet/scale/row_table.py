"""RowTable: a table that is read and trained row by row, and never whole."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn, Self

import torch
from torch import Tensor

from edgenet.errors import PlanError, ShapeError
from edgenet.scale.row_optimizer import RowOptimizer
from edgenet.structured import StructuredMatrix

#: the rows that a table starts with: all of them, or a function (first, last) -> rows from first to before last
Start = Tensor | Callable[[int, int], Tensor] | None


class Held(NamedTuple):
    """Rows that one process holds, as views.

    Attributes:
        first: number of the first.
        weight: (r, n).
        state: (r,) of the row optimizer; None where it has none.

    Example:
        >>> edgenet.scale.Held(first=2, weight=torch.zeros(3, 1), state=None).first
        2
    """

    first: int
    weight: Tensor
    state: Tensor | None


class RowTable(StructuredMatrix):
    """An (m, n) table for the slot of edge weights, of float32, with its own optimizer: ``rows`` are read, and their
    gradients change them in the backward pass. It has no parameters, so that optimizers and DDP leave it alone, and
    nothing in a ``state_dict``: ``edgenet.scale.save_tables`` writes it.

    What needs all rows at once is refused.

    Args:
        shape: (m, n).
        optimizer: of its rows.

    Example:
        >>> issubclass(edgenet.scale.Sharded, edgenet.scale.RowTable)
        True
    """

    def __init__(self, shape: tuple[int, int], optimizer: RowOptimizer) -> None:
        super().__init__()
        if min(shape) < 1:
            raise ShapeError(f"a table of rows has rows and columns, got {tuple(shape)}.")
        self._shape, self.optimizer, self._left_out = (int(shape[0]), int(shape[1])), optimizer, False

    @property
    def shape(self) -> tuple[int, int]:
        return self._shape

    @abstractmethod
    def held(self) -> Held:
        """The rows that this process holds. Writing into them changes the table."""

    def num_parameters(self) -> int:
        return self._shape[0] * self._shape[1]

    @torch.no_grad()
    def fill_(self, start: Start) -> None:
        """Give the rows that this process holds their numbers, and begin the optimizer anew.

        Raises:
            ShapeError: if ``start`` gives other rows.
        """
        first, weight, state = self.held()
        if state is not None:
            state.zero_()
        if start is None:
            weight.zero_()
            return
        last = first + len(weight)
        rows = start[first:last] if isinstance(start, Tensor) else start(first, last)
        if rows.shape != weight.shape or (isinstance(start, Tensor) and tuple(start.shape) != self._shape):
            given = tuple(start.shape if isinstance(start, Tensor) else rows.shape)
            raise ShapeError(f"rows {first} to {last - 1} of a {self._shape} table are wanted, got {given}.")
        weight.copy_(rows)

    # ---------------------------------------------------------------- what needs all rows
    def matmul(self, x: Tensor) -> Tensor:
        self._refuse("multiplied by")

    def to_dense(self) -> Tensor:
        self._refuse("made dense")

    def draw_(self, std: float) -> None:
        self._refuse("drawn anew")

    @classmethod
    def from_dense(cls, weight: Tensor, *args: Any, **config: Any) -> Self:
        raise PlanError(f"a {cls.__name__} table is put in by edgenet.scale, not by a plan.")

    def _refuse(self, what: str) -> NoReturn:
        raise PlanError(
            f"a {type(self).__name__} table of {self._shape} is read row by row and cannot be {what}: save it by "
            f"edgenet.scale.save_tables, and edgenet.scale.read_table gives the whole."
        )

    def _save_to_state_dict(self, *args: Any) -> None:
        if not self._left_out:
            raise PlanError(
                f"a {type(self).__name__} table stands in no state_dict: write it by edgenet.scale.save_tables, and "
                f"the rest of the model is edgenet.scale.dense_state(model)."
            )

    def __deepcopy__(self, memo: Any) -> Self:
        raise PlanError(f"a {type(self).__name__} table is not copied: write it by edgenet.scale.save_tables.")

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise PlanError(f"a {type(self).__name__} table is not pickled: write it by edgenet.scale.save_tables.")

    def extra_repr(self) -> str:
        return f"shape={self._shape}, optimizer={self.optimizer.name}, lr={self.optimizer.lr:g}"
