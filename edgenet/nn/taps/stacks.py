"""Stacks: parallel recursions that start again from the signal at every hop (ARMA layers)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgenet import ops
from edgenet.errors import ShapeError
from edgenet.graph import Graph
from edgenet.nn.taps.base import Taps, Walk
from edgenet.phi.base import LayerSpec
from edgenet.structured import Dense, StructuredLinear, StructuredMatrix
from edgenet.structured.read import read


class Stacks(Taps):
    """Parallel stacks of recursions that start again from the signal at every hop (Bianchi et al. 2021, eq. 12-13).

    u^(0) = z,   u^(t) = act(Phi u^(t-1) W_t + dropout(z) V_t + b_t),   y = mean over stacks of u^(K)

    ``mix`` holds the W_t and ``root`` the V_t and b_t, in the order of the hops. The W of later hops are a matrix for
    every stack, one below the other: (P C, C), for P stacks.

    Args:
        in_channels: F_in.
        out_channels: C.
        order: K.
        stacks: P.
        shared: whether the hops share V and b, and all but the first W.
        activation: of every hop; None for none.
        dropout: probability in [0, 1] of dropping an input in training.
        bias: whether there are b_t.

    Example:
        >>> issubclass(edgenet.nn.taps.Stacks, edgenet.nn.taps.Taps)
        True
    """

    own_signals = True
    takes_first = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        order: int = 1,
        stacks: int = 1,
        shared: bool = False,
        activation: Callable[[Tensor], Tensor] | None = F.relu,
        dropout: float = 0.0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if order < 1 or stacks < 1 or not 0 <= dropout <= 1:
            raise ShapeError(f"order >= 1, stacks >= 1, dropout in [0, 1], got {order}, {stacks}, {dropout}.")
        self.stacks, self.shared, self.activation, self.dropout = stacks, shared, activation, dropout
        width = stacks * out_channels
        later = min(order - 1, 1) if shared else order - 1
        self.mix = nn.ModuleList([Dense.lazy(width, in_channels)])
        self.mix.extend(Dense.lazy(width, out_channels) for _ in range(later))
        self.root = nn.ModuleList(
            StructuredLinear.dense(in_channels, width, bias=bias) for _ in range(1 if shared else order)
        )
        self.reset_parameters()

    @classmethod
    def for_layer(cls, spec: LayerSpec, **options: Any) -> Self:
        return cls(spec.in_channels, spec.out_channels, spec.order, **options)

    def arguments(self) -> dict[str, Any]:
        return {
            "in_channels": self.mix[0].shape[1],
            "out_channels": self.mix[0].shape[0] // self.stacks,
            "order": len(self.mix) if self.shared else len(self.root),
            "bias": self.root[0].bias is not None,
        }

    def reset_parameters(self) -> None:
        for part in (*self.mix, *self.root):
            part.reset_parameters()

    def walk(self, z: Tensor, walk: Walk) -> Tensor:
        z = z.flatten(-2)
        u = self.mix[0](z)
        for k in range(walk.order):
            if k > 0:
                u = self._mixed(u, self.mix[1 if self.shared else k])
            root = self.root[0 if self.shared else k]
            u = walk.hop(k, u.unsqueeze(-2)).squeeze(-2) + root(ops.dropout(z, self.dropout, self.training))
            u = u if self.activation is None else self.activation(u)
        return walk.combine([u.unsqueeze(-2)], walk.graph)

    def _mixed(self, u: Tensor, matrix: StructuredMatrix) -> Tensor:
        """Every stack by its own (C, C) block."""
        if self.stacks == 1:
            return matrix(u)
        blocks = read(matrix).unflatten(0, (self.stacks, -1))
        return torch.einsum("...pc,poc->...po", u.unflatten(-1, (self.stacks, -1)), blocks).flatten(-2)

    def forward(self, signals: list[Tensor], graph: Graph) -> Tensor:
        return signals[-1].flatten(-2).unflatten(-1, (self.stacks, -1)).mean(-2)

    def extra_repr(self) -> str:
        return f"stacks={self.stacks}, shared={self.shared}, dropout={self.dropout}"
