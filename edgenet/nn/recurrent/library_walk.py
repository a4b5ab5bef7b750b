"""The walk of a dense LSTM in float32 by torch's own kernel, which oneDNN has: the fastest one on processors."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from edgenet.nn.recurrent.cells import Cell, LSTMCell, State, lstm_step
from edgenet.ops import backend
from edgenet.ops.transforms import of_batched_gradients


def serves(cell: Cell, signal: Tensor, mask: Tensor | None) -> bool:
    """Whether torch has the kernel for this: an LSTM with biases, without projection and peepholes, all of whose
    sequences are of one length."""
    plain = isinstance(cell, LSTMCell) and cell.projection is None and cell.peepholes is None
    plain = plain and cell.input_map.bias is not None and cell.state_map.bias is not None
    fits = mask is None and signal.is_cpu and signal.dtype == torch.float32
    return plain and fits and torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled


def walk_by_torch(
    signal: Tensor, weight: Tensor, back: Tensor, bias: Tensor, state_bias: Tensor, state: State, reverse: bool
) -> tuple[Tensor, State]:
    """As ``walk.walked``.

    Args:
        signal: (T, B, in).
        weight: (4n, in) of the input.
        back: (4n, n) of the state.
    """
    if reverse:
        signal = signal.flip(0)
    outputs, cell = _Walk.apply(signal, weight, back, bias, state_bias, *state)
    last = outputs[-1]
    return outputs.flip(0) if reverse else outputs, (last, cell)


def _by_kernel(
    signal: Tensor, weight: Tensor, back: Tensor, bias: Tensor, state_bias: Tensor, hidden: Tensor, cell: Tensor
) -> tuple[Tensor, Tensor]:
    weights, learns = [weight, back, bias, state_bias], torch.is_grad_enabled()
    found = torch._VF.lstm(signal, (hidden[None], cell[None]), weights, True, 1, 0.0, learns, False, False)
    return found[0], found[2][0]


def _defined(
    signal: Tensor, weight: Tensor, back: Tensor, bias: Tensor, state_bias: Tensor, *state: Tensor
) -> tuple[Tensor, Tensor]:
    outputs: list[Tensor] = []
    for mapped in F.linear(signal, weight, bias):
        state = lstm_step(mapped, F.linear(state[0], back, state_bias), state, None, None)
        outputs.append(state[0])
    return torch.stack(outputs), state[1]


class _Walk(torch.autograd.Function):
    """The kernel has no second derivatives; those are taken through the definition."""

    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        needed = ctx.needs_input_grad
        if not any(needed):
            return _by_kernel(*tensors)
        ctx.save_for_backward(*tensors)
        ctx.leaves = [t.detach().requires_grad_(needs) for t, needs in zip(tensors, needed, strict=True)]
        with torch.enable_grad():
            ctx.found = _by_kernel(*ctx.leaves)
        return tuple(part.detach() for part in ctx.found)

    @staticmethod
    @of_batched_gradients
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        tensors, needed = ctx.saved_tensors, ctx.needs_input_grad
        if all(grad is None for grad in grads):
            return (None,) * len(tensors)
        twice = torch.is_grad_enabled()
        found, leaves = ctx.found, ctx.leaves
        if twice or not backend.eager():
            leaves = tensors
            with torch.enable_grad():
                found = _defined(*tensors)
        pairs = [(part, grad) for part, grad in zip(found, grads, strict=True) if grad is not None]
        ends, directions = zip(*pairs, strict=True)
        wanted = [t for t, needs in zip(leaves, needed, strict=True) if needs]
        made = iter(torch.autograd.grad(ends, wanted, directions, retain_graph=True, create_graph=twice,
                                        allow_unused=True))  # fmt: skip
        return tuple(next(made) if needs else None for needs in needed)
