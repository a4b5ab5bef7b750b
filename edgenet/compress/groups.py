"""Groups: which entries of a tensor are trained, or set to zero, together."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from edgenet.errors import PlanError


@dataclass(frozen=True)
class Groups:
    """Which entries of a tensor make a group: those that agree in their places along some axes.

    Attributes:
        axes: the axes along which groups are told apart; below 0 they count from the last.
        shape: the tensor is viewed in this shape first; one size may be -1. None leaves it.

    Example:
        >>> edgenet.compress.Groups(axes=(0,)).axes  # the rows of a matrix
        (0,)
    """

    axes: tuple[int, ...]
    shape: tuple[int, ...] | None = None

    @classmethod
    def of(cls, spec: str | tuple[str, int] | Groups, shape: tuple[int, ...]) -> Groups:
        """The groups that a short form means for a tensor of a shape.

        "rows", "columns": each row, each column is a group; ("rows", n), ("columns", n): each of n equal runs of
        consecutive ones; "functions": everything that agrees but in the last axis.

        Raises:
            PlanError: if it means nothing for this shape.
        """
        if isinstance(spec, Groups):
            groups = spec
        elif spec == "functions":
            groups = cls(tuple(range(len(shape) - 1)))
        else:
            name, count = (spec, None) if isinstance(spec, str) else spec if _is_pair(spec) else (None, None)
            axis = {"rows": 0, "columns": 1}.get(name) if isinstance(name, str) else None
            if axis is None:
                raise PlanError(f"groups are 'rows', 'columns', 'functions', pairs of them and how many; got {spec!r}.")
            if axis >= len(shape):
                raise PlanError(f"a tensor of shape {shape} has no {name}.")
            if count is None:
                groups = cls((axis,))
            elif count < 1 or shape[axis] % count:
                raise PlanError(f"{shape[axis]} {name} do not divide into {count} equal runs; the tensor is {shape}.")
            else:
                groups = cls((axis,), (*shape[:axis], count, shape[axis] // count, *shape[axis + 1 :]))
        groups.flat(torch.empty(shape, device="meta"))
        return groups

    def flat(self, tensor: Tensor) -> Tensor:
        """(groups, entries of each).

        Raises:
            PlanError: if the shape or an axis does not fit.
        """
        try:
            view = tensor if self.shape is None else tensor.reshape(self.shape)
            front = view.movedim(self.axes, tuple(range(len(self.axes))))
            groups = math.prod(front.shape[: len(self.axes)])
            return front.reshape(groups, math.prod(front.shape[len(self.axes) :]))
        except (RuntimeError, IndexError) as error:
            raise PlanError(f"{self} does not fit a tensor of shape {tuple(tensor.shape)}: {error}") from error

    def unflat(self, flat: Tensor, like: Tensor) -> Tensor:
        """The tensor of which ``flat`` has the groups, of the shape of ``like``."""
        view = like if self.shape is None else like.reshape(self.shape)
        axes = [axis % view.dim() for axis in self.axes]
        order = [*axes, *(axis for axis in range(view.dim()) if axis not in axes)]
        moved = flat.reshape([view.shape[axis] for axis in order])
        return moved.movedim(tuple(range(len(order))), tuple(order)).reshape(like.shape)


def _is_pair(spec: Any) -> bool:
    return isinstance(spec, tuple | list) and len(spec) == 2 and isinstance(spec[1], int)
