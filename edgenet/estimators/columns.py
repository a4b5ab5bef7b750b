"""Columns and rows of data that cannot be used, told by number and name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgenet.errors import ShapeError


def column_name(j: int, names: Sequence[str] | None = None) -> str:
    """``column 3``, or ``column 3 ('age')``."""
    return f"column {j}" if names is None else f"column {j} ({str(names[j])!r})"


def refuse_missing(x: np.ndarray, names: Sequence[str] | None = None) -> None:
    """Raise where (n, p) values are not finite.

    Raises:
        ShapeError: naming the first such column, its first row, and how many columns there are.
    """
    bad = ~np.isfinite(x)
    if not bad.any():
        return
    columns = np.flatnonzero(bad.any(0))
    j = int(columns[0])
    rows = np.flatnonzero(bad[:, j])
    kind = "NaN" if np.isnan(x[:, j]).any() else "inf"
    more = f"; so have {len(columns) - 1} more columns" if len(columns) > 1 else ""
    raise ShapeError(
        f"{column_name(j, names)} has {kind} in {len(rows)} of {len(x)} rows, first in row {rows[0]}{more}. "
        f"Fill the values in, or remove the rows or the column."
    )


def refuse_missing_response(y: Any) -> None:
    """Raise where responses are numbers, of which some are not finite.

    Raises:
        ShapeError: naming the first row.
    """
    if y is None or np.iscomplexobj(y):
        return
    try:
        values = np.asarray(y, dtype=np.float64)
    except (TypeError, ValueError):  # no numbers
        return
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        raise ShapeError(
            f"y has {values[tuple(bad[0])]} in row {bad[0][0]}, where neither NaN nor infinity can be used. "
            "Fill it in, or remove the row."
        )


def useless_columns(x: np.ndarray, names: Sequence[str] | None = None) -> dict[int, str]:
    """The columns of (n, p) values that say nothing new, with the reason: constant, or equal to an earlier column."""
    found = {int(j): f"{column_name(int(j), names)} is constant" for j in np.flatnonzero(np.ptp(x, axis=0) == 0)}
    _, first, group = np.unique(x + 0.0, axis=1, return_index=True, return_inverse=True)  # + 0: -0 equals 0
    for j, earlier in enumerate(first[group.ravel()].tolist()):
        if earlier < j and j not in found:
            found[j] = f"{column_name(j, names)} repeats {column_name(earlier, names)}"
    return dict(sorted(found.items()))
