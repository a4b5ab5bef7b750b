"""The compiled attention ops, which take the same arguments: three tensors, what edges bring, and what
forward kept of the softmax."""

from __future__ import annotations

import torch
from torch import Tensor

from edgenet.graph import Graph
from edgenet.ops import native

Inputs = tuple[Tensor, Tensor | None, Tensor]
Edges = tuple[Tensor | None, Tensor | None]


def forward(
    function: str, graph: Graph, inputs: Inputs, x: Tensor, heads: int, slope: float, dropout: float, seed: int,
    edges: Edges,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """The output (N, H, C), and top and total (N, H); ``x`` is the one of the inputs that is the signal."""
    order = native.by_target(graph)
    tensors = [None if t is None else t.contiguous() for t in (*inputs, *edges)]
    out = x.new_empty((graph.num_nodes, heads, x.shape[2]))
    top = x.new_empty((graph.num_nodes, heads), dtype=torch.promote_types(x.dtype, torch.float32))
    total = torch.empty_like(top)
    if out.numel() == 0 or x.numel() == 0:
        return out.zero_(), top.zero_(), total.zero_()
    getattr(native.library(), function)(
        native.pool(), native.DTYPES[x.dtype], order.wide, *order.pointers, order.rows, order.nodes,
        *map(native.pointer, tensors), out.data_ptr(), top.data_ptr(), total.data_ptr(), slope, dropout, seed,
        *out.shape[1:], int(x.shape[1] < heads),
    )  # fmt: skip
    return out, top, total


def backward(
    function: str, graph: Graph, inputs: Inputs, x: Tensor, y: Tensor, top: Tensor, total: Tensor, grad: Tensor,
    slope: float, dropout: float, seed: int, edges: Edges,
) -> list[Tensor | None]:  # fmt: skip
    """Gradients in the three inputs and in what edges bring, in one pass over the source order, which computes the
    weights anew."""
    to, by = native.by_target(graph), native.by_source(graph)
    inputs = [None if t is None else t.contiguous() for t in (*inputs, *edges)]
    y, top, total, grad = y.contiguous(), top.contiguous(), total.contiguous(), grad.contiguous()
    found = [None if t is None else torch.empty_like(t) for t in inputs]
    if grad.numel() == 0 or x.numel() == 0:
        return [None if t is None else t.zero_() for t in found]
    at = native.places(graph)
    getattr(native.library(), function)(
        native.pool(), native.DTYPES[x.dtype], by.wide, to.ptr.data_ptr(), to.other.data_ptr(), to.rows, *by.pointers,
        by.rows, at.data_ptr(), *map(native.pointer, inputs), y.data_ptr(), top.data_ptr(), total.data_ptr(),
        grad.data_ptr(), *map(native.pointer, found), slope, dropout, seed, *y.shape[1:],
        int(x.shape[1] < y.shape[1]),
    )  # fmt: skip
    return found
