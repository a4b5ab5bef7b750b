"""The definition of the work at the gates, in plain torch."""

from __future__ import annotations

import torch
from torch import Tensor


def lstm(z: Tensor, cell: Tensor, made: Tensor, tangents: Tensor, out: Tensor, peepholes: Tensor | None) -> None:
    """The functions of the gates i, f, g and o, whose sums are z (B, 4n), in place; the new cell f c + i g, its tanh,
    and the new state o tanh(c), each (B, n). With peepholes (3, n) i and f see the cell c, and o sees the new one."""
    width = cell.shape[1]
    i, f, g, o = z.view(-1, 4, width).unbind(1)
    if peepholes is None:
        z[:, : 2 * width].sigmoid_()
    else:
        i.addcmul_(peepholes[0], cell).sigmoid_()
        f.addcmul_(peepholes[1], cell).sigmoid_()
    g.tanh_()
    torch.addcmul(i * g, f, cell, out=made)
    if peepholes is not None:
        o.addcmul_(peepholes[2], made)
    o.sigmoid_()
    torch.tanh(made, out=tangents)
    torch.mul(o, tangents, out=out)


def lstm_backward(
    d_out: Tensor, z: Tensor, tangents: Tensor, before: Tensor, d_cell: Tensor, d_z: Tensor, peepholes: Tensor | None
) -> None:
    """The gradient in the sums of the gates, into d_z (B, 4n), and in the cell before, in the place of that in the new
    one, of the gradient in the new state and what ``lstm`` left."""
    i, f, g, o = z.view(len(z), 4, -1).unbind(1)
    d_i, d_f, d_g, d_o = d_z.view(len(z), 4, -1).unbind(1)
    through = d_out * o  # to tanh(c)
    torch.mul(d_out * tangents, o - o * o, out=d_o)
    d_cell += torch.addcmul(through, through * tangents, tangents, value=-1)
    if peepholes is not None:
        d_cell.addcmul_(d_o, peepholes[2])
    torch.mul(d_cell * g, i - i * i, out=d_i)
    torch.mul(d_cell * before, f - f * f, out=d_f)
    inner = d_cell * i
    torch.addcmul(inner, inner * g, g, value=-1, out=d_g)
    d_cell *= f
    if peepholes is not None:
        d_cell.addcmul_(d_i, peepholes[0]).addcmul_(d_f, peepholes[1])


def gru(inputs: Tensor, mapped: Tensor, made: Tensor, hidden: Tensor, out: Tensor) -> None:
    """Of mapped inputs a and a mapped state b (B, 3n) the gates r and z, in the place of b's first two thirds, n, and
    the new state (B, n)."""
    width = hidden.shape[1]
    gates = mapped[:, : 2 * width]
    gates.add_(inputs[:, : 2 * width]).sigmoid_()
    r, z = gates[:, :width], gates[:, width:]
    torch.addcmul(inputs[:, 2 * width :], r, mapped[:, 2 * width :], out=made)
    made.tanh_()
    torch.lerp(made, hidden, z, out=out)


def gru_backward(
    d_out: Tensor, mapped: Tensor, made: Tensor, before: Tensor, d_inputs: Tensor, d_mapped: Tensor, straight: Tensor
) -> None:
    """The gradients in a and in b (B, 3n), and the part of that in the state before that does not go through the
    matrix (B, n), of the gradient in the new state and what ``gru`` left."""
    width = made.shape[1]
    (r, z, b_n), (d_r, d_z, d_n) = mapped.chunk(3, 1), d_inputs.chunk(3, 1)
    torch.mul(d_out, z, out=straight)
    torch.addcmul(d_out, d_out, z, value=-1, out=d_n)
    d_n.addcmul_(d_n, made * made, value=-1)
    torch.mul(straight * (before - made), 1 - z, out=d_z)
    torch.mul(d_n * b_n, r - r * r, out=d_r)
    d_mapped[:, : 2 * width] = d_inputs[:, : 2 * width]
    torch.mul(d_n, r, out=d_mapped[:, 2 * width :])
