"""Sizes that do not factor: padded modes for tensorised matrices (1433 is prime, 121 labels are 11 x 11)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from numbers import Integral

import torch.nn.functional as F
from torch import Tensor

from edgenet.errors import RankError
from edgenet.structured.given import sizes_of

_MOST = 32  # modes: twos for any size that there is
_CANDIDATES = 2000  # sizes above n that are looked at


@lru_cache(maxsize=4096)
def suggest_modes(n: int, dims: int, waste: float = 0.05) -> tuple[int, ...]:
    """``dims`` factors, ascending and near each other, of a size n' >= n that is little larger than n.

    Among all n' up to (1 + waste) n they minimise sum(factors) (n' / n)^3; where no such n' has ``dims`` factors from
    2, the next that has them is taken. Sizes below 2^dims get factors of 1.

    Raises:
        RankError: if ``n`` or ``dims`` is below 1.
    """
    if n < 1 or dims < 1:
        raise RankError(f"a size and its number of modes are at least 1, got {n} and {dims}.")
    if n < 2**dims:
        short = min((k for k in range(1, dims) if n < 2 ** (k + 1)), default=1) if dims > 1 else 1
        return (1,) * (dims - short) + (suggest_modes(n, short, waste) if n >= 2**short else (n,))
    best, cost, size = None, math.inf, n
    while best is None or size <= min(n * (1 + waste), n + _CANDIDATES):
        for factors in _factorisations(size, dims, 2):
            own = sum(factors) * (size / n) ** 3
            if own < cost:
                best, cost = factors, own
        size += 1
    return best


def _factorisations(n: int, dims: int, least: int) -> Iterator[tuple[int, ...]]:
    """All ascending tuples of ``dims`` factors of n, each at least ``least``."""
    if dims == 1:
        if n >= least:
            yield (n,)
        return
    for first in range(least, math.isqrt(n) + 1 if dims == 2 else round(n ** (1 / dims)) + 1):
        if n % first == 0:
            for rest in _factorisations(n // first, dims - 1, first):
                yield first, *rest


def default_dims(shape: tuple[int, int]) -> int:
    """How many modes an (m, n) matrix gets where nobody says: enough for modes of about 16, two at least."""
    return max(2, round(math.log(max(shape)) / math.log(16))) if max(shape) > 1 else 2


def matched_modes(
    shape: tuple[int, int],
    out_modes: Sequence[int] | None = None,
    in_modes: Sequence[int] | None = None,
    dims: int | None = None,
    places: int = 1,
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Modes of the rows and columns of an (m, n) matrix: those given, else suggested ones.

    Suggested column modes ascend and suggested row modes descend, so that the cores, which carry one of each, are
    of like size. Those of a kernel are modes of its channels, and the places are the last mode of the columns, alone.

    Args:
        places: of a kernel, whose columns are channels by places; 1 elsewhere.

    Raises:
        RankError: if given modes are no whole numbers from 1, fewer than two or more than 32, differ in number, or
            multiply to less than the size; or if the columns are not so many places each.
    """
    m, n = shape
    wide = of_channels(n, places)
    apart = places > 1
    if out_modes is not None:
        out_modes = sizes_of(out_modes, "out_modes")
    if in_modes is not None:
        in_modes = sizes_of(in_modes, "in_modes")
    for given in (out_modes, in_modes):
        if given is not None and dims is None:
            dims = len(given)
    dims = default_dims((m, wide)) + apart if dims is None else dims
    if not isinstance(dims, Integral) or not 2 <= dims <= _MOST:
        raise RankError(f"a tensorised matrix has 2 modes or more, {_MOST} at most, got dims={dims!r}.")
    ends: tuple[tuple[int, ...], tuple[int, ...]] = ((1,), (places,)) if apart else ((), ())
    out_modes = (*suggest_modes(m, dims - apart)[::-1], *ends[0]) if out_modes is None else out_modes
    in_modes = (*suggest_modes(wide, dims - apart), *ends[1]) if in_modes is None else in_modes
    for name, modes, size in (("out_modes", out_modes, m), ("in_modes", in_modes, n)):
        if len(modes) != dims:
            raise RankError(f"{name} wants {dims} numbers from 1, as many as there are modes, got {modes}.")
        if math.prod(modes) < size:
            raise RankError(
                f"{name} {modes} multiply to {math.prod(modes)}, less than the size {size}; larger products are "
                f"padded. Try {suggest_modes(size, dims)}."
            )
    return out_modes, in_modes


def of_channels(columns: int, places: int) -> int:
    """The channels of a kernel whose columns are channels by places.

    Raises:
        RankError: if the columns are not so many places each.
    """
    if not isinstance(places, Integral) or isinstance(places, bool) or places < 1 or columns % places:
        raise RankError(
            f"the columns of a kernel are channels by places, and {columns} columns no multiple of {places!r} places."
        )
    return columns // int(places)


def padded(weight: Tensor, rows: int, columns: int) -> Tensor:
    """A matrix with zeros below and to the right."""
    m, n = weight.shape
    return weight if (m, n) == (rows, columns) else F.pad(weight, (0, columns - n, 0, rows - m))
