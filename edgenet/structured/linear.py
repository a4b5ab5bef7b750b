"""StructuredLinear: a linear layer whose weight is any structured matrix."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor, nn

from edgenet import ops
from edgenet.errors import PlanError
from edgenet.shortcuts import hooked
from edgenet.structured.base import StructuredMatrix
from edgenet.structured.dense import Dense
from edgenet.structured.parameters import parameter, refuse_computed, replace_
from edgenet.structured.read import read, read_plain
from edgenet.structured.sparse_signal import SparseSignal


class StructuredLinear(nn.Module):
    """y = x W^T + b, with W in a slot.

    Args:
        weight: the structured matrix W, (out, in).
        bias: (out,) or None.

    Example:
        >>> matrix = edgenet.structured.LowRank.random((8, 3), rank=2)
        >>> layer = edgenet.structured.StructuredLinear(matrix, bias=torch.zeros(8))
        >>> layer(x).shape
        torch.Size([4, 8])
    """

    def __init__(self, weight: StructuredMatrix, bias: Tensor | None = None) -> None:
        super().__init__()
        self.weight = weight
        self.bias = None if bias is None else parameter(bias)

    @classmethod
    def dense(cls, in_features: int, out_features: int, bias: bool = False) -> Self:
        """A dense, Glorot-uniform weight and a bias of zeros. ``in_features=-1`` is read off the first input."""
        return cls(Dense.lazy(out_features, in_features), torch.zeros(out_features) if bias else None)

    def forward(self, x: Tensor | SparseSignal) -> Tensor:
        """(..., in) -> (..., out)."""
        if isinstance(x, SparseSignal):
            if getattr(self.weight, "is_lazy", False):  # which an adapter need not tell
                self.weight.materialise(self.weight.shape[0], x.shape[1])
            y = x.times(read(self.weight))  # sparse features want the small matrix built
        else:
            y = self.weight(x)
        return y if self.bias is None else y + self.bias

    @torch.no_grad()
    def keep_(self, rows: Tensor | None = None, columns: Tensor | None = None) -> None:
        """Keep these outputs and inputs, in place. The parameters are new ones.

        Raises:
            PlanError: if nothing can be taken of the weight's family, or it has no size yet; if an adapter stands in
                its place, or the bias is computed of other tensors.
        """
        bias = {} if self.bias is None or rows is None else {"bias": self.bias[rows.to(self.bias.device)]}
        refuse_computed(self, *bias)
        take_(self.weight, rows, columns)
        replace_(self, **bias)

    def arguments(self) -> dict[str, Any]:
        """Of the constructor's, those that are no attribute of the same name; saved models are made by them."""
        return {"bias": None}  # a tensor, of which the file says the shape

    def reset_parameters(self) -> None:
        self.weight.reset_parameters()
        if self.bias is not None:
            nn.init.zeros_(self.bias)


def inner(linear: StructuredLinear, x: Tensor, vectors: Tensor) -> Tensor:
    """(..., V H) products of (V, H, C) vectors with the H heads of C that the map gives, without these: the vectors are
    folded into the matrix."""
    weight = read_plain(linear.weight)[0].unflatten(0, vectors.shape[1:])
    folded = torch.einsum("vhc,hcf->vhf", vectors, weight).flatten(0, 1)
    bias = linear.bias
    if bias is not None:
        bias = (vectors * bias.unflatten(0, vectors.shape[1:])).sum(-1).flatten()
    return ops.linear(x, folded, bias)


def take_(part: nn.Module, rows: Tensor | None = None, columns: Tensor | None = None) -> None:
    """``keep_`` of a matrix, or of a linear map, that stands in a slot.

    Raises:
        PlanError: if what stands there is of another kind, an adapter say, whose own weights would stay as they are; or
            if nothing can be taken of it.
    """
    if not isinstance(part, StructuredLinear | StructuredMatrix):
        raise PlanError(
            f"a {type(part).__name__} stands in the place of a matrix, and no rows or columns can be taken from it: "
            f"merge it into the matrix first, or take it out."
        )
    part.keep_(rows, columns)


def is_plain_linear(part: nn.Module) -> bool:
    """Whether it computes what its matrix and its bias say, so that these can be read in its place."""
    return type(part) is StructuredLinear and not hooked(part)
