"""A symmetric weighted graph, scaled so that walking it neither grows nor fades: S = W / lambda_max."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import eigsh

from edgenet.errors import DataError


def over_lambda_max(weight: sp.spmatrix, where: str) -> tuple[sp.csr_matrix, float]:
    """W / lambda_max and lambda_max, for a symmetric W with non-negative entries and at least one edge.

    Raises:
        DataError: W is not symmetric, has a negative entry or no edge.
    """
    weight = sp.csr_matrix(weight, dtype=np.float64)
    if (weight != weight.T).nnz:
        raise DataError(f"{where}: the graph is directed or its two directions differ in weight; it must be symmetric.")
    if weight.nnz == 0 or weight.data.min() < 0:
        raise DataError(f"{where}: the graph needs at least one edge, and weights that are not negative.")
    if weight.shape[0] < 10:  # ARPACK wants room
        largest = float(np.linalg.eigvalsh(weight.toarray())[-1])
    else:
        # a fixed start: never orthogonal to the leading eigenvector, whose entries have one sign; the same every time
        start = np.ones(weight.shape[0])
        largest = float(eigsh(weight, k=1, which="LA", v0=start, return_eigenvectors=False)[0])
    return sp.csr_matrix(weight / largest), largest


def edges(matrix: sp.spmatrix) -> tuple[np.ndarray, np.ndarray]:
    """``edge_index`` (2, E) int64 and ``edge_weight`` (E,) float32 of a symmetric matrix, by source and target."""
    matrix = sp.csr_matrix(matrix)
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    coo = matrix.tocoo()
    return np.stack([coo.row, coo.col]).astype(np.int64), coo.data.astype(np.float32)
