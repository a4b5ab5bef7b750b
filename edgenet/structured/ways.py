"""The cost model of convolutions: which way to convolve by a matrix is the cheapest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from edgenet.structured.base import StructuredMatrix
from edgenet.structured.convs import Steps
from edgenet.structured.routes import BYTES, CALL, FLOPS, RESIDENT, product_seconds

_SLOWER = 4  # times: a family's product beside a large dense one, for the same multiply-adds
_GATHER = 3.5e-9  # seconds for a number of a window or its product, which is copied in strides, and turned round


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
    """The way of the fewest seconds; arguments of ``ways``."""
    return min(ways(matrix, places, stride, positions, image, kept), key=lambda way: way.seconds)


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
    # more windows than caches hold are slower than anything, and of large images they are gigabytes
    if not matrix.is_dense and n * positions <= RESIDENT:
        own = matrix.multiply_adds(1)
        gather = _GATHER * (n + m) * positions + 4 * CALL
        yield Way(None, False, True, own, gather + _SLOWER * 2 * own * positions / FLOPS)
