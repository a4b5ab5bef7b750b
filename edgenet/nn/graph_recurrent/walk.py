"""walk: a cell along sequences of signals on a graph."""

from __future__ import annotations

from torch import Tensor

from edgenet.errors import ConfigError
from edgenet.nn.graph_recurrent.edges import Edges
from edgenet.nn.recurrent import Cell, State
from edgenet.nn.recurrent.walk import stepped
from edgenet.shortcuts import hooked


def walk(
    cell: Cell,
    x: Tensor,
    state: State | None,
    edges: Edges,
    gates: Tensor | None = None,
    active: Tensor | None = None,
    into: Edges | None = None,
) -> tuple[Tensor, State]:
    """All inputs mapped at once, then step by step. A cell with hooks is called at every step instead.

    Args:
        x: (T, B, N, F), T >= 1.
        state: before the first step; None: zeros.
        edges: that the maps walk.
        gates: of the state map, one a step; None: open.
        active: (T, B, 1, 1), whether a sequence has this step; the state of others stays.
        into: that the input map walks, where these are others.

    Returns:
        (T, B, N, H) outputs, and the last state.

    Raises:
        ConfigError: if the cell has hooks, and one call of it cannot say what a step does: with gates.
    """
    at = [edges] * len(x) if gates is None else [edges.gated(gate) for gate in gates.unbind(0)]
    beside = [(one,) for one in at]
    if not hooked(cell):
        return stepped(cell, cell.input_map(x, into or edges), state, active, contexts=beside)
    if gates is not None or into is not None:
        raise ConfigError(
            f"this {type(cell).__name__} has hooks, and gates between its maps, so that nobody calls it whole. Put "
            f"hooks on its maps, or on the layer."
        )
    return stepped(cell, x, state, active, contexts=beside, mapped=False)
