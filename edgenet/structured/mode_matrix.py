"""ModeMatrix: what tensor trains, block-term matrices and chains of Kronecker factors are alike in."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from edgenet import ops
from edgenet.errors import ShapeError
from edgenet.structured.base import StructuredMatrix, row_numbers
from edgenet.structured.contraction import add_left_first, add_right_first, left_first, right_first, three
from edgenet.structured.convs import Convs, Steps
from edgenet.structured.routes import Route, route


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
            way = self._way(len(flat))
        if not way.cuts:
            return ops.linear(x, self.to_dense())
        y = self.cache.get(self, way, self._tensors(), lambda: self._prepared(way))(flat)
        if y.shape[1] != m:
            y = y[:, :m]
        return y if x.dim() == 2 else y.reshape(*x.shape[:-1], m)

    def adder(self, signals: int) -> Callable[[Tensor, Tensor], Any] | None:
        way = self._way(signals)
        if len(way.cuts) != 1:
            return None
        product = self.cache.get(self, way, self._tensors(), lambda: self._prepared(way))
        return partial(add_right_first if way.right_first else add_left_first, **product.keywords)

    def _way(self, rows: int) -> Route:
        """The route for a batch of about so many rows, looked up once."""
        key = (1 << max(0, rows - 1).bit_length(), not self.training)
        way = self._known.get(key)
        if way is None:
            way = self._known[key] = self.route(*key)
        return way

    def _prepared(self, way: Route) -> partial[Tensor]:
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

    def as_convs(self, places: int) -> list[Steps]:
        """One for every cut behind which the columns are whole kernels."""
        found: list[Steps] = []
        for cut, terms in enumerate(self.terms, 1):
            (m1, m2), (n1, n2) = ((math.prod(k[:cut]), math.prod(k[cut:])) for k in (self.out_modes, self.in_modes))
            if n2 % places == 0:
                found.append(Convs(terms, (m1, n1), (m2, n2), partial(self.pair, cut), cut))
        return found

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
