"""Chebyshev: a linear map of the Chebyshev polynomials of one operator."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from edgenet import ops
from edgenet.errors import ShapeError
from edgenet.graph import Graph
from edgenet.nn.taps.base import Taps, Walk
from edgenet.nn.taps.linear import Linear, mixed_at_once
from edgenet.phi.base import LayerSpec
from edgenet.structured import StructuredLinear


class Chebyshev(Taps):
    """A linear map of the Chebyshev polynomials of the operator that is walked (Defferrard et al. 2016, eq. 4).

    y = sum over k of W_k T_k,   T_0 = z^(0),  T_1 = Phi T_0,  T_k = 2 Phi T_(k-1) - T_(k-2)

    Every hop must have the same Phi, with eigenvalues in [-1, 1]: 2 L / lambda_max - I. Where the output is narrower
    than the signal, mixing goes first and the walk follows Clenshaw's rule in the output's width.

    Args:
        linear: (K + 1) * H * C -> F_out, hop-major, then head-major.

    Example:
        >>> taps = edgenet.nn.taps.Chebyshev(edgenet.structured.StructuredLinear.dense(3 * 3, 8))
        >>> edgenet.EdgeNetConv(3, 8, order=2, phi="shift", taps=taps)(x, edges).shape
        torch.Size([4, 8])
    """

    own_signals = True

    def __init__(self, linear: StructuredLinear) -> None:
        super().__init__()
        self.linear = linear

    @classmethod
    def for_layer(cls, spec: LayerSpec) -> Self:
        return cls(Linear.for_layer(spec).linear)

    def reset_parameters(self) -> None:
        self.linear.reset_parameters()

    def walk(self, z: Tensor, walk: Walk) -> Tensor:
        if walk.hops != tuple(range(walk.order + 1)) or not (walk.shares_hops or walk.order < 2):
            raise ShapeError("Chebyshev polynomials are of one operator, and each needs those before it: all hops.")
        if walk.may_mix_first:
            matrix, blocks = self.linear.weight, (walk.order + 1) * z.shape[-2]
            if matrix.is_lazy:
                matrix.materialise(matrix.shape[0], blocks * z.shape[-1])
            inner, outer = matrix.mix_first(blocks)
            if len(inner) < z.shape[-1]:
                y = clenshaw(z, inner.unflatten(1, (walk.order + 1, *z.shape[-2:])), walk)
                y = y if outer is None else ops.linear(y, outer)
                return y if self.linear.bias is None else y + self.linear.bias
        signals = [z]
        for k in range(walk.order):
            step = walk.hop(k, signals[-1])
            signals.append(step if k == 0 else 2 * step - signals[-2])
        return walk.combine(signals, walk.graph)

    def forward(self, signals: list[Tensor], graph: Graph) -> Tensor:
        return self.linear(torch.cat([t.flatten(-2) for t in signals], dim=-1))


def clenshaw(z: Tensor, mix: Tensor, walk: Walk) -> Tensor:
    """sum over k, h of T_k(Phi) (z[:, h] mix[:, k, h]^T), walked in the output's width.

    Args:
        z: (N, [B,] H, C).
        mix: (F_out, K + 1, H, C).
    """
    mixed, later = mixed_at_once(z, mix), None
    y = mixed[walk.order]
    for k in reversed(range(walk.order)):
        step = walk.hop(k, y) if k == 0 else 2 * walk.hop(k, y)
        y, later = mixed[k] + step if later is None else mixed[k] + step - later, y
    return y.sum(-2)
