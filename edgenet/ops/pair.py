"""spmm and sddmm as registered ops: each is made of the other's derivative."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from edgenet.errors import ShapeError
from edgenet.graph import Graph
from edgenet.ops import backend
from edgenet.ops.pinned import Pinned
from edgenet.ops.transforms import Op, joined, looped, of_batched_gradients


# ---------------------------------------------------------------- registered, on the ends of the edges
@torch.library.custom_op("edgenet::spmm", mutates_args=())
def _spmm(source: Tensor, target: Tensor, weight: Tensor | None, x: Tensor, num_nodes: int) -> Tensor:
    backend.check_ends("spmm", source, target)
    _check_spmm(len(source), weight, x)
    kernels = backend.kernels("spmm", x, weight)
    if kernels is not None:
        return kernels.forward(backend.checked_graph(source, target, num_nodes, x.shape[0]), weight, x)
    return backend.choose("spmm")(source, target, weight, x, num_nodes)


@_spmm.register_fake
def _(source: Tensor, target: Tensor, weight: Tensor | None, x: Tensor, num_nodes: int) -> Tensor:
    return x.new_empty((num_nodes, *x.shape[1:]))


@torch.library.custom_op("edgenet::sddmm", mutates_args=())
def _sddmm(source: Tensor, target: Tensor, a: Tensor, b: Tensor) -> Tensor:
    backend.check_ends("sddmm", source, target)
    if a.dim() != 3 or a.shape[1:] != b.shape[1:]:
        raise ShapeError(f"sddmm wants two signals (N, H, C) alike in H and C, got {tuple(a.shape)}, {tuple(b.shape)}.")
    kernels = backend.kernels("sddmm", a, b)
    if kernels is not None:
        return kernels.forward(backend.checked_graph(source, target, a.shape[0], b.shape[0]), a, b)
    return backend.choose("sddmm")(source, target, a, b)


@_sddmm.register_fake
def _(source: Tensor, target: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return a.new_empty((source.shape[0], a.shape[1]))


def _check_spmm(edges: int, weight: Tensor | None, x: Tensor) -> None:
    if x.dim() != 3 or (weight is not None and weight.shape != (edges, x.shape[1])):
        raise ShapeError(
            f"spmm wants signals (N, H, C) and weights (E, H) of {edges} edges, got {tuple(x.shape)} and "
            f"{None if weight is None else tuple(weight.shape)}."
        )


def _keep_spmm(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    source, target, weight, x, _ = inputs
    ctx.save_for_backward(source, target, weight, x)


def _backward_spmm(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    source, target, weight, x = ctx.saved_tensors
    grad_weight = SDDMM(source, target, grad, x.conj().resolve_conj()) if ctx.needs_input_grad[2] else None
    grad_x = None
    if ctx.needs_input_grad[3]:
        weight = None if weight is None else weight.conj().resolve_conj()
        grad_x = SPMM(target, source, weight, grad, x.shape[0])
    return None, None, grad_weight, grad_x, None


def _keep_sddmm(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward_sddmm(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    source, target, a, b = ctx.saved_tensors
    grad_a = SPMM(source, target, grad, b.conj().resolve_conj(), a.shape[0]) if ctx.needs_input_grad[2] else None
    grad_b = SPMM(target, source, grad, a.conj().resolve_conj(), b.shape[0]) if ctx.needs_input_grad[3] else None
    return None, None, grad_a, grad_b


def _batch_spmm(call, info, in_dims, source, target, weight, x, num_nodes):
    size, of_weight, of_x = info.batch_size, in_dims[2], in_dims[3]
    if in_dims[0] is not None or in_dims[1] is not None:
        return looped(call, info, in_dims, source, target, weight, x, num_nodes)
    if of_weight is None:  # one weighting serves all: the batch is only more channels
        x = x.movedim(of_x, 2)
        return call(source, target, weight, x.flatten(2), num_nodes).unflatten(2, x.shape[2:]), 2
    weight, x = joined(weight, of_weight, size, 1), joined(x, of_x, size, 1)
    return call(source, target, weight, x, num_nodes).unflatten(1, (size, -1)), 1


def _batch_sddmm(call, info, in_dims, source, target, a, b):
    if in_dims[0] is not None or in_dims[1] is not None:
        return looped(call, info, in_dims, source, target, a, b)
    a, b = (joined(t, dim, info.batch_size, 1) for t, dim in ((a, in_dims[2]), (b, in_dims[3])))
    return call(source, target, a, b).unflatten(1, (info.batch_size, -1)), 1


SPMM = Op(_spmm, backend.definition("spmm"), _keep_spmm, _backward_spmm, _batch_spmm)
SDDMM = Op(_sddmm, backend.definition("sddmm"), _keep_sddmm, _backward_sddmm, _batch_sddmm)


# ---------------------------------------------------------------- the short path
def spmm(graph: Graph, weight: Tensor | None, x: Tensor) -> Tensor:
    """As ``edgenet.ops.spmm`` where H is the same in both, or 1 in ``x``."""
    kernels = backend.kernels("spmm", x, weight) if backend.eager() else None
    if weight is not None and weight.shape[1] != x.shape[1] and not (kernels and kernels.SHARES_SIGNAL):
        x = x.expand(-1, weight.shape[1], -1)
    if kernels is not None:
        return _Spmm.apply(kernels, graph, weight, x)
    return SPMM(graph.source, graph.target, weight, x, graph.num_nodes)


def sddmm(graph: Graph, a: Tensor, b: Tensor) -> Tensor:
    """As ``edgenet.ops.sddmm`` where a and b are alike in H and C."""
    kernels = backend.kernels("sddmm", a, b) if backend.eager() else None
    if kernels is not None:
        return _Sddmm.apply(kernels, graph, a, b)
    return SDDMM(graph.source, graph.target, a, b)


class _Spmm(torch.autograd.Function):
    """Kernels on the graph, whose sort orders are built already."""

    @staticmethod
    def forward(ctx, kernels, graph, weight, x):
        y = kernels.forward(graph, weight, x)
        ctx.graph, ctx.pinned = graph, Pinned.of(graph, weight, x)
        ctx.save_for_backward(weight, x, graph.edge_index)  # edges changed in place meanwhile raise
        return y

    @staticmethod
    @of_batched_gradients
    def backward(ctx, grad):
        weight, x, _ = ctx.saved_tensors
        graph, (_, _, needs_weight, needs_x) = ctx.graph, ctx.needs_input_grad
        ctx.pinned.check("spmm", graph, weight, x)
        kernels = None
        if backend.eager() and not torch.is_grad_enabled():
            kernels = backend.kernels("spmm", x, weight, grad)
        if kernels is not None:
            return None, None, *kernels.backward(graph, weight, x, grad, needs_weight, needs_x)
        grad_weight = sddmm(graph, grad, x.expand(-1, grad.shape[1], -1)) if needs_weight else None
        grad_x = spmm(graph.transpose(), weight, grad) if needs_x else None
        return None, None, grad_weight, grad_x.sum_to_size(x.shape) if needs_x else None


class _Sddmm(torch.autograd.Function):
    """Kernels on the graph, whose sort orders are built already."""

    @staticmethod
    def forward(ctx, kernels, graph, a, b):
        y = kernels.forward(graph, a, b)
        ctx.graph, ctx.pinned = graph, Pinned.of(graph, a, b)
        ctx.save_for_backward(a, b, graph.edge_index)  # edges changed in place meanwhile raise
        return y

    @staticmethod
    @of_batched_gradients
    def backward(ctx, grad):
        a, b, _ = ctx.saved_tensors
        ctx.pinned.check("sddmm", ctx.graph, a, b)
        grad_a = spmm(ctx.graph, grad, b) if ctx.needs_input_grad[2] else None
        grad_b = spmm(ctx.graph.transpose(), grad, a) if ctx.needs_input_grad[3] else None
        return None, None, grad_a, grad_b
