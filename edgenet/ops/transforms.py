"""Ops of torch.library whose gradients also work under torch.func, vmap and batched gradients."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._C._functorch import TransformType, get_interpreter_stack, is_legacy_batchedtensor

from edgenet.ops import backend

#: (the op to call, info with batch_size, which dimension of each argument is the batch or None, \*arguments)
#: -> (outputs, their batch dimensions)
BatchRule = Callable[..., tuple[Any, Any]]


class Op:
    """A registered op with its definition, gradient and batching rule; called, it takes the form that suits the moment.

    Args:
        op: of ``torch.library.custom_op``; its implementation runs on plain tensors.
        definition: the same in plain torch, which has derivatives in forward mode too.
        keep, backward: ``setup_context`` and ``backward`` of its gradient, which calls ``Op``s, not registered ops, so
            that gradients can be transformed too.
        rule: how it runs on a batch.
    """

    def __init__(
        self, op: Any, definition: Callable[..., Any], keep: Callable[..., None], backward: Callable[..., Any],
        rule: BatchRule,
    ) -> None:  # fmt: skip
        backward = of_batched_gradients(backward)
        op.register_autograd(backward, setup_context=keep)
        op.register_vmap(functools.partial(rule, op))
        self.registered, self.definition = op, definition
        # torch.func refuses the form in which register_autograd puts a gradient; it takes this one
        methods = {"forward": op, "setup_context": keep, "backward": backward, "vmap": functools.partial(rule, self)}
        methods = {name: staticmethod(method) for name, method in methods.items()}
        self._function: Any = type(f"Transformed_{op._name}", (torch.autograd.Function,), methods)

    def __call__(self, *arguments: Any) -> Any:
        if backend.forward_mode():
            return self.definition(*arguments)
        return self._function.apply(*arguments) if transformed() else self.registered(*arguments)


def transformed() -> bool:
    """Whether a transform of torch.func is under way that asks functions for their gradients and batching rules."""
    if torch.compiler.is_compiling() or not torch._C._are_functorch_transforms_active():
        return False
    return all(interpreter.key() != TransformType.Functionalize for interpreter in get_interpreter_stack())


# ---------------------------------------------------------------- rules
def looped(call: Callable[..., Any], info: Any, in_dims: tuple[Any, ...], *arguments: Any) -> tuple[Any, Any]:
    """One call after the other: for what cannot be joined, such as another graph for every member of the batch."""
    results = [
        call(*(a if dim is None else a.select(dim, i) for a, dim in zip(arguments, in_dims, strict=True)))
        for i in range(info.batch_size)
    ]
    if isinstance(results[0], Tensor):
        return torch.stack(results), 0
    return tuple(map(torch.stack, zip(*results, strict=True))), (0,) * len(results[0])


def joined(tensor: Tensor, dim: int | None, size: int, axis: int) -> Tensor:
    """The batch of ``size`` members made part of ``axis``, slower than what is there: (N, H), axis 1 -> (N, B * H).

    A tensor without a batch (``dim`` is None) is repeated.
    """
    if dim is None:
        tensor = tensor.unsqueeze(axis).expand(*tensor.shape[:axis], size, *tensor.shape[axis:])
    else:
        tensor = tensor.movedim(dim, axis)
    return tensor.flatten(axis, axis + 1)


# ---------------------------------------------------------------- batched gradients
def of_batched_gradients(backward: Callable[..., Any]) -> Callable[..., Any]:
    """A backward pass that also takes the gradients of ``is_grads_batched=True`` and ``jacobian(vectorize=True)``.

    Those are batched tensors of an older vmap, for which no rules can be registered: here it becomes ``torch.vmap``.
    """

    @functools.wraps(backward)
    def run(ctx: Any, *grads: Tensor | None) -> Any:
        if torch.compiler.is_compiling() or not any(g is not None and is_legacy_batchedtensor(g) for g in grads):
            return backward(ctx, *grads)
        level = torch._C._vmapmode_increment_nesting() - 1
        torch._C._vmapmode_decrement_nesting()
        return _without_levels(functools.partial(backward, ctx), grads, level)

    return run


def _without_levels(function: Callable[..., Any], grads: tuple[Tensor | None, ...], level: int) -> Any:
    """``function(*grads)``, each level of the older vmap in ``grads`` made one of ``torch.vmap``."""
    if level == 0:
        return function(*grads)
    # a batch of size 1 is what a gradient gets that has none at this level
    grads = tuple(None if g is None else torch._remove_batch_dim(g, level, 1, 0) for g in grads)
    dims = tuple(None if g is None or g.shape[0] == 1 else 0 for g in grads)
    grads = tuple(g[0] if dim is None and g is not None else g for g, dim in zip(grads, dims, strict=True))
    if all(dim is None for dim in dims):
        return _without_levels(function, grads, level - 1)

    def vmapped(*grads: Tensor | None) -> tuple[Tensor | None, ...]:
        places: list[int] = []  # vmap takes tensors only

        def present(*grads: Tensor | None) -> tuple[Tensor, ...]:
            found = function(*grads)
            found = found if isinstance(found, tuple) else (found,)
            places[:] = [len(found), *(i for i, t in enumerate(found) if t is not None)]
            return tuple(t for t in found if t is not None)

        batched = torch.vmap(present, dims)(*grads)
        found: list[Tensor | None] = [None] * places[0]
        for i, t in zip(places[1:], batched, strict=True):
            found[i] = t
        return tuple(found)

    found = _without_levels(vmapped, grads, level - 1)
    return tuple(None if t is None else torch._add_batch_dim(t, 0, level) for t in found)
