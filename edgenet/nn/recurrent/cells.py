"""Cells: one step of a recurrent network, over any two maps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from edgenet.errors import ConfigError, ShapeError

#: What is handed from step to step; the first tensor, (..., out), is what others see.
State = tuple[Tensor, ...]

#: What makes the output of an LSTM narrower.
Projection = Callable[[Tensor], Tensor]


class Cell(nn.Module, ABC):
    """One step: (x_t, state) -> state.

    Both maps give the numbers of all gates at once, (..., gates * hidden_size), gate after gate. They may be any
    modules: linear maps with a structured matrix in their slot, or EdgeNet convolutions, which take the graph as
    ``context``; signals are (..., N, F) then.

    Args:
        input_map: (..., in) -> (..., gates * hidden_size).
        state_map: (..., out_size) -> (..., gates * hidden_size).
        hidden_size: n, the numbers of a state.

    Raises:
        ShapeError: if the hidden size is no whole number from 1.

    Example:
        >>> issubclass(edgenet.nn.GRUCell, edgenet.nn.Cell)
        True
    """

    gates: ClassVar[int]

    def __init__(self, input_map: nn.Module, state_map: nn.Module, hidden_size: int) -> None:
        super().__init__()
        if isinstance(hidden_size, bool) or not isinstance(hidden_size, int) or hidden_size < 1:
            raise ShapeError(f"hidden_size is a whole number from 1, got {hidden_size!r}.")
        self.input_map, self.state_map, self.hidden_size = input_map, state_map, hidden_size

    @property
    def out_size(self) -> int:
        """Width of the output h."""
        return self.hidden_size

    def begin(self, inputs: Tensor) -> State:
        """A state of zeros for mapped inputs (..., gates * hidden_size) of one step."""
        return (inputs.new_zeros(*inputs.shape[:-1], self.out_size),)

    @abstractmethod
    def step(self, inputs: Tensor, state: State, *context: Any) -> State:
        """The next state, of inputs that are mapped already: ``input_map(x, *context)``."""

    def forward(self, x: Tensor, state: State | None = None, *context: Any) -> State:
        """(..., in) and a state (zeros if None) -> the next state."""
        inputs = self.input_map(x, *context)
        return self.step(inputs, self.begin(inputs) if state is None else state, *context)


class ElmanCell(Cell):
    """h' = tanh(A x + B h), or relu. Over EdgeNet convolutions: the graph recurrent network of Ruiz, Gama, Ribeiro
    2020.

    Args:
        nonlinearity: "tanh" or "relu".

    Raises:
        ConfigError: if there is no such nonlinearity.

    Example:
        >>> from edgenet.structured import StructuredLinear
        >>> cell = edgenet.nn.ElmanCell(StructuredLinear.dense(3, 8), StructuredLinear.dense(8, 8), hidden_size=8)
        >>> cell.hidden_size
        8
    """

    gates = 1

    def __init__(
        self, input_map: nn.Module, state_map: nn.Module, hidden_size: int, nonlinearity: str = "tanh"
    ) -> None:
        super().__init__(input_map, state_map, hidden_size)
        if nonlinearity not in ("tanh", "relu"):
            raise ConfigError(f"nonlinearity is tanh or relu, got {nonlinearity!r}.")
        self.nonlinearity = nonlinearity

    def step(self, inputs: Tensor, state: State, *context: Any) -> State:
        return elman_step(inputs, self.state_map(state[0], *context), self.nonlinearity)


def elman_step(inputs: Tensor, mapped: Tensor, nonlinearity: str) -> State:
    """The formula of ``ElmanCell``, of mapped inputs and a mapped state."""
    total = inputs + mapped
    return (total.tanh() if nonlinearity == "tanh" else total.relu(),)


class GRUCell(Cell):
    """Gates r, z, n, as ``torch.nn.GRU`` has them: with the mapped input a and the mapped state b,

    r = sigmoid(a_r + b_r), z = sigmoid(a_z + b_z), n = tanh(a_n + r b_n), h' = (1 - z) n + z h.

    Example:
        >>> from edgenet.structured import StructuredLinear
        >>> cell = edgenet.nn.GRUCell(StructuredLinear.dense(3, 24), StructuredLinear.dense(8, 24), hidden_size=8)
        >>> cell.hidden_size
        8
    """

    gates = 3

    def step(self, inputs: Tensor, state: State, *context: Any) -> State:
        return gru_step(inputs, self.state_map(state[0], *context), state)


def gru_step(inputs: Tensor, mapped: Tensor, state: State) -> State:
    """The formula of ``GRUCell``, of mapped inputs, a mapped state and the state."""
    a_r, a_z, a_n = inputs.chunk(3, -1)
    b_r, b_z, b_n = mapped.chunk(3, -1)
    keep = (a_z + b_z).sigmoid()
    new = (a_n + (a_r + b_r).sigmoid() * b_n).tanh()
    return (new + keep * (state[0] - new),)


class LSTMCell(Cell):
    """Gates i, f, g, o, as ``torch.nn.LSTM`` has them: c' = f c + i g and h' = P (o tanh(c')); P is the projection.

    With peepholes p (Sak, Senior, Beaufays 2014) i and f also see p c, and o sees p c', number by number.

    Args:
        projection: (..., hidden_size) -> (..., out_size); None: h' is as wide as the state.
        out_size: of the projection.
        peepholes: whether gates see the cell.

    Attributes:
        peepholes: (3, hidden_size), of the gates i, f and o; None without.

    Raises:
        ConfigError: if there is a projection without ``out_size``, or the reverse.

    Example:
        >>> from edgenet.structured import StructuredLinear
        >>> cell = edgenet.nn.LSTMCell(StructuredLinear.dense(3, 32), StructuredLinear.dense(8, 32), hidden_size=8)
        >>> cell.hidden_size
        8
    """

    gates = 4
    #: of tensors whose rows multiply number by number, which no structured matrix can stand for
    stacked_vectors = ("peepholes",)
    peepholes: nn.Parameter | None

    def __init__(
        self,
        input_map: nn.Module,
        state_map: nn.Module,
        hidden_size: int,
        projection: nn.Module | None = None,
        out_size: int | None = None,
        peepholes: bool = False,
    ) -> None:
        super().__init__(input_map, state_map, hidden_size)
        if (projection is None) != (out_size is None):
            raise ConfigError(f"a projection comes with its out_size, got {projection} and {out_size!r}.")
        self.projection, self._out = projection, out_size
        self.peepholes = nn.Parameter(torch.zeros(3, hidden_size)) if peepholes else None

    @property
    def out_size(self) -> int:
        return self.hidden_size if self._out is None else self._out

    def arguments(self) -> dict[str, Any]:
        """Of the constructor's, those that are no attribute of the same name; saved models are made by them."""
        return {"out_size": self._out, "peepholes": self.peepholes is not None}

    def begin(self, inputs: Tensor) -> State:
        return (*super().begin(inputs), inputs.new_zeros(*inputs.shape[:-1], self.hidden_size))

    def step(self, inputs: Tensor, state: State, *context: Any) -> State:
        mapped = self.state_map(state[0], *context)
        return lstm_step(inputs, mapped, state, self.peepholes, self.projection)


def lstm_step(
    inputs: Tensor, mapped: Tensor, state: State, peepholes: Tensor | None, projection: Projection | None
) -> State:
    """The formula of ``LSTMCell``, of mapped inputs, a mapped state and the state."""
    cell = state[1]
    i, f, g, o = (inputs + mapped).chunk(4, -1)
    if peepholes is not None:
        i, f = i + peepholes[0] * cell, f + peepholes[1] * cell
    cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
    if peepholes is not None:
        o = o + peepholes[2] * cell
    hidden = o.sigmoid() * cell.tanh()
    return (hidden if projection is None else projection(hidden), cell)
