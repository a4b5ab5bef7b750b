"""The cost model of a walk without gradients: whether a structure multiplies at every step, or is built once."""

from __future__ import annotations

import math

from edgenet.structured import Csr, Dense, Doped, LowRank, Sparse, Stacked, StructuredMatrix
from edgenet.structured.mode_matrix import ModeMatrix
from edgenet.structured.routes import BYTES, CALL, FLOPS, RESIDENT, product_seconds

_CALLS = 5  # of an op, that a product by a structure costs beside its ops
_GATHERED = 4e9  # multiply-adds a second of a product with compressed rows, of eight signals or more
_ALONE = 1.5e9  # of one signal
_SLOWER = 4  # times: a family's product beside a large dense one, for the same multiply-adds


def product_is_cheaper(matrix: StructuredMatrix, steps: int, rows: int) -> bool:
    """Whether so many products of so many rows by the structure are expected to take less time than to build the dense
    matrix and multiply by that."""
    if matrix.is_dense:
        return False
    m, n = matrix.shape
    build = (2 * m * n / FLOPS) + 12 * 4 * m * n / (BYTES if m * n < RESIDENT else BYTES / 2) + 3 * CALL
    return steps * seconds(matrix, rows) < build + steps * product_seconds(rows, m, n)


def seconds(matrix: StructuredMatrix, rows: int) -> float:
    """Expected seconds of one product with so many rows, by the machine of ``structured.routes``."""
    m, n = matrix.shape
    if isinstance(matrix, Dense):
        return product_seconds(rows, m, n)
    if isinstance(matrix, Doped):
        moved = 3 * 4 * rows * m / BYTES
        return seconds(matrix.base, rows) + seconds(matrix.dopant, rows) + moved + CALL
    if isinstance(matrix, Stacked):
        return sum(seconds(part, rows) for part in matrix.parts) + CALL
    if isinstance(matrix, ModeMatrix):
        return matrix.route(rows, kept=True).seconds + _CALLS * CALL
    if isinstance(matrix, LowRank):
        return product_seconds(rows, matrix.rank, n) + product_seconds(rows, m, matrix.rank) + _CALLS * CALL
    if isinstance(matrix, Csr | Sparse):
        rate = _ALONE + (_GATHERED - _ALONE) * min(1, math.log2(rows) / 3)
        return matrix.multiply_adds(rows) / rate + _CALLS * CALL
    return _SLOWER * 2 * matrix.multiply_adds(rows) / FLOPS + 2 * _CALLS * CALL
