"""The steps of an LSTM along sequences, forward, and backward by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from edgenet.nn.recurrent.cells import State

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
    hidden, cell = state
    batch, width = cell.shape
    rows = len(inputs) if keep else 2  # the cell before stays until the next one is made
    gates, cells, tanhs = (inputs.new_empty(rows, batch, size) for size in (4 * width, width, width))
    narrow = None if project is None else inputs.new_empty(batch, width)
    for number, step in enumerate(steps):
        place = step if keep else number % 2
        z, new, tanh = gates[place], cells[place], tanhs[place]
        multiply(inputs[step], hidden, z)
        out = outputs[step] if narrow is None else narrow
        _gates(z, cell, new, tanh, out, peepholes)
        if project is not None and narrow is not None:
            outputs[step].copy_(project(narrow))
        if mask is not None:
            torch.where(mask[step], outputs[step], hidden, out=outputs[step])
            new.copy_(torch.where(mask[step], new, cell))
        hidden, cell = outputs[step], new
    return (hidden, cell), (gates, cells, tanhs) if keep else None


def _gates(z: Tensor, cell: Tensor, new: Tensor, tanh: Tensor, out: Tensor, peepholes: Tensor | None) -> None:
    """The functions of the gates z (B, 4n), in place; and from the cell (B, n) the new one, its tanh, and o tanh."""
    width = cell.shape[1]
    i, f, g, o = z.view(-1, 4, width).unbind(1)
    if peepholes is None:
        z[:, : 2 * width].sigmoid_()
    else:
        i.addcmul_(peepholes[0], cell).sigmoid_()
        f.addcmul_(peepholes[1], cell).sigmoid_()
    g.tanh_()
    product = i * g
    torch.addcmul(product, f, cell, out=new)
    if peepholes is not None:
        o.addcmul_(peepholes[2], new)
    o.sigmoid_()
    torch.tanh(new, out=tanh)
    torch.mul(o, tanh, out=out)


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
    d_cell = gates.new_zeros(batch, width) if grads[1] is None else grads[1].clone()
    d_hidden = torch.zeros_like(state[0])
    d_outs = None if projection is None else gates.new_empty(count, batch, len(projection))
    for place in range(count - 1, -1, -1):
        step = steps[place]
        before = cells[steps[place - 1]] if place else state[1]
        if grads[0] is not None:
            d_hidden += grads[0][step]
        stay = None
        if mask is not None:
            stay = d_hidden.masked_fill(mask[step], 0), d_cell.masked_fill(mask[step], 0)
            d_hidden, d_cell = d_hidden * mask[step], d_cell * mask[step]
        d_wide = d_hidden
        if d_outs is not None and projection is not None:
            d_outs[step] = d_hidden
            d_wide = d_hidden @ projection
        _gates_backward(d_wide, gates[step], tanhs[step], before, d_cell, d_inputs[step], peepholes)
        d_hidden = torch.mm(d_inputs[step], weight)
        if stay is not None:
            d_hidden += stay[0]
            d_cell += stay[1]
    d_peepholes = d_projection = None
    if peepholes is not None:
        before = torch.cat([state[1][None], cells[steps[:-1]]])  # in the order of the walk
        i, f, _, o = d_inputs[steps].view(count, batch, 4, width).unbind(2)
        d_peepholes = torch.stack([(i * before).sum((0, 1)), (f * before).sum((0, 1)), (o * cells[steps]).sum((0, 1))])
    if d_outs is not None:
        hidden = gates[..., 3 * width :] * tanhs
        d_projection = d_outs.flatten(0, 1).t() @ hidden.flatten(0, 1)
    return d_inputs, d_inputs, (d_hidden, d_cell), d_peepholes, d_projection


def _gates_backward(
    d_out: Tensor, gates: Tensor, tanh: Tensor, before: Tensor, d_cell: Tensor, d_z: Tensor, peepholes: Tensor | None
) -> None:
    """The gradient in the gates before their functions, into d_z (B, 4n), and in the cell before, in place of that in
    the cell."""
    i, f, g, o = gates.view(len(gates), 4, -1).unbind(1)
    d_i, d_f, d_g, d_o = d_z.view(len(gates), 4, -1).unbind(1)
    through = d_out * o  # to tanh(c)
    torch.mul(d_out * tanh, o - o * o, out=d_o)
    d_cell += torch.addcmul(through, through * tanh, tanh, value=-1)
    if peepholes is not None:
        d_cell.addcmul_(d_o, peepholes[2])
    torch.mul(d_cell * g, i - i * i, out=d_i)
    torch.mul(d_cell * before, f - f * f, out=d_f)
    inner = d_cell * i
    torch.addcmul(inner, inner * g, g, value=-1, out=d_g)
    d_cell *= f
    if peepholes is not None:
        d_cell.addcmul_(d_i, peepholes[0]).addcmul_(d_f, peepholes[1])
