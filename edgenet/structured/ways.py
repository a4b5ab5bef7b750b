"""The cost model of convolutions: which way to convolve by a matrix is the cheapest."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, replace
from itertools import accumulate

from edgenet.structured.base import StructuredMatrix
from edgenet.structured.convs import Steps
from edgenet.structured.routes import BYTES, CALL, FLOPS, RESIDENT, product_seconds

_SLOWER = 4  # times: a family's product beside a large dense one, for the same multiply-adds
_GATHER = 3.5e-9  # seconds for a number of a window or its product, which is copied in strides, and turned round
_MOST = 4096  # choices that are remembered

_known: dict[Hashable, tuple[int, Way]] = {}


@dataclass(frozen=True)
class Way:
    """How one kernel is convolved with.

    Attributes:
        convs: two convolutions, or other steps; None for one by the dense kernel, or for a product with every window.
        places_first: of two convolutions, the one that reads places comes first.
        windows: multiply every window.
        multiply_adds: of one position of the output.
        seconds: what the cost model expects.
    """

    convs: Steps | None
    places_first: bool
    windows: bool
    multiply_adds: int
    seconds: float


def cheapest(matrix: StructuredMatrix, places: int, stride: int, positions: int, image: int, kept: bool) -> Way:
    """The way of the fewest seconds; arguments of ``ways``.

    What is chosen follows from sizes alone, and is remembered by them: for one small image the model takes as long as
    a convolution.
    """
    pairs = [] if matrix.is_dense else matrix.as_convs(places)
    own = matrix.multiply_adds(1) if _lays_out(matrix, positions) else None
    sizes = matrix.shape, matrix.is_dense, tuple(steps.sizes for steps in pairs), own
    key = (*sizes, places, stride, positions, image, kept)
    known = _known.get(key)
    if known is None:
        found = enumerate(ways(matrix, places, stride, positions, image, kept))
        number, way = min(found, key=lambda numbered: numbered[1].seconds)
        if len(_known) >= _MOST:
            _known.clear()
        ends = list(accumulate(len(steps.orders) for steps in pairs))
        pair = next(k for k, end in enumerate(ends) if number <= end) if way.convs is not None else -1
        _known[key] = known = pair, replace(way, convs=None)  # which would hold the matrix
    pair, way = known
    return way if pair < 0 else replace(way, convs=pairs[pair])


def traced(matrix: StructuredMatrix, places: int, stride: int) -> Way:
    """One trace serves every batch, and cannot ask the cost model: the way of the fewest multiply-adds."""
    m, n = matrix.shape
    best = Way(None, False, False, m * n, 0.0)
    for convs in [] if matrix.is_dense else matrix.as_convs(places):
        for first in convs.orders:
            count = convs.multiply_adds(first, places, stride)
            if count < best.multiply_adds:
                best = Way(convs, first, False, count, 0.0)
    return best


def ways(matrix: StructuredMatrix, places: int, stride: int, positions: int, image: int, kept: bool) -> Iterator[Way]:
    """Every way to convolve with the matrix of a group.

    Args:
        places: of the kernel.
        stride: positions of the input for one of the output.
        positions: of the output, of all images together.
        image: of the output, of one image; fewer are never convolved with at once.
        kept: whether there is no gradient, so that the dense kernel is at hand, and images come a few at a time.
    """
    m, n = matrix.shape
    positions = max(1, positions)
    pairs = [] if matrix.is_dense else matrix.as_convs(places)
    terms = min((convs.terms for convs in pairs), default=1)
    build = 0.0 if kept or matrix.is_dense else 2 * terms * m * n / FLOPS + 48 * m * n / BYTES + 3 * CALL
    yield Way(None, False, False, m * n, build + product_seconds(m, positions, n))
    for convs in pairs:
        for first in convs.orders:
            seconds = convs.seconds(first, places, stride, positions, image if kept else positions, not kept)
            yield Way(convs, first, False, convs.multiply_adds(first, places, stride), seconds)
    if _lays_out(matrix, positions):
        own = matrix.multiply_adds(1)
        gather = _GATHER * (n + m) * positions + 4 * CALL
        yield Way(None, False, True, own, gather + _SLOWER * 2 * own * positions / FLOPS)


def _lays_out(matrix: StructuredMatrix, positions: int) -> bool:
    """Whether every window may be laid out. More than caches hold are slower than anything, and of large images they
    are gigabytes."""
    return not matrix.is_dense and matrix.shape[1] * max(1, positions) <= RESIDENT
