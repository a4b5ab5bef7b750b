"""What families are given: a weight to fit, ranks and sizes. Each is checked here, in one way for all."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from edgenet.errors import RankError, RankWarning, ShapeError


def checked(weight: Tensor, empty: bool = False) -> Tensor:
    """The weight without its history.

    Args:
        empty: whether it may be without entries.

    Raises:
        ShapeError: if it is no plain matrix, has no entries, is not of floating-point or complex numbers of two bytes
            or more, or not finite.

    Example:
        >>> edgenet.structured.checked(torch.nn.Parameter(torch.ones(2, 3))).requires_grad
        False
    """
    if not isinstance(weight, Tensor) or weight.layout != torch.strided:
        kind = weight.layout if isinstance(weight, Tensor) else type(weight).__name__
        raise ShapeError(f"a weight is a dense tensor, got {kind}; convert it first.")
    if weight.dim() != 2:
        raise ShapeError(f"a matrix has two axes, got a weight of shape {tuple(weight.shape)}.")
    if weight.numel() == 0 and not empty:
        raise ShapeError(f"a weight of shape {tuple(weight.shape)} has no entries to fit; leave it as it is.")
    if not (weight.is_floating_point() or weight.is_complex()) or weight.element_size() == 1:
        raise ShapeError(
            f"a weight is of floating-point or complex numbers, of two bytes or more, got {weight.dtype}; convert it "
            f"first."
        )
    weight = weight.detach()
    if not weight.is_meta and not weight.isfinite().all():
        bad = int((~weight.isfinite()).sum())
        raise ShapeError(f"{bad} of the {weight.numel()} entries of a weight are NaN or infinite; nothing is near it.")
    return weight


def clipped(rank: int, most: int, what: str) -> int:
    """A rank, or any size, that is at most ``most``: the library's one rule for ranks that are too large.

    Warns:
        RankWarning: if it was larger, and is now ``most``, at which a matrix is met exactly.

    Raises:
        RankError: if it is no whole number from 1.
    """
    if not _counts(rank):
        raise RankError(f"{what} is a whole number from 1 to {most}, got {rank!r}.")
    if rank > most:
        warnings.warn(f"{what} {rank} is more than the largest useful one and is now {most}.", RankWarning, 3)
        return most
    return int(rank)


def sizes_of(given: Sequence[int], what: str) -> tuple[int, ...]:
    """The whole numbers from 1 that an option holds.

    Raises:
        RankError: if it does not hold such.
    """
    if isinstance(given, str) or not isinstance(given, Sequence) or not all(_counts(size) for size in given):
        raise RankError(f"{what} is a list of whole numbers from 1, got {given!r}.")
    return tuple(int(size) for size in given)


def is_whole(number: Any) -> bool:
    """Whether it is a whole number. NumPy's are, and True is none."""
    return isinstance(number, Integral) and not isinstance(number, bool)


def _counts(number: Any) -> bool:
    return is_whole(number) and int(number) >= 1
