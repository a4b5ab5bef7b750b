"""Taps: what combines the signals z^(0), ..., z^(K) of a walk into the layer's output."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edgenet.errors import PlanError, ShapeError, SupportError
from edgenet.graph import Graph
from edgenet.phi.rows import important_nodes, need_node_id
from edgenet.structured import Dense, StructuredLinear, StructuredMatrix
from edgenet.structured.dense import dense


@dataclass(frozen=True)
class Walk:
    """A walk over a graph that taps may take.

    Attributes:
        graph: the graph.
        weights: (K, E, H) edge weights, with a K axis of stride 0 where all hops share them; None where the hops make
            them on the way, which is only for taps that do not read them.
        hop: ``hop(k, z)`` is Phi^(k + 1) z, for k from 0; it keeps every axis of z, and C may be any number. With (E,)
            ``edges`` as a third argument, where there are ``weights``, edges count that often, and diagonals not.
        order: K.
        hops: which z^(k) are the signals to combine, rising and ending at K.
        shares_hops: whether Phi^(1) = ... = Phi^(K), which lets some taps walk in the narrower width.
    """

    graph: Graph
    weights: Tensor | None
    hop: Callable[..., Tensor]
    order: int
    hops: tuple[int, ...]
    shares_hops: bool


class Taps(nn.Module, ABC):
    """Walks and combines. Signals are (N, H, C), or (N, B, H, C) for a batch of B signals on one graph.

    Attributes:
        reads_weights: whether it looks at the edge weights of the walk.
    """

    reads_weights: bool = False

    def walk(self, z: Tensor, walk: Walk) -> Tensor:
        """Take all hops from z^(0) = ``z``, and combine."""
        signals = [z]
        for k in range(walk.order):
            signals.append(walk.hop(k, signals[-1]))
        return self([signals[k] for k in walk.hops], walk.graph)

    @abstractmethod
    def forward(self, signals: list[Tensor], graph: Graph) -> Tensor:
        """(N, [B,] H, C) signals of the hops that count -> (N, [B,] F_out)."""

    def bind(self, graph: Graph) -> None:
        """Learn the graph, where taps belong to nodes."""

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""

    def keep_(self, pairs: Sequence[tuple[int, int]], taps: int, heads: int) -> None:
        """Keep what reads these signals, in place: others, and heads that nothing reads, will not come any more.

        Args:
            pairs: (t, h), the place of a signal among those combined so far and its head, rising.
            taps: how many signals there were.
            heads: H, so far.

        Raises:
            PlanError: if these taps cannot do without the rest, or are compressed.
        """
        raise PlanError(f"{type(self).__name__} taps need all their signals; nothing can be removed from them.")


class Sum(Taps):
    """The sum of the hops; then heads side by side, averaged or summed.

    Args:
        merge: "concat" gives H * C channels, head-major; "mean" and "sum" give C.
        last: take the last hop alone (SGC).
    """

    def __init__(self, merge: str = "concat", last: bool = False) -> None:
        super().__init__()
        if merge not in ("concat", "mean", "sum"):
            raise ShapeError(f"merge is one of 'concat', 'mean', 'sum', got {merge!r}.")
        self.merge, self.last = merge, last

    def forward(self, signals: list[Tensor], graph: Graph) -> Tensor:
        return merged(signals[-1] if self.last else sum(signals[1:], signals[0]), self.merge)

    def keep_(self, pairs: Sequence[tuple[int, int]], taps: int, heads: int) -> None:
        signals, _ = grid(pairs)
        if self.last and taps - 1 not in signals:
            raise PlanError("these taps take the last hop alone, which cannot be removed.")

    def extra_repr(self) -> str:
        return f"merge={self.merge!r}" + (", last=True" if self.last else "")


class Scaled(Taps):
    """One learned number for every hop, then as ``Sum``: the graph convolutional attention network (GCAT).

    y = merge over heads of sum over k of weight[k] z^(k)

    Args:
        taps: how many signals there are: K + 1, or K without a self tap.
        merge: as in ``Sum``.
    """

    def __init__(self, taps: int, merge: str = "concat") -> None:
        super().__init__()
        self.merge = merge
        self.weight = nn.Parameter(torch.empty(taps))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.constant_(self.weight, 1 / len(self.weight))

    def forward(self, signals: list[Tensor], graph: Graph) -> Tensor:
        return merged(sum(w * z for w, z in zip(self.weight, signals, strict=True)), self.merge)

    @torch.no_grad()
    def keep_(self, pairs: Sequence[tuple[int, int]], taps: int, heads: int) -> None:
        signals, _ = grid(pairs)
        self.weight = nn.Parameter(self.weight[signals].clone(), self.weight.requires_grad)


class Linear(Taps):
    """A linear map of all hops, heads and channels at once: the taps of a graph convolutional filter (GCNN, TAG).

    y = sum over k, h of W_kh z^(k)[:, h]

    Where all hops share their weights and the output is narrower than the signal, mixing goes first and the walk
    follows Horner's rule in the output's width; the result is the same.

    Args:
        linear: T * H * C -> F_out, with T signals (those of the layer's ``hops``), hop-major, then head-major.
        pairs: which are read, as pairs (t, h) of the place of a signal and a head, rising; ``linear`` then has a block
            of C columns for each. None: all.
    """

    def __init__(self, linear: StructuredLinear, pairs: Sequence[tuple[int, int]] | None = None) -> None:
        super().__init__()
        self.linear = linear
        self.pairs = None if pairs is None else [(int(t), int(h)) for t, h in pairs]

    def reset_parameters(self) -> None:
        self.linear.reset_parameters()

    def walk(self, z: Tensor, walk: Walk) -> Tensor:
        matrix = self.linear.weight
        taps, (heads, channels) = len(walk.hops), z.shape[-2:]
        if isinstance(matrix, Dense) and matrix.is_lazy:
            blocks = taps * heads if self.pairs is None else len(self.pairs)
            matrix.materialise(matrix.shape[0], blocks * channels)
        if not (walk.shares_hops and isinstance(matrix, Dense) and matrix.shape[0] < channels):
            return super().walk(z, walk)
        mix = matrix.weight.unflatten(1, (-1, channels))
        if self.pairs is not None:
            place = torch.tensor([t * heads + h for t, h in self.pairs], device=mix.device)
            mix = mix.new_zeros(len(mix), taps * heads, channels).index_copy(1, place, mix)
        y = horner(z, mix.unflatten(1, (taps, heads)), walk)
        return y if self.linear.bias is None else y + self.linear.bias

    def forward(self, signals: list[Tensor], graph: Graph) -> Tensor:
        if self.pairs is None:
            return self.linear(torch.cat([z.flatten(-2) for z in signals], dim=-1))
        return self.linear(torch.cat([signals[t].select(-2, h) for t, h in self.pairs], dim=-1))

    def keep_(self, pairs: Sequence[tuple[int, int]], taps: int, heads: int) -> None:
        own, matrix = self._own(taps, heads), dense(self.linear.weight, "the taps")
        columns = torch.arange(matrix.shape[1]).view(len(own), -1)[[own.index(pair) for pair in pairs]]
        matrix.keep_(columns=columns.flatten())
        signals, kept_heads = (sorted({pair[axis] for pair in pairs}) for axis in (0, 1))
        renumbered = [(signals.index(t), kept_heads.index(h)) for t, h in pairs]
        self.pairs = None if len(pairs) == len(signals) * len(kept_heads) else renumbered

    @torch.no_grad()
    def fold_(self, signal: int, taps: int, heads: int, into: int) -> None:
        """Give a signal that is the same for all heads one tap, the sum of its own, in place; it goes by head ``into``.

        Args:
            signal: its place.
            taps, heads: how many signals and heads there are.
        """
        own, matrix = self._own(taps, heads), dense(self.linear.weight, "the taps")
        alike = [place for place, (t, _) in enumerate(own) if t == signal]
        blocks = matrix.weight.detach().unflatten(1, (len(own), -1))
        folded = [blocks[:, alike].sum(1) if place == alike[0] else blocks[:, place] for place in range(len(own))]
        kept = [place for place in range(len(own)) if place not in alike[1:]]
        weight = torch.cat([folded[place] for place in kept], 1)
        matrix.weight = nn.Parameter(weight, matrix.weight.requires_grad)
        self.pairs = [own[place] if place != alike[0] else (signal, into) for place in kept]

    def _own(self, taps: int, heads: int) -> list[tuple[int, int]]:
        return [(t, h) for t in range(taps) for h in range(heads)] if self.pairs is None else self.pairs


class Chebyshev(Taps):
    """A linear map of the Chebyshev polynomials of the operator that is walked (Defferrard et al. 2016, eq. 4).

    y = sum over k of W_k T_k,   T_0 = z^(0),  T_1 = Phi T_0,  T_k = 2 Phi T_(k-1) - T_(k-2)

    Every hop must have the same Phi, with eigenvalues in [-1, 1]: 2 L / lambda_max - I. Where the output is narrower
    than the signal, mixing goes first and the walk follows Clenshaw's rule in the output's width.

    Args:
        linear: (K + 1) * H * C -> F_out, hop-major, then head-major.
    """

    def __init__(self, linear: StructuredLinear) -> None:
        super().__init__()
        self.linear = linear

    def reset_parameters(self) -> None:
        self.linear.reset_parameters()

    def walk(self, z: Tensor, walk: Walk) -> Tensor:
        if walk.hops != tuple(range(walk.order + 1)) or not (walk.shares_hops or walk.order < 2):
            raise ShapeError("Chebyshev polynomials are of one operator, and each needs those before it: all hops.")
        matrix, (heads, channels) = self.linear.weight, z.shape[-2:]
        if isinstance(matrix, Dense) and matrix.is_lazy:
            matrix.materialise(matrix.shape[0], (walk.order + 1) * heads * channels)
        if not (isinstance(matrix, Dense) and matrix.shape[0] < channels):
            signals = [z]
            for k in range(walk.order):
                step = walk.hop(k, signals[-1])
                signals.append(step if k == 0 else 2 * step - signals[-2])
            return self(signals, walk.graph)
        mix = matrix.weight.unflatten(1, (walk.order + 1, heads, channels))
        later = y = None
        for k in reversed(range(walk.order + 1)):
            mixed = torch.einsum("...hc,ohc->...ho", z, mix[:, k])
            if y is None:
                y = mixed
                continue
            step = walk.hop(k, y) if k == 0 else 2 * walk.hop(k, y)
            y, later = mixed + step if later is None else mixed + step - later, y
        y = y.sum(-2)
        return y if self.linear.bias is None else y + self.linear.bias

    def forward(self, signals: list[Tensor], graph: Graph) -> Tensor:
        return self.linear(torch.cat([t.flatten(-2) for t in signals], dim=-1))


class GraphIsomorphism(Taps):
    """The node's own signal, a little more or less than its neighbours' (Xu et al. 2019, eq. 4.1: GIN).

    y = (1 + epsilon) z^(0) + z^(1) + ... + z^(K),   heads side by side

    Args:
        epsilon: its value, or its first value if it is learned.
        learned: whether it is a parameter.
    """

    def __init__(self, epsilon: float = 0.0, learned: bool = False) -> None:
        super().__init__()
        self.start = epsilon
        if learned:
            self.epsilon = nn.Parameter(torch.empty(1))
        else:
            self.register_buffer("epsilon", torch.empty(1))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        self.epsilon.fill_(self.start)

    def forward(self, signals: list[Tensor], graph: Graph) -> Tensor:
        return (sum(signals[2:], signals[1]) + (1 + self.epsilon) * signals[0]).flatten(-2)

    def extra_repr(self) -> str:
        return f"epsilon={self.epsilon.item():g}"


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
    """

    def __init__(
        self, out_channels: int, taps: int, channels: int = -1, groups: Tensor | int | float | None = None
    ) -> None:
        super().__init__()
        self.out_channels, self.taps, self.channels, self.groups = out_channels, taps, channels, groups
        self.table: StructuredMatrix = Dense.lazy(-1, -1)  # (groups, F_out * T * H * C)
        self.register_buffer("group", torch.empty(0, dtype=torch.long))

    @property
    def is_bound(self) -> bool:
        return not (isinstance(self.table, Dense) and self.table.is_lazy)

    def bind(self, graph: Graph, channels: int | None = None) -> None:
        if self.channels == -1 and channels is not None:
            self.channels = channels
        if self.is_bound:
            if graph.num_nodes != len(self.group):
                raise SupportError(f"these taps belong to a graph of {len(self.group)} nodes, not {graph.num_nodes}.")
            return
        if self.channels == -1:
            raise ShapeError("the width of the signals is not known yet: pass channels, or run the layer once.")
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

    def walk(self, z: Tensor, walk: Walk) -> Tensor:
        heads, channels = z.shape[-2:]
        group = self._group_of(walk.graph, heads * channels)
        groups = self.table.shape[0]
        if not (walk.shares_hops and isinstance(self.table, Dense) and groups * self.out_channels < channels):
            return super().walk(z, walk)
        # few groups: mix for all of them, walk that narrower signal, and let every node take its group's
        mix = self.table.weight.view(groups * self.out_channels, self.taps, heads, channels)
        y = horner(z, mix, walk).unflatten(-1, (groups, self.out_channels))
        own = group.view(-1, *[1] * (y.dim() - 1)).expand(*y.shape[:-2], 1, y.shape[-1])
        return y.gather(-2, own).squeeze(-2)

    def forward(self, signals: list[Tensor], graph: Graph) -> Tensor:
        z = torch.stack([s.flatten(-2) for s in signals], dim=-2)  # (N, [B,] T, H * C)
        group, z = self._group_of(graph, z.shape[-1]), z.flatten(-2)
        mix = self.table.rows(group).unflatten(1, (self.out_channels, z.shape[-1]))
        return torch.einsum("nc,noc->no" if z.dim() == 2 else "nbc,noc->nbo", z, mix)

    def keep_(self, pairs: Sequence[tuple[int, int]], taps: int, heads: int) -> None:
        signals, kept = grid(pairs)
        table = dense(self.table, "the taps of nodes")
        places = torch.arange(table.shape[1]).view(self.out_channels, taps, heads, -1)
        table.keep_(columns=places[:, signals][:, :, kept].flatten())
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


class SumFan(Taps):
    """Sums hops, and then the inputs that a ``Fan`` spread out: (N, F_out * F_in, 1) -> (N, F_out).

    Args:
        out_channels: F_out.
    """

    def __init__(self, out_channels: int) -> None:
        super().__init__()
        self.out_channels = out_channels

    def forward(self, signals: list[Tensor], graph: Graph) -> Tensor:
        total = sum(signals[1:], signals[0])
        return total.squeeze(-1).unflatten(-1, (self.out_channels, -1)).sum(-1)

    def keep_(self, pairs: Sequence[tuple[int, int]], taps: int, heads: int) -> None:
        if len(grid(pairs)[1]) < heads:
            raise PlanError("every pair of channels has a head here, and none can be removed; remove hops only.")

    def extra_repr(self) -> str:
        return f"out_channels={self.out_channels}"


def horner(z: Tensor, mix: Tensor, walk: Walk) -> Tensor:
    """sum over t, h of Phi^t (z[:, h] mix[:, t, h]^T), walked in the output's width.

    Args:
        z: (N, [B,] H, C).
        mix: (F_out, T, H, C), for the T hops of the walk that are combined.
    """
    mixed = {k: torch.einsum("...hc,ohc->...ho", z, mix[:, t]) for t, k in enumerate(walk.hops)}
    y = mixed.pop(walk.order)
    for k in reversed(range(walk.order)):
        y = walk.hop(k, y)
        if k in mixed:
            y = y + mixed.pop(k)
    return y.sum(-2)


def grid(pairs: Sequence[tuple[int, int]]) -> tuple[list[int], list[int]]:
    """The signals and the heads of pairs (t, h) that are all pairs of the two.

    Raises:
        PlanError: if some are missing.
    """
    signals, heads = (sorted({pair[axis] for pair in pairs}) for axis in (0, 1))
    if len(set(pairs)) != len(signals) * len(heads):
        raise PlanError(
            f"these taps treat all heads alike, so that a hop goes for all of them or for none; of {len(signals)} hops "
            f"and {len(heads)} heads, {len(set(pairs))} pairs were to stay."
        )
    return signals, heads


def merged(z: Tensor, merge: str) -> Tensor:
    """(..., H, C) heads side by side ("concat"), averaged ("mean") or summed ("sum")."""
    if merge == "concat":
        return z.flatten(-2)
    return z.mean(-2) if merge == "mean" else z.sum(-2)


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
