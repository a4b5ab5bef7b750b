"""walk: a cell along sequences of signals on a graph."""

from __future__ import annotations

from torch import Tensor

from edgenet.nn.graph_recurrent.edges import Edges
from edgenet.nn.recurrent import Cell, State
from edgenet.nn.recurrent.walk import stepped


def walk(
    cell: Cell,
    inputs: Tensor,
    state: State | None,
    edges: Edges,
    gates: Tensor | None = None,
    active: Tensor | None = None,
) -> tuple[Tensor, State]:
    """Step by step through inputs that are mapped already.

    Args:
        inputs: (T, B, N, gates * H), T >= 1.
        state: before the first step; None: zeros.
        edges: that the state map walks.
        gates: of the state map, one a step; None: open.
        active: (T, B, 1, 1), whether a sequence has this step; the state of others stays.

    Returns:
        (T, B, N, H) outputs, and the last state.
    """
    start = cell.begin(inputs[0]) if state is None else state
    at = [edges] * len(inputs) if gates is None else [edges.gated(gate) for gate in gates.unbind(0)]
    return stepped(cell, inputs, start, active, contexts=[(one,) for one in at])
