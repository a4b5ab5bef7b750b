"""Corrections: a few entries of the matrices on a few edges, added to whatever structure the rest has."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from edgenet import ops
from edgenet.errors import RankError
from edgenet.graph import Graph
from edgenet.ops.stacked import unstacked
from edgenet.structured import SparseSignal
from edgenet.structured.unbound import UnboundParameter


class Corrections(nn.Module):
    """A sparse (rows, F_out F_in) table: the dopant of a table of matrices, one row for an edge or the loop of a node.

    It is applied as one sparse product between the N F_in numbers of a signal and the N F_out of the next, and has no
    more than two numbers an entry in memory, its position and its value. The values start at 0.

    Args:
        out_channels, in_channels: F_out, F_in.
        density: share of the entries that are there, in (0, 1]; at random places until ``place_`` says where.
        from_scalars, to_scalars: whether the signal, and the next one, are F_out F_in scalar recursions side by side,
            of which number f F_in + g belongs to entry (f, g).

    Raises:
        RankError: if the density is no such share.
    """

    def __init__(
        self, out_channels: int, in_channels: int, density: float, from_scalars: bool = False, to_scalars: bool = False
    ) -> None:
        super().__init__()
        if not 0 < density <= 1:
            raise RankError(f"the density of corrections is in (0, 1], got {density!r}.")
        self.out_channels, self.in_channels, self.density = out_channels, in_channels, density
        self.from_scalars, self.to_scalars = from_scalars, to_scalars
        self.register_buffer("position", torch.empty(0, dtype=torch.long))  # row * F_out F_in + entry, ascending
        self.values = UnboundParameter()

    @property
    def width(self) -> int:
        """Entries of a row."""
        return self.out_channels * self.in_channels

    def bind(self, rows: int) -> None:
        """Choose entries of a table of so many rows, if that was not done."""
        if isinstance(self.values, UninitializedParameter):
            total = rows * self.width
            device = self.values.device
            self._set(_some(round(self.density * total), total, device), None)

    @torch.no_grad()
    def place_(self, position: Tensor, values: Tensor | None = None) -> None:
        """Let these entries be there and no others: (P,) positions, each row * F_out F_in + f F_in + g, and values."""
        order = position.argsort()
        self._set(position[order], None if values is None else values[order])

    @torch.no_grad()
    def _set(self, position: Tensor, values: Tensor | None) -> None:
        self.position = position
        start = torch.zeros(len(position)) if values is None else values
        if isinstance(self.values, UninitializedParameter):
            self.values.materialize((len(position),))
            self.values.copy_(start)
        elif len(self.values) == len(position):
            self.values.copy_(start)
        else:
            self.values = nn.Parameter(start.to(self.values))

    def reset_parameters(self) -> None:
        if not isinstance(self.values, UninitializedParameter):
            nn.init.zeros_(self.values)

    def wires(self, source: Tensor, target: Tensor, row: Tensor, num_nodes: int) -> tuple[Graph, Tensor]:
        """The sparse product on edges that have these rows (-1 for none): a bipartite graph from numbers of the signal
        to numbers of the next, and which value each of its edges has."""
        position = unstacked(self.position)
        first = torch.searchsorted(position, row * self.width)  # row -1 lies before all positions
        count = torch.searchsorted(position, (row + 1) * self.width) - first
        edge = torch.repeat_interleave(torch.arange(row.shape[0], device=row.device), count)
        began = torch.repeat_interleave(count.cumsum(0) - count, count)
        which = first[edge] + torch.arange(edge.shape[0], device=row.device) - began
        column = position[which] % self.width
        out_of, wide_in = (column, self.width) if self.from_scalars else (column % self.in_channels, self.in_channels)
        into, wide_out = (column, self.width) if self.to_scalars else (column // self.in_channels, self.out_channels)
        ends = torch.stack([source[edge] * wide_in + out_of, target[edge] * wide_out + into])
        return Graph(ends, num_nodes * wide_out, num_nodes * wide_in), which

    def forward(self, wires: tuple[Graph, Tensor], z: Tensor | SparseSignal) -> Tensor:
        """What the corrections add: (N, B, F_in) -> (N, B, F_out), or F_out F_in scalars of each."""
        z = z.to_dense().unsqueeze(1) if isinstance(z, SparseSignal) else z
        graph, which = wires
        y = ops.spmm(graph, self.values[which].unsqueeze(1), z.transpose(1, 2).flatten(0, 1).unsqueeze(1))
        return y.view(z.shape[0], self.width if self.to_scalars else self.out_channels, z.shape[1]).transpose(1, 2)

    def to_dense(self, rows: int) -> Tensor:
        """(rows, F_out, F_in), for checks on small graphs."""
        dense = self.values.new_zeros(rows * self.width)
        return dense.index_put((self.position,), self.values).view(rows, self.out_channels, self.in_channels)

    def _save_to_state_dict(self, destination: dict, prefix: str, keep_vars: bool) -> None:
        if isinstance(self.values, UninitializedParameter):  # a mark in place of numbers
            destination[prefix + "values"] = torch.empty(0)
            destination[prefix + "position"] = self.position
        else:
            super()._save_to_state_dict(destination, prefix, keep_vars)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args) -> None:
        position, values = (state_dict.get(prefix + name) for name in ("position", "values"))
        if position is not None and values is not None and len(position) == len(values):
            if isinstance(self.values, UninitializedParameter):
                if len(values) == 0:
                    return  # saved before it had a graph
                self.values.materialize(tuple(values.shape))
            if len(self.values) == len(values):
                self.position = self.position.new_empty(position.shape)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def extra_repr(self) -> str:
        return f"{self.out_channels} x {self.in_channels}, density={self.density}, entries={len(self.position)}"


def _some(number: int, total: int, device: torch.device) -> Tensor:
    """(number,) different integers below ``total``, ascending, at random."""
    if 2 * number > total:
        return torch.randperm(total, device=device)[:number].sort().values
    chosen = torch.empty(0, dtype=torch.long, device=device)
    while len(chosen) < number:  # as many again as are missing, and some for those that come twice
        more = torch.randint(total, (2 * (number - len(chosen)) + 16,), device=device)
        chosen = torch.unique(torch.cat([chosen, more]))
    return chosen[torch.randperm(len(chosen), device=device)[:number]].sort().values
