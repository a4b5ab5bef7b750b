"""spmm: one hop over the graph."""

import torch
from torch import Tensor

from edgenet.errors import ShapeError
from edgenet.graph import Graph
from edgenet.ops import backend
from edgenet.ops.spmm import reference, scatter

backend.register("spmm", reference=reference.spmm, scatter=scatter.spmm)


def spmm(graph: Graph, weight: Tensor | None, x: Tensor) -> Tensor:
    """One hop: every node sums its in-neighbours' signals, scaled edge by edge and head by head.

    y[i, h] = sum over edges e = (j -> i) of weight[e, h] * x[j, h]

    Differentiable any number of times in ``weight`` (by ``sddmm``) and ``x`` (by ``spmm`` on the transposed graph).

    Args:
        graph: E directed edges on N nodes.
        weight: (E, H), in the order of ``graph.edge_index``; or (E, 1), shared by all heads; or None: all 1.
        x: (N, H, C) node signals (as many rows as the graph has sources); or (N, 1, C), the same for all heads.
            Different dtypes are promoted. Half precision is summed in float32.

    Returns:
        (N, H, C). A node with no incoming edge gets zeros.

    Raises:
        ShapeError: if ``weight`` has not E rows, ``x`` has not one row a source, or H differs between the two.
    """
    if weight is not None and (weight.dim() != 2 or weight.shape[0] != graph.num_edges):
        raise ShapeError(
            f"spmm wants one row of weights for each of {graph.num_edges} edges, got {tuple(weight.shape)}."
        )
    if x.dim() != 3 or x.shape[0] != graph.num_sources:
        raise ShapeError(f"spmm wants signals ({graph.num_sources}, H, C), got {tuple(x.shape)}.")
    backend.check_devices("spmm", graph, weight, x)
    heads, channels = x.shape[1:]
    if weight is None:
        return _run(graph, None, x)
    if weight.shape[1] != heads and 1 not in (weight.shape[1], heads):
        raise ShapeError(
            f"spmm got weights for {weight.shape[1]} heads and signals with {heads}; one of them may be 1."
        )
    if weight.dtype != x.dtype:
        dtype = torch.promote_types(weight.dtype, x.dtype)
        weight, x = weight.to(dtype), x.to(dtype)
    if weight.shape[1] == heads:
        return _run(graph, weight, x)
    if weight.shape[1] == 1:  # one weighting: heads are only more channels
        return _run(graph, weight, x.flatten(1).unsqueeze(1)).unflatten(2, (heads, channels))[:, 0]
    kernels = backend.kernels("spmm", x) if backend.eager() and not backend.forward_mode() else None
    if kernels is None or not kernels.SHARES_SIGNAL:
        x = x.expand(-1, weight.shape[1], -1)
    return _run(graph, weight, x)


def _run(graph: Graph, weight: Tensor | None, x: Tensor) -> Tensor:
    if backend.eager() and not backend.forward_mode() and backend.kernels("spmm", x) is not None:
        return _Spmm.apply(graph, weight, x)
    if backend.forward_mode():
        return reference.spmm(graph.source, graph.target, weight, x, graph.num_nodes)
    return _spmm(graph.source, graph.target, weight, x, graph.num_nodes)


class _Spmm(torch.autograd.Function):
    """The short path: kernels on the graph, whose sort orders are built already."""

    @staticmethod
    def forward(ctx, graph, weight, x):
        ctx.graph = graph
        ctx.save_for_backward(weight, x, graph.edge_index)  # edges changed in place meanwhile raise
        return backend.kernels("spmm", x).forward(graph, weight, x)

    @staticmethod
    def backward(ctx, grad):
        from edgenet.ops.sddmm import sddmm

        weight, x, _ = ctx.saved_tensors
        graph, (_, needs_weight, needs_x) = ctx.graph, ctx.needs_input_grad
        kernels = backend.kernels("spmm", x) if backend.eager() and not torch.is_grad_enabled() else None
        if kernels is not None:
            return None, *kernels.backward(graph, weight, x, grad, needs_weight, needs_x)
        grad_weight = sddmm(graph, grad, x.expand(-1, grad.shape[1], -1)) if needs_weight else None
        grad_x = spmm(graph.transpose(), weight, grad) if needs_x else None
        return None, grad_weight, grad_x.sum_to_size(x.shape) if needs_x else None


@torch.library.custom_op("edgenet::spmm", mutates_args=())
def _spmm(source: Tensor, target: Tensor, weight: Tensor | None, x: Tensor, num_nodes: int) -> Tensor:
    kernels = backend.kernels("spmm", x)
    if kernels is not None:
        return kernels.forward(backend.checked_graph(source, target, num_nodes, x.shape[0]), weight, x)
    return backend.choose("spmm")(source, target, weight, x, num_nodes)


@_spmm.register_fake
def _(source: Tensor, target: Tensor, weight: Tensor | None, x: Tensor, num_nodes: int) -> Tensor:
    return x.new_empty((num_nodes, *x.shape[1:]))


def _keep(ctx, inputs, output) -> None:
    source, target, weight, x, _ = inputs
    ctx.save_for_backward(source, target, weight, x)


def _backward(ctx, grad):
    from edgenet.ops.sddmm import _sddmm  # each is the other's derivative

    source, target, weight, x = ctx.saved_tensors
    grad_weight = _sddmm(source, target, grad, x.conj().resolve_conj()) if ctx.needs_input_grad[2] else None
    grad_x = None
    if ctx.needs_input_grad[3]:
        weight = None if weight is None else weight.conj().resolve_conj()
        grad_x = _spmm(target, source, weight, grad, x.shape[0])
    return None, None, grad_weight, grad_x, None


_spmm.register_autograd(_backward, setup_context=_keep)
