"""The walk of a cell along sequences: the definition, and what is asked of every walk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from edgenet import shortcuts
from edgenet.errors import ShapeError
from edgenet.nn.recurrent.cells import Cell, State
from edgenet.nn.recurrent.fast import walked_fast


def walk(
    cell: Cell, signal: Tensor, state: State | None, mask: Tensor | None, reverse: bool, where: str
) -> tuple[Tensor, State]:
    """A cell along sequences: (T, B, in) -> (T, B, out) and the last state.

    The short way (``fast``) and the definition (``walked``) give the same numbers.

    Args:
        state: the first one; zeros if None.
        mask: (T, B, 1), False where a sequence has ended: the state then stays as it is, and the output is 0.
        reverse: from the last step to the first.
        where: the name of the cell, for the message.

    Raises:
        ShapeError: if the state becomes NaN; the message names the step. Nothing is asked under a compiler, or in
            function transforms.
    """
    found = walked_fast(cell, signal, state, mask, reverse)
    outputs, last = walked(cell, signal, state, mask, reverse) if found is None else found
    if not torch.compiler.is_compiling() and shortcuts.unwatched() and bool(last[0].isnan().any()):
        _tell(outputs, mask, reverse, where)
    if mask is not None:
        outputs = torch.where(mask, outputs, 0)
    return outputs, last


def walked(cell: Cell, signal: Tensor, state: State | None, mask: Tensor | None, reverse: bool) -> tuple[Tensor, State]:
    """The definition: every input mapped at once, then step by step. Outputs behind an end are the state's.

    A cell with hooks, or a ``forward`` of its own, is called at every step, and maps the input of that step.
    """
    if shortcuts.hooked(cell):
        return stepped(cell, signal, state, mask, reverse, mapped=False)
    return stepped(cell, cell.input_map(signal), state, mask, reverse)


def stepped(
    cell: Cell,
    inputs: Tensor,
    state: State | None,
    mask: Tensor | None,
    reverse: bool = False,
    contexts: Sequence[tuple[Any, ...]] | None = None,
    mapped: bool = True,
) -> tuple[Tensor, State]:
    """The same of inputs that are mapped already, (T, B, ..., gates * hidden_size).

    Args:
        state: the first one; None: that in which the cell begins.
        contexts: what the state map takes beside the state, at each of the T steps.
        mapped: False: inputs are not, and the cell is called to do all of it.
    """
    outputs: list[Tensor] = []
    steps = range(len(inputs))
    beside = [()] * len(inputs) if contexts is None else contexts
    if state is None:
        state = cell.begin(inputs[0] if mapped else cell.input_map(inputs[0], *beside[0]))
    for step in reversed(steps) if reverse else steps:
        new = (cell.step if mapped else cell)(inputs[step], state, *beside[step])
        if mask is not None:
            new = tuple(torch.where(mask[step], now, before) for now, before in zip(new, state, strict=True))
        state = new
        outputs.append(state[0])
    return torch.stack(outputs[::-1] if reverse else outputs), state


def _tell(outputs: Tensor, mask: Tensor | None, reverse: bool, where: str) -> None:
    bad = outputs.isnan().any(-1)  # (T, B)
    if mask is not None:
        bad = bad & mask.squeeze(-1)
    steps = bad.any(1).nonzero().flatten().tolist()
    if not steps:
        raise ShapeError(f"the first state of {where} holds NaN.")
    step = steps[-1] if reverse else steps[0]
    rows = bad[step].nonzero().flatten().tolist()
    raise ShapeError(
        f"the state of {where} became NaN at step {step} of {len(bad)}, in sequences {', '.join(map(str, rows[:8]))}"
        f"{', ...' if len(rows) > 8 else ''} of the batch. Look for NaN in the input of that step, or in the weights; "
        f"a smaller learning rate or clipped gradients keep weights finite."
    )
