"""The walk with the dense matrix of the state, built once, and its backward pass by hand."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from edgenet.nn.recurrent import elman_walk, gru_walk, lstm_walk
from edgenet.nn.recurrent.cells import Cell, ElmanCell, GRUCell, LSTMCell, State, elman_step, gru_step, lstm_step
from edgenet.ops import backend
from edgenet.ops.transforms import of_batched_gradients

_TENSORS = 5  # that the function takes before the state


def walk_of(
    cell: Cell, inputs: Tensor, weight: Tensor, bias: Tensor | None, peepholes: Tensor | None,
    projection: Tensor | None, state: State, mask: Tensor | None, reverse: bool,
) -> tuple[Tensor, State]:  # fmt: skip
    """As ``walk.walked``, of mapped inputs.

    Args:
        inputs: (T, B, gates * n), with all biases but that of a GRU's state.
        weight: W (gates * n, out) of the state.
        bias: (3n,) of a GRU's state.
        projection: (out, n) of an LSTM.
    """
    form = _Form(cell, reverse, len(inputs))
    outputs, *others = _Walk.apply(form, mask, inputs, weight, bias, peepholes, projection, *state)
    return outputs, (outputs[form.steps[-1]], *others)


class _Form:
    """What a walk is of, but for tensors."""

    def __init__(self, cell: Cell, reverse: bool, count: int) -> None:
        self.kind = type(cell)
        self.nonlinearity = cell.nonlinearity if isinstance(cell, ElmanCell) else ""
        self.steps = list(range(count))[:: -1 if reverse else 1]

    def defined(
        self, mask: Tensor | None, inputs: Tensor, weight: Tensor, bias: Tensor | None, peepholes: Tensor | None,
        projection: Tensor | None, *state: Tensor,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        """The definition, which can be differentiated any number of times."""
        outputs: list[Tensor] = [inputs] * len(self.steps)
        project = None if projection is None else partial(F.linear, weight=projection)
        for step in self.steps:
            mapped, now = F.linear(state[0], weight, bias), inputs[step]
            if self.kind is LSTMCell:
                new = lstm_step(now, mapped, state, peepholes, project)
            elif self.kind is GRUCell:
                new = gru_step(now, mapped, state)
            else:
                new = elman_step(now, mapped, self.nonlinearity)
            if mask is not None:
                new = tuple(torch.where(mask[step], one, before) for one, before in zip(new, state, strict=True))
            state = new
            outputs[step] = new[0]
        return (torch.stack(outputs), *state[1:])


class _Walk(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, form: _Form, mask: Tensor | None, inputs: Tensor, weight: Tensor, bias: Tensor | None,
        peepholes: Tensor | None, projection: Tensor | None, *state: Tensor,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        transposed = weight.t().contiguous()

        def multiply(base: Tensor, hidden: Tensor, out: Tensor) -> None:
            torch.addmm(base, hidden, transposed, out=out)

        saved: tuple[Tensor, ...] = ()
        outputs = inputs.new_empty(*inputs.shape[:2], state[0].shape[-1])
        if form.kind is LSTMCell:
            project = None if projection is None else partial(F.linear, weight=projection)
            arguments = inputs, multiply, state, mask, form.steps, outputs, True, peepholes, project
            last, saved = lstm_walk.forward(*arguments)
        elif form.kind is GRUCell:
            last, saved = gru_walk.forward(inputs, multiply, state, mask, form.steps, outputs, True, bias)
        else:
            last = elman_walk.forward(inputs, multiply, state, mask, form.steps, outputs, form.nonlinearity)
        ctx.form, ctx.states = form, len(state)
        ctx.save_for_backward(mask, inputs, weight, bias, peepholes, projection, *state, outputs, *saved)
        ctx.set_materialize_grads(False)
        return (outputs, *(part.clone() for part in last[1:]))

    @staticmethod
    @of_batched_gradients
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
        form, (mask, *rest) = ctx.form, ctx.saved_tensors
        given, (outputs, *saved) = rest[: _TENSORS + ctx.states], rest[_TENSORS + ctx.states :]
        if all(grad is None for grad in grads):
            return (None,) * (2 + len(given))
        if torch.is_grad_enabled() or not backend.eager():
            return None, None, *_defined(form, mask, given, grads, ctx.needs_input_grad[2:])
        _, weight, _, peepholes, projection, *state = given
        d_peepholes = d_projection = None
        if form.kind is LSTMCell:
            found = lstm_walk.backward(saved, grads, weight, tuple(state), mask, form.steps, peepholes, projection)
            d_inputs, d_mapped, d_state, d_peepholes, d_projection = found
        elif form.kind is GRUCell:
            d_inputs, d_mapped, d_state = gru_walk.backward(
                saved, grads, weight, tuple(state), outputs, mask, form.steps
            )
        else:
            d_inputs, d_state = elman_walk.backward(
                grads, weight, tuple(state), outputs, mask, form.steps, form.nonlinearity
            )
            d_mapped = d_inputs
        d_weight = _of_weight(d_mapped, outputs, state[0], form.steps) if ctx.needs_input_grad[3] else None
        d_bias = d_mapped.sum((0, 1)) if ctx.needs_input_grad[4] else None
        return None, None, d_inputs, d_weight, d_bias, d_peepholes, d_projection, *d_state


def _of_weight(d_mapped: Tensor, outputs: Tensor, first: Tensor, steps: list[int]) -> Tensor:
    """The gradient in W, of every step's mapped state and the state before it: one product for all steps."""
    forward = steps[0] == 0
    later, before = (d_mapped[1:], outputs[:-1]) if forward else (d_mapped[:-1], outputs[1:])
    start = d_mapped[steps[0]].t() @ first
    return start.addmm_(later.flatten(0, 1).t(), before.flatten(0, 1)) if len(steps) > 1 else start


def _defined(
    form: _Form, mask: Tensor | None, given: list[Tensor | None], grads: tuple[Tensor | None, ...], needed: Any
) -> list[Tensor | None]:
    """The gradients by walking again as the definition does: for derivatives of derivatives, and batches of them."""
    with torch.enable_grad():
        found = form.defined(mask, *given)
    wanted = [t for t, needs in zip(given, needed, strict=True) if needs]
    pairs = [(one, grad) for one, grad in zip(found, grads, strict=True) if grad is not None]
    ends, directions = zip(*pairs, strict=True)
    made = torch.autograd.grad(ends, wanted, directions, create_graph=torch.is_grad_enabled(), allow_unused=True)
    results = iter(made)
    return [next(results) if needs else None for needs in needed]
