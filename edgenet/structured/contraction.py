"""Products with matrices whose axes are factored into modes: one cost model picks the contraction, one place runs it.

Cut between two modes, a tensor train, a block-term matrix and a chain of Kronecker factors are all a sum of Kronecker
products of two matrices, W = sum over r of A_r (x) B_r with A (R, m1, n1) and B (R, m2, n2). A product is then two
large matrix products instead of one thin one for every mode, which on CPUs is 3 times as fast at every batch size. Cut
twice, it is three. What is left to choose is where to cut, from which side to begin, and whether building W is cheaper.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from edgenet import ops
from edgenet.errors import ShapeError
from edgenet.ops import backend
from edgenet.structured.base import StructuredMatrix, row_numbers

# The machine of the cost model, a core of a server of today. Ratios between routes matter, not seconds.
_FLOPS = 1e11  # of large float32 products, per second
_BYTES = 4e10  # moved to and from memory, per second
_CALL = 4e-6  # seconds of one call of an op
_RESIDENT = 1 << 20  # entries of a matrix that caches hold
_RAGGED = 12  # a side of a product as short as this halves the rate

_LARGE = 1 << 22  # multiply-adds from which it pays to look for the faster library
_CHUNK_BYTES = 1 << 21  # intermediates of a piece of the batch: what stays in a core's caches


@dataclass(frozen=True)
class Route:
    """How to multiply.

    Attributes:
        cuts: the modes before which W is cut: one, two, or none, which builds the dense matrix.
        right_first: with one cut, contract B, the modes after it, before A.
        seconds: what the cost model expects.
        multiply_adds: of one row.
    """

    cuts: tuple[int, ...]
    right_first: bool
    seconds: float
    multiply_adds: int


@lru_cache(maxsize=8192)
def route(
    out_modes: tuple[int, ...],
    in_modes: tuple[int, ...],
    terms: tuple[int, ...],
    links: tuple[tuple[int, int, int, int, int], ...],
    rows: int,
    kept: bool,
) -> Route:
    """The cheapest way for a batch of so many rows.

    Args:
        out_modes, in_modes: d factors of the (padded) rows and columns.
        terms: d - 1 numbers, the terms R of the sum of Kronecker products for every cut.
        links: (first cut, second cut, blocks, r1, r2) for every two cuts.
        rows: of the batch.
        kept: whether the merged factors are at hand, or must be made first.
    """
    ways = _routes(out_modes, in_modes, terms, links, rows, kept)
    return min(ways, key=lambda way: way.seconds)


def _routes(
    out_modes: tuple[int, ...],
    in_modes: tuple[int, ...],
    terms: tuple[int, ...],
    links: tuple[tuple[int, int, int, int, int], ...],
    rows: int,
    kept: bool,
) -> list[Route]:
    m, n = math.prod(out_modes), math.prod(in_modes)
    found = []
    for cut, rank in enumerate(terms, start=1):
        m1, n1 = math.prod(out_modes[:cut]), math.prod(in_modes[:cut])
        m2, n2 = m // m1, n // n1
        make = 0.0 if kept else 4 * rank * (m1 * n1 + m2 * n2) * 4 / _BYTES + 2 * len(out_modes) * _CALL
        right = _product(rows * n1, rank * m2, n2) + _product(m1, m2 * rows, n1 * rank)
        left = _product(rank * m1, n2 * rows, n1) + _product(rows * m1, m2, rank * n2)
        found.append(Route((cut,), True, make + right, rank * n1 * m2 * (n2 + m1)))
        found.append(Route((cut,), False, make + left, rank * m1 * n2 * (n1 + m2)))
    for first, second, blocks, r1, r2 in links:
        (m1, m3), (n1, n3) = ((math.prod(k[:first]), math.prod(k[second:])) for k in (out_modes, in_modes))
        m2, n2 = m // (m1 * m3), n // (n1 * n3)
        make = 2 * len(out_modes) * _CALL
        make += 4 * blocks * (r1 * m1 * n1 + r1 * r2 * m2 * n2 + r2 * m3 * n3) * 4 / _BYTES
        three = _product(rows * n1 * n2, r2 * m3, n3) + _product(r1 * m2, m3 * rows * n1, n2 * r2)
        three += _product(m1, m2 * m3 * rows, n1 * r1)
        count = n1 * n2 * n3 * r2 * m3 + r1 * m2 * m3 * n1 * n2 * r2 + m * n1 * r1
        make = 0.0 if kept else make
        found.append(Route((first, second), True, make + blocks * (three + 5 * _CALL), blocks * count))
    build = 2 * min(terms) * m * n / _FLOPS + 3 * _CALL
    build += 12 * 4 * m * n / (_BYTES if m * n < _RESIDENT else _BYTES / 2)  # made, turned round, and fresh memory
    found.append(Route((), True, build + _product(rows, m, n), m * n))
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
        self._known: dict[tuple[int, bool], Route] = {}  # by rows and mode

    @property
    def shape(self) -> tuple[int, int]:
        return self._shape

    @property
    @abstractmethod
    def terms(self) -> tuple[int, ...]:
        """(d - 1) terms of the sum of Kronecker products, for every cut."""

    @abstractmethod
    def links(self, first: int, second: int) -> tuple[int, int, int]:
        """(blocks, r1, r2): the sizes that ``triple`` has at two cuts."""

    @abstractmethod
    def pair(self, cut: int) -> tuple[Tensor, Tensor]:
        """A (R, m1, n1) of the modes before ``cut`` and B (R, m2, n2) of those after it."""

    @abstractmethod
    def triple(self, first: int, second: int) -> tuple[Tensor, Tensor, Tensor]:
        """A (blocks, r1, m1, n1), G (blocks, r1, r2, m2, n2) and B (blocks, r2, m3, n3) of the modes before, between
        and after two cuts: W is the sum over blocks and both ranks of A (x) G (x) B."""

    @abstractmethod
    def _tensors(self) -> tuple[Tensor, ...]:
        """The parameters, whose product W is of first degree in each."""

    # ---------------------------------------------------------------- multiplying
    def route(self, rows: int, kept: bool = True) -> Route:
        """How a batch of so many rows is multiplied."""
        dims = len(self.out_modes)
        cuts = [(i, k) for i in range(1, dims) for k in range(i + 1, dims)]
        links = tuple((*both, *self.links(*both)) for both in cuts)
        return route(self.out_modes, self.in_modes, self.terms, links, rows, kept)

    def matmul(self, x: Tensor) -> Tensor:
        m, n = self._shape
        if x.shape[-1] != n:  # which no reshape would notice
            raise ShapeError(f"a {m} x {n} matrix multiplies signals of width {n}, got {tuple(x.shape)}.")
        flat = x if x.dim() == 2 else x.reshape(-1, n)
        if torch.compiler.is_compiling():  # one trace serves every batch, and cannot look a route up
            way = Route((self._narrowest(),), True, 0.0, 0)
        else:
            key = (1 << max(0, len(flat) - 1).bit_length(), not self.training)
            way = self._known.get(key)
            if way is None:
                way = self._known[key] = self.route(*key)
        if not way.cuts:
            return ops.linear(x, self.to_dense())
        y = self.cache.get(self, way, self._tensors(), lambda: self._prepared(way))(flat)
        if y.shape[1] != m:
            y = y[:, :m]
        return y if x.dim() == 2 else y.reshape(*x.shape[:-1], m)

    def _prepared(self, way: Route) -> Callable[[Tensor], Tensor]:
        """The product, with all factors merged and laid out."""
        if len(way.cuts) == 2:
            a, g, b = self.triple(*way.cuts)
            blocks, r1, m1, n1 = a.shape
            (m2, n2), (r2, m3, n3) = g.shape[3:], b.shape[1:]
            a = a.permute(0, 2, 3, 1).reshape(blocks, m1, n1 * r1)
            g = g.permute(0, 1, 3, 4, 2).reshape(blocks, r1 * m2, n2 * r2)
            return partial(three, a=a, g=g, b=b.reshape(blocks, r2 * m3, n3), n1=n1, m3=m3)
        a, b = self.pair(way.cuts[0])
        (r, m1, n1), (m2, n2) = a.shape, b.shape[1:]
        if way.right_first:
            return partial(right_first, b=b.reshape(r * m2, n2), a=a.permute(1, 2, 0).reshape(m1, n1 * r), n1=n1)
        a, b = a.permute(1, 0, 2).reshape(m1 * r, n1), b.permute(1, 0, 2).reshape(m2, r * n2)
        return partial(left_first, a=a, b=b, n2=n2)

    def multiply_adds(self, batch: int = 1) -> int:
        return batch * self.route(batch).multiply_adds

    # ---------------------------------------------------------------- reading
    def _narrowest(self) -> int:
        """The cut of the fewest terms, and of those the one nearest to the middle."""
        terms, half = self.terms, len(self.out_modes) / 2
        return min(range(1, len(terms) + 1), key=lambda cut: (terms[cut - 1], abs(cut - half)))

    def to_dense(self) -> Tensor:
        a, b = self.pair(self._narrowest())
        (r, m1, n1), (m2, n2) = a.shape, b.shape[1:]
        dense = torch.mm(a.reshape(r, -1).t(), b.reshape(r, -1))  # rows (m1, n1), columns (m2, n2)
        dense = dense.view(m1, n1, m2, n2).transpose(1, 2).reshape(m1 * m2, n1 * n2)
        return dense[: self._shape[0], : self._shape[1]]

    def rows(self, index: Tensor) -> Tensor:
        index = row_numbers(index, self._shape[0])
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
    rows, step = x.shape[0], max(8, _CHUNK_BYTES // max(1, inner * x.element_size()))
    if not backend.eager() or torch.is_grad_enabled() or not x.is_cpu or rows <= 2 * step:
        return piece(x)
    y = x.new_empty(rows, width)
    for start in range(0, rows, step):
        y[start : start + step] = piece(x[start : start + step])
    return y
