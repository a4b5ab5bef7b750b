"""The walk where structures multiply signals side by side: every step is (features, B), and nothing is turned round.

To all that is done number by number (gates, masks) a step of B sequences is one sequence of n B numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from edgenet.nn.recurrent.cells import Cell, LSTMCell, State
from edgenet.structured import StructuredMatrix

_WIDE = 32  # signals of the input that are mapped together: enough to read a matrix seldom


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
    if add is None or getattr(cell, "projection", None) is not None:
        return None
    width, size = cell.hidden_size, max(1, _WIDE // max(1, batch))
    maps = _input_map(cell.input_map.weight, bias, size * batch)
    peepholes = _repeated(cell.peepholes, batch) if isinstance(cell, LSTMCell) else None
    state_bias = _repeated(state_bias, batch)
    state = tuple(part.t().reshape(1, -1) for part in state)
    outputs = signal.new_empty(count, batch, width)

    def multiply(base: Tensor, hidden: Tensor, out: Tensor) -> None:
        out.copy_(base)
        add(out.view(-1, batch), hidden.view(width, batch))

    pieces = range(0, count, size)
    for start in reversed(pieces) if reverse else pieces:
        part = slice(start, min(count, start + size))
        steps = part.stop - start
        here = None if mask is None else mask[part].view(steps, 1, batch).expand(-1, width, -1).reshape(steps, 1, -1)
        made = signal.new_empty(steps, 1, width * batch)
        numbers = range(steps)
        state = stepped(
            cell, maps(signal[part]).view(steps, 1, -1), multiply, state, here,
            numbers[::-1] if reverse else numbers, made, state_bias, peepholes,
        )  # fmt: skip
        outputs[part] = made.view(steps, width, batch).transpose(1, 2)
    return outputs, tuple(part.view(width, batch).t().contiguous() for part in state)


def _input_map(weight: StructuredMatrix, bias: Tensor | None, signals: int) -> Callable[[Tensor], Tensor]:
    """What maps a piece (S, B, in) of the input to (S, out, B)."""
    add = weight.adder(signals)
    if add is None:
        return lambda piece: _with(bias, weight(piece)).transpose(1, 2).contiguous()

    def maps(piece: Tensor) -> Tensor:
        steps, batch, width = piece.shape
        mapped = piece.new_empty(weight.shape[0], steps * batch)
        if bias is None:
            mapped.zero_()
        else:
            mapped.copy_(bias[:, None].expand_as(mapped))
        add(mapped, piece.reshape(-1, width).t().contiguous())
        return mapped.view(-1, steps, batch).transpose(0, 1).contiguous()

    return maps


def _with(bias: Tensor | None, mapped: Tensor) -> Tensor:
    return mapped if bias is None else mapped + bias


def _repeated(numbers: Tensor | None, batch: int) -> Tensor | None:
    """Numbers of features (..., n), once for every sequence: (..., n B)."""
    return None if numbers is None else numbers.repeat_interleave(batch, -1)
