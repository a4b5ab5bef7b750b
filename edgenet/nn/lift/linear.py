"""LinearLift: a linear map to every head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

from edgenet.nn.lift.base import Lift
from edgenet.phi.base import LayerSpec
from edgenet.structured import SparseSignal, StructuredLinear
from edgenet.structured.linear import inner, is_plain_linear, take_
from edgenet.structured.read import read


class LinearLift(Lift):
    """A linear map to every head: (..., F) -> (..., H, C).

    Args:
        linear: F -> H * C, head-major.
        heads: H.

    Example:
        >>> lift = edgenet.nn.lift.LinearLift(edgenet.structured.StructuredLinear.dense(3, 10), heads=2)
        >>> lift(x).shape
        torch.Size([4, 2, 5])
    """

    reads_sparse = True

    def __init__(self, linear: StructuredLinear, heads: int = 1) -> None:
        super().__init__()
        self.linear, self.heads = linear, heads

    @classmethod
    def for_layer(cls, spec: LayerSpec, heads: int | None = None, width: int | None = None, bias: bool = False) -> Self:
        """Dense; by default with the heads of the layer and its output channels in each.

        Args:
            heads: H.
            width: H * C.
            bias: whether there is one.
        """
        heads = spec.heads if heads is None else heads
        width = heads * spec.out_channels if width is None else width
        return cls(StructuredLinear.dense(spec.in_channels, width, bias=bias), heads)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x).unflatten(-1, (self.heads, -1))

    @property
    def is_linear(self) -> bool:
        return self.linear.bias is None

    def for_targets(self, channels: int) -> LinearLift:
        matrix = self.linear.weight
        linear = StructuredLinear.dense(channels, matrix.shape[0], bias=self.linear.bias is not None)
        return LinearLift(linear, self.heads)

    @property
    def is_sized(self) -> bool:
        return not self.linear.weight.is_lazy

    def in_width(self) -> int | None:
        return self.linear.weight.shape[1]

    def is_wider_than(self, x: Tensor) -> bool:
        return x.shape[-1] * self.heads < self.linear.weight.shape[0]

    def inner(self, x: Tensor | SparseSignal, vectors: Tensor) -> Tensor | None:
        wider = isinstance(x, SparseSignal) or x.shape[-1] > vectors[0].numel()
        return None if wider or self.linear.weight.is_lazy else inner(self.linear, x, vectors)

    def each_head(self, x: Tensor) -> Tensor:
        weight = read(self.linear.weight).unflatten(0, (self.heads, -1))
        return torch.einsum("...hf,hcf->...hc", x, weight)

    def used_heads(self) -> Tensor | None:
        if not is_plain_linear(self.linear) or self.linear.bias is not None:
            return None
        return (read(self.linear.weight).unflatten(0, (self.heads, -1)) != 0).flatten(1).any(1)

    def reset_parameters(self) -> None:
        self.linear.reset_parameters()

    def keep_(self, heads: Sequence[int]) -> None:
        rows = torch.arange(self.linear.weight.shape[0]).view(self.heads, -1)
        take_(self.linear, rows=rows[list(heads)].flatten())
        self.heads = len(heads)

    def keep_inputs_(self, channels: Tensor) -> bool:
        take_(self.linear, columns=channels)
        return True
