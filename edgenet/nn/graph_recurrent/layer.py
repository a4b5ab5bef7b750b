"""GraphRecurrentLayer: a cell over graph maps along sequences, with gates where there are some."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from edgenet.errors import ShapeError
from edgenet.nn.graph_recurrent.edges import Edges
from edgenet.nn.graph_recurrent.gates import Gate
from edgenet.nn.graph_recurrent.walk import walk
from edgenet.nn.recurrent import Cell, State


class GraphRecurrentLayer(nn.Module):
    """z_t = cell(q_t * A(S) x_t, p_t * B(S) z_{t-1}), with A and B any graph convolutions.

    With an Elman cell and no gates it is the graph recurrent network z_t = tanh(A(S) x_t + B(S) z_{t-1}); with gates q
    of the input and p of the state, the gated one (Ruiz, Gama, Ribeiro 2020, "Gated graph recurrent neural networks").
    The gates follow the inputs alone, so that A(S) x_t is computed of all steps at once.

    Args:
        cell: over maps that take ``Edges``.
        input_gate, state_gate: both, or none.
    """

    def __init__(self, cell: Cell, input_gate: Gate | None = None, state_gate: Gate | None = None) -> None:
        super().__init__()
        self.cell, self.input_gate, self.state_gate = cell, input_gate, state_gate

    def forward(
        self, x: Tensor, edges: Edges, state: State | None = None, active: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """(T, B, N, F) -> (T, B, N, H) outputs and the state after the last step.

        Args:
            x, edges, active: as of ``walk``.
            state: tensors (B, N, H): of the cell, then of the gates; None: zeros.

        Raises:
            ShapeError: if the state is of another number of tensors, or of another shape.
        """
        self._check(state, x)
        if self.input_gate is None or self.state_gate is None:
            return walk(self.cell, x, state, edges, active=active)
        own, of_input, of_state = (None,) * 3 if state is None else (state[:-2], state[-2:-1], state[-1:])
        q, of_input = self.input_gate(x, edges, of_input, active)
        p, of_state = self.state_gate(x, edges, of_state, active)
        outputs, own = walk(self.cell, x, own, edges, p, active, edges.gated(q))
        return outputs, (*own, *of_input, *of_state)

    def _check(self, state: State | None, x: Tensor) -> None:
        if state is None:
            return
        count = len(self.cell.begin(x[0])) + (0 if self.input_gate is None else 2)
        wanted = (*x.shape[1:-1], self.cell.hidden_size)
        found = [tuple(part.shape) if isinstance(part, Tensor) else type(part).__name__ for part in state]
        if found != [wanted] * count:
            raise ShapeError(f"the state of this layer is {count} tensors (B, N, H) = {wanted}, got {found}.")

    def reset_parameters(self) -> None:
        """Draw all parameters anew. Tables keep the graph they are bound to."""
        cells = [self.cell, *(gate.cell for gate in (self.input_gate, self.state_gate) if gate is not None)]
        reads = [gate.read for gate in (self.input_gate, self.state_gate) if gate is not None]
        parts: list[Any] = [*(map for cell in cells for map in (cell.input_map, cell.state_map)), *reads]
        for part in parts:
            part.reset_parameters()
