"""Dense: every entry stored."""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import Any, Self, cast

import torch
from torch import Tensor
from torch.nn.parameter import UninitializedParameter

from edgenet import ops
from edgenet.errors import PlanError, ShapeError
from edgenet.structured.base import StructuredMatrix, glorot
from edgenet.structured.given import checked
from edgenet.structured.parameters import parameter, replace_, taken


class Dense(StructuredMatrix):
    """An (m, n) matrix with every entry a parameter. What stands in a slot before it is compressed.

    Args:
        weight: (m, n). Copied.

    Raises:
        ShapeError: if ``weight`` is not a matrix.

    Example:
        >>> edgenet.structured.Dense(torch.randn(8, 3))(x).shape
        torch.Size([4, 8])
    """

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        if weight.dim() != 2:
            raise ShapeError(f"a matrix has two axes, got a weight of shape {tuple(weight.shape)}.")
        self.weight = parameter(weight)
        self._known: tuple[int, int] = tuple(weight.shape)

    @classmethod
    def lazy(cls, rows: int, columns: int) -> Self:
        """A Glorot-uniform matrix; where a size is -1 it is made at the first ``matmul``, or by ``materialise``."""
        matrix = cls(torch.empty(0, 0))
        matrix._known = (rows, columns)
        matrix.weight = UninitializedParameter()
        if rows >= 0 and columns >= 0:
            matrix.materialise(rows, columns)
        return matrix

    @property
    def is_lazy(self) -> bool:
        return isinstance(self.weight, UninitializedParameter)  # torch's is_lazy cannot be traced

    @property
    def is_dense(self) -> bool:
        return True

    @property
    def shape(self) -> tuple[int, int]:
        weight = self.weight  # is_lazy is asked in place, here and below: every layer comes by
        return self._known if isinstance(weight, UninitializedParameter) else tuple(weight.shape)

    def materialise(self, rows: int, columns: int) -> None:
        """Give a lazy matrix its size, and its Glorot-uniform start."""
        for axis, (known, size) in enumerate(zip(self._known, (rows, columns), strict=True)):
            if known not in (-1, size):
                raise ShapeError(f"axis {axis} of this matrix was declared {known}, and is asked to be {size}.")
        # what is made in inference mode no optimizer could change
        lasting = torch.inference_mode(False) if torch.is_inference_mode_enabled() else nullcontext()
        with lasting:
            cast(UninitializedParameter, self.weight).materialize((rows, columns))
            self.draw_(glorot((rows, columns)))

    def _may_be(self, shape: torch.Size) -> bool:
        return all(known in (-1, size) for known, size in zip(self._known, shape, strict=True))

    def matmul(self, x: Tensor) -> Tensor:
        weight = self.weight
        if isinstance(weight, UninitializedParameter):
            self.materialise(self._known[0], x.shape[-1])
        return ops.linear(x, weight)

    def to_dense(self) -> Tensor:
        weight = self.weight
        if isinstance(weight, UninitializedParameter):
            raise ShapeError(f"a Dense of size {self._known} has no entries yet: run the model once first.")
        return weight

    @classmethod
    def from_dense(cls, weight: Tensor) -> Self:
        return cls(checked(weight, empty=True))

    @torch.no_grad()
    def draw_(self, std: float) -> None:
        self.weight.uniform_(-math.sqrt(3) * std, math.sqrt(3) * std)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls.lazy(*config["shape"]) if -1 in config["shape"] else super().from_config(config)

    @classmethod
    def ladder(cls, shape: tuple[int, int]) -> list[dict[str, Any]]:
        return []  # what a search starts from is no size to try

    def rows(self, index: Tensor) -> Tensor:
        return self.weight.index_select(0, index)

    @torch.no_grad()
    def keep_(self, rows: Tensor | None = None, columns: Tensor | None = None) -> None:
        if self.is_lazy:
            raise PlanError(f"a matrix of size {self._known} has none yet to keep a part of: run the model once first.")
        replace_(self, weight=taken(self.weight, rows, columns))
        self._known = tuple(self.weight.shape)

    def num_parameters(self) -> int:
        return 0 if self.is_lazy else self.weight.numel()

    def reset_parameters(self, dense: Tensor | None = None) -> None:
        if not self.is_lazy:
            super().reset_parameters(dense)

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        if self.is_lazy:  # a mark in place of numbers
            destination[prefix + "weight"] = torch.empty(0, 0)
        else:
            super()._save_to_state_dict(destination, prefix, keep_vars)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        stored = state_dict.get(prefix + "weight")
        if self.is_lazy:
            if stored is None:
                args[2].append(prefix + "weight")  # among the missing keys, which a strict load reports
                return
            if stored.shape == (0, 0):  # saved before it had a size
                return
            if stored.dim() != 2 or not self._may_be(stored.shape):
                args[-1].append(f"{prefix}weight is stored as {tuple(stored.shape)}, but was declared {self._known}.")
                return
            self.materialise(*stored.shape)
        super()._load_from_state_dict(state_dict, prefix, *args)
