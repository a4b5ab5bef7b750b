"""Are sequences usable? The checks of data whose rows are sequences of steps."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.data import Data

from edgenet.data.check import check_finite
from edgenet.errors import ShapeError


def check_sequences(data: Data, where: str = "data") -> Data:
    """Refuses what a model could only turn into nonsense; returns ``data`` itself.

    Args:
        data: x (S, T, F), or (S, T) symbols; y (S,), (S, T) or of more axes; optionally ``lengths`` (S,).
        where: what the messages call it.

    Raises:
        ShapeError: sequences have no steps or there are none; x holds NaN, or whole numbers that are no symbols; y or
            ``lengths`` are not one a sequence, or a length is not 1 to T.

    Example:
        >>> from torch_geometric.data import Data
        >>> edgenet.data.check_sequences(Data(x=torch.randn(5, 12, 3), y=torch.zeros(5)))
        Data(x=[5, 12, 3], y=[5])
    """
    x, y, lengths = (data.get(name) for name in ("x", "y", "lengths"))
    if not isinstance(x, Tensor) or x.dim() < 2 or not x.shape[0] or not x.shape[1]:
        raise ShapeError(
            f"{where}: sequences are an x (S, T, F) of S sequences of T steps, or (S, T) symbols, at least one of each;"
            f" got {_text(x)}. Leave empty sequences out."
        )
    if x.is_floating_point():
        if x.dim() < 3:
            raise ShapeError(f"{where}: x of features is (S, T, F), got {_text(x)}. Of one feature: x[:, :, None].")
        check_finite(x, "x", where)
    elif x.dtype != torch.int64 or x.dim() != 2:
        raise ShapeError(f"{where}: x of symbols is (S, T) of torch.int64, got {_text(x)}. Try x.long().")
    elif int(x.min()) < 0:
        place = (x < 0).nonzero()[0].tolist()
        raise ShapeError(f"{where}: x{place} is {int(x.min())}, and symbols are numbered from 0.")
    if not isinstance(y, Tensor) or not y.dim() or len(y) != len(x):
        raise ShapeError(f"{where}: y must have {len(x)} rows, one for each sequence, got {_text(y)}.")
    if y.is_floating_point():
        check_finite(y, "y", where)
    if lengths is not None:
        check_lengths(lengths, x.shape[0], x.shape[1], where)
    return data


def check_lengths(lengths: Tensor, count: int, steps: int, where: str = "data") -> None:
    """Raises ``ShapeError`` unless ``lengths`` are (count,) int64 in [1, steps]."""
    if not isinstance(lengths, Tensor) or lengths.shape != (count,) or lengths.dtype != torch.int64:
        raise ShapeError(f"{where}: lengths must be ({count},) of torch.int64, got {_text(lengths)}.")
    bad = (lengths < 1) | (lengths > steps)
    if bad.any():
        number = int(bad.nonzero()[0])
        raise ShapeError(
            f"{where}: sequence {number} has length {int(lengths[number])}, and there are {steps} steps: a length is 1 "
            f"to {steps}. Leave empty sequences out, or pad x to the longest one."
        )


def _text(thing: object) -> str:
    return f"{tuple(thing.shape)} of {thing.dtype}" if isinstance(thing, Tensor) else f"a {type(thing).__name__}"
