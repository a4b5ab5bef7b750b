"""ARMA graph filters: rational functions of the shift operator, by iterations."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgenet.errors import ShapeError
from edgenet.graph import Graph
from edgenet.nn.taps import Taps, Walk
from edgenet.structured import Dense, StructuredLinear, StructuredMatrix


class Jacobi(Taps):
    """The sum over inputs g and poles p of varphi (S - psi I)^(-1) x_g, by a few Jacobi iterations
    (Isufi, Gama, Ribeiro 2021, sec. IV-D).

    With D = diag(S) - psi I and T = S - diag(S), each (output, pole, input) lane iterates, from u^(0) = x,

        u <- D^(-1) (varphi x - T u)

    once a hop. Convergent where psi lies outside the spectrum of S, which training does not enforce; the start keeps it
    there for an operator with eigenvalues in [-1, 1]. The signal comes from a ``Fan`` of F_out * P, its shift operator
    from a ``ShiftOperator``.

    Args:
        in_channels: F_in, or -1 to read it off the first input.
        out_channels: F_out.
        poles: P.
    """

    reads_weights = True

    def __init__(self, in_channels: int, out_channels: int, poles: int = 1) -> None:
        super().__init__()
        if in_channels == 0 or in_channels < -1 or poles < 1:
            raise ShapeError(f"an ARMA filter needs in_channels >= 1 and poles >= 1, got {in_channels} and {poles}.")
        self.in_channels, self.out_channels, self.poles = in_channels, out_channels, poles
        self.pole: StructuredMatrix = Dense.lazy(out_channels * poles, in_channels)  # psi
        self.residue: StructuredMatrix = Dense.lazy(out_channels * poles, in_channels)  # varphi
        self.reset_parameters()

    def reset_parameters(self) -> None:
        for table in (self.pole, self.residue):
            if not (isinstance(table, Dense) and table.is_lazy):
                root = math.sqrt(table.shape[1] * self.poles)
                like = next(table.parameters())
                table.reset_parameters(like.new_empty(table.shape).uniform_(1 + root, 1 + 2 * root))

    def walk(self, z: Tensor, walk: Walk) -> Tensor:
        if isinstance(self.pole, Dense) and self.pole.is_lazy:
            for table in (self.pole, self.residue):
                table.materialise(table.shape[0], z.shape[-2] // table.shape[0])
            self.reset_parameters()
        pole, residue = (table.to_dense().view(-1, 1) for table in (self.pole, self.residue))
        loop = walk.graph.source == walk.graph.target
        weight = walk.weights[0, :, 0] * loop
        own = weight.new_zeros(walk.graph.num_nodes).index_add(0, walk.graph.target, weight)  # diag(S)
        own = own.view(-1, *[1] * (z.dim() - 1))
        inverse = 1 / (own - pole)
        restart = residue * z
        u = z
        for k in range(walk.order):
            u = inverse * (restart - walk.hop(k, u) + own * u)
        return self([u], walk.graph)

    def forward(self, signals: list[Tensor], graph: Graph) -> Tensor:
        return signals[-1].squeeze(-1).unflatten(-1, (self.out_channels, -1)).sum(-1)

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.out_channels}, poles={self.poles}"


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
    """

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
            u = walk.hop(k, u.unsqueeze(-2)).squeeze(-2) + root(F.dropout(z, self.dropout, self.training))
            u = u if self.activation is None else self.activation(u)
        return self([u.unsqueeze(-2)], walk.graph)

    def _mixed(self, u: Tensor, matrix: StructuredMatrix) -> Tensor:
        """Every stack by its own (C, C) block."""
        if self.stacks == 1:
            return matrix(u)
        blocks = matrix.to_dense().unflatten(0, (self.stacks, -1))
        return torch.einsum("...pc,poc->...po", u.unflatten(-1, (self.stacks, -1)), blocks).flatten(-2)

    def forward(self, signals: list[Tensor], graph: Graph) -> Tensor:
        return signals[-1].flatten(-2).unflatten(-1, (self.stacks, -1)).mean(-2)

    def extra_repr(self) -> str:
        return f"stacks={self.stacks}, shared={self.shared}, dropout={self.dropout}"
