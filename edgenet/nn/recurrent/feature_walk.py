"""The walk where structures multiply signals side by side: every step is (features, B), and nothing is turned round.

To all that is done number by number (gates, masks) a step of B sequences is one sequence of n B numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from edgenet.nn.recurrent.cells import Cell, GRUCell, LSTMCell, State
from edgenet.structured import StructuredMatrix

_WIDE = 32  # signals of the input that are mapped together: enough to read a matrix seldom

#: adds W x to y
Adds = Callable[[Tensor, Tensor], Any]


def walk_by_features(
    cell: Cell, signal: Tensor, state: State, mask: Tensor | None, reverse: bool, bias: Tensor | None,
    state_bias: Tensor | None, stepped: Callable[..., State],
) -> tuple[Tensor, State] | None:  # fmt: skip
    """As ``walk.walked``, without gradients; None where the state's matrix is no faster so, or there is a projection.

    Args:
        bias: of the mapped input.
        state_bias: of the mapped state, of GRUs alone.
        stepped: walks a piece of mapped inputs.
    """
    count, batch = signal.shape[:2]
    add = cell.state_map.weight.adder(batch)
    if add is None or batch == 0 or getattr(cell, "projection", None) is not None:
        return None
    width, size = cell.hidden_size, max(1, _WIDE // batch)
    weight = cell.input_map.weight
    add_input: Adds | None = weight.adder(size * batch)
    # the input's product goes into the same sums as the state's, but for GRUs, which need it apart
    joint = size == 1 and add_input is not None and not isinstance(cell, GRUCell)
    if joint:
        maps, multiply = _by_features, _joint(add, add_input, bias, batch)
    else:
        maps, multiply = _input_map(weight, add_input, bias), _onto(add, batch)
    peepholes = _repeated(cell.peepholes, batch) if isinstance(cell, LSTMCell) else None
    state_bias = _repeated(state_bias, batch)
    state = tuple(part.t().reshape(1, -1) for part in state)
    outputs = signal.new_empty(count, batch, width)
    pieces = range(0, count, size)
    for start in reversed(pieces) if reverse else pieces:
        part = slice(start, min(count, start + size))
        steps = part.stop - start
        here = None if mask is None else mask[part].transpose(1, 2).expand(-1, width, -1).reshape(steps, 1, -1)
        made, numbers = signal.new_empty(steps, 1, width * batch), range(steps)
        state = stepped(
            cell, maps(signal[part]).view(steps, 1, -1), multiply, state, here,
            numbers[::-1] if reverse else numbers, made, state_bias, peepholes,
        )  # fmt: skip
        outputs[part] = made.view(steps, width, batch).transpose(1, 2)
    return outputs, tuple(part.view(width, batch).t().contiguous() for part in state)


def _onto(add: Adds, batch: int) -> Callable[[Tensor, Tensor, Tensor], None]:
    """What puts base + W h into out."""

    def multiply(base: Tensor, hidden: Tensor, out: Tensor) -> None:
        out.copy_(base)
        add(out.view(-1, batch), hidden.view(-1, batch))

    return multiply


def _joint(add: Adds, add_input: Adds, bias: Tensor | None, batch: int) -> Callable[[Tensor, Tensor, Tensor], None]:
    """What puts A x + W h and the bias into out: sums that are begun and used while they are in the cache."""

    def multiply(x: Tensor, hidden: Tensor, out: Tensor) -> None:
        sums = out.view(-1, batch)
        _begin(sums, bias)
        add_input(sums, x.view(-1, batch))
        add(sums, hidden.view(-1, batch))

    return multiply


def _input_map(weight: StructuredMatrix, add: Adds | None, bias: Tensor | None) -> Callable[[Tensor], Tensor]:
    """What maps a piece (S, B, in) of the input to (S, out, B)."""

    def maps(piece: Tensor) -> Tensor:
        if add is None:
            mapped = weight(piece)
            return _by_features(mapped if bias is None else mapped + bias)
        steps, batch, width = piece.shape
        mapped = piece.new_empty(weight.shape[0], steps * batch)
        _begin(mapped, bias)
        add(mapped, piece.reshape(-1, width).t().contiguous())
        return mapped.view(-1, steps, batch).transpose(0, 1).contiguous()

    return maps


def _begin(sums: Tensor, bias: Tensor | None) -> None:
    if bias is None:
        sums.zero_()
    else:
        sums.copy_(bias[:, None])


def _by_features(piece: Tensor) -> Tensor:
    """(S, B, n) -> (S, n, B)."""
    return piece.transpose(1, 2).contiguous()


def _repeated(numbers: Tensor | None, batch: int) -> Tensor | None:
    """Numbers of features (..., n), once for every sequence: (..., n B)."""
    return None if numbers is None else numbers.repeat_interleave(batch, -1)
