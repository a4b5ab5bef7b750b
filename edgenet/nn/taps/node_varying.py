"""NodeVarying: taps of their own for every node, or every group of nodes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

from edgenet.errors import PlanError, ShapeError, SupportError
from edgenet.graph import Graph
from edgenet.nn.taps.base import Taps, Walk, all_hops, grid
from edgenet.nn.taps.linear import heads_and_channels, horner
from edgenet.phi.base import LayerSpec
from edgenet.phi.rows import important_nodes, need_node_id
from edgenet.structured import SparseSignal, StructuredMatrix
from edgenet.structured.linear import take_
from edgenet.structured.read import read, read_rows
from edgenet.structured.unbound import refuse_making, unbound


class NodeVarying(Taps):
    """Taps of their own for every node, or for every group of nodes (Isufi, Gama, Ribeiro 2021, sec. IV-B).

    y[i] = sum over k, h of W_kh[group of i] z^(k)[i, h]

    Args:
        out_channels: F_out.
        taps: how many signals: K + 1, or K without a self tap.
        channels: H * C, width of each signal; -1 reads it off the first.
        groups: None: every node is its own group. (N,) group of every node. A number, or a share in (0, 1]: that many
            nodes of highest in-degree, and every other node with the one it is fewest hops from (nodes that reach none
            share one more group).

    Raises:
        SupportError: in ``forward``, if the graph is not the bound one and carries no ``node_id``.

    Example:
        >>> layer = edgenet.nn.specializations.node_varying(3, 8, order=2)  # whose taps are these
        >>> layer.bind(graph)(x, graph).shape
        torch.Size([4, 8])
    """

    group: Tensor

    def __init__(
        self, out_channels: int, taps: int, channels: int = -1, groups: Tensor | int | float | None = None
    ) -> None:
        super().__init__()
        self.out_channels, self.taps, self.channels, self.groups = out_channels, taps, channels, groups
        self.table: StructuredMatrix = unbound()  # (groups, F_out * T * H * C)
        self.register_buffer("group", torch.empty(0, dtype=torch.long))

    @classmethod
    def for_layer(cls, spec: LayerSpec, groups: Tensor | int | float | None = None) -> Self:
        width = -1 if spec.in_channels == -1 else spec.heads * spec.in_channels
        return cls(spec.out_channels, len(spec.hops), width, groups)

    @property
    def is_bound(self) -> bool:
        return not self.table.is_lazy

    def bind(self, graph: Graph, channels: int | None = None) -> None:
        if self.channels == -1 and channels is not None:
            self.channels = channels
        if self.is_bound:
            if graph.num_nodes != len(self.group):
                raise SupportError(f"these taps belong to a graph of {len(self.group)} nodes, not {graph.num_nodes}.")
            return
        if self.channels == -1:
            raise ShapeError("the width of the signals is not known yet: pass channels, or run the layer once.")
        refuse_making(self.table)
        self.group = _groups(graph, self.groups)
        count = int(self.group.max()) + 1 if len(self.group) else 0
        self.table.materialise(count, self.out_channels * self.taps * self.channels)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        if self.is_bound:  # all groups start alike, from one Glorot-uniform filter
            groups, width = self.table.shape
            bound = math.sqrt(6 / (self.out_channels + self.taps * self.channels))
            like = next(self.table.parameters())
            start = torch.empty(width, dtype=like.dtype, device=like.device).uniform_(-bound, bound)
            self.table.reset_parameters(start.repeat(groups, 1))

    def mixes_sparse(self, channels: int) -> bool:
        return self.is_bound and self.table.shape[0] * self.out_channels < channels

    def walk(self, z: Tensor | SparseSignal, walk: Walk) -> Tensor:
        heads, channels = heads_and_channels(z, walk)
        group = self._group_of(walk.graph, heads * channels)
        groups = self.table.shape[0]
        if not (walk.may_mix_first and walk.shares_hops and groups * self.out_channels < channels):
            return all_hops(z, walk)
        # few groups: mix for all of them, walk that narrower signal, and let every node take its group's
        mix = read(self.table).view(groups * self.out_channels, self.taps, heads, channels)
        y = horner(z, mix, walk).unflatten(-1, (groups, self.out_channels))
        own = group.view(-1, *[1] * (y.dim() - 1)).expand(*y.shape[:-2], 1, y.shape[-1])
        return y.gather(-2, own).squeeze(-2)

    def forward(self, signals: list[Tensor], graph: Graph) -> Tensor:
        z = torch.stack([s.flatten(-2) for s in signals], dim=-2)  # (N, [B,] T, H * C)
        group, z = self._group_of(graph, z.shape[-1]), z.flatten(-2)
        mix = read_rows(self.table, group).unflatten(1, (self.out_channels, z.shape[-1]))
        return torch.einsum("nc,noc->no" if z.dim() == 2 else "nbc,noc->nbo", z, mix)

    def keep_(self, pairs: Sequence[tuple[int, int]], taps: int, heads: int) -> None:
        signals, kept = grid(pairs)
        if self.table.is_lazy:
            raise PlanError("the size of the taps of nodes is not known yet: run the model once first.")
        places = torch.arange(self.table.shape[1]).view(self.out_channels, taps, heads, -1)
        take_(self.table, columns=places[:, signals][:, :, kept].flatten())
        self.taps, self.channels = len(signals), self.channels // heads * len(kept)

    def _group_of(self, graph: Graph, channels: int) -> Tensor:
        """(N,) group of every node of this graph."""
        if not self.is_bound:
            if graph.node_id is not None:
                raise SupportError(
                    "the first graph that node-varying taps meet must be the full one: call bind(edge_index)."
                )
            self.bind(graph, channels)
        need_node_id(graph)
        if graph.node_id is not None:
            if not torch.compiler.is_compiling() and graph.num_nodes:
                low, high = (int(v) for v in graph.node_id.aminmax())
                if low < 0 or high >= len(self.group):
                    raise SupportError(
                        f"n_id holds {low if low < 0 else high}, but these taps have nodes 0 to {len(self.group) - 1}."
                    )
            return self.group[graph.node_id]
        if graph.num_nodes != len(self.group):
            raise SupportError(
                f"these taps belong to a graph of {len(self.group)} nodes and are used on one of {graph.num_nodes}; "
                f"pass n_id for a sampled piece."
            )
        return self.group

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args) -> None:
        stored = state_dict.get(prefix + "group")
        if stored is not None and not (self.is_bound and len(self.group)):
            self.group = self.group.new_empty(stored.shape)
            table = state_dict.get(prefix + "table.weight") if not self.is_bound else self.table
            if table is not None:
                self.channels = table.shape[1] // (self.out_channels * self.taps)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def extra_repr(self) -> str:
        return f"out_channels={self.out_channels}, taps={self.taps}"


def _groups(graph: Graph, groups: Tensor | int | float | None) -> Tensor:
    """(N,) group of every node, 0, 1, 2, ..."""
    device = graph.edge_index.device
    if groups is None:
        return torch.arange(graph.num_nodes, device=device)
    if isinstance(groups, Tensor):
        if groups.shape != (graph.num_nodes,):
            raise ShapeError(f"groups wants one number for each of {graph.num_nodes} nodes, got {tuple(groups.shape)}.")
        return groups.to(device, torch.long)
    centres = important_nodes(graph, groups)
    group = torch.full((graph.num_nodes,), -1, device=device)
    group[centres] = torch.arange(len(centres), device=device)
    while True:  # breadth first, along and against the edges alike; ties go to the more important centre
        outside = torch.iinfo(torch.long).max
        seen = torch.where(group < 0, outside, group)
        reach = torch.full_like(group, outside)
        reach = reach.scatter_reduce(0, graph.target, seen[graph.source], "amin")
        reach = reach.scatter_reduce(0, graph.source, seen[graph.target], "amin")
        fresh = (group < 0) & (reach < outside)
        if not fresh.any():
            return torch.where(group < 0, len(centres), group)
        group = torch.where(fresh, reach, group)
