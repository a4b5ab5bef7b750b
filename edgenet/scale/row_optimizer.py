"""RowOptimizer: how the rows of a large table are trained, inside the backward pass."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from edgenet.errors import ConfigError

ROW_OPTIMIZERS = ("sgd", "rowwise_adagrad")


@dataclass(frozen=True)
class RowOptimizer:
    """The step of a table: it is taken for the rows that were read, with their whole gradient, when it is there.

    sgd: w -= lr g. rowwise_adagrad: s += mean(g^2), w -= lr g / (sqrt(s) + eps), with one number s a row (fbgemm's
    EXACT_ROWWISE_ADAGRAD). The gradients of a row that is read several times are added first.

    Args:
        name: one of ``ROW_OPTIMIZERS``. Adam is none: it would keep two numbers for every one of the table.
        lr: above 0.
        eps: above 0; of rowwise_adagrad.

    Raises:
        ConfigError: if the name is unknown, or a number out of range.

    Example:
        >>> edgenet.scale.RowOptimizer("sgd", lr=0.1).has_state
        False
    """

    name: str = "rowwise_adagrad"
    lr: float = 0.05
    eps: float = 1e-8

    def __post_init__(self) -> None:
        if self.name not in ROW_OPTIMIZERS:
            why = " Adam keeps two numbers for every one of the table." if "adam" in str(self.name).lower() else ""
            raise ConfigError(f"tables are trained by {' or '.join(ROW_OPTIMIZERS)}, got {self.name!r}.{why}")
        for field in ("lr", "eps"):
            value = getattr(self, field)
            if not 0 < value < float("inf"):
                raise ConfigError(f"{field} of a table is a number above 0, got {value!r}.")

    @property
    def has_state(self) -> bool:
        """Whether there is a number a row beside the table."""
        return self.name == "rowwise_adagrad"

    def step_(self, weight: Tensor, state: Tensor | None, index: Tensor, gradient: Tensor) -> None:
        """One step, in place.

        Args:
            weight: (m, n) the table.
            state: (m,) s; None for sgd.
            index: (I,) rows; repeated ones have their gradients added.
            gradient: (I, n).
        """
        row, which = torch.unique(index, return_inverse=True)
        whole = gradient.new_zeros(len(row), gradient.shape[1]).index_add_(0, which, gradient)
        if state is not None:
            grown = state[row] + whole.square().mean(1)
            state[row] = grown
            whole = whole / (grown.sqrt() + self.eps).unsqueeze(1)
        weight[row] = weight[row] - self.lr * whole
