"""Columns: a linear map by some columns of a matrix that other maps share."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from edgenet.errors import ShapeError
from edgenet.structured import StructuredMatrix
from edgenet.structured.parameters import parameter


class Columns(nn.Module):
    """y = x W[:, start:stop]^T + b, by a matrix W that holds the maps of several signals side by side.

    A recurrent cell of two such maps has one matrix [A, B] for input and state, as papers on compressed LSTMs count it.
    The matrix is one slot with a name for each map.

    Args:
        weight: the structured matrix W, (out, all columns).
        start, stop: which columns; 0 <= start < stop <= all.
        bias: (out,) or None.

    Raises:
        ShapeError: if there are no such columns.

    Example:
        >>> both = edgenet.structured.Dense(torch.randn(8, 5))
        >>> edgenet.nn.recurrent.Columns(both, 0, 3)(x).shape  # the first three columns
        torch.Size([4, 8])
    """

    def __init__(self, weight: StructuredMatrix, start: int, stop: int, bias: Tensor | None = None) -> None:
        super().__init__()
        if not 0 <= start < stop <= weight.shape[1]:
            raise ShapeError(f"columns {start} to {stop} are none of a matrix of shape {tuple(weight.shape)}.")
        self.weight, self.start, self.stop = weight, start, stop
        self.bias = None if bias is None else parameter(bias)

    def forward(self, x: Tensor) -> Tensor:
        """(..., stop - start) -> (..., out): the matrix is called with zeros in the other columns.

        Raises:
            ShapeError: if the signal is of another width.
        """
        if x.shape[-1] != self.stop - self.start:
            raise ShapeError(
                f"columns {self.start} to {self.stop} multiply rows of {self.stop - self.start} numbers, got "
                f"{tuple(x.shape)}."
            )
        y = self.weight(F.pad(x, (self.start, self.weight.shape[1] - self.stop)))
        return y if self.bias is None else y + self.bias

    def arguments(self) -> dict[str, Any]:
        """Of the constructor's, those that are no attribute of the same name; saved models are made by them."""
        return {"bias": None}  # a tensor, of which the file says the shape

    def extra_repr(self) -> str:
        return f"start={self.start}, stop={self.stop}, bias={self.bias is not None}"
