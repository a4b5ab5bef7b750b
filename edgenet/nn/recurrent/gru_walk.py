"""The steps of a GRU along sequences, forward, and backward by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from edgenet.nn.recurrent.cells import State
from edgenet.ops.kernels.gates import forms

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
    hidden, inputs = state[0].contiguous(), inputs.contiguous()
    batch, width = hidden.shape
    rows = len(inputs) if keep else 1
    mapped = inputs.new_empty(rows, batch, 3 * width)  # becomes r, z and b_n
    news = inputs.new_empty(rows, batch, width)
    base = inputs.new_zeros(3 * width) if bias is None else bias
    run = forms(inputs, hidden, outputs)
    each = [t.unbind(0) for t in (inputs, outputs, mapped, news)]  # indexing costs more than a call
    for step in steps:
        place = step if keep else 0
        (a, out), (b, n) = (t[step] for t in each[:2]), (t[place] for t in each[2:])
        multiply(base, hidden, b)
        run.gru(a, b, n, hidden, out)
        if mask is not None:
            torch.where(mask[step], out, hidden, out=out)
        hidden = out
    return (hidden,), (mapped, news) if keep else None


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
    d_outputs = [None] * count if grads[0] is None else grads[0].unbind(0)
    whole, first, last = torch.contiguous_format, state[0].contiguous(), d_outputs[steps[-1]]
    d_hidden = torch.zeros_like(first) if last is None else last.clone(memory_format=whole)
    run = forms(mapped, outputs)
    b, n, states, d_a, d_b = (t.unbind(0) for t in (mapped, news, outputs, d_inputs, d_mapped))
    for place in range(count - 1, -1, -1):
        step = steps[place]
        before, d_before = (states[steps[place - 1]], d_outputs[steps[place - 1]]) if place else (first, None)
        stay = None
        if mask is not None:
            stay = d_hidden.masked_fill(mask[step], 0)
            d_hidden = d_hidden * mask[step]
        straight = torch.empty_like(d_hidden)
        run.gru_backward(d_hidden, b[step], n[step], before, d_a[step], d_b[step], straight)
        d_hidden = straight if d_before is None else straight.add_(d_before)
        d_hidden.addmm_(d_b[step], weight)
        if stay is not None:
            d_hidden += stay
    return d_inputs, d_mapped, (d_hidden,)
