"""The states of a unitary recurrent network along a sequence: step by step, or in one pass with W read once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from edgenet import shortcuts
from edgenet.nn.mod_relu import ModReLU
from edgenet.ops import backend
from edgenet.ops.transforms import of_batched_gradients
from edgenet.structured import StructuredLinear, StructuredMatrix, Unitary

#: widths up to which one product with W is cheaper than its factors, at batches of 1 to 100
_BUILD = 256
#: states of a sequence, for each of W's columns, from which building W of more than 64 is paid back in training
_PAYS = 2
#: numbers of states that one product takes, in the gradient of W: these stay in the cache
_PIECE = 1 << 17


def walk(cell: Any, x: Tensor, start: Tensor) -> Tensor:
    """All states of a ``UnitaryCell``: (T, B, in) and (B, 2, n) -> (T, B, 2, n), real and imaginary parts.

    The meaning is ``cell.by_steps``. Where nobody would notice, W is read once a sequence and the gradient goes through
    it once: as a matrix, or, for wide states, as the factors of a ``Unitary``.
    """
    if shortcuts.hooked(cell):
        return cell.by_calls(x, start)
    inputs = cell.input_map(x)
    matrix = _readable(cell)
    if matrix is None:
        return cell.by_steps(inputs, start)
    inputs = inputs.unflatten(-1, (2, -1))
    way = _Factored(matrix) if isinstance(matrix, Unitary) and not _builds(matrix, x) else _Built(matrix)
    return along(way, inputs, start, cell.activation.bias, cell.activation.eps)


def parts(z: Tensor) -> Tensor:
    """(..., n) complex -> (..., 2, n)."""
    return torch.stack([z.real, z.imag], -2)


def _readable(cell: Any) -> StructuredMatrix | None:
    """W, where nobody would notice that it is read instead of called; None also where it is better not built."""
    slot = cell.state_map
    if not (backend.eager() and shortcuts.plain(cell)):
        return None
    if type(slot) is not StructuredLinear or slot.bias is not None or type(cell.activation) is not ModReLU:
        return None
    matrix = slot.weight
    return matrix if isinstance(matrix, Unitary) or matrix.shape[0] <= 4 * _BUILD else None


def _builds(matrix: Unitary, x: Tensor) -> bool:
    """Whether a product with W is cheaper, W's own making included, than one with every factor."""
    n = matrix.shape[0]
    if n > _BUILD:
        return False
    return not matrix.training or n <= 64 or x.shape[0] * x.shape[1] >= _PAYS * n


class _Way(Protocol):
    """How states are multiplied by W, real and imaginary parts apart.

    ``tensors`` are what W is made of; ``product(h, *tensors)`` is W h + added for (B, 2, n) states, and can be
    differentiated; ``adjoint(g)`` takes gradients back, and adds others.
    """

    tensors: tuple[Tensor, ...]

    def product(self, state: Tensor, added: Tensor, *tensors: Tensor) -> Tensor: ...
    def adjoint(self, gradient: Tensor, added: Tensor) -> Tensor: ...


class _Built:
    """One real product a step: [Re h, Im h] times the (2 n, 2 n) form of W^T."""

    def __init__(self, matrix: StructuredMatrix) -> None:
        weight = (matrix.built() if isinstance(matrix, Unitary) else matrix.to_dense()).mT
        real = weight.real if weight.is_complex() else weight
        imaginary = weight.imag if weight.is_complex() else torch.zeros_like(weight)
        right = torch.cat([torch.cat([real, imaginary], 1), torch.cat([-imaginary, real], 1)])
        self.tensors = (right,)
        self._back = right.detach().mT.contiguous()

    def product(self, state: Tensor, added: Tensor, right: Tensor) -> Tensor:
        return torch.addmm(added.flatten(1), state.flatten(1), right).view_as(state)

    def adjoint(self, gradient: Tensor, added: Tensor) -> Tensor:
        return torch.addmm(added.flatten(1), gradient.flatten(1), self._back).view_as(gradient)


class _Factored:
    """Diagonals, mirrors, a permutation and two Fourier transforms a step."""

    def __init__(self, matrix: Unitary) -> None:
        self.matrix, self.tensors = matrix, matrix.factors()
        self._fixed = tuple(t.detach() for t in self.tensors)

    def product(self, state: Tensor, added: Tensor, turns: Tensor, mirrors: Tensor) -> Tensor:
        return added + parts(self.matrix.apply_factors(torch.complex(*state.unbind(-2)), turns, mirrors))

    def adjoint(self, gradient: Tensor, added: Tensor) -> Tensor:
        return added + parts(self.matrix.adjoint_factors(torch.complex(*gradient.unbind(-2)), *self._fixed))


def along(way: _Way, inputs: Tensor, start: Tensor, bias: Tensor, eps: float) -> Tensor:
    """h_t = modReLU(W h_{t-1} + inputs_t), for all t.

    Args:
        way: how W multiplies.
        inputs: (T, B, 2, n), real and imaginary parts.
        start: (B, 2, n).
        bias: (n,) of modReLU; ``eps`` as there.

    Returns:
        (T, B, 2, n).
    """
    tensors = (inputs, start, bias, *way.tensors)
    if torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
        return _Along.apply(way, eps, *tensors)
    return _forward(way, *tensors[:3], eps, way.tensors)[0]


def _forward(
    way: _Way, inputs: Tensor, start: Tensor, bias: Tensor, eps: float, tensors: Sequence[Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """States, what goes into modReLU, and its lengths."""
    states, sums = inputs.new_empty(inputs.shape), []
    lengths = inputs.new_empty(*inputs.shape[:2], 1, inputs.shape[-1])
    state, least = start, eps * eps
    for t in range(len(inputs)):
        z = way.product(state, inputs[t], *tensors)
        square = z * z
        length = torch.add(square[:, :1], square[:, 1:], out=lengths[t]).clamp_min_(least).sqrt_()
        gain = torch.add(length, bias).relu_().div_(length)
        state = torch.mul(z, gain, out=states[t])
        sums.append(z)
    return states, sums, lengths


class _Along(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, way: _Way, eps: float, *tensors: Tensor) -> Tensor:
        inputs, start, bias, *w = tensors
        states, sums, lengths = _forward(way, inputs, start, bias, eps, w)
        ctx.way, ctx.eps = way, eps
        ctx.save_for_backward(states, lengths, *tensors, *sums)
        return states

    @staticmethod
    @of_batched_gradients
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        way, wanted = ctx.way, ctx.needs_input_grad[2:]
        states, lengths, *rest = ctx.saved_tensors
        tensors, sums = rest[: len(wanted)], rest[len(wanted) :]
        if torch.is_grad_enabled() or not backend.eager():  # derivatives of derivatives are wanted, or batches of them
            return (None, None, *_of_definition(way, ctx.eps, tensors, wanted, gradient))
        _, start, bias, *w = tensors
        # h = z g(|z|) with g(r) = max(r + b, 0) / r, so dh = g dz - z (b / r^3) Re(conj(z) dz) where r + b > 0, r > eps
        open_ = lengths + bias > 0
        gains = (lengths + bias).relu_().div_(lengths)
        bends = torch.where(open_ & (lengths > ctx.eps), bias / lengths.pow(3), 0)
        sides, alongs, turned = torch.empty_like(states), torch.empty_like(lengths), torch.empty_like(start)
        nothing = torch.zeros_like(start)
        carried = gradient[-1]
        for t in range(len(gradient) - 1, -1, -1):
            z = sums[t]
            torch.mul(carried, z, out=turned)
            one = torch.add(turned[:, :1], turned[:, 1:], out=alongs[t])
            torch.mul(z, bends[t] * one, out=turned)
            side = torch.mul(carried, gains[t], out=sides[t])
            torch.sub(side, turned, out=side)
            carried = way.adjoint(side, gradient[t - 1] if t else nothing)
        of_bias = torch.where(open_, alongs / lengths, 0).sum((0, 1, 2)) if wanted[2] else None
        of_w: Sequence[Tensor | None] = [None] * len(w)
        if any(wanted[3:]):
            before = torch.cat([start[None], states[:-1]])
            of_w = _of_product(way, before.flatten(0, 1), w, wanted[3:], sides.flatten(0, 1))
        return (None, None, sides if wanted[0] else None, carried if wanted[1] else None, of_bias, *of_w)


def _of_product(
    way: _Way, states: Tensor, w: Sequence[Tensor], wanted: Sequence[bool], gradient: Tensor
) -> list[Tensor | None]:
    """Gradients of what W is made of, for all steps at once."""
    leaves = [t.detach().requires_grad_(want) for t, want in zip(w, wanted, strict=True)]
    asked = [leaf for leaf in leaves if leaf.requires_grad]
    found: list[Tensor] = []
    size = max(1, _PIECE // max(1, states[0].numel())) if len(states) else 1
    nothing = states.new_zeros(())
    for some, its in zip(states.split(size), gradient.split(size), strict=True):
        with torch.enable_grad():
            product = way.product(some, nothing.expand_as(some), *leaves)
        part = torch.autograd.grad(product, asked, its)
        found = list(part) if not found else [a + b for a, b in zip(found, part, strict=True)]
    given = iter(found or [torch.zeros_like(leaf) for leaf in asked])
    return [next(given) if want else None for want in wanted]


def _of_definition(
    way: _Way, eps: float, tensors: Sequence[Tensor], wanted: Sequence[bool], gradient: Tensor
) -> list[Tensor | None]:
    """All gradients, differentiable themselves where that is wanted."""
    twice = torch.is_grad_enabled()
    with torch.enable_grad():
        leaves = [t.view_as(t) for t in tensors]
        inputs, state, bias, *w = leaves
        found = []
        for one in inputs.unbind(0):
            z = way.product(state, one, *w)
            length = z.square().sum(1, keepdim=True).clamp_min(eps * eps).sqrt()
            state = z * ((length + bias).relu() / length)
            found.append(state)
        asked = [leaf for leaf, want in zip(leaves, wanted, strict=True) if want]
        given = iter(torch.autograd.grad(torch.stack(found), asked, gradient, create_graph=twice))
    return [next(given) if want else None for want in wanted]
