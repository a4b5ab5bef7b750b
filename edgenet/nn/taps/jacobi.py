"""Jacobi: rational functions of the shift operator (ARMA filters), by iterations."""

from __future__ import annotations

import math
from typing import Self

import torch
from torch import Tensor

from edgenet.errors import ShapeError
from edgenet.graph import Graph
from edgenet.nn.taps.base import Taps, Walk
from edgenet.phi.base import LayerSpec
from edgenet.structured import Dense, StructuredMatrix
from edgenet.structured.read import read


class Jacobi(Taps):
    """The sum over inputs g and poles p of varphi (S - psi I)^(-1) x_g, by a few Jacobi iterations
    (Isufi, Gama, Ribeiro 2021, sec. IV-D).

    With D = diag(S) - psi I and T = S - diag(S), each (output, pole, input) filter iterates, from u^(0) = x,

        u <- D^(-1) (varphi x - T u)

    once a hop. Convergent where psi lies outside the spectrum of S, which training does not enforce; the start keeps it
    there for an operator with eigenvalues in [-1, 1]. The signal comes from a ``FilterBank`` of F_out * P, its shift
    operator from a ``ShiftOperator``.

    Args:
        in_channels: F_in, or -1 to read it off the first input.
        out_channels: F_out.
        poles: P.

    Example:
        >>> edgenet.nn.specializations.arma(3, 8, poles=2)(x, edges).shape  # whose taps are these
        torch.Size([4, 8])
    """

    reads_weights = True
    own_signals = True
    takes_first = True

    def __init__(self, in_channels: int, out_channels: int, poles: int = 1) -> None:
        super().__init__()
        if in_channels == 0 or in_channels < -1 or poles < 1:
            raise ShapeError(f"an ARMA filter needs in_channels >= 1 and poles >= 1, got {in_channels} and {poles}.")
        self.in_channels, self.out_channels, self.poles = in_channels, out_channels, poles
        self.pole: StructuredMatrix = Dense.lazy(out_channels * poles, in_channels)  # psi
        self.residue: StructuredMatrix = Dense.lazy(out_channels * poles, in_channels)  # varphi
        self.reset_parameters()

    @classmethod
    def for_layer(cls, spec: LayerSpec, poles: int = 1) -> Self:
        return cls(spec.in_channels, spec.out_channels, poles)

    def reset_parameters(self) -> None:
        for table in (self.pole, self.residue):
            if not table.is_lazy:
                root = math.sqrt(table.shape[1] * self.poles)
                like = next(table.parameters())
                size = like.new_empty(table.shape).uniform_(1 + root, 1 + 2 * root)
                # of both signs, on either side of the spectrum: filters of one sign are all low-pass
                table.reset_parameters(torch.copysign(size, torch.empty_like(size).uniform_(-1, 1)))

    def walk(self, z: Tensor, walk: Walk) -> Tensor:
        if self.pole.is_lazy:
            for table in (self.pole, self.residue):
                table.materialise(table.shape[0], z.shape[-2] // table.shape[0])
            self.reset_parameters()
        pole, residue = (read(table).reshape(-1, 1) for table in (self.pole, self.residue))
        loop = walk.graph.source == walk.graph.target
        weight = walk.weights[0, :, 0] * loop
        own = weight.new_zeros(walk.graph.num_nodes).index_add(0, walk.graph.target, weight)  # diag(S)
        own = own.view(-1, *[1] * (z.dim() - 1))
        inverse = 1 / (own - pole)
        restart = residue * z
        u = z
        for k in range(walk.order):
            u = inverse * (restart - walk.hop(k, u) + own * u)
        return walk.combine([u], walk.graph)

    def forward(self, signals: list[Tensor], graph: Graph) -> Tensor:
        return signals[-1].squeeze(-1).unflatten(-1, (self.out_channels, -1)).sum(-1)

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.out_channels}, poles={self.poles}"
