"""GraphRecurrentLayer: a cell over graph maps along sequences, with gates where there are some."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

from torch import Tensor, nn

from edgenet.errors import ShapeError
from edgenet.nn.graph_recurrent.edges import Edges
from edgenet.nn.graph_recurrent.gates import Gate
from edgenet.nn.graph_recurrent.walk import walk
from edgenet.nn.recurrent import Cell, LSTMCell, State


class GraphRecurrentLayer(nn.Module):
    """z_t = cell(q_t * A(S) x_t, p_t * B(S) z_{t-1}), with A and B any graph convolutions.

    With an Elman cell and no gates it is the graph recurrent network z_t = tanh(A(S) x_t + B(S) z_{t-1}); with gates q
    of the input and p of the state, the gated one (Ruiz, Gama, Ribeiro 2020, "Gated graph recurrent neural networks").
    The gates follow the inputs alone, so that A(S) x_t is computed of all steps at once.

    Args:
        cell: over maps that take ``Edges``.
        input_gate, state_gate: None: open.

    Example:
        >>> nets, part = edgenet.nn.specializations, edgenet.nn.graph_recurrent
        >>> maps = part.GraphMap(nets.gcnn(3, 8)), part.GraphMap(nets.gcnn(8, 8))
        >>> layer = part.GraphRecurrentLayer(edgenet.nn.ElmanCell(*maps, hidden_size=8))
        >>> states, last = layer(torch.randn(10, 2, 4, 3), part.Edges(graph))  # 10 steps of 2 signals
        >>> states.shape
        torch.Size([10, 2, 4, 8])
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
            state: tensors (B, N, H): of the cell, then of the cells of the gates, each as it begins; None: zeros.

        Raises:
            ShapeError: if the state is of another number of tensors, or of another shape.
        """
        own, *of_gates = self._states(state, x)
        opened: dict[str, Tensor] = {}
        found: list[Tensor] = []
        for (name, gate), before in zip(self._gates().items(), of_gates, strict=True):
            opened[name], after = gate(x, edges, before, active)
            found += after
        q, p = opened.get("input_gate"), opened.get("state_gate")
        outputs, last = walk(self.cell, x, own, edges, p, active, None if q is None else edges.gated(q))
        return outputs, (*last, *found)

    def _gates(self) -> dict[str, Gate]:
        """The gates that there are."""
        both = {"input_gate": self.input_gate, "state_gate": self.state_gate}
        return {name: gate for name, gate in both.items() if gate is not None}

    def _cells(self) -> list[Cell]:
        """All cells, in the order of their states."""
        return [self.cell, *(gate.cell for gate in self._gates().values())]

    def _states(self, state: State | None, x: Tensor) -> list[State | None]:
        """The state of each cell."""
        cells = self._cells()
        if state is None:
            return [None] * len(cells)
        starts = [cell.begin(x[0]) for cell in cells]
        wanted = [tuple(part.shape) for start in starts for part in start]
        found = [tuple(part.shape) if isinstance(part, Tensor) else type(part).__name__ for part in state]
        if found != wanted:
            raise ShapeError(f"the state of this layer is {len(wanted)} tensors (B, N, H), {wanted}, got {found}.")
        ends = list(accumulate(map(len, starts)))
        return [tuple(state[start:end]) for start, end in zip([0, *ends], ends, strict=False)]

    def reset_parameters(self) -> None:
        """Draw all parameters anew. Tables keep the graph they are bound to."""
        parts: list[Any] = [gate.read for gate in self._gates().values()]
        for cell in self._cells():
            parts += [cell.input_map, cell.state_map]
            if isinstance(cell, LSTMCell):
                parts += [] if cell.projection is None else [cell.projection]
                if cell.peepholes is not None:
                    nn.init.zeros_(cell.peepholes)
        for part in parts:
            part.reset_parameters()
