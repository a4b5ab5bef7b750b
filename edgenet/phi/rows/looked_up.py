"""LookedUp: where in a table the weights of a graph's edges, or nodes, were found to stand."""

from __future__ import annotations

from typing import NamedTuple, Self

import torch
from torch import Tensor

from edgenet.phi.rows.base import UNKNOWN
from edgenet.phi.rows.shared import narrow, shared
from edgenet.structured import StructuredMatrix
from edgenet.structured.read import read, read_rows


class LookedUp(NamedTuple):
    """Where the weights of edges, or of nodes, stand in a table.

    Attributes:
        row: int32 where that holds them; -1 for those that have none, and -2 for those that are unseen. None: row i is
            that of the i-th, for the whole table, and nothing is kept but ``without``. Tables of one graph share it.
        complete: whether all have one.
        unseen: whether some are unseen.
        without: those that have none, where ``row`` is None.
    """

    row: Tensor | None
    complete: bool
    unseen: bool
    without: Tensor | None = None

    @classmethod
    def of(cls, row: Tensor, table_rows: int, allows_unseen: bool) -> Self:
        """What was looked up, in few bytes. What cannot be known while tracing is taken as incomplete and unseen."""
        if torch.compiler.is_compiling() or torch._C._len_torch_dispatch_stack():
            return cls(row, False, allows_unseen)
        without = row < 0
        unseen = allows_unseen and bool((row == UNKNOWN).any())
        own = torch.arange(table_rows, device=row.device)
        if not unseen and len(row) == table_rows and bool((without | (row == own)).all()):
            none = without.nonzero().squeeze(1)
            return cls(None, not len(none), False, none if len(none) else None)
        return cls(shared(narrow(row, table_rows)), not bool(without.any()), unseen)

    def weights(self, table: StructuredMatrix) -> Tensor:
        """table[row], zeros where the row is -1, and the mean of all rows where it is -2."""
        if self.row is None:
            whole = read(table)
            return whole if self.without is None else whole.index_fill(0, self.without, 0)
        row = self.row.long()
        if self.complete:
            return read_rows(table, row)
        if table.shape[0] == 0:
            return read(table).new_zeros(len(row), table.shape[1])
        found = read_rows(table, row.clamp_min(0))
        if torch.compiler.is_exporting():
            known = torch.where((row == -1).unsqueeze(-1), 0, found)
            other = read(table).mean(0) if self.unseen else torch.nan
            return torch.where((row == UNKNOWN).unsqueeze(-1), other, known)
        found = found * (row >= 0).unsqueeze(-1)
        return torch.where((row == UNKNOWN).unsqueeze(-1), read(table).mean(0), found) if self.unseen else found
