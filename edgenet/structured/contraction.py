"""Products with sums of Kronecker products, factor by factor, in pieces that stay in the cache."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from edgenet import ops
from edgenet.ops import backend

_LARGE = 1 << 22  # multiply-adds from which it pays to look for the faster library
CHUNK_BYTES = 1 << 21  # intermediates of a piece of the batch: what stays in a core's caches


def right_first(x: Tensor, b: Tensor, a: Tensor, n1: int) -> Tensor:
    """x (rows, up to n1 n2) -> (rows, m1 m2), by B and then A.

    Args:
        b: (R m2, n2).
        a: (m1, n1 R).
    """
    rows, n2 = x.shape[0], b.shape[1]
    m1, wide = a.shape
    m2 = b.shape[0] * n1 // wide
    if rows == 1:  # two calls and no more
        return torch.mm(a, _times(_padded(x, n1 * n2).reshape(n1, n2), b).view(wide, m2)).view(1, m1 * m2)

    def piece(x: Tensor) -> Tensor:
        inner = ops.linear(_padded(x, n1 * n2).reshape(-1, n2), b).view(-1, wide, m2)
        return _left(a, inner).reshape(-1, m1 * m2)

    return _in_pieces(x, piece, m1 * m2, wide * m2)


def left_first(x: Tensor, a: Tensor, b: Tensor, n2: int) -> Tensor:
    """x (rows, up to n1 n2) -> (rows, m1 m2), by A and then B.

    Args:
        a: (m1 R, n1).
        b: (m2, R n2).
    """
    n1, (m2, wide) = a.shape[1], b.shape
    m1 = a.shape[0] * n2 // wide
    if x.shape[0] == 1:
        return _times(torch.mm(a, _padded(x, n1 * n2).reshape(n1, n2)).view(m1, wide), b).view(1, m1 * m2)

    def piece(x: Tensor) -> Tensor:
        inner = _left(a, _padded(x, n1 * n2).reshape(-1, n1, n2)).reshape(-1, wide)
        return ops.linear(inner, b).view(-1, m1 * m2)

    return _in_pieces(x, piece, m1 * m2, m1 * wide)


def add_right_first(y: Tensor, x: Tensor, b: Tensor, a: Tensor, n1: int) -> None:
    """y (m, B) += W x for signals side by side, x (up to n1 n2, B): what ``right_first`` does to rows. Nothing is
    turned round, and the last product adds by itself."""
    signals, n2 = x.shape[1], b.shape[1]
    x = _filled(x, n1 * n2)
    # one signal is a row, too
    inner = torch.mm(x.view(n1, n2), b.t()) if signals == 1 else torch.matmul(b, x.view(n1, n2, signals))
    m1, wide = a.shape
    inner = inner.view(wide, -1)
    if y.numel() == m1 * inner.shape[1]:
        y.view(m1, -1).addmm_(a, inner)
    else:
        y.add_(torch.mm(a, inner).view(-1, signals)[: len(y)])


def add_left_first(y: Tensor, x: Tensor, a: Tensor, b: Tensor, n2: int) -> None:
    """The same as ``left_first`` does it."""
    signals, n1, (m2, wide) = x.shape[1], a.shape[1], b.shape
    m1 = a.shape[0] * n2 // wide
    inner = torch.mm(a, _filled(x, n1 * n2).view(n1, n2 * signals))
    whole = y if len(y) == m1 * m2 else y.new_zeros(m1 * m2, signals)
    if signals == 1:
        whole.view(m1, m2).addmm_(inner.view(m1, wide), b.t())
    else:
        whole.view(m1, m2, signals).baddbmm_(b.expand(m1, m2, wide), inner.view(m1, wide, signals))
    if whole is not y:
        y.add_(whole[: len(y)])


def _filled(x: Tensor, height: int) -> Tensor:
    """Zeros below the rows."""
    return x if len(x) == height else F.pad(x, (0, 0, 0, height - len(x)))


def three(x: Tensor, a: Tensor, g: Tensor, b: Tensor, n1: int, m3: int) -> Tensor:
    """x (rows, up to n1 n2 n3) -> (rows, m1 m2 m3), from the right to the left, block by block.

    Args:
        a: (blocks, m1, n1 r1).
        g: (blocks, r1 m2, n2 r2).
        b: (blocks, r2 m3, n3).
    """
    blocks, m1, wide = a.shape
    n3, r1_m2, n2_r2 = b.shape[2], *g.shape[1:]
    width = r1_m2 * n1 * m3 // wide  # m2 m3
    whole = n1 * (n2_r2 * m3 // b.shape[1]) * n3

    def piece(x: Tensor) -> Tensor:
        x, y = _padded(x, whole).reshape(-1, n3), None
        for z in range(blocks):
            inner = _left(g[z], ops.linear(x, b[z]).view(-1, n2_r2, m3))  # (rows n1, r1 m2, m3)
            inner = _left(a[z], inner.view(-1, wide, width))
            y = inner if y is None else y + inner
        return y.reshape(-1, m1 * width)

    return _in_pieces(x, piece, m1 * width, n1 * max(n2_r2, r1_m2) * m3)


def _padded(x: Tensor, width: int) -> Tensor:
    """Zeros behind the columns; piece by piece, for a batch that is copied whole costs fresh memory."""
    return x if x.shape[1] == width else F.pad(x, (0, width - x.shape[1]))


def _times(x: Tensor, b: Tensor) -> Tensor:
    """x b^T; what is small goes to torch at once."""
    return ops.linear(x, b) if x.shape[0] * b.numel() >= _LARGE else torch.mm(x, b.t())


def _left(a: Tensor, z: Tensor) -> Tensor:
    """a z[b] for every b: (p, q), (rows, q, c) -> (rows, p, c)."""
    plain = z.is_cpu and z.dtype == a.dtype == torch.float32 and not torch.compiler.is_compiling()
    if plain and z.numel() * a.shape[0] >= _LARGE:
        return F.conv1d(z, a.unsqueeze(-1))  # oneDNN reads the batch as it lies
    return torch.matmul(a, z)


def _in_pieces(x: Tensor, piece: Callable[[Tensor], Tensor], width: int, inner: int) -> Tensor:
    """``piece`` on parts of the batch whose intermediates stay in the cache; at once where a gradient keeps them."""
    rows, step = x.shape[0], max(8, CHUNK_BYTES // max(1, inner * x.element_size()))
    if not backend.eager() or torch.is_grad_enabled() or not x.is_cpu or rows <= 2 * step:
        return piece(x)
    y = x.new_empty(rows, width)
    for start in range(0, rows, step):
        y[start : start + step] = piece(x[start : start + step])
    return y
