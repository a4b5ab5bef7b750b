"""sddmm: an inner product for every edge."""

import torch
from torch import Tensor

from edgenet.errors import ShapeError
from edgenet.graph import Graph
from edgenet.ops import backend
from edgenet.ops.sddmm import reference

backend.register("sddmm", reference=reference.sddmm)


def sddmm(graph: Graph, a: Tensor, b: Tensor) -> Tensor:
    """The inner product of the two ends of every edge, head by head (sampled dense-dense matrix multiplication).

    w[e, h] = sum over c of a[i, h, c] * b[j, h, c]   for e = (j -> i)

    Differentiable any number of times in ``a`` (by ``spmm``) and ``b`` (by ``spmm`` on the transposed graph).

    Args:
        graph: E directed edges on N nodes.
        a: (N, H, C) signals of the targets.
        b: (N, H, C) signals of the sources (as many rows as the graph has sources).

    Returns:
        (E, H), in the order of ``graph.edge_index``.

    Raises:
        ShapeError: if ``a`` or ``b`` has another number of rows, or H or C differs between them.
    """
    if a.dim() != 3 or b.dim() != 3 or a.shape[1:] != b.shape[1:]:
        raise ShapeError(
            f"sddmm wants two (nodes, H, C) signals with the same H and C, got {tuple(a.shape)}, {tuple(b.shape)}."
        )
    if (a.shape[0], b.shape[0]) != (graph.num_nodes, graph.num_sources):
        raise ShapeError(
            f"sddmm wants {graph.num_nodes} target rows and {graph.num_sources} source rows, got {a.shape[0]} "
            f"and {b.shape[0]}."
        )
    backend.check_devices("sddmm", graph, a, b)
    if a.dtype != b.dtype:
        dtype = torch.promote_types(a.dtype, b.dtype)
        a, b = a.to(dtype), b.to(dtype)
    if backend.forward_mode():
        return reference.sddmm(graph.source, graph.target, a, b)
    if backend.eager() and backend.kernels("sddmm", a) is not None:
        return _Sddmm.apply(graph, a, b)
    return _sddmm(graph.source, graph.target, a, b)


class _Sddmm(torch.autograd.Function):
    """The short path: kernels on the graph, whose sort orders are built already."""

    @staticmethod
    def forward(ctx, graph, a, b):
        ctx.graph = graph
        ctx.save_for_backward(a, b, graph.edge_index)  # edges changed in place meanwhile raise
        return backend.kernels("sddmm", a).forward(graph, a, b)

    @staticmethod
    def backward(ctx, grad):
        from edgenet.ops.spmm import spmm

        a, b, _ = ctx.saved_tensors
        grad_a = spmm(ctx.graph, grad, b) if ctx.needs_input_grad[1] else None
        grad_b = spmm(ctx.graph.transpose(), grad, a) if ctx.needs_input_grad[2] else None
        return None, grad_a, grad_b


@torch.library.custom_op("edgenet::sddmm", mutates_args=())
def _sddmm(source: Tensor, target: Tensor, a: Tensor, b: Tensor) -> Tensor:
    kernels = backend.kernels("sddmm", a)
    if kernels is not None:
        return kernels.forward(backend.checked_graph(source, target, a.shape[0], b.shape[0]), a, b)
    return backend.choose("sddmm")(source, target, a, b)


@_sddmm.register_fake
def _(source: Tensor, target: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return a.new_empty((source.shape[0], a.shape[1]))


def _keep(ctx, inputs, output) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx, grad):
    from edgenet.ops.spmm import _spmm  # each is the other's derivative

    source, target, a, b = ctx.saved_tensors
    grad_a = _spmm(source, target, grad, b.conj().resolve_conj(), a.shape[0]) if ctx.needs_input_grad[2] else None
    grad_b = _spmm(target, source, grad, a.conj().resolve_conj(), b.shape[0]) if ctx.needs_input_grad[3] else None
    return None, None, grad_a, grad_b


_sddmm.register_autograd(_backward, setup_context=_keep)
