"""The steps of an LSTM along sequences, forward, and backward by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from edgenet.nn.recurrent.cells import State
from edgenet.ops.kernels.gates import forms

#: What backward needs: gates after their functions (T, B, 4n), cells c and tanh(c) (T, B, n).
Saved = tuple[Tensor, Tensor, Tensor]


def forward(
    inputs: Tensor, multiply: Callable[[Tensor, Tensor, Tensor], Any], state: State, mask: Tensor | None,
    steps: Iterable[int], outputs: Tensor, keep: bool, peepholes: Tensor | None,
    project: Callable[[Tensor], Tensor] | None,
) -> tuple[State, Saved | None]:  # fmt: skip
    """Fill ``outputs`` (T, B, out) with the states h; the last state, and what ``backward`` needs.

    Args:
        inputs: (T, B, 4n), mapped, with all biases.
        multiply: (base, h, out) puts base + h W^T into out.
        steps: the numbers of the steps, in their order.
        keep: whether a backward pass follows.
    """
    hidden, cell = state[0], state[1].contiguous()
    batch, width = cell.shape
    rows = len(inputs) if keep else 2  # the cell before stays until the next one is made
    gates, cells, tanhs = (inputs.new_empty(rows, batch, size) for size in (4 * width, width, width))
    narrow = None if project is None else inputs.new_empty(batch, width)
    run = forms(gates, cell, *(t for t in (peepholes, outputs if narrow is None else None) if t is not None))
    each = [t.unbind(0) for t in (inputs, outputs, gates, cells, tanhs)]  # indexing costs more than a call
    for number, step in enumerate(steps):
        place = step if keep else number % 2
        (mapped, out), (z, new, tanh) = (t[step] for t in each[:2]), (t[place] for t in each[2:])
        multiply(mapped, hidden, z)
        run.lstm(z, cell, new, tanh, out if narrow is None else narrow, peepholes)
        if project is not None and narrow is not None:
            out.copy_(project(narrow))
        if mask is not None:
            torch.where(mask[step], out, hidden, out=out)
            new.copy_(torch.where(mask[step], new, cell))
        hidden, cell = out, new
    return (hidden, cell), (gates, cells, tanhs) if keep else None


def backward(
    saved: Saved, grads: tuple[Tensor | None, ...], weight: Tensor, state: State, mask: Tensor | None,
    steps: list[int], peepholes: Tensor | None, projection: Tensor | None,
) -> tuple[Tensor, Tensor, State, Tensor | None, Tensor | None]:  # fmt: skip
    """Gradients in inputs, in the mapped state (the same), in the first state, in peepholes and in the projection.

    Args:
        grads: in the outputs h and in the last cell.
        weight: W (4n, out).
        steps: as they were walked.
        projection: P (out, n).
    """
    gates, cells, tanhs = saved
    count, batch, width = cells.shape
    d_inputs = torch.empty_like(gates)
    whole = torch.contiguous_format
    d_cell = gates.new_zeros(batch, width) if grads[1] is None else grads[1].clone(memory_format=whole)
    d_outputs = [None] * count if grads[0] is None else grads[0].unbind(0)
    first, last = state[1].contiguous(), d_outputs[steps[-1]]
    d_hidden = torch.zeros_like(state[0], memory_format=whole) if last is None else last.clone(memory_format=whole)
    d_outs = None if projection is None else gates.new_empty(count, batch, len(projection))
    run = forms(gates, *(() if peepholes is None else (peepholes,)))
    z, made, tangents, d_z = (t.unbind(0) for t in (gates, cells, tanhs, d_inputs))
    for place in range(count - 1, -1, -1):
        step = steps[place]
        before, d_before = (made[steps[place - 1]], d_outputs[steps[place - 1]]) if place else (first, None)
        stay = None
        if mask is not None:
            stay = d_hidden.masked_fill(mask[step], 0), d_cell.masked_fill(mask[step], 0)
            d_hidden, d_cell = d_hidden * mask[step], d_cell * mask[step]
        d_wide = d_hidden
        if d_outs is not None and projection is not None:
            d_outs[step] = d_hidden
            d_wide = d_hidden @ projection
        run.lstm_backward(d_wide, z[step], tangents[step], before, d_cell, d_z[step], peepholes)
        d_hidden = torch.mm(d_z[step], weight) if d_before is None else torch.addmm(d_before, d_z[step], weight)
        if stay is not None:
            d_hidden += stay[0]
            d_cell += stay[1]
    d_peepholes = d_projection = None
    if peepholes is not None:
        before = torch.cat([first[None], cells[steps[:-1]]])  # in the order of the walk
        i, f, _, o = d_inputs[steps].view(count, batch, 4, width).unbind(2)
        d_peepholes = torch.stack([(i * before).sum((0, 1)), (f * before).sum((0, 1)), (o * cells[steps]).sum((0, 1))])
    if d_outs is not None:
        hidden = gates[..., 3 * width :] * tanhs
        d_projection = d_outs.flatten(0, 1).t() @ hidden.flatten(0, 1)
    return d_inputs, d_inputs, (d_hidden, d_cell), d_peepholes, d_projection
