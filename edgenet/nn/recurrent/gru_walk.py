"""The steps of a GRU along sequences, forward, and backward by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from edgenet.nn.recurrent.cells import State

#: What backward needs: r, z, n and the mapped state b_n, each (T, B, n).
Saved = tuple[Tensor, Tensor]


def forward(
    inputs: Tensor, multiply: Callable[[Tensor, Tensor, Tensor], Any], state: State, mask: Tensor | None,
    steps: Iterable[int], outputs: Tensor, keep: bool, bias: Tensor | None,
) -> tuple[State, Saved | None]:  # fmt: skip
    """Fill ``outputs`` (T, B, n) with the states h; the last state, and what ``backward`` needs.

    Args:
        inputs: (T, B, 3n), mapped.
        multiply: (base, h, out) puts base + h W^T into out.
        steps: the numbers of the steps, in their order.
        keep: whether a backward pass follows.
        bias: (3n,) of the mapped state.
    """
    hidden = state[0]
    batch, width = hidden.shape
    rows = len(inputs) if keep else 1
    mapped = inputs.new_empty(rows, batch, 3 * width)  # becomes r, z and b_n
    news = inputs.new_empty(rows, batch, width)
    base = inputs.new_zeros(3 * width) if bias is None else bias
    for step in steps:
        place = step if keep else 0
        b, n, out = mapped[place], news[place], outputs[step]
        multiply(base, hidden, b)
        _gates(inputs[step], b, n, hidden, out)
        if mask is not None:
            torch.where(mask[step], out, hidden, out=out)
        hidden = out
    return (hidden,), (mapped, news) if keep else None


def _gates(a: Tensor, b: Tensor, n: Tensor, hidden: Tensor, out: Tensor) -> None:
    """r and z in the place of the mapped state b's first two thirds; n; and the new state."""
    width = hidden.shape[1]
    gates = b[:, : 2 * width]
    gates.add_(a[:, : 2 * width]).sigmoid_()
    r, z = gates[:, :width], gates[:, width:]
    torch.addcmul(a[:, 2 * width :], r, b[:, 2 * width :], out=n)
    n.tanh_()
    torch.lerp(n, hidden, z, out=out)


def backward(
    saved: Saved, grads: tuple[Tensor | None, ...], weight: Tensor, state: State, outputs: Tensor,
    mask: Tensor | None, steps: list[int],
) -> tuple[Tensor, Tensor, State]:  # fmt: skip
    """Gradients in inputs (T, B, 3n), in the mapped state (T, B, 3n), and in the first state.

    Args:
        grads: in the outputs.
        weight: W (3n, n).
        outputs: the states.
        steps: as they were walked.
    """
    mapped, news = saved
    count = len(news)
    d_inputs, d_mapped = torch.empty_like(mapped), torch.empty_like(mapped)
    d_hidden = torch.zeros_like(state[0])
    for place in range(count - 1, -1, -1):
        step = steps[place]
        before = outputs[steps[place - 1]] if place else state[0]
        if grads[0] is not None:
            d_hidden += grads[0][step]
        stay = None
        if mask is not None:
            stay = d_hidden.masked_fill(mask[step], 0)
            d_hidden = d_hidden * mask[step]
        d_hidden = _gates_backward(d_hidden, mapped[step], news[step], before, d_inputs[step], d_mapped[step])
        d_hidden.addmm_(d_mapped[step], weight)
        if stay is not None:
            d_hidden += stay
    return d_inputs, d_mapped, (d_hidden,)


def _gates_backward(d_out: Tensor, b: Tensor, n: Tensor, before: Tensor, d_a: Tensor, d_b: Tensor) -> Tensor:
    """Into d_a and d_b (B, 3n) the gradients in a and b; the part of that in the state before that does not go through
    the matrix."""
    width = n.shape[1]
    (r, z, b_n), (d_r, d_z, d_n) = b.chunk(3, 1), d_a.chunk(3, 1)
    straight = d_out * z
    torch.addcmul(d_out, d_out, z, value=-1, out=d_n)
    d_n.addcmul_(d_n, n * n, value=-1)
    torch.mul(straight * (before - n), 1 - z, out=d_z)
    torch.mul(d_n * b_n, r - r * r, out=d_r)
    d_b[:, : 2 * width] = d_a[:, : 2 * width]
    torch.mul(d_n, r, out=d_b[:, 2 * width :])
    return straight
