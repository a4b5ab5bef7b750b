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
        if self.input_gate is None or self.state_gate is None:
            inputs = self.cell.input_map(x, edges)
            return walk(self.cell, inputs, self._checked(state, inputs, 0), edges, active=active)
        own, of_input, of_state = None, None, None
        if state is not None:
            own, of_input, of_state = state[:-2], state[-2:-1], state[-1:]
        q, of_input = self.input_gate(x, edges, of_input, active)
        p, of_state = self.state_gate(x, edges, of_state, active)
        inputs = self.cell.input_map(x, edges.gated(q))
        self._checked(state, inputs, 2)
        outputs, own = walk(self.cell, inputs, own, edges, p, active)
        return outputs, (*own, *of_input, *of_state)

    def _checked(self, state: State | None, inputs: Tensor, gates: int) -> State | None:
        if state is not None:
            like = self.cell.begin(inputs[0])
            wanted = [tuple(part.shape) for part in like] + [tuple(like[0].shape)] * gates
            found = [tuple(part.shape) for part in state]
            if found != wanted:
                raise ShapeError(f"the state of this layer is of tensors {wanted}, got {found}.")
        return state

    def reset_parameters(self) -> None:
        """Draw all parameters anew. Tables keep the graph they are bound to."""
        for part in self.modules():
            if part is not self and hasattr(part, "reset_parameters") and not _inside(self, part):
                part.reset_parameters()
