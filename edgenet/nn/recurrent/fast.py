"""The short way along sequences: linear maps that nobody touched, walked without a module's call at every step."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgenet import ops, shortcuts
from edgenet.nn.recurrent import elman_walk, gru_walk, lstm_walk
from edgenet.nn.recurrent.built import walk_of
from edgenet.nn.recurrent.cells import Cell, ElmanCell, GRUCell, LSTMCell, State
from edgenet.nn.recurrent.choice import product_is_cheaper
from edgenet.nn.recurrent.columns import Columns
from edgenet.nn.recurrent.library_walk import serves, walk_by_torch
from edgenet.ops import backend
from edgenet.structured import StructuredLinear, StructuredMatrix
from edgenet.structured.read import read_plain
from edgenet.structured.routes import RESIDENT

#: (base, h, out) puts base + h W^T into out, for one step
Multiply = Callable[[Tensor, Tensor, Tensor], Any]

_LOST = 4e-9  # seconds that a number of the gates takes longer in steps of ours than in torch's kernel
_MANY = 32  # steps for which it pays to turn a matrix round
_PIECE = 64  # rows of inputs that a structure maps together where nothing is kept: they stay in the cache
_LARGE_PIECE = 512  # that a dense matrix maps together


def walked_fast(
    cell: Cell, signal: Tensor, state: State | None, mask: Tensor | None, reverse: bool
) -> tuple[Tensor, State] | None:
    """As ``walk.walked``; None where only that serves: maps of another kind, with hooks, adapters or parametrisations;
    under compilers, tracers and function transforms, autocast, in half precision, or of tensors unlike each other.

    Where a gradient is wanted, or a matrix trains, the matrix of the state is built once: a step is then one product
    and the work at the gates, and the gradient of the matrix one product for all steps, by a backward pass written by
    hand (``built``). Otherwise the matrix multiplies by itself where ``choice`` expects that to be faster.
    """
    if not _suits(cell, signal, state):
        return None
    tensors = (signal, *(state or ()), *cell.parameters())
    learns = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
    if learns:
        return _learning(cell, signal, state, mask, reverse)
    with torch.no_grad():
        return _inferring(cell, signal, state, mask, reverse)


def _suits(cell: Cell, signal: Tensor, state: State | None) -> bool:
    if not (backend.eager() and shortcuts.untouched(cell)):
        return False
    if type(cell) not in (ElmanCell, GRUCell, LSTMCell) or torch.is_autocast_enabled(signal.device.type):
        return False
    maps = cell.input_map, cell.state_map
    if all(type(one) is Columns for one in maps):
        if maps[0].weight is not maps[1].weight or (maps[0].start, maps[0].stop) != (0, maps[1].start):
            return False
    elif not all(type(one) is StructuredLinear for one in maps):
        return False
    if not all(isinstance(one.weight, StructuredMatrix) for one in maps):
        return False
    if not _projects_plainly(getattr(cell, "projection", None)) or not _fits(cell, signal):
        return False
    tensors = [signal, *(state or ()), *(t for t in cell.parameters())]
    one = all(t.dtype == signal.dtype and t.device == signal.device for t in tensors)
    return one and signal.dtype in (torch.float32, torch.float64) and backend.readable(*tensors)


def _fits(cell: Cell, signal: Tensor) -> bool:
    """Whether every part is of the shape that the others want. What somebody put into a slot may not be: then the
    modules say so, and kernels, which follow pointers, never see it."""
    rows, width, out = cell.gates * cell.hidden_size, signal.shape[-1], cell.out_size
    one, two = cell.input_map, cell.state_map
    if type(one) is Columns:
        shapes = [(one.weight, (rows, width + out))]
        ends = (one.start, one.stop, two.start, two.stop) == (0, width, width, width + out)
    else:
        shapes, ends = [(one.weight, (rows, width)), (two.weight, (rows, out))], True
    shapes += [(part.bias, (rows,)) for part in (one, two) if part.bias is not None]
    if isinstance(cell, LSTMCell):
        if cell.peepholes is not None:
            shapes.append((cell.peepholes, (3, cell.hidden_size)))
        if cell.projection is not None:
            shapes.append((cell.projection.weight, (out, cell.hidden_size)))
    return ends and all(tuple(part.shape) == shape for part, shape in shapes)


def _projects_plainly(projection: nn.Module | None) -> bool:
    if projection is None:
        return True
    plain = type(projection) is StructuredLinear and projection.bias is None
    return plain and isinstance(projection.weight, StructuredMatrix)


def _weights(cell: Cell) -> tuple[StructuredMatrix | Tensor, Tensor]:
    """What maps the input, and the dense matrix of the state. A matrix that both share is read once."""
    if isinstance(cell.state_map, Columns):
        both = read_plain(cell.state_map.weight)[0]
        start = cell.state_map.start
        return both[:, :start], both[:, start:]
    return cell.input_map.weight, read_plain(cell.state_map.weight)[0]


def _biases(cell: Cell) -> tuple[Tensor | None, Tensor | None]:
    """What is added to the input's map, and to the state's at every step: but for GRUs all of it is the input's."""
    first, second = cell.input_map.bias, cell.state_map.bias
    if isinstance(cell, GRUCell) or second is None:
        return first, second
    return (second if first is None else first + second), None


def _mapped(weight: StructuredMatrix | Tensor, bias: Tensor | None, signal: Tensor) -> Tensor:
    """Inputs (T, B, in) by a matrix, one call for all."""
    if isinstance(weight, StructuredMatrix) and weight.is_dense:
        weight = read_plain(weight)[0]
    if isinstance(weight, Tensor):
        return ops.linear(signal, weight, bias)
    y = weight(signal)
    if bias is None:
        return y
    return y + bias if torch.is_grad_enabled() else y.add_(bias)


def _learning(
    cell: Cell, signal: Tensor, state: State | None, mask: Tensor | None, reverse: bool
) -> tuple[Tensor, State]:
    weight, back = _weights(cell)
    count, batch = signal.shape[:2]
    served = serves(cell, signal, mask)
    if isinstance(weight, StructuredMatrix):
        lost = _LOST * count * batch * len(back) if served else 0.0
        if not product_is_cheaper(weight, 1, count * batch, learns=True, lost=lost):
            weight = read_plain(weight)[0]
    if isinstance(weight, Tensor) and served:
        biases = cell.input_map.bias, cell.state_map.bias
        state = cell.begin(signal.new_empty(batch, len(back))) if state is None else state
        return walk_by_torch(signal, weight, back, *biases, state, reverse)
    bias, state_bias = _biases(cell)
    inputs = _mapped(weight, bias, signal)
    state = cell.begin(inputs[0]) if state is None else state
    projection = peepholes = None
    if isinstance(cell, LSTMCell):
        peepholes = cell.peepholes
        projection = None if cell.projection is None else read_plain(cell.projection.weight)[0]
    return walk_of(cell, inputs, back, state_bias, peepholes, projection, state, mask, reverse)


def _inferring(
    cell: Cell, signal: Tensor, state: State | None, mask: Tensor | None, reverse: bool
) -> tuple[Tensor, State]:
    """Piece by piece in time, so that mapped inputs stay in the cache."""
    matrix, (count, batch) = cell.state_map.weight, signal.shape[:2]
    width = cell.gates * cell.hidden_size
    served = serves(cell, signal, mask)
    lost = _LOST * count * batch * width if served else 0.0
    multiplies = not matrix.training and product_is_cheaper(matrix, count, batch, lost=lost)
    state = cell.begin(signal.new_empty(batch, width)) if state is None else state
    if served and not multiplies and width * (signal.shape[2] + cell.hidden_size) < RESIDENT:
        biases = cell.input_map.bias, cell.state_map.bias
        return walk_by_torch(signal, *_kept_weights(cell), *biases, state, reverse)
    bias, state_bias = _biases(cell)
    outputs = signal.new_empty(count, batch, cell.out_size)
    drawn = any(one.weight.training for one in (cell.input_map, cell.state_map))  # once a sequence
    size = count if drawn else max(1, (_PIECE if multiplies else _LARGE_PIECE) // batch)
    maps, multiply = _inference_maps(cell, bias, multiplies, count, batch, size)
    pieces = range(0, count, size)
    for start in reversed(pieces) if reverse else pieces:
        part = slice(start, min(count, start + size))
        numbers = range(part.stop - start)
        state = _stepped(
            cell, maps(signal[part]), multiply, state, None if mask is None else mask[part],
            numbers[::-1] if reverse else numbers, outputs[part], state_bias,
        )  # fmt: skip
    return outputs, state


def _inference_maps(
    cell: Cell, bias: Tensor | None, multiplies: bool, count: int, batch: int, size: int
) -> tuple[Callable[[Tensor], Tensor], Multiply]:
    """What maps a piece of the input, of so many steps, and the product of a step."""
    matrix = cell.state_map.weight
    if isinstance(cell.state_map, StructuredLinear):
        weight = cell.input_map.weight
        by_itself = weight.training or product_is_cheaper(weight, -(-count // size), size * batch)
        maps = partial(_mapped, weight if by_itself else _kept(weight), bias)
        return maps, partial(_by_structure, matrix) if multiplies else _by_entries(matrix, count, batch)
    if not multiplies:
        weight, back = _kept_weights(cell)
        return partial(_mapped, weight, bias), partial(_times, back.t())
    if isinstance(cell, GRUCell):  # which needs the two maps apart
        padded = cell.state_map.start, 0
        return cell.input_map, lambda base, hidden, out: torch.add(base, matrix(F.pad(hidden, padded)), out=out)
    return (lambda piece: piece), partial(_by_joint, matrix, bias)


def _stepped(
    cell: Cell, inputs: Tensor, multiply: Any, state: State, mask: Tensor | None, steps: range, outputs: Tensor,
    bias: Tensor | None,
) -> State:  # fmt: skip
    if isinstance(cell, LSTMCell):
        arguments = inputs, multiply, state, mask, steps, outputs, False, cell.peepholes, cell.projection
        return lstm_walk.forward(*arguments)[0]
    if isinstance(cell, GRUCell):
        return gru_walk.forward(inputs, multiply, state, mask, steps, outputs, False, bias)[0]
    assert isinstance(cell, ElmanCell)
    return elman_walk.forward(inputs, multiply, state, mask, steps, outputs, cell.nonlinearity)


def _kept(matrix: StructuredMatrix) -> Tensor:
    """The dense matrix; of a few numbers it is built once, as long as they stay."""
    if matrix.is_dense:
        return read_plain(matrix)[0]
    tensors = (*matrix.parameters(), *matrix.buffers())
    return matrix.cache.get(matrix, "dense", tensors, lambda: read_plain(matrix)[0])


def _kept_weights(cell: Cell) -> tuple[Tensor, Tensor]:
    """The dense matrices of input and state."""
    back = _kept(cell.state_map.weight)
    if isinstance(cell.state_map, Columns):
        start = cell.state_map.start
        return back[:, :start], back[:, start:]
    return _kept(cell.input_map.weight), back


def _by_entries(matrix: StructuredMatrix, count: int, batch: int) -> Multiply:
    transposed = _kept(matrix).t()
    return partial(_times, transposed.contiguous() if count >= _MANY and batch > 1 else transposed)


def _times(transposed: Tensor, base: Tensor, hidden: Tensor, out: Tensor) -> None:
    torch.addmm(base, hidden, transposed, out=out)


def _by_structure(matrix: StructuredMatrix, base: Tensor, hidden: Tensor, out: Tensor) -> None:
    torch.add(base, matrix(hidden), out=out)


def _by_joint(matrix: StructuredMatrix, bias: Tensor | None, signal: Tensor, hidden: Tensor, out: Tensor) -> None:
    """Input and state side by side, in one product."""
    y = matrix(torch.cat([signal, hidden], -1))
    if bias is None:
        out.copy_(y)
    else:
        torch.add(y, bias, out=out)
