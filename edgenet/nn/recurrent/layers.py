"""RNN, GRU and LSTM: stacked cells that walk along sequences, called as torch's."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from edgenet.errors import ConfigError, ShapeError
from edgenet.nn.recurrent.cells import Cell, ElmanCell, GRUCell, LSTMCell, State
from edgenet.structured import Dense, StructuredLinear
from edgenet.structured.families import Structure


class Recurrent(nn.Module):
    """Cells along sequences, layer upon layer: what ``RNN``, ``GRU`` and ``LSTM`` share.

    Called as torch's modules of these names are, with equal numbers where maps are dense. Every map is a
    ``StructuredLinear``, so a structure goes into its slot.

    Args:
        input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional: as of ``torch.nn.LSTM``.
        structure: makes the matrix of every slot of a dense start; None: dense.

    Raises:
        ConfigError: if a number is out of range.
    """

    cell_type: ClassVar[type[Cell]]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        structure: Structure | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        for name, number in (("input_size", input_size), ("hidden_size", hidden_size), ("num_layers", num_layers)):
            if not isinstance(number, int) or number < 1:
                raise ConfigError(f"{name} is a whole number from 1, got {number!r}.")
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.bidirectional = bias, batch_first, bidirectional
        self.dropout = dropout
        self.directions = 2 if bidirectional else 1
        self.cells = nn.ModuleList()
        width = input_size
        for _ in range(num_layers):
            for _ in range(self.directions):
                self.cells.append(self._cell(width, structure, **options))
            width = self.directions * self.out_size

    @property
    def out_size(self) -> int:
        """Width of the output of one direction."""
        return self.hidden_size

    def _map(self, rows: int, columns: int, structure: Structure | None, bias: bool | None = None) -> StructuredLinear:
        bound = 1 / math.sqrt(self.hidden_size)
        weight = torch.empty(rows, columns).uniform_(-bound, bound)
        matrix = Dense(weight) if structure is None else structure(weight)
        with_bias = self.bias if bias is None else bias
        return StructuredLinear(matrix, torch.empty(rows).uniform_(-bound, bound) if with_bias else None)

    def _cell(self, width: int, structure: Structure | None, **options: Any) -> Cell:
        rows = self.cell_type.gates * self.hidden_size
        maps = self._map(rows, width, structure), self._map(rows, self.out_size, structure)
        return self.cell_type(*maps, self.hidden_size, **options)

    def forward(self, input: Tensor, hx: Any = None) -> tuple[Tensor, Any]:
        """(T, B, in) -> (T, B, out) and the last state, each (layers * directions, B, n); (B, T, in) if
        ``batch_first``.

        Raises:
            ShapeError: if the input does not fit.
        """
        if input.dim() != 3 or input.shape[-1] != self.input_size:
            raise ShapeError(f"wanted is a (T, B, {self.input_size}) input, got {tuple(input.shape)}.")
        signal = input.transpose(0, 1) if self.batch_first else input
        states = self._states(hx)
        last: list[State] = []
        for layer in range(self.num_layers):
            outputs = []
            for direction in range(self.directions):
                place = layer * self.directions + direction
                output, state = _walk(self.cells[place], signal, states[place], reverse=direction == 1)
                outputs.append(output)
                last.append(state)
            signal = torch.cat(outputs, -1)
            if layer < self.num_layers - 1:
                signal = nn.functional.dropout(signal, self.dropout, self.training)
        found = tuple(torch.stack(parts) for parts in zip(*last, strict=True))
        output = signal.transpose(0, 1) if self.batch_first else signal
        return output, found if len(found) > 1 else found[0]

    def _states(self, hx: Any) -> list[State | None]:
        if hx is None:
            return [None] * len(self.cells)
        parts = hx if isinstance(hx, tuple) else (hx,)
        return [tuple(part[place] for part in parts) for place in range(len(self.cells))]


def _walk(cell: Any, signal: Tensor, state: State | None, reverse: bool) -> tuple[Tensor, State]:
    """The definition: every input mapped at once, then step by step."""
    inputs = cell.input_map(signal)
    state = cell.begin(inputs[0]) if state is None else state
    outputs: list[Tensor] = []
    for mapped in reversed(inputs.unbind(0)) if reverse else inputs.unbind(0):
        state = cell.step(mapped, state)
        outputs.append(state[0])
    return torch.stack(outputs[::-1] if reverse else outputs), state


class RNN(Recurrent):
    """Elman's network, as ``torch.nn.RNN``."""

    cell_type = ElmanCell


class GRU(Recurrent):
    """Gated recurrent units, as ``torch.nn.GRU``."""

    cell_type = GRUCell


class LSTM(Recurrent):
    """Long short-term memory, as ``torch.nn.LSTM``."""

    cell_type = LSTMCell

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        proj_size: int = 0,
        peepholes: bool = False,
        **options: Any,
    ) -> None:
        self.proj_size, self.peepholes = proj_size, peepholes
        super().__init__(input_size, hidden_size, num_layers, **options)

    @property
    def out_size(self) -> int:
        return self.proj_size or self.hidden_size

    def _cell(self, width: int, structure: Structure | None, **options: Any) -> Cell:
        if self.proj_size:
            options["projection"] = self._map(self.proj_size, self.hidden_size, structure, bias=False)
            options["out_size"] = self.proj_size
        return super()._cell(width, structure, peepholes=self.peepholes, **options)
