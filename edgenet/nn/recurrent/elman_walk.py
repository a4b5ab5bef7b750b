"""The steps of Elman's network along sequences, forward, and backward by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from edgenet.nn.recurrent.cells import State


def forward(
    inputs: Tensor, multiply: Callable[[Tensor, Tensor, Tensor], Any], state: State, mask: Tensor | None,
    steps: Iterable[int], outputs: Tensor, nonlinearity: str,
) -> State:  # fmt: skip
    """Fill ``outputs`` (T, B, n) with the states h; the last state.

    Args:
        inputs: (T, B, n), mapped, with all biases.
        multiply: (base, h, out) puts base + h W^T into out.
        steps: the numbers of the steps, in their order.
    """
    hidden = state[0]
    for step in steps:
        out = outputs[step]
        multiply(inputs[step], hidden, out)
        if nonlinearity == "tanh":
            out.tanh_()
        else:
            out.relu_()
        if mask is not None:
            torch.where(mask[step], out, hidden, out=out)
        hidden = out
    return (hidden,)


def backward(
    grads: tuple[Tensor | None, ...], weight: Tensor, state: State, outputs: Tensor, mask: Tensor | None,
    steps: list[int], nonlinearity: str,
) -> tuple[Tensor, State]:  # fmt: skip
    """Gradients in inputs (T, B, n), which are those in the mapped state, and in the first state."""
    d_inputs = torch.empty_like(outputs)
    d_hidden = torch.zeros_like(state[0])
    for place in range(len(steps) - 1, -1, -1):
        step = steps[place]
        if grads[0] is not None:
            d_hidden += grads[0][step]
        stay = None
        if mask is not None:
            stay = d_hidden.masked_fill(mask[step], 0)
            d_hidden = d_hidden * mask[step]
        out, d = outputs[step], d_inputs[step]
        if nonlinearity == "tanh":
            torch.addcmul(d_hidden, d_hidden * out, out, value=-1, out=d)
        else:
            torch.mul(d_hidden, out > 0, out=d)
        d_hidden = torch.mm(d, weight)
        if stay is not None:
            d_hidden += stay
    return d_inputs, (d_hidden,)
