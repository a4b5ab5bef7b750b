"""Steps: a convolution by a matrix in steps; Convs: in two, one that reads places and one that mixes channels."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol, Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from edgenet.structured.routes import BYTES, CALL, RESIDENT, product_seconds

_FRESH = 2e9  # bytes per second of memory that the system must find first
_GRADIENT = 1.5  # times: gradients of short runs of channels and of merged factors are slow
_ALONE = 2  # times: kernels of one channel each have no long sums

#: A kernel's convolution of a signal, with stride and dilation; padded already, or to be padded. Where the signal has
#: several times the channels of the kernel, they are so many groups.
Convolve = Callable[[Tensor, Tensor], Tensor]


class Steps(ABC):
    """How to convolve by a matrix without building it. What the steps are made of is kept by ``key``.

    Attributes:
        sides: gives what the steps are made of.
        key: by which they are kept.
        terms: of a sum that the dense matrix would be built of.
        orders: the values that ``places_first`` may have: whether places are read before channels are mixed.
        read: whether the factors are the parameters themselves, so that comparing them with kept ones is all that
            keeping them would do.
    """

    sides: Callable[[], tuple[Tensor, ...]]
    key: int
    terms: int
    orders: tuple[bool, ...]
    read: bool

    def of(self, sides: Callable[[], tuple[Tensor, ...]]) -> Self:
        """The same steps, made of other numbers."""
        return cast(Self, replace(cast(Any, self), sides=sides, read=False))

    @property
    @abstractmethod
    def sizes(self) -> tuple[Hashable, ...]:
        """All that the counts and the seconds follow from."""

    @abstractmethod
    def factors(self, places_first: bool, kernel: Sequence[int]) -> tuple[Tensor, ...]:
        """The matrices and kernels of the steps."""

    @abstractmethod
    def apply(self, x: Tensor, places_first: bool, factors: tuple[Tensor, ...], convolve: Convolve) -> Tensor:
        """(batch, channels, *places) -> (batch, m, *places), or more channels, of which the first m count.

        Args:
            x: the signal; channels that the factors have more are zeros.
            factors: those of ``factors()``.
            convolve: by a kernel.
        """

    @abstractmethod
    def multiply_adds(self, places_first: bool, places: int, stride: int) -> int:
        """Of one position of the output.

        Args:
            places: of the kernel.
            stride: positions of the input for one of the output.
        """

    @abstractmethod
    def between(self, places_first: bool, places: int, stride: int) -> int:
        """Numbers that one step hands to the next, for one position of the output."""

    @abstractmethod
    def seconds(self, places_first: bool, places: int, stride: int, positions: int, held: int, trains: bool) -> float:
        """What the cost model expects for so many positions of the output, of all images together.

        Args:
            held: positions for which what is between is held at once.
            trains: whether it has a gradient.
        """


@dataclass(frozen=True)
class Convs(Steps):
    """W = sum over r of A_r (x) B_r, where B_r holds the places of the kernel whole.

    The columns of W are channels by places. Split as (n1, c2) the channels are n1 times a run of c2: B_r convolves
    every run alone, and A_r mixes the runs, at every place alone. Either may come first. Low rank is
    the case of one run.

    Attributes:
        terms: R.
        outer: (m1, n1) of A_r.
        inner: (m2, n2) of B_r, with n2 = c2 places.
        sides: makes A (R, m1, n1) and B (R, m2, n2).
        key: by which the two are kept.
        read: whether A and B are parameters as they lie, with places first.
    """

    terms: int
    outer: tuple[int, int]
    inner: tuple[int, int]
    sides: Callable[[], tuple[Tensor, ...]]
    key: int
    read: bool = False

    orders = (True, False)

    @property
    def sizes(self) -> tuple[Hashable, ...]:
        return self.terms, self.outer, self.inner

    def factors(self, places_first: bool, kernel: Sequence[int]) -> tuple[Tensor, Tensor]:
        """A as the matrix, and B as the kernel of the two steps."""
        a, b = self.sides()
        (m1, n1), (m2, n2), r = self.outer, self.inner, self.terms
        c2 = n2 // math.prod(kernel)
        if places_first:
            return a.permute(1, 2, 0).reshape(m1, n1 * r), b.reshape(r * m2, c2, *kernel)
        return a.permute(1, 0, 2).reshape(m1 * r, n1), b.permute(1, 0, 2).reshape(m2, r * c2, *kernel)

    def apply(self, x: Tensor, places_first: bool, factors: tuple[Tensor, ...], convolve: Convolve) -> Tensor:
        a, b = factors
        (m1, n1), (m2, _), r = self.outer, self.inner, self.terms
        batch, channels, *size = x.shape
        c2 = b.shape[1] if places_first else b.shape[1] // r
        if channels < n1 * c2:
            x = F.pad(x, [0, 0] * len(size) + [0, n1 * c2 - channels])
        if places_first:
            y = convolve(x.reshape(batch * n1, c2, *size), b)
            size = list(y.shape[2:])
            y = torch.bmm(a.expand(batch, -1, -1), y.reshape(batch, n1 * r, m2 * math.prod(size)))
        else:
            y = torch.bmm(a.expand(batch, -1, -1), x.reshape(batch, n1, c2 * math.prod(size)))
            y = convolve(y.reshape(batch * m1, r * c2, *size), b)
            size = list(y.shape[2:])
        return y.reshape(batch, m1 * m2, *size)

    def multiply_adds(self, places_first: bool, places: int, stride: int) -> int:
        (m1, n1), (m2, n2), r = self.outer, self.inner, self.terms
        if places_first:
            return r * m2 * n2 * n1 + m1 * n1 * r * m2
        return stride * m1 * r * n1 * (n2 // places) + m1 * m2 * r * n2

    def between(self, places_first: bool, places: int, stride: int) -> int:
        (m1, n1), (m2, n2), r = self.outer, self.inner, self.terms
        return n1 * r * m2 if places_first else stride * m1 * r * (n2 // places)

    def seconds(self, places_first: bool, places: int, stride: int, positions: int, held: int, trains: bool) -> float:
        (m1, n1), (m2, n2), r = self.outer, self.inner, self.terms
        between = self.between(places_first, places, stride) * positions
        if places_first:
            products = product_seconds(r * m2, n1 * positions, n2) + product_seconds(m1, m2 * positions, n1 * r)
        else:
            width = n2 // places * positions * stride
            products = product_seconds(m1 * r, width, n1) + product_seconds(m2, m1 * positions, r * n2)
        if n1 > 1 and n2 == places:
            products *= _ALONE
        if trains and n1 > 1:
            products *= _GRADIENT
        fresh = self.between(places_first, places, stride) * held > RESIDENT
        return products + 4 * between * ((3 if trains else 2) / (_FRESH if fresh else BYTES)) + 4 * CALL


class Convolving(Protocol):
    """What can say how to convolve by it."""

    def as_convs(self, places: int) -> list[Steps]: ...


def relayed(base: Convolving, now: Callable[[], Convolving], places: int) -> list[Steps]:
    """The steps of a matrix of which only the numbers are others, made when they are asked for.

    Args:
        base: of the same make.
        now: makes the one with the numbers that count.
        places: of the kernel.
    """

    def sides(number: int) -> tuple[Tensor, ...]:
        return now().as_convs(places)[number].sides()

    return [steps.of(partial(sides, number)) for number, steps in enumerate(base.as_convs(places))]
