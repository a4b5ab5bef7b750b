"""From cells: the shape of an LSTM cell, and the numbers that its graph runs with."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from edgenet.clstm.operators import GATES, LstmShape
from edgenet.errors import PlanError
from edgenet.nn.recurrent import Columns, LSTMCell
from edgenet.structured import BlockCirculant, StructuredLinear
from edgenet.structured.read import read

_SEEN_BY = ("i", "f", "o")  # the rows of peepholes


def shape_of(cell: LSTMCell) -> LstmShape:
    """The shape of a cell whose matrices are dense or in circulant blocks; of ``stacked`` maps too.

    Raises:
        PlanError: if it is no LSTM cell, a map is none of linear maps, a matrix is of another family, or blocks of a
            stacked matrix reach from the columns of the input into those of the state.
    """
    if not isinstance(cell, LSTMCell):
        raise PlanError(f"the graph is that of an LSTMCell, got {type(cell).__name__}; lstm.cells[0] is one.")
    maps = {"input_map": cell.input_map, "state_map": cell.state_map, "projection": cell.projection}
    blocks = {name: _block(name, part) for name, part in maps.items() if part is not None}
    has_bias = {part.bias is not None for part in (cell.input_map, cell.state_map)}
    width = _columns(cell.input_map)
    return LstmShape(
        width, cell.hidden_size, None if cell.projection is None else cell.out_size,
        peepholes=cell.peepholes is not None, bias=True in has_bias, block=blocks,
    )  # fmt: skip


def values_of(cell: LSTMCell) -> dict[str, Tensor]:
    """The learned vectors of the graph of a cell: ``bias_i``, of both maps together, ``peephole_i`` and so on."""
    found: dict[str, Tensor] = {}
    given = [part.bias for part in (cell.input_map, cell.state_map) if part.bias is not None]
    if given:
        parts = sum(given[1:], given[0]).split(cell.hidden_size)
        found.update({f"bias_{gate}": part for gate, part in zip(GATES, parts, strict=True)})
    if cell.peepholes is not None:
        found.update({f"peephole_{gate}": row for gate, row in zip(_SEEN_BY, cell.peepholes, strict=True)})
    return found


def matrices_of(cell: LSTMCell) -> dict[str, Callable[[Tensor], Tensor]]:
    """What the products of the graph multiply by: the dense forms of the matrices, without biases."""
    maps = {"input_map": cell.input_map, "state_map": cell.state_map, "projection": cell.projection}
    return {name: partial(F.linear, weight=_dense(part)) for name, part in maps.items() if part is not None}


def _dense(part: nn.Module) -> Tensor:
    whole = read(part.weight)
    return whole[:, part.start : part.stop] if isinstance(part, Columns) else whole


def _columns(part: nn.Module) -> int:
    return part.stop - part.start if isinstance(part, Columns) else part.weight.shape[1]


def _block(name: str, part: nn.Module) -> int:
    if not isinstance(part, StructuredLinear | Columns):
        raise PlanError(f"the {name} is a {type(part).__name__}; the graph has linear maps.")
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
