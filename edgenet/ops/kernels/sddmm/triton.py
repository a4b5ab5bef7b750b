"""sddmm on CUDA, in Triton: a program holds a target's signal in registers and meets it with every in-neighbour's."""

from __future__ import annotations

import torch
from torch import Tensor

from edgenet.graph import Graph
from edgenet.ops.triton_launch import jit, launch, tile, tl
from edgenet.ops.triton_rows import piece, rows_by_target


def forward(graph: Graph, a: Tensor, b: Tensor) -> Tensor:
    """w[e, h] = <a[i, h], b[j, h]> for e = (j -> i); see ``edgenet.ops.sddmm``.

    Args:
        graph: E directed edges on N nodes.
        a: (N, H, C).
        b: (sources, H, C).

    Returns:
        (E, H), the dtype of ``a``.
    """
    rows, a, b = rows_by_target(graph), a.contiguous(), b.contiguous()
    heads, channels = a.shape[1:]
    if heads == 0 or channels == 0:
        return a.new_zeros(graph.num_edges, heads)
    w = torch.empty(graph.num_edges, heads, dtype=a.dtype, device=a.device)
    constants, head_blocks = tile(heads, channels, a.dtype)
    launch(_forward, (len(rows.pieces), head_blocks), rows.pieces, rows.neighbour, rows.edge, a, b, w, **constants)
    return w


@jit
def _forward(
    pieces, source, edge, a, b, w,
    H: tl.constexpr, C: tl.constexpr, HB: tl.constexpr, CB: tl.constexpr, EB: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    row, begin, end, _ = piece(pieces, tl.program_id(0))
    head = tl.program_id(1) * HB + tl.arange(0, HB)
    channel = tl.arange(0, CB)
    inside = (head < H)[:, None] & (channel < C)[None, :]
    at = head[:, None] * C + channel[None, :]
    own = tl.load(a + row * (H * C) + at, mask=inside, other=0.0).to(ACC)
    for start in range(begin, end, EB):
        k = start + tl.arange(0, EB)
        mine = k < end
        j = tl.load(source + k, mask=mine, other=0).to(tl.int64)
        e = tl.load(edge + k, mask=mine, other=0).to(tl.int64)
        theirs = tl.load(
            b + j[:, None, None] * (H * C) + at[None], mask=mine[:, None, None] & inside[None], other=0.0
        ).to(ACC)
        product = tl.sum(theirs * own[None], 2).to(w.dtype.element_ty)
        tl.store(w + e[:, None] * H + head[None, :], product, mask=mine[:, None] & (head < H)[None, :])
