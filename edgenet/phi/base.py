"""Phi: where the edge weights of every hop come from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from edgenet import ops
from edgenet.errors import PlanError
from edgenet.graph import Graph

Pair = tuple[Tensor, Tensor]
#: A part by the name under which lifts or taps are registered, and the options of its ``for_layer``.
Choice = tuple[str, dict[str, Any]]
Hop = Callable[[Tensor], Tensor]  # (sources, H, C) -> (N, H, C)
Spmm = Callable[[Graph, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class LayerSpec:
    """The sizes of a layer, as its parts need them.

    Attributes:
        in_channels, target_channels: F_in of the sources' signal and of the targets', which differ on bipartite graphs
            alone; -1 where the first input decides.
        out_channels: F_out; of each head, where heads are put side by side.
        order, heads: K, H.
        bias: whether the layer has one.
        concat: whether heads are put side by side; otherwise they are averaged.
        hops: which z^(k) are combined, rising and ending at K.
        is_pair: whether it leads from one set of nodes to another.
    """

    in_channels: int
    target_channels: int
    out_channels: int
    order: int = 1
    heads: int = 1
    bias: bool = True
    concat: bool = True
    hops: tuple[int, ...] = ()
    is_pair: bool = False

    @property
    def self_tap(self) -> bool:
        """Whether z^(0) is combined."""
        return 0 in self.hops

    @property
    def merge(self) -> str:
        return "concat" if self.concat else "mean"


class Phi(nn.Module, ABC):
    """The edge weights Phi^(1), ..., Phi^(K) of an EdgeNet layer (Isufi, Gama, Ribeiro 2021, eq. 9-10).

    The layer lifts its input to z^(0), walks z^(k) = Phi^(k) z^(k-1), and combines the z^(k). A subclass says what the
    weights are; ``initial`` and ``diagonal`` may add what lives on nodes rather than edges.

    Attributes:
        heads: H, independent weightings of every edge.
        order: K, hops.
        follows_signal: True if the weights depend on the input signal, as attention does. In a batch of signals on one
            graph every signal then has weights of its own.
        shares_hops: True if all hops have the same weights, Phi^(1) = ... = Phi^(K).
        reads_edge_attr: False if edge features mean nothing to it; the layer then refuses them.
        needs_edge_attr: True if it was made for edge features. The layer then takes its third argument for them, as
            PyG's attention does, and the values of a sparse adjacency too.
        reads_sparse: True if its first hop takes sparse features as they are.
        walks_input: True if ``fused`` can weigh and walk a signal that is lifted afterwards.
        reads_target: True if it reads the lifted signal of the targets.
        shares_lift: True if the two ends of bipartite edges are lifted by one map.
        mixes_channels: True if its hops mix the channels of a signal, and have no heads.
        has_initial, has_diagonal: True if it has something on nodes, Phi^(0) or the diagonals of Phi^(1..K).
        taps_itself: True if layers combine z^(0) too, unless they are told otherwise.

    Example:
        >>> class Half(edgenet.phi.Phi):
        ...     order, heads, shares_hops, reads_edge_attr = 1, 1, True, False
        ...     def reset_parameters(self):
        ...         pass
        ...     def forward(self, x, z, graph, edge_weight=None, edge_attr=None):
        ...         return torch.full((1, graph.num_edges, 1), 0.5)
        >>> edgenet.EdgeNetConv(3, 8, phi=Half())(x, edges).shape
        torch.Size([4, 8])
    """

    heads: int
    order: int
    follows_signal: bool = False
    shares_hops: bool = False
    reads_edge_attr: bool = True
    needs_edge_attr: bool = False
    reads_sparse: bool = False
    walks_input: bool = False
    mixes_channels: bool = False
    has_initial: bool = False
    has_diagonal: bool = False

    # ---------------------------------------------------------------- as part of a layer
    @property
    def reads_target(self) -> bool:
        return self.follows_signal

    @property
    def shares_lift(self) -> bool:
        return False

    @property
    def taps_itself(self) -> bool:
        return not self.follows_signal

    @property
    def commutes_with_lift(self) -> bool:
        """Whether a hop of the lifted signal is the lift of a hop of the input: all channels have the same weights."""
        return not (self.follows_signal or self.mixes_channels)

    @property
    def reads_degrees(self) -> bool:
        """Whether an edge's weight depends on the degree of its sender, and so on edges that are one hop farther."""
        return getattr(self, "normalize", None) == "sym"

    @property
    def numbers_an_edge(self) -> int:
        """How many numbers of its own every edge of the bound graph has; 0 if there is no table of such."""
        return 0

    @property
    def table_rows(self) -> int | None:
        """Rows of the table of edge weights; None if there is none."""
        return None

    def bound_graph(self) -> Graph | None:
        """The graph that a table of its edges belongs to; None if there is none, or no graph yet."""
        return None

    @classmethod
    def for_layer(cls, spec: LayerSpec, **options: Any) -> Self:
        """The phi of a layer of these sizes, with options of its constructor. ``spec.hops`` is not known yet."""
        return cls(spec.order, spec.heads, **options)

    def check_layer(self, spec: LayerSpec, lift: Any) -> None:
        """Refuse a layer of sizes, or with a lift, that this phi cannot serve.

        Raises:
            ShapeError: with what does not fit.
        """

    def default_lift(self, spec: LayerSpec) -> Choice:
        """The lift that layers have by default, by name: here a linear map to the heads."""
        return "linear", {}

    def default_taps(self, spec: LayerSpec) -> Choice:
        """The taps that layers have by default, by name: here the sum of the hops."""
        return "sum", {}

    # ---------------------------------------------------------------- weights
    @abstractmethod
    def forward(
        self,
        x: Tensor | Pair,
        z: Tensor | Pair,
        graph: Graph,
        edge_weight: Tensor | None = None,
        edge_attr: Tensor | None = None,
    ) -> Tensor:
        """The edge weights of all hops.

        Args:
            x: (N, [B,] F_in) input signals; a (source, target) pair on bipartite graphs.
            z: (N, [B,] H, C) lifted signals; a pair likewise.
            graph: E edges.
            edge_weight: (E,) or (E, R) given weights.
            edge_attr: (E, D) edge features.

        Returns:
            (K, E, H), or (K, E, B * H) if ``follows_signal`` and there is a batch. Weights that all hops share come
            back with a K axis of stride 0.
        """

    def on_edges(self, graph: Graph, edge_attr: Tensor | None) -> Tensor | None:
        """What the hops want of every edge besides a weight, made of its features, with E rows; None for nothing.

        A layer asks once a pass. If there is something, ``hop`` gets it by the name ``on_edges``.
        """
        return None

    def initial(self, graph: Graph) -> Tensor | None:
        """(N, H) diagonal of Phi^(0), by which z^(0) is scaled; None for the identity."""
        return None

    def diagonal(self, graph: Graph) -> Tensor | None:
        """(K, N, H) diagonals of Phi^(1..K), which live on nodes; None if there are none."""
        return None

    def hop(
        self, graph: Graph, weight: Tensor, diagonal: Tensor | None, z: Tensor, spmm: Spmm = ops.spmm, k: int = 0
    ) -> Tensor:
        """z^(k + 1) from z^(k): (N, H, C) -> (N, H, C), given this hop's (E, H) weights and (N, H) diagonal.

        ``spmm`` moves the messages: ``ops.spmm``, or PyG's ``propagate`` while an explainer watches. ``k`` counts hops
        from 0, for a phi whose hops differ in more than their weights.
        """
        y = spmm(graph, weight, z)
        return y if diagonal is None else torch.addcmul(y, diagonal.unsqueeze(-1), z)

    def fused(
        self,
        x: Tensor | Pair,
        z: Tensor | Pair | None,
        graph: Graph,
        lift: nn.Module,
        edge_weight: Tensor | None = None,
        edge_attr: Tensor | None = None,
    ) -> list[Hop] | None:
        """One function a hop that weighs and walks at once, without the (E, H) weights in memory; None if it cannot.

        Args:
            x, z, graph, edge_weight, edge_attr: as of ``forward``; ``z`` None where the signal is lifted after the
                walk.
            lift: what made ``z`` of ``x``: what is linear in ``z`` can be had from ``x``, which may be narrower.
        """
        return None

    # ---------------------------------------------------------------- tables, parameters
    def bind(self, graph: Graph, heads: int | None = None) -> None:
        """Give tables of edge weights their edges. Nothing to do for weights that are computed."""

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""

    def keep_(self, order: int, heads: Sequence[int]) -> None:
        """Keep the first hops and some heads, in place; they weigh edges as before. Parameters are new ones.

        Args:
            order: how many hops.
            heads: numbers of the heads, rising.

        Raises:
            PlanError: if they are not there, or this phi cannot do without the rest, or a matrix of it is compressed.
        """
        kept = list(heads)
        if not 0 <= order <= self.order or not kept or kept != sorted(set(kept) & set(range(self.heads))):
            raise PlanError(
                f"hops to keep are 0 to {self.order} of {type(self).__name__}, heads some of 0 to {self.heads - 1}, "
                f"rising; got {order} and {kept}."
            )
        if order == 0 and self.follows_signal:
            raise PlanError(f"{type(self).__name__} weighs one hop at least; use a layer without it.")
        if (order, len(kept)) != (self.order, self.heads):
            self._keep(order, torch.tensor(kept))
            self.order, self.heads = order, len(kept)

    def keep_inputs_(self, channels: Tensor) -> None:
        """Keep some channels of the input x, in place: the others will not come any more.

        Raises:
            PlanError: if this phi reads x and cannot do without them.
        """
        if self.follows_signal:
            raise PlanError(f"no input channels can be taken from {type(self).__name__}.")

    def remove_edges_(self, source: Tensor, target: Tensor) -> int:
        """Take edges out of the table of weights, in place; they weigh 0 from then on. How many rows have gone.

        Raises:
            PlanError: if there is no table with a row for every edge.
        """
        raise PlanError(f"{type(self).__name__} has no table of edges from which some could be taken.")

    def _keep(self, order: int, heads: Tensor) -> None:
        """``keep_``, with numbers that are fine; ``order`` and ``heads`` are still those from before."""
        raise PlanError(f"no hops or heads can be removed from {type(self).__name__}.")


def source_and_target(value: Tensor | Pair) -> Pair:
    """The (source, target) pair of a signal: itself twice, unless the graph is bipartite."""
    return value if isinstance(value, tuple) else (value, value)
