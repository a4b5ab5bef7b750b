"""The compiled attention ops, which take the same arguments: three tensors, what edges bring, and what forward kept of
the softmax."""

from __future__ import annotations

import torch
from torch import Tensor

from edgenet.graph import Graph
from edgenet.ops import native
from edgenet.ops.native import gate, orders

Inputs = tuple[Tensor, Tensor | None, Tensor]
Edges = tuple[Tensor | None, Tensor | None]
#: how many numbers each of the inputs has, and of which dtype
Sizes = list[tuple[int, torch.dtype]]


def forward(
    function: str, graph: Graph, inputs: Inputs, sizes: Sizes, x: Tensor, heads: int, slope: float, dropout: float,
    seed: int, edges: Edges,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """The output (N, H, C), and top and total (N, H); ``x`` is the one of the inputs that is the signal."""
    order, sums = orders.by_target(graph), native.wide(x.dtype)
    rows, channels = order.rows, x.shape[2]
    out = x.new_empty((rows, heads, channels))
    top = x.new_empty((rows, heads), dtype=sums)
    total = torch.empty_like(top)
    if out.numel() == 0 or x.numel() == 0:
        return out.zero_(), top.zero_(), total.zero_()
    sizes += [(order.edges * heads, x.dtype)] * 2
    gate.call(
        function, native.pool(), native.DTYPES[x.dtype], order.wide, *order.pointers, rows, order.nodes,
        *_memory((*inputs, *edges), sizes), (out, rows * heads * channels, x.dtype), (top, rows * heads, sums),
        (total, rows * heads, sums), slope, dropout, seed, heads, channels, int(x.shape[1] < heads),
    )  # fmt: skip
    return out, top, total


def backward(
    function: str, graph: Graph, inputs: Inputs, sizes: Sizes, x: Tensor, y: Tensor, top: Tensor, total: Tensor,
    grad: Tensor, slope: float, dropout: float, seed: int, edges: Edges,
) -> list[Tensor | None]:  # fmt: skip
    """Gradients in the three inputs and in what edges bring, in one pass over the source order, which computes the
    weights anew."""
    to, by, sums = orders.by_target(graph), orders.by_source(graph), native.wide(x.dtype)
    heads, channels = grad.shape[1:]
    inputs, sizes = (*inputs, *edges), [*sizes, *[(by.edges * heads, x.dtype)] * 2]
    # the kernel fills them; sizes, not the inputs, say how many numbers it writes
    found = [None if t is None else torch.empty_like(t, memory_format=torch.contiguous_format) for t in inputs]
    if grad.numel() == 0 or x.numel() == 0:
        return [None if t is None else t.zero_() for t in found]
    whole, each = (to.rows * heads * channels, x.dtype), (to.rows * heads, sums)
    gate.call(
        function, native.pool(), native.DTYPES[x.dtype], by.wide, *to.pointers[:2], to.rows, *by.pointers, by.rows,
        (orders.places(graph), by.edges, by.index), *_memory(inputs, sizes), (gate.plain(y), *whole),
        (gate.plain(top), *each), (gate.plain(total), *each), (gate.plain(grad), *whole),
        *((t, *size) for t, size in zip(found, sizes, strict=True)), slope, dropout, seed, heads, channels,
        int(x.shape[1] < heads),
    )  # fmt: skip
    return found


def _memory(
    inputs: tuple[Tensor | None, ...], sizes: Sizes
) -> list[tuple[Tensor | None, int, torch.dtype]]:  # fmt: skip
    return [
        (t if t is None or (t.is_contiguous() and not t.is_neg()) else gate.plain(t), *size)
        for t, size in zip(inputs, sizes, strict=True)
    ]
