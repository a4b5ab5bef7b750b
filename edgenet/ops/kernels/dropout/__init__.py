"""dropout: numbers left out at random, and the others made larger."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function_unary

from edgenet.errors import ShapeError
from edgenet.ops import backend, mask
from edgenet.ops.kernels.dropout import reference
from edgenet.ops.transforms import Op, looped, of_batched_gradients

backend.register("dropout", reference=reference.dropout)


def dropout(x: Tensor, p: float = 0.5, training: bool = True, seed: Tensor | int | None = None) -> Tensor:
    """Dropout (Srivastava et al. 2014). The mask is made anew where it is needed, and never kept.

    y[i] = x[i] / (1 - p) if hash(i, seed) >= p 2^32, else x[i] * 0,   i the number's place in row-major order

    Differentiable any number of times. The seed comes from torch's default generator on the CPU, so that
    ``torch.manual_seed`` repeats a mask; it is the same on every backend, device and number of threads, whatever the
    strides of ``x``. The masks are not those of ``F.dropout``: ``ops.torch_dropout`` gives these.

    Args:
        x: any shape, of floating point or complex. NaN and infinity give NaN where they are dropped.
        p: probability in [0, 1] of dropping a number.
        training: if not, the result is ``x``, as it is for p = 0.
        seed: 64 bits, in place of one from the generator.

    Returns:
        The shape and dtype of ``x``, contiguous.

    Raises:
        ConfigError: if ``p`` is not a probability.
        ShapeError: if ``x`` is of integers or bools, or sparse.

    Example:
        >>> y = edgenet.ops.dropout(x, 0.5, seed=0)
        >>> torch.equal(y, edgenet.ops.dropout(x, 0.5, seed=0))
        True
    """
    if has_torch_function_unary(x):
        return handle_torch_function(dropout, (x,), x, p, training, seed)
    mask.check_probability(p)
    if not training or p == 0:
        return x
    if not (x.is_floating_point() or x.is_complex()):
        raise ShapeError(f"dropout is of floating or complex numbers, got {x.dtype}; convert it with .float().")
    if x.layout != torch.strided:
        raise ShapeError(f"dropout is of dense tensors, got {x.layout}. SparseSignal.of(x).dropout takes sparse ones.")
    seed = mask.draw(p) if seed is None else seed
    if seed is None:
        return mask.applied(x, p, None)
    eager = backend.eager()
    kernels = backend.kernels("dropout", x) if eager else None
    if kernels is None:
        added = backend.asked_for("dropout") if eager else None
        return _DROPOUT(x, float(p), _as_tensor(seed)) if added is None else added(x, float(p), seed)
    if x.requires_grad and torch.is_grad_enabled():
        return _Dropout.apply(kernels, x, float(p), mask.signed(int(seed)))
    return kernels.forward(x, float(p), mask.signed(int(seed)))


class _Dropout(torch.autograd.Function):
    """The short path."""

    @staticmethod
    def forward(ctx, kernels, x, p, seed):
        ctx.rest = p, seed
        return kernels.forward(x, p, seed)

    @staticmethod
    @of_batched_gradients
    def backward(ctx, grad):
        p, seed = ctx.rest
        kernels = backend.kernels("dropout", grad) if backend.eager() and not torch.is_grad_enabled() else None
        grad = _DROPOUT(grad, p, _as_tensor(seed)) if kernels is None else kernels.forward(grad, p, seed)
        return None, grad, None, None


@torch.library.custom_op("edgenet::dropout", mutates_args=())
def _dropout(x: Tensor, p: float, seed: Tensor) -> Tensor:
    kernels = backend.kernels("dropout", x)
    if kernels is not None:
        return kernels.forward(x, p, int(seed))
    form = backend.asked_for("dropout") or reference.dropout
    return form(x, p, seed).contiguous()


@_dropout.register_fake
def _(x, p, seed):
    return torch.empty_like(x, memory_format=torch.contiguous_format)


def _keep(ctx, inputs, output):
    _, ctx.p, seed = inputs
    ctx.save_for_backward(seed)


def _backward(ctx, grad):
    return _DROPOUT(grad, ctx.p, *ctx.saved_tensors), None, None


def _batch(call: Any, info: Any, in_dims: tuple[Any, ...], x: Tensor, p: float, seed: Tensor) -> tuple[Tensor, int]:
    if in_dims[2] is not None:  # every member has a seed of its own
        return looped(call, info, in_dims, x, p, seed)
    x = x.movedim(in_dims[0], 0)
    wide = torch.promote_types(x.dtype, torch.float32)
    return (x * call(x.new_ones(x.shape[1:], dtype=wide), p, seed)).to(x.dtype), 0


def _as_tensor(seed: Tensor | int) -> Tensor:
    return seed if isinstance(seed, Tensor) else torch.as_tensor(mask.signed(seed), device="cpu")


_DROPOUT = Op(_dropout, reference.dropout, _keep, _backward, _batch)
