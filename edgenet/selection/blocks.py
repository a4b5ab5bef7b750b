"""Blocks of edges: a label for every edge, by which edges are kept or removed together."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgenet.errors import ShapeError


def edge_blocks(values: Any, count: int = 4) -> list[str]:
    """Divide edges into blocks of about equal size by a number on each of them: a distance, a weight, a similarity.

    Args:
        values: (E,) finite numbers.
        count: how many blocks, at least 1; fewer come out where numbers are equal.

    Returns:
        (E,) labels, "low to high" with four digits, or as many as tell the blocks apart. Blocks are closed at the
        lower end, the last at both.

    Raises:
        ShapeError: if there is not one finite number an edge, or no edge, or no block.

    Example:
        >>> blocks = edgenet.selection.edge_blocks([1.0, 2.0, 30.0, 40.0], 2)
        >>> blocks[0] == blocks[1], blocks[1] == blocks[2]
        (True, False)
    """
    numbers = np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values, dtype=float)
    if numbers.ndim != 1 or not len(numbers) or not np.isfinite(numbers).all() or count < 1 or count != int(count):
        raise ShapeError(
            f"blocks are made of (E,) finite numbers, {count} of them; got {numbers.shape} with "
            f"{int((~np.isfinite(numbers)).sum())} that are not finite."
        )
    ends = np.unique(np.quantile(numbers, np.linspace(0, 1, int(count) + 1)))
    digits = next((count for count in range(4, 17) if len({f"{end:.{count}g}" for end in ends}) == len(ends)), 17)
    if len(ends) == 1:
        ends = np.repeat(ends, 2)
    place = np.clip(np.searchsorted(ends, numbers, side="right") - 1, 0, len(ends) - 2)
    return [f"{ends[p]:.{digits}g} to {ends[p + 1]:.{digits}g}" for p in place]


def block_names(labels: Any) -> tuple[list[str], Tensor]:
    """The names of the blocks, in sorted order, and (E,) the number of every edge's.

    Raises:
        ShapeError: if the labels are no list of texts or whole numbers.
    """
    array = np.asarray(labels.detach().cpu() if isinstance(labels, Tensor) else labels)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iubUOS"):
        raise ShapeError(f"labels of edges are (E,) texts or whole numbers, got {array.shape} of {array.dtype}.")
    found, code = np.unique(array.astype(str) if array.dtype.kind in "OS" else array, return_inverse=True)
    return [str(label) for label in found], torch.as_tensor(code.reshape(-1))
