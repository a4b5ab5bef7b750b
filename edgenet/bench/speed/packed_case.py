"""A case of the packed kernels' table: our call beside others that compute the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Case:
    """One row.

    Attributes:
        what: the operation and its size.
        batch: rows of x.
        ours: the call that is timed.
        others: name of a baseline and its call; the first is the one that the ratio is of.
        tolerance: relative, between ``ours`` and ``check``.
        check: what it has to equal, computed in another way.
    """

    what: str
    batch: int
    ours: Callable[[], Tensor]
    others: Mapping[str, Callable[[], Tensor]]
    tolerance: float
    check: Callable[[], Tensor]
