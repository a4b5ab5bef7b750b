"""The inverse of a square matrix whose rows and columns come and go one at a time."""

from __future__ import annotations

import numpy as np


class BorderedInverse:
    """Keeps M^-1 for a d x d matrix M in O(d^2) per change, where inverting again takes O(d^3).

    The inverse's rows belong to M's columns and its columns to M's rows. Removing swaps the last row or column into the
    gap, and the caller does the same to what it keeps beside. Rounding errors grow with the changes: ``rebuild`` ends
    them.
    """

    def __init__(self, capacity: int):
        self._store = np.zeros((capacity, capacity))
        self._size = 0

    @property
    def value(self) -> np.ndarray:
        """(d, d), a view."""
        return self._store[: self._size, : self._size]

    def rebuild(self, matrix: np.ndarray) -> None:
        """Start again from a (d, d) matrix. Raises ``numpy.linalg.LinAlgError`` if it is singular."""
        self._size = len(matrix)
        self.value[:] = np.linalg.inv(matrix)

    def replace_row(self, at: int, row: np.ndarray) -> None:
        """M's row ``at`` becomes ``row`` (d,), by the formula of Sherman and Morrison."""
        inverse = self.value
        change = row @ inverse
        left = inverse[:, at] / change[at]
        change[at] -= 1.0
        inverse -= np.multiply.outer(left, change)

    def border(self, column: np.ndarray, row: np.ndarray, corner: float) -> None:
        """M becomes [[M, column], [row, corner]], by its Schur complement."""
        inverse, d = self.value, self._size
        left, right = inverse @ column, row @ inverse
        pivot = corner - row @ left
        left /= pivot
        inverse += np.multiply.outer(left, right)
        self._size = d + 1
        self.value[:d, d] = -left
        self.value[d, :d] = right / -pivot
        self.value[d, d] = 1.0 / pivot

    def remove(self, row: int, column: int) -> None:
        """M loses a row and a column; its last row and its last column take their places."""
        inverse, last = self.value, self._size - 1
        inverse[[column, last]] = inverse[[last, column]]
        inverse[:, [row, last]] = inverse[:, [last, row]]
        self._size = last
        self.value[:] -= np.multiply.outer(inverse[:last, last] / inverse[last, last], inverse[last, :last])

    def add_column(self, target: int, source: int, scale: float) -> None:
        """M's column ``target`` grows by ``scale`` times its column ``source``."""
        self.value[source] -= scale * self.value[target]
