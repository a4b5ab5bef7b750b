"""ARMA graph filters: rational functions of the shift operator, by Jacobi iterations."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from edgenet.errors import ShapeError
from edgenet.graph import Graph
from edgenet.nn.taps import Taps, Walk


class Jacobi(Taps):
    """The sum over inputs g and poles p of varphi (S - psi I)^(-1) x_g, by a few Jacobi iterations
    (Isufi, Gama, Ribeiro 2021, sec. IV-D).

    With D = diag(S) - psi I and T = S - diag(S), each (output, pole, input) lane iterates, from u^(0) = x,

        u <- D^(-1) (varphi x - T u)

    once a hop. Convergent where psi lies outside the spectrum of S, which training does not enforce; the start keeps it
    there for an operator with eigenvalues in [-1, 1]. The signal comes from a ``Fan`` of F_out * P, its shift operator
    from a ``ShiftOperator``.

    Args:
        in_channels: F_in.
        out_channels: F_out.
        poles: P.
    """

    def __init__(self, in_channels: int, out_channels: int, poles: int = 1) -> None:
        super().__init__()
        if in_channels < 1 or poles < 1:
            raise ShapeError(f"an ARMA filter needs in_channels >= 1 and poles >= 1, got {in_channels} and {poles}.")
        self.in_channels, self.out_channels, self.poles = in_channels, out_channels, poles
        self.pole = nn.Parameter(torch.empty(out_channels, poles, in_channels))  # psi
        self.residue = nn.Parameter(torch.empty(out_channels, poles, in_channels))  # varphi
        self.reset_parameters()

    def reset_parameters(self) -> None:
        root = math.sqrt(self.in_channels * self.poles)
        nn.init.uniform_(self.pole, 1 + root, 1 + 2 * root)
        nn.init.uniform_(self.residue, 1 + root, 1 + 2 * root)

    def walk(self, z: Tensor, walk: Walk) -> Tensor:
        loop = walk.graph.source == walk.graph.target
        weight = walk.weights[0, :, 0] * loop
        own = weight.new_zeros(walk.graph.num_nodes).index_add(0, walk.graph.target, weight)  # diag(S)
        own = own.view(-1, *[1] * (z.dim() - 1))
        inverse = 1 / (own - self.pole.view(-1, 1))
        restart = self.residue.view(-1, 1) * z
        u = z
        for k in range(walk.order):
            u = inverse * (restart - walk.hop(k, u) + own * u)
        return self([u], walk.graph)

    def forward(self, signals: list[Tensor], graph: Graph) -> Tensor:
        return signals[-1].squeeze(-1).unflatten(-1, (self.out_channels, -1)).sum(-1)

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.out_channels}, poles={self.poles}"
