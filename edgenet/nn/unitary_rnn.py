"""UnitaryRNN: a recurrent network whose state turns by a unitary matrix, so that it neither fades nor explodes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from edgenet import shortcuts
from edgenet.errors import ShapeError
from edgenet.nn.mod_relu import ModReLU, check_count
from edgenet.nn.recurrent.cells import Cell, State
from edgenet.nn.unitary_walk import parts, walk
from edgenet.structured import Dense, StructuredLinear, StructuredMatrix, Unitary


class UnitaryCell(Cell):
    """h' = modReLU(W h + V x), with a complex state h and a learned start.

    Args:
        input_map: V, (..., in) -> (..., 2 n): the real parts of V x, and then the imaginary parts.
        state_map: W, (..., n) -> (..., n) complex. A real one multiplies real and imaginary parts.
        hidden_size: n.

    Raises:
        ShapeError: if the hidden size is no whole number from 1.

    Example:
        >>> issubclass(edgenet.nn.UnitaryCell, edgenet.nn.Cell)
        True
    """

    gates = 2  # real and imaginary parts

    def __init__(self, input_map: nn.Module, state_map: nn.Module, hidden_size: int) -> None:
        super().__init__(input_map, state_map, hidden_size)
        self.activation = ModReLU(hidden_size)
        bound = math.sqrt(1.5 / hidden_size)
        #: (2 n,), real parts and then imaginary parts
        self.start = nn.Parameter(torch.empty(2 * hidden_size).uniform_(-bound, bound))

    def begin(self, inputs: Tensor) -> State:
        """The learned start, for mapped inputs (..., 2 n) of one step."""
        return (_joined(self.start).expand(*inputs.shape[:-1], self.hidden_size),)

    def step(self, inputs: Tensor, state: State, *context: Any) -> State:
        """The next state, (..., n) complex."""
        return (self.activation(self.turned(state[0], *context) + _joined(inputs)),)

    def by_steps(self, inputs: Tensor, start: Tensor) -> Tensor:
        """All states, step after step: mapped inputs (T, B, 2 n) and (B, 2, n) -> (T, B, 2, n), real and imaginary
        parts. This is what ``walk`` means."""
        state: State = (torch.complex(*start.unbind(-2)),)
        found = []
        for one in inputs.unbind(0):
            state = self.step(one, state)
            found.append(parts(state[0]))
        return torch.stack(found)

    def by_calls(self, x: Tensor, start: Tensor) -> Tensor:
        """The same of inputs (T, B, in), by a call of the cell at every step, so that what hangs on the cell counts."""
        state: State = (torch.complex(*start.unbind(-2)),)
        found = []
        for one in x.unbind(0):
            state = self(one, state)
            found.append(parts(state[0]))
        return torch.stack(found)

    def turned(self, state: Tensor, *context: Any) -> Tensor:
        """W h."""
        if _is_complex(self.state_map):
            return self.state_map(state, *context)
        return torch.complex(self.state_map(state.real, *context), self.state_map(state.imag, *context))


class UnitaryRNN(nn.Module):
    """The unitary evolution RNN: h_t = modReLU(W h_{t-1} + V x_t) and o_t = U [Re h_t; Im h_t] + c.

    W has 7 n parameters and keeps the norm of every state, so gradients reach back over hundreds of steps. V, W and U
    stand in slots: ``cell.input_map.weight``, ``cell.state_map.weight``, ``read_out.weight``. The start h_0 is learned.
    Arjovsky, Shah, Bengio 2016.

    Numbers start as in the authors' code: V, U from Glorot's uniform; phases from U[-pi, pi]; reflections from
    U[-r, r] with r = sqrt(3 / (n + 1)), which only sets how fast they learn; h_0 from U[-s, s] with
    s = sqrt(3 / (2 n)); b from U[-0.01, 0.01], where the paper has 0. They train by RMSprop at 0.001 with a decay of
    0.9, without clipping. The default of ``edgenet.fit`` is another optimizer.

    Args:
        input_size, hidden_size, output_size: widths of x, of the complex state (n), and of o.
        batch_first: whether sequences are (B, T, ...) instead of (T, B, ...).
        matrix: W, any structured matrix (n, n), real or complex; None: a ``Unitary``. Only unitary ones keep norms.
        seed: of the permutation in the ``Unitary``.

    Raises:
        ConfigError: if a size is no whole number from 1.
        ShapeError: if ``matrix`` is no structured matrix, or not (n, n).

    Example:
        >>> net = edgenet.nn.UnitaryRNN(3, 32, 2, batch_first=True)
        >>> outputs, state = net(torch.randn(4, 10, 3))
        >>> outputs.shape, state.dtype
        (torch.Size([4, 10, 2]), torch.complex64)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        output_size: int,
        *,
        batch_first: bool = False,
        matrix: StructuredMatrix | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        sizes = {"input_size": input_size, "hidden_size": hidden_size, "output_size": output_size}
        for name, number in sizes.items():
            check_count(name, number)
        self.input_size, self.hidden_size, self.output_size = input_size, hidden_size, output_size
        self.batch_first, self.seed = batch_first, seed
        if matrix is None:
            radius = _radius(hidden_size)
            phases = torch.empty(3, hidden_size).uniform_(-math.pi, math.pi)
            matrix = Unitary(phases, torch.empty(2, hidden_size, 2).uniform_(-radius, radius), seed=seed)
        _check_matrix(matrix, hidden_size)
        input_map = StructuredLinear(Dense.lazy(2 * hidden_size, input_size))
        self.cell = UnitaryCell(input_map, StructuredLinear(matrix), hidden_size)
        self.read_out = StructuredLinear.dense(2 * hidden_size, output_size, bias=True)

    def forward(
        self,
        input: Tensor | PackedSequence,
        state: Tensor | None = None,
        lengths: Tensor | Sequence[int] | None = None,
    ) -> tuple[Any, Tensor]:
        """(T, B, in) -> (T, B, out) and the last state; (B, T, in) -> (B, T, out) if ``batch_first``. Symbols (T, B) of
        int64 stand for their one-hot vectors. A ``PackedSequence`` gives a ``PackedSequence``.

        Args:
            state: (B, n) complex, to go on from; None: the learned start.
            lengths: (B,) steps of each sequence, from 0 to T. What comes after these is not read: the outputs there
                are 0, and the last state is that of the last step. None: all have T.

        Returns:
            The outputs, and the last state (B, n) complex.

        Raises:
            ShapeError: if input, state or lengths do not fit, there is no step, or a state is NaN or infinite, which is
                named with its step.
        """
        if isinstance(input, PackedSequence):
            return self._packed(input, state, lengths)
        states, steps = self._states(input, state, lengths)
        outputs = self.read_out(states[1:].flatten(2))
        if steps is None:
            last = states[-1]
        else:
            over = torch.arange(len(outputs), device=steps.device)[:, None] >= steps
            outputs = outputs.masked_fill(over[..., None], 0)
            last = states[steps, torch.arange(len(steps), device=steps.device)]
        return (outputs.transpose(0, 1) if self.batch_first else outputs), torch.complex(*last.unbind(1))

    def begun(self, batch: int) -> Tensor:
        """(B, n) complex: the learned start, for so many sequences."""
        return _joined(self.cell.start).expand(batch, self.hidden_size)

    def states(self, input: Tensor, state: Tensor | None = None) -> Tensor:
        """All states, (T, B, n) complex; (B, T, n) if ``batch_first``. Arguments and errors are those of a call."""
        found = torch.complex(*self._states(input, state, None)[0][1:].unbind(2))
        return found.transpose(0, 1) if self.batch_first else found

    def _states(
        self, input: Tensor, state: Tensor | None, lengths: Tensor | Sequence[int] | None
    ) -> tuple[Tensor, Tensor | None]:
        """(T + 1, B, 2, n) real and imaginary parts of the start and of all states, and the checked lengths."""
        x = self._checked_input(input)
        x = x.transpose(0, 1) if self.batch_first else x
        if len(x) == 0:
            raise ShapeError(f"a sequence has at least one step, got an input {tuple(input.shape)}.")
        steps = None if lengths is None else _steps(lengths, x)
        if steps is not None:
            over = torch.arange(len(x), device=x.device)[:, None] >= steps
            x = x.masked_fill(over[..., None], 0)  # what padding holds, NaN even, must not reach a gradient
        begun = self.begun(x.shape[1]) if state is None else self._checked_state(state, x.shape[1])
        start = parts(begun)
        if torch.is_autocast_enabled(x.device.type):  # there are no complex numbers of half precision
            with torch.autocast(x.device.type, enabled=False):
                states = walk(self.cell, x.to(start.dtype), start)
        else:
            states = walk(self.cell, x, start)
        _check_finite(states)
        return torch.cat([start[None], states]), steps

    def _checked_input(self, input: Any) -> Tensor:
        """Features, of symbols too."""
        width = self.input_size
        if isinstance(input, Tensor) and input.dtype == torch.int64 and input.dim() == 2:
            if input.numel() and _may_look() and not 0 <= int(input.min()) <= int(input.max()) < width:
                least, most = int(input.min()), int(input.max())
                raise ShapeError(f"symbols are 0 to {width - 1} for input_size {width}, got {least} to {most}.")
            return nn.functional.one_hot(input, width).to(self.cell.start.dtype)
        if not isinstance(input, Tensor) or not input.is_floating_point() or input.shape[2:] != (width,):
            form = "B, T" if self.batch_first else "T, B"
            got = f"{tuple(input.shape)} of {input.dtype}" if isinstance(input, Tensor) else type(input).__name__
            raise ShapeError(
                f"wanted is a ({form}, {width}) input of real numbers, or ({form}) symbols of int64, got {got}."
            )
        return input

    def _checked_state(self, state: Tensor, batch: int) -> Tensor:
        if not isinstance(state, Tensor) or state.shape != (batch, self.hidden_size) or not state.is_complex():
            got = f"{tuple(state.shape)} of {state.dtype}" if isinstance(state, Tensor) else type(state).__name__
            raise ShapeError(
                f"a state is ({batch}, {self.hidden_size}) complex, got {got}; of real and imaginary parts make it "
                f"with torch.complex(real, imaginary)."
            )
        return state

    def _packed(
        self, packed: PackedSequence, state: Tensor | None, lengths: Tensor | Sequence[int] | None
    ) -> tuple[PackedSequence, Tensor]:
        if lengths is not None:
            raise ShapeError("a PackedSequence has lengths of its own; leave out lengths=.")
        padded, steps = pad_packed_sequence(packed, batch_first=self.batch_first)
        outputs, last = self(padded, state, steps)
        if packed.sorted_indices is None:
            return pack_padded_sequence(outputs, steps, batch_first=self.batch_first), last
        order = packed.sorted_indices
        dim = 0 if self.batch_first else 1
        again = pack_padded_sequence(outputs.index_select(dim, order), steps[order.cpu()], batch_first=self.batch_first)
        return PackedSequence(again.data, again.batch_sizes, order, packed.unsorted_indices), last

    def reset_parameters(self) -> None:
        """Draw all parameters anew, as they start; another ``matrix`` with entries of the mean square 1 / n."""
        matrix, size = self.cell.state_map.weight, self.hidden_size
        for part in (self.cell.input_map, self.read_out):
            part.reset_parameters()
        with torch.no_grad():
            matrix.draw_(1 / math.sqrt(size))
            if isinstance(matrix, Unitary):
                matrix.reflections.mul_(_radius(size))
            self.cell.activation.bias.uniform_(-0.01, 0.01)
            bound = math.sqrt(1.5 / size)
            self.cell.start.uniform_(-bound, bound)

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}, {self.output_size}, batch_first={self.batch_first}"


def _may_look() -> bool:
    """Whether numbers can be asked for: nothing compiles or transforms."""
    return not torch.compiler.is_compiling() and shortcuts.unwatched()


def _joined(parts: Tensor) -> Tensor:
    """(..., 2 n) real parts and then imaginary parts -> (..., n) complex."""
    return torch.complex(*parts.chunk(2, -1))


def _is_complex(matrix: nn.Module) -> bool:
    """Whether it takes complex signals: its numbers are complex, or make complex ones. An adapter in its place counts
    as what it holds."""
    if any(isinstance(part, Unitary) for part in matrix.modules()):
        return True
    return any(p.is_complex() for p in matrix.parameters())


def _radius(size: int) -> float:
    """Within which the numbers of reflections start."""
    return math.sqrt(3 / (size + 1))


def _check_matrix(matrix: Any, size: int) -> None:
    if not isinstance(matrix, StructuredMatrix):
        raise ShapeError(
            f"matrix= is a structured matrix ({size}, {size}), real or complex, got a {type(matrix).__name__}; of a "
            f"tensor make one with edgenet.structured.Dense(tensor)."
        )
    if matrix.is_lazy or tuple(matrix.shape) != (size, size):
        raise ShapeError(f"matrix= is ({size}, {size}) for a state of {size} numbers, got {tuple(matrix.shape)}.")


def _steps(lengths: Tensor | Sequence[int], x: Tensor) -> Tensor:
    """(B,) int64, on the device of the input (T, B, in)."""
    steps = torch.as_tensor(lengths)
    if steps.shape != x.shape[1:2] or steps.is_floating_point() or steps.is_complex() or steps.dtype == torch.bool:
        raise ShapeError(
            f"lengths are ({x.shape[1]},) whole numbers, one a sequence, got {tuple(steps.shape)} of {steps.dtype}."
        )
    steps = steps.to(x.device, torch.int64)
    if _may_look() and len(steps) and not 0 <= int(steps.min()) <= int(steps.max()) <= len(x):
        raise ShapeError(f"lengths are from 0 to {len(x)} steps, got {steps.tolist()}.")
    return steps


def _check_finite(states: Tensor) -> None:
    """
    Raises:
        ShapeError: with the first step at which a state is not finite. A later one is not either, as W mixes all.
    """
    if not _may_look() or bool(states[-1].isfinite().all()):
        return
    step, row = (~states.isfinite()).flatten(2).any(2).nonzero()[0].tolist()
    raise ShapeError(
        f"the state is NaN or infinite from step {step} on, in sequence {row} of the batch. Look at the input of that "
        f"step, the state that was handed in, and the learning rate."
    )
