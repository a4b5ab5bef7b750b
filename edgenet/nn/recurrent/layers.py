"""RNN, GRU and LSTM: stacked cells that walk along sequences, called as torch's."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from edgenet import ops
from edgenet.errors import ConfigError
from edgenet.nn.recurrent.cells import Cell, ElmanCell, GRUCell, LSTMCell, State
from edgenet.nn.recurrent.columns import Columns
from edgenet.nn.recurrent.sequences import sequences, starts
from edgenet.nn.recurrent.walk import walk
from edgenet.structured import Dense, StructuredLinear, StructuredMatrix
from edgenet.structured.families import Structure


class Recurrent(nn.Module):
    """Cells along sequences, layer upon layer: what ``RNN``, ``GRU`` and ``LSTM`` share.

    Called as torch's modules of these names are, with equal numbers where maps are dense. Every map has its matrix in a
    slot (``cells.0.input_map.weight``, ``cells.0.state_map.weight``, ``cells.0.projection.weight``; cells are numbered
    layer after layer, the backward direction of each second), so that a compressed network is one with structures in
    its slots. Every input is mapped at once, and the state by all gates at once.

    In training a matrix is read once a sequence, whatever is drawn when it is read (row dropout). Without gradients the
    state is multiplied by the structure itself where that is cheaper. Modules with hooks, adapters or parametrisations
    are called at every step.

    Args:
        input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional: as of ``torch.nn.LSTM``.
        structure: makes the matrix of every slot of a dense weight; None: dense. Its numbers are then drawn, as
            ``reset_parameters`` draws them.
        stacked: whether one matrix holds the maps of input and state side by side, (gates * hidden_size, in + out).

    Raises:
        ConfigError: if a number is out of range.

    Example:
        >>> issubclass(edgenet.nn.LSTM, edgenet.nn.Recurrent)
        True
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
        stacked: bool = False,
        **options: Any,
    ) -> None:
        super().__init__()
        for name, number in (("input_size", input_size), ("hidden_size", hidden_size), ("num_layers", num_layers)):
            if isinstance(number, bool) or not isinstance(number, int) or number < 1:
                raise ConfigError(f"{name} is a whole number from 1, got {number!r}.")
        for name, choice in (("bias", bias), ("batch_first", batch_first), ("bidirectional", bidirectional),
                             ("stacked", stacked)):  # fmt: skip
            if not isinstance(choice, bool):
                raise ConfigError(f"{name} is True or False, got {choice!r}.")
        if isinstance(dropout, bool) or not isinstance(dropout, int | float) or not 0 <= dropout <= 1:
            raise ConfigError(f"dropout is a probability from 0 to 1, got {dropout!r}.")
        if dropout and num_layers == 1:
            raise ConfigError(f"dropout={dropout} is between layers, and there is one: drop outputs outside.")
        if structure is not None and not callable(structure):
            raise ConfigError(f"structure makes a matrix of a weight: structured.structure(name); got {structure!r}.")
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.bidirectional = bias, batch_first, bidirectional
        self.dropout, self.stacked = dropout, stacked
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

    @property
    def state_widths(self) -> tuple[int, ...]:
        """The width of every tensor of a state."""
        return (self.out_size,)

    # ---------------------------------------------------------------- making
    def _matrix(self, rows: int, columns: int, structure: Structure | None) -> StructuredMatrix:
        bound = 1 / math.sqrt(self.hidden_size)
        weight = torch.empty(rows, columns).uniform_(-bound, bound)
        if structure is None:
            return Dense(weight)
        matrix = structure(weight)
        if not isinstance(matrix, StructuredMatrix) or tuple(matrix.shape) != (rows, columns):
            shape = f" {tuple(matrix.shape)}" if isinstance(matrix, StructuredMatrix) else ""
            raise ConfigError(
                f"structure makes a structured matrix of a weight {(rows, columns)}, got a {type(matrix).__name__}"
                f"{shape}."
            )
        if not weight.is_meta:
            with torch.no_grad():
                matrix.draw_(bound / math.sqrt(3))  # what fits a drawn weight is smaller than that
        return matrix

    def _bias(self, rows: int) -> Tensor | None:
        bound = 1 / math.sqrt(self.hidden_size)
        return torch.empty(rows).uniform_(-bound, bound) if self.bias else None

    def _cell(self, width: int, structure: Structure | None, **options: Any) -> Cell:
        rows, out = self.cell_type.gates * self.hidden_size, self.out_size
        maps: list[nn.Module]
        if self.stacked:
            matrix = self._matrix(rows, width + out, structure)
            ends = ((0, width), (width, width + out))
            maps = [Columns(matrix, *end, self._bias(rows)) for end in ends]
        else:
            maps = [StructuredLinear(self._matrix(rows, n, structure), self._bias(rows)) for n in (width, out)]
        return self.cell_type(*maps, self.hidden_size, **options)

    # ---------------------------------------------------------------- running
    def forward(self, input: Tensor | PackedSequence, hx: Any = None, lengths: Any = None) -> tuple[Any, Any]:
        """(T, B, in) -> (T, B, out) and the last state, each (layers * directions, B, n).

        Args:
            input: (T, B, in); (B, T, in) if ``batch_first``; (T, in) for one sequence; or a ``PackedSequence``, for
                which the output is one too.
            hx: the first state, as the last is given; zeros by default.
            lengths: (B,) whole numbers from 0 to T of a padded input. Behind its end a sequence has output 0, and its
                state stays that of the last step; what stands there in the input is not read.

        Raises:
            ShapeError: if the input, the state or the lengths do not fit, there is no step, or the state becomes NaN.
        """
        batch = sequences(input, lengths, self.input_size, self.batch_first)
        shapes = [(len(self.cells), width) for width in self.state_widths]
        states = starts(hx, shapes, batch.alone, batch.signal)
        signal, last = batch.signal, []
        for layer in range(self.num_layers):
            if layer:
                signal = ops.dropout(signal, self.dropout, self.training)
            outputs = []
            for place in range(layer * self.directions, (layer + 1) * self.directions):
                backwards = place % self.directions == 1
                first = None if states is None else states[place]
                where = f"layer {layer}{', backwards' if backwards else ''}"
                output, state = walk(self.cells[place], signal, first, batch.mask, backwards, where)
                outputs.append(output)
                last.append(state)
            signal = outputs[0] if len(outputs) == 1 else torch.cat(outputs, -1)
        return batch.given_back(signal), _joined(last, batch.alone)

    def reset_parameters(self) -> None:
        """Draw all parameters anew: biases and the entries of every matrix within 1 / sqrt(hidden_size)."""
        bound = 1 / math.sqrt(self.hidden_size)
        with torch.no_grad():
            for module in self.modules():
                if isinstance(module, StructuredLinear | Columns):
                    module.weight.draw_(bound / math.sqrt(3))
                    if module.bias is not None:
                        module.bias.uniform_(-bound, bound)
                elif isinstance(module, LSTMCell) and module.peepholes is not None:
                    module.peepholes.zero_()

    def extra_repr(self) -> str:
        told = f"{self.input_size}, {self.hidden_size}, num_layers={self.num_layers}"
        return told + "".join(f", {name}=True" for name in ("bidirectional", "stacked") if getattr(self, name))


def _joined(states: list[State], alone: bool) -> Tensor | State:
    found = tuple(torch.stack(parts) for parts in zip(*states, strict=True))
    if alone:
        found = tuple(part.squeeze(1) for part in found)
    return found if len(found) > 1 else found[0]


class RNN(Recurrent):
    """Elman's network, as ``torch.nn.RNN``.

    Args:
        nonlinearity: "tanh" or "relu".
        options: of ``Recurrent``.

    Example:
        >>> output, h = edgenet.nn.RNN(3, 8, nonlinearity="relu")(torch.randn(10, 2, 3))
        >>> output.shape
        torch.Size([10, 2, 8])
    """

    cell_type = ElmanCell

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, *, nonlinearity: str = "tanh", **options: Any
    ) -> None:
        self.nonlinearity = nonlinearity
        super().__init__(input_size, hidden_size, num_layers, **options)

    def _cell(self, width: int, structure: Structure | None, **options: Any) -> Cell:
        return super()._cell(width, structure, nonlinearity=self.nonlinearity, **options)


class GRU(Recurrent):
    """Gated recurrent units, as ``torch.nn.GRU``.

    Example:
        >>> gru = edgenet.nn.GRU(3, 8, structure=edgenet.structured.structure("low_rank", rank=2))
        >>> output, h = gru(torch.randn(10, 2, 3))  # 10 steps of 2 sequences
        >>> output.shape, h.shape
        (torch.Size([10, 2, 8]), torch.Size([1, 2, 8]))
    """

    cell_type = GRUCell


class LSTM(Recurrent):
    """Long short-term memory, as ``torch.nn.LSTM``.

    Args:
        proj_size: of a projection of the output; 0: none.
        peepholes: whether gates see the cell.
        options: of ``Recurrent``.

    Example:
        >>> lstm = edgenet.nn.LSTM(3, 8, num_layers=2, peepholes=True)
        >>> output, (h, c) = lstm(torch.randn(10, 2, 3), lengths=[10, 4])
        >>> output.shape, h.shape
        (torch.Size([10, 2, 8]), torch.Size([2, 2, 8]))
    """

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
        known = isinstance(hidden_size, int)  # else the message is about that
        if isinstance(proj_size, bool) or not isinstance(proj_size, int) or proj_size < 0 or (
            known and proj_size >= max(1, hidden_size)
        ):  # fmt: skip
            raise ConfigError(f"proj_size is a whole number from 0 to under hidden_size, got {proj_size!r}.")
        if not isinstance(peepholes, bool):
            raise ConfigError(f"peepholes is True or False, got {peepholes!r}.")
        self.proj_size, self.peepholes = proj_size, peepholes
        super().__init__(input_size, hidden_size, num_layers, **options)

    @property
    def out_size(self) -> int:
        return self.proj_size or self.hidden_size

    @property
    def state_widths(self) -> tuple[int, ...]:
        return self.out_size, self.hidden_size

    def _cell(self, width: int, structure: Structure | None, **options: Any) -> Cell:
        if self.proj_size:
            matrix = self._matrix(self.proj_size, self.hidden_size, structure)
            options.update(projection=StructuredLinear(matrix), out_size=self.proj_size)
        return super()._cell(width, structure, peepholes=self.peepholes, **options)
