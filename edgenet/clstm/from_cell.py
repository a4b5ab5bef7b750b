"""From cells: the shape of an LSTM cell, and the numbers that its graph runs with."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgenet.clstm.operators import GATES, MATRICES, LstmShape
from edgenet.errors import PlanError
from edgenet.nn.recurrent import Columns, LSTMCell
from edgenet.structured import BlockCirculant, StructuredLinear
from edgenet.structured.read import read

_SEEN_BY = ("i", "f", "o")  # the rows of peepholes


def shape_of(cell: nn.Module) -> LstmShape:
    """The shape of a cell whose matrices are dense or in circulant blocks; of ``stacked`` maps too.

    Raises:
        PlanError: if it is no LSTM cell, a map is none of linear maps, a matrix is of another family, or blocks of a
            stacked matrix reach from the columns of the input into those of the state.

    Example:
        >>> lstm = edgenet.nn.LSTM(32, 64, structure=edgenet.structured.structure("block_circulant", block=8))
        >>> edgenet.clstm.shape_of(lstm.cells[0]).cells
        64
    """
    if not isinstance(cell, LSTMCell):
        raise PlanError(f"the graph is that of an LSTMCell, got {type(cell).__name__}; lstm.cells[0] is one.")
    maps = _maps(cell)
    first = maps["input_map"]
    return LstmShape(
        first.stop - first.start if isinstance(first, Columns) else first.weight.shape[1],
        cell.hidden_size,
        None if cell.projection is None else cell.out_size,
        peepholes=cell.peepholes is not None,
        bias=any(maps[name].bias is not None for name in ("input_map", "state_map")),
        block={name: _block(name, part) for name, part in maps.items()},
    )


def values_of(cell: LSTMCell) -> dict[str, Tensor]:
    """The learned vectors of the graph of a cell: ``bias_i``, of both maps together, ``peephole_i`` and so on."""
    found: dict[str, Tensor] = {}
    maps = _maps(cell)
    given: list[Tensor] = [bias for name in ("input_map", "state_map") if (bias := maps[name].bias) is not None]
    if given:
        parts = torch.stack(given).sum(0).split(cell.hidden_size)
        found.update({f"bias_{gate}": part for gate, part in zip(GATES, parts, strict=True)})
    if cell.peepholes is not None:
        found.update({f"peephole_{gate}": row for gate, row in zip(_SEEN_BY, cell.peepholes, strict=True)})
    return found


def matrices_of(cell: LSTMCell) -> dict[str, Callable[[Tensor], Tensor]]:
    """What the products of the graph multiply by: the dense forms of the matrices, without biases."""
    return {name: partial(F.linear, weight=_dense(part)) for name, part in _maps(cell).items()}


def _maps(cell: LSTMCell) -> dict[str, StructuredLinear | Columns]:
    found: dict[str, StructuredLinear | Columns] = {}
    for name in MATRICES:
        part = getattr(cell, name)
        if isinstance(part, StructuredLinear | Columns):
            found[name] = part
        elif part is not None:
            raise PlanError(f"the {name} is a {type(part).__name__}; the graph has linear maps.")
    return found


def _dense(part: StructuredLinear | Columns) -> Tensor:
    whole = read(part.weight)
    return whole[:, part.start : part.stop] if isinstance(part, Columns) else whole


def _block(name: str, part: StructuredLinear | Columns) -> int:
    matrix = part.weight
    if matrix.is_dense:
        return 1
    if not isinstance(matrix, BlockCirculant):
        raise PlanError(
            f"the {name} has a {type(matrix).__name__}; the graph has dense matrices and circulant blocks. Put a "
            f"BlockCirculant into the slot, or decompress_ it."
        )
    if isinstance(part, Columns) and part.start % matrix.block:
        raise PlanError(
            f"blocks of {matrix.block} reach from the input into the state, which begins at column {part.start}: take "
            f"a block size that divides it, or maps that are not stacked."
        )
    return matrix.block
