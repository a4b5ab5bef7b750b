"""The cost model of products with matrices whose axes are factored into modes: where to cut, and in which order.

Cut between two modes, a tensor train, a block-term matrix and a chain of Kronecker factors are all a sum of Kronecker
products of two matrices, W = sum over r of A_r (x) B_r with A (R, m1, n1) and B (R, m2, n2). A product is then two
large matrix products instead of one thin one for every mode, which on CPUs is 3 times as fast at every batch size. Cut
twice, it is three. What is left to choose is where to cut, from which side to begin, and whether building W is cheaper.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

# The machine of the cost model, a core of a server of today. Ratios between routes matter, not seconds.
FLOPS = 1e11  # of large float32 products, per second
BYTES = 4e10  # moved to and from memory, per second
CALL = 4e-6  # seconds of one call of an op
RESIDENT = 1 << 20  # entries of a matrix that caches hold
_RAGGED = 12  # a side of a product as short as this halves the rate


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
        make = 0.0 if kept else 4 * rank * (m1 * n1 + m2 * n2) * 4 / BYTES + 2 * len(out_modes) * CALL
        right = product_seconds(rows * n1, rank * m2, n2) + product_seconds(m1, m2 * rows, n1 * rank)
        left = product_seconds(rank * m1, n2 * rows, n1) + product_seconds(rows * m1, m2, rank * n2)
        found.append(Route((cut,), True, make + right, rank * n1 * m2 * (n2 + m1)))
        found.append(Route((cut,), False, make + left, rank * m1 * n2 * (n1 + m2)))
    for first, second, blocks, r1, r2 in links:
        (m1, m3), (n1, n3) = ((math.prod(k[:first]), math.prod(k[second:])) for k in (out_modes, in_modes))
        m2, n2 = m // (m1 * m3), n // (n1 * n3)
        make = 2 * len(out_modes) * CALL
        make += 4 * blocks * (r1 * m1 * n1 + r1 * r2 * m2 * n2 + r2 * m3 * n3) * 4 / BYTES
        three = product_seconds(rows * n1 * n2, r2 * m3, n3) + product_seconds(r1 * m2, m3 * rows * n1, n2 * r2)
        three += product_seconds(m1, m2 * m3 * rows, n1 * r1)
        count = n1 * n2 * n3 * r2 * m3 + r1 * m2 * m3 * n1 * n2 * r2 + m * n1 * r1
        make = 0.0 if kept else make
        found.append(Route((first, second), True, make + blocks * (three + 5 * CALL), blocks * count))
    build = 2 * min(terms) * m * n / FLOPS + 3 * CALL
    build += 12 * 4 * m * n / (BYTES if m * n < RESIDENT else BYTES / 2)  # made, turned round, and fresh memory
    found.append(Route((), True, build + product_seconds(rows, m, n), m * n))
    return found


def product_seconds(m: int, n: int, k: int) -> float:
    """Expected seconds of an (m, k) by (k, n) product."""
    rate = FLOPS / ((1 + _RAGGED / m) * (1 + _RAGGED / n) * (1 + _RAGGED / k))
    return max(2 * m * n * k / rate, 4 * (m * k + k * n + m * n) / BYTES) + CALL
