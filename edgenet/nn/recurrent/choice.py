"""The cost model of a walk: whether a structure multiplies by itself, or is built once, on the machine of
``structured.routes``."""

from __future__ import annotations

from edgenet.structured import Csr, Dense, Doped, LowRank, Sparse, Stacked, StructuredMatrix
from edgenet.structured.mode_matrix import ModeMatrix
from edgenet.structured.routes import BYTES, CALL, FLOPS, RESIDENT, product_seconds

_CALLS = 10  # of an op, that a product by a structure costs beside its ops
_SPARSE = 8e9  # multiply-adds a second with compressed rows
_ALONE = 1.5e9  # of one signal
_TURNED = 0.5e-9, 1.8e-9  # seconds for a number of signals that are turned round: in the cache, and beyond
_SLOWER = 4  # times: a family's product beside a large dense one, for the same multiply-adds
_WITH_GRADIENTS = 3.5  # times slower, beside dense ones, are structures that keep what a backward pass needs


def product_is_cheaper(
    matrix: StructuredMatrix, products: int, rows: int, learns: bool = False, lost: float = 0.0
) -> bool:
    """Whether so many products of so many rows by the structure are expected to take less time than to build the dense
    matrix and multiply by that.

    Args:
        learns: whether a backward pass follows.
        lost: seconds that it costs besides not to have built it.
    """
    if matrix.is_dense:
        return False
    m, n = matrix.shape
    build = 2 * m * n / FLOPS + 48 * m * n / (BYTES if m * n < RESIDENT else BYTES / 2) + 3 * CALL
    by_itself = (_WITH_GRADIENTS if learns else 1) * seconds(matrix, rows)
    return lost + products * by_itself < build + products * product_seconds(rows, m, n)


def seconds(matrix: StructuredMatrix, rows: int) -> float:
    """Expected seconds of one product with so many rows."""
    m, n = matrix.shape
    if isinstance(matrix, Dense):
        return product_seconds(rows, m, n)
    if isinstance(matrix, Doped):
        return seconds(matrix.base, rows) + seconds(matrix.dopant, rows) + 12 * rows * m / BYTES + CALL
    if isinstance(matrix, Stacked):
        return sum(seconds(part, rows) for part in matrix.parts) + CALL
    if isinstance(matrix, ModeMatrix):
        return matrix.route(rows, kept=True).seconds + _CALLS * CALL
    if isinstance(matrix, LowRank):
        return product_seconds(rows, matrix.rank, n) + product_seconds(rows, m, matrix.rank) + _CALLS * CALL
    if isinstance(matrix, Csr | Sparse):
        numbers = rows * (m + n)
        turned = numbers * _TURNED[numbers > RESIDENT] if rows > 1 else 0.0
        return matrix.multiply_adds(rows) / (_SPARSE if rows > 1 else _ALONE) + turned + _CALLS * CALL
    return _SLOWER * 2 * matrix.multiply_adds(rows) / FLOPS + 2 * _CALLS * CALL
