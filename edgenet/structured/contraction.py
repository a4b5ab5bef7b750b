"""Products with matrices whose axes are factored into modes: one cost model picks the contraction, one place runs it.

Cut between two modes, a tensor train, a block-term matrix and a chain of Kronecker factors are all a sum of Kronecker
products of two matrices, W = sum over r of A_r (x) B_r with A (R, m1, n1) and B (R, m2, n2). A product is then two
large matrix products instead of one thin one for every mode, which on CPUs is 3 times as fast at every batch size. What
is left to choose is where to cut, from which side to begin, and whether building W is cheaper than either.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from edgenet import ops
from edgenet.ops import backend
from edgenet.structured.base import StructuredMatrix

# The machine of the cost model, a core of a server of today. Ratios between routes matter, not seconds.
_FLOPS = 2e11  # of large float32 products, per second
_BYTES = 4e10  # moved to and from memory, per second
_CALL = 4e-6  # seconds of one call of an op
_RAGGED = 12  # a side of a product as short as this halves the rate

_CHUNK_BYTES = 1 << 19  # intermediates of a piece of the batch: half of a core's L2 cache


@dataclass(frozen=True)
class Route:
    """How to multiply.

    Attributes:
        cut: the first side of the Kronecker products takes the modes before it; 0 builds the dense matrix.
        right_first: contract B, the modes after the cut, before A.
        seconds: what the cost model expects.
        multiply_adds: of one row.
    """

    cut: int
    right_first: bool
    seconds: float
    multiply_adds: int


@lru_cache(maxsize=8192)
def route(
    out_modes: tuple[int, ...], in_modes: tuple[int, ...], ranks: tuple[int, ...], rows: int, kept: bool
) -> Route:
    """The cheapest way for a batch of so many rows.

    Args:
        out_modes, in_modes: d factors of the (padded) rows and columns.
        ranks: d - 1 numbers, the terms R of the sum for every cut.
        rows: of the batch.
        kept: whether A and B are at hand; else making W costs each time. (Making A and B is small, and always paid.)
    """
    return min(_routes(out_modes, in_modes, ranks, rows, kept), key=lambda r: r.seconds)


def _routes(
    out_modes: tuple[int, ...], in_modes: tuple[int, ...], ranks: tuple[int, ...], rows: int, kept: bool
) -> list[Route]:
    m, n = math.prod(out_modes), math.prod(in_modes)
    found = []
    for cut, rank in enumerate(ranks, start=1):
        m1, n1 = math.prod(out_modes[:cut]), math.prod(in_modes[:cut])
        m2, n2 = m // m1, n // n1
        make = 0.0 if kept else 4 * rank * (m1 * n1 + m2 * n2) / _BYTES
        right = _product(rows * n1, rank * m2, n2) + _product(m1, m2 * rows, n1 * rank)
        left = _product(rank * m1, n2 * rows, n1) + _product(rows * m1, m2, rank * n2)
        found.append(Route(cut, True, make + right, rank * n1 * m2 * (n2 + m1)))
        found.append(Route(cut, False, make + left, rank * m1 * n2 * (n1 + m2)))
    best = min(range(1, len(ranks) + 1), key=lambda cut: ranks[cut - 1])
    build = 2 * ranks[best - 1] * m * n / _FLOPS + 3 * 4 * m * n / _BYTES + 3 * _CALL
    found.append(Route(0, True, build + _product(rows, m, n), m * n))
    return found


def _product(m: int, n: int, k: int) -> float:
    """Expected seconds of an (m, k) by (k, n) product."""
    rate = _FLOPS / ((1 + _RAGGED / m) * (1 + _RAGGED / n) * (1 + _RAGGED / k))
    return max(2 * m * n * k / rate, 4 * (m * k + k * n + m * n) / _BYTES) + _CALL


class ModeMatrix(StructuredMatrix):
    """A matrix whose rows and columns are factored into d modes each, and that is a sum of Kronecker products at
    every cut between them.

    m <= prod(out_modes) and n <= prod(in_modes): what is more is padding, cut off after multiplying. Parameters that
    only touch padding have zero gradients.

    Attributes:
        out_modes, in_modes: d numbers each, the first mode the slowest.
    """

    def __init__(self, shape: tuple[int, int], out_modes: tuple[int, ...], in_modes: tuple[int, ...]) -> None:
        super().__init__()
        self._shape = (int(shape[0]), int(shape[1]))
        self.out_modes, self.in_modes = tuple(out_modes), tuple(in_modes)

    @property
    def shape(self) -> tuple[int, int]:
        return self._shape

    @property
    @abstractmethod
    def ranks(self) -> tuple[int, ...]:
        """(d - 1) terms of the sum of Kronecker products, for every cut."""

    @abstractmethod
    def pair(self, cut: int) -> tuple[Tensor, Tensor]:
        """A (R, m1, n1) of the modes before ``cut`` and B (R, m2, n2) of those after it."""

    @abstractmethod
    def _tensors(self) -> tuple[Tensor, ...]:
        """The parameters, whose product W is of first degree in each."""

    # ---------------------------------------------------------------- multiplying
    def route(self, rows: int, kept: bool = True) -> Route:
        """How a batch of so many rows is multiplied."""
        return route(self.out_modes, self.in_modes, self.ranks, 1 << max(0, rows - 1).bit_length(), kept)

    def matmul(self, x: Tensor) -> Tensor:
        m, n = self._shape
        flat = x if x.dim() == 2 else x.reshape(-1, n)
        if torch.compiler.is_compiling():  # one trace serves every batch, and cannot look a route up
            way = Route(self._narrowest(), True, 0.0, 0)
        else:
            way = self.route(len(flat), kept=not self.training)
        if way.cut == 0:
            return ops.linear(x, self.to_dense())
        inner = math.prod(self.in_modes)
        if inner != n:
            flat = F.pad(flat, (0, inner - n))
        run, operands = self._operands(way)
        y = run(flat, *operands)
        if y.shape[1] != m:
            y = y[:, :m]
        return y if x.dim() == 2 else y.reshape(*x.shape[:-1], m)

    def _operands(self, way: Route) -> tuple[Callable[..., Tensor], tuple]:
        def made() -> tuple[Tensor, Tensor, int]:
            a, b = self.pair(way.cut)
            r, m1, n1 = a.shape
            m2, n2 = b.shape[1:]
            if way.right_first:
                return b.reshape(r * m2, n2), a.permute(1, 2, 0).reshape(m1, n1 * r), n1
            return a.permute(1, 0, 2).reshape(m1 * r, n1), b.permute(1, 0, 2).reshape(m2, r * n2), n2

        operands = self.kept.get(self, way.cut * 2 + way.right_first, self._tensors(), made)
        return (right_first if way.right_first else left_first), operands

    def multiply_adds(self, batch: int = 1) -> int:
        return batch * self.route(batch).multiply_adds

    # ---------------------------------------------------------------- reading
    def _narrowest(self) -> int:
        """The cut of the fewest terms, and of those the one nearest to the middle."""
        ranks, half = self.ranks, len(self.out_modes) / 2
        return min(range(1, len(ranks) + 1), key=lambda cut: (ranks[cut - 1], abs(cut - half)))

    def to_dense(self) -> Tensor:
        a, b = self.pair(self._narrowest())
        (r, m1, n1), (m2, n2) = a.shape, b.shape[1:]
        dense = torch.mm(a.reshape(r, -1).t(), b.reshape(r, -1))  # rows (m1, n1), columns (m2, n2)
        dense = dense.view(m1, n1, m2, n2).transpose(1, 2).reshape(m1 * m2, n1 * n2)
        return dense[: self._shape[0], : self._shape[1]]

    def rows(self, index: Tensor) -> Tensor:
        a, b = self.pair(self._narrowest())
        high = torch.div(index, b.shape[1], rounding_mode="floor")
        left, right = a[:, high], b[:, index - high * b.shape[1]]  # (R, I, n1), (R, I, n2)
        # the rows of one index: an (n1, R) by (R, n2) product
        return torch.bmm(left.permute(1, 2, 0), right.transpose(0, 1)).flatten(1)[:, : self._shape[1]]

    # ---------------------------------------------------------------- starting
    def frobenius(self) -> Tensor:
        """||W|| with its padding, without building W."""
        a, b = (side.flatten(1) for side in self.pair(self._narrowest()))
        return ((a @ a.mH) * (b @ b.mH)).sum().abs().sqrt()

    @torch.no_grad()
    def _spread(self, std: float | None = None) -> None:
        """Scale the factors of W to one root mean square, so that none learns faster than the others, and W to an
        entry of that standard deviation; None leaves W as it is."""
        tensors, total = self._tensors(), 1.0
        if std is not None:
            norm = float(self.frobenius())
            if norm == 0:
                return
            total = std * math.sqrt(math.prod(self.out_modes) * math.prod(self.in_modes)) / norm
        sizes = [float(t.abs().square().mean().sqrt()) for t in tensors]
        if 0 in sizes:
            return
        even = math.exp(sum(math.log(s) for s in sizes) / len(sizes)) * total ** (1 / len(sizes))
        for tensor, size in zip(tensors, sizes, strict=True):
            tensor.mul_(even / size)

    def _modes(self) -> dict[str, Any]:
        return {"shape": list(self._shape), "out_modes": list(self.out_modes), "in_modes": list(self.in_modes)}


def right_first(x: Tensor, b: Tensor, a: Tensor, n1: int) -> Tensor:
    """x (rows, n1 n2) -> (rows, m1 m2), by B and then A.

    Args:
        b: (R m2, n2).
        a: (m1, n1 R).
    """
    rows, n2 = x.shape[0], b.shape[1]
    m1, wide = a.shape
    m2 = b.shape[0] * n1 // wide
    if rows == 1:  # two calls and no more
        return torch.mm(a, torch.mm(x.view(n1, n2), b.t()).view(wide, m2)).view(1, m1 * m2)

    def piece(x: Tensor) -> Tensor:
        inner = ops.linear(x.reshape(-1, n2), b).view(-1, wide, m2)
        return _left(a, inner).reshape(-1, m1 * m2)

    return _in_pieces(x, piece, m1 * m2, wide * m2)


def left_first(x: Tensor, a: Tensor, b: Tensor, n2: int) -> Tensor:
    """x (rows, n1 n2) -> (rows, m1 m2), by A and then B.

    Args:
        a: (m1 R, n1).
        b: (m2, R n2).
    """
    n1, (m2, wide) = a.shape[1], b.shape
    m1 = a.shape[0] * n2 // wide
    if x.shape[0] == 1:
        return torch.mm(torch.mm(a, x.view(n1, n2)).view(m1, wide), b.t()).view(1, m1 * m2)

    def piece(x: Tensor) -> Tensor:
        inner = _left(a, x.reshape(-1, n1, n2)).reshape(-1, wide)
        return ops.linear(inner, b).view(-1, m1 * m2)

    return _in_pieces(x, piece, m1 * m2, m1 * wide)


def _left(a: Tensor, z: Tensor) -> Tensor:
    """a z[b] for every b: (p, q), (rows, q, c) -> (rows, p, c)."""
    if z.is_cpu and z.dtype == torch.float32 and a.dtype == z.dtype and not torch.compiler.is_compiling():
        return F.conv1d(z, a.unsqueeze(-1))  # oneDNN reads the batch as it lies
    return torch.matmul(a, z)


def _in_pieces(x: Tensor, piece: Callable[[Tensor], Tensor], width: int, inner: int) -> Tensor:
    """``piece`` on parts of the batch whose intermediates stay in the cache; at once where a gradient keeps them."""
    rows, step = x.shape[0], max(8, _CHUNK_BYTES // max(1, inner * x.element_size()))
    if not backend.eager() or torch.is_grad_enabled() or not x.is_cpu or rows <= 2 * step:
        return piece(x)
    y = x.new_empty(rows, width)
    for start in range(0, rows, step):
        y[start : start + step] = piece(x[start : start + step])
    return y
