"""EdgeNetConv: lift, walk the graph with edge weights from a phi, combine the hops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from edgenet import ops
from edgenet.errors import ShapeError
from edgenet.graph import Graph
from edgenet.hub import Pretrained
from edgenet.nn import pyg_door
from edgenet.nn.batches import packed, unpacked
from edgenet.nn.inputs import Inputs, Signal, initial_signal, plain_inputs
from edgenet.nn.lift import LIFTS, Lift
from edgenet.nn.options import checked
from edgenet.nn.parts import check_width, hops_combined, part_made, phi_named
from edgenet.nn.pyg_door import PygDoor
from edgenet.nn.shortcuts import Route, route
from edgenet.nn.taps import TAPS, Walk
from edgenet.nn.taps.base import all_hops, walker
from edgenet.phi import Phi
from edgenet.phi.base import Hop, LayerSpec
from edgenet.shortcuts import untouched, unwatched
from edgenet.structured import StructuredLinear


class EdgeNetConv(PygDoor, Pretrained):
    r"""The EdgeNet layer of `"EdgeNets: Edge Varying Graph Neural Networks" <https://arxiv.org/abs/2001.07620>`_
    (Isufi, Gama, Ribeiro 2021, eq. 9-10).

        z^(0) = Phi^(0) lift(x),   z^(k) = Phi^(k) z^(k-1),   y = taps(z^(0), ..., z^(K)) + bias

    Every edge may weigh its neighbour's signal differently, hop by hop and head by head. GCNN, GAT, GCAT, edge-varying,
    node-varying, ARMA layers are choices of lift, phi and taps; ``edgenet.nn.specializations`` has them by name.

    Args:
        in_channels: size of each input signal, or :obj:`-1` to derive the size from the first input. A tuple gives the
            sizes of sources and targets of a bipartite graph, each with a lift of its own.
        out_channels: size of each output signal; of each head, where heads are concatenated. :obj:`-1` where ``taps``
            are given that keep the width of the input.
        order: K, number of hops.
        heads: H, independent weightings of every edge.
        phi: where the edge weights come from: a name in ``edgenet.phi.PHIS`` ("edge_varying", "edge_matrix",
            "edge_factored", "edge_network", "edge_typed", "edge_added", "shift", "shift_product", "attention",
            "attention_v2", "dot_product", "additive"), or a ``Phi``.
        concat: put heads side by side; otherwise average them.
        bias: whether to learn an additive bias.
        residual: whether a linear map of the node's own features, W_r x without a bias, is added to the output.
        self_tap: whether z^(0) is among the combined signals. Default: no for attention and for factored matrices on
            edges, whose loops have matrices of their own; else yes.
        hops: which signals z^(k) are combined, rising and ending at K; says more than ``self_tap``. Default: all, z^(0)
            if ``self_tap``.
        add_self_loops: give every node one self-loop before weighing. Default: yes for attention, else no. Of loops
            that the graph has already, the edge weight is kept and the edge feature is not.
        loop_weight: edge weight of the added loops, where edge weights are given.
        fill_value: edge feature of the added loops: a number, or "mean", "min", "max", "add" of the node's in-edges'.
        lift, taps: parts to use instead of the phi's usual ones: modules, or names in ``edgenet.nn.lift.LIFTS`` and
            ``edgenet.nn.taps.TAPS``.
        **options: of the phi (``dropout``, ``edge_dim``, ``negative_slope``, ``share``, ``normalize``, ...), and
            ``flow`` and ``decomposed_layers`` of ``MessagePassing``.

    Raises:
        ShapeError: if a part or an input does not fit; the text has the sizes.
        EdgeIndexError: in ``forward``, if the edge list is malformed.
        SupportError: in ``forward``, if a table of edge weights meets an edge that it was not made for.

    Shapes:
        - **input:** node features (N, F_in), or ((N_s, F_s), (N_t, F_t)) if bipartite, or (B, N, F_in) or (B, T, N,
          F_in) for signals on one graph; edges (2, E) or a ``Graph``; edge weights (E,) or (E, R); edge features (E, D)
        - **output:** (N, F_out), (B, N, F_out) or (B, T, N, F_out), with F_out = H * out_channels where heads are
          concatenated

    Example:
        >>> conv = edgenet.EdgeNetConv(3, 8, order=2, heads=4, phi="attention")
        >>> conv(x, edges).shape
        torch.Size([4, 32])
    """

    @checked
    def __init__(
        self,
        in_channels: int | tuple[int, int],
        out_channels: int,
        order: int = 1,
        heads: int = 1,
        phi: str | Phi = "edge_varying",
        *,
        concat: bool = True,
        bias: bool = True,
        residual: bool = False,
        self_tap: bool | None = None,
        hops: Sequence[int] | None = None,
        add_self_loops: bool | None = None,
        loop_weight: float = 1.0,
        fill_value: float | str = "mean",
        lift: str | nn.Module | None = None,
        taps: str | nn.Module | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**{name: options.pop(name) for name in pyg_door.OPTIONS if name in options})
        if order < 0 or heads < 1 or (out_channels < 1 and not (out_channels == -1 and taps is not None)):
            raise ShapeError(
                f"order >= 0, heads >= 1, out_channels >= 1 are wanted, got {order}, {heads}, {out_channels}."
            )
        widths = in_channels if isinstance(in_channels, tuple) else (in_channels, in_channels)
        if min(widths) < -1:
            raise ShapeError(f"in_channels are 0 or more, or -1 to read them off the first input, got {in_channels}.")
        spec = LayerSpec(*widths, out_channels, order, heads, bias, concat, is_pair=isinstance(in_channels, tuple))
        if isinstance(phi, str):
            phi = phi_named(phi, spec, options)
        elif options:
            raise ShapeError(
                f"options {sorted(options)} are for a phi given by name; set them on the {type(phi).__name__}."
            )
        else:
            spec = replace(spec, order=phi.order, heads=phi.heads)
        spec = replace(spec, hops=hops_combined(spec.order, self_tap, hops, phi.taps_itself, taps))
        phi.check_layer(spec, lift)
        self.in_channels, self.out_channels, self.order, self.heads = in_channels, out_channels, spec.order, spec.heads
        self.concat, self.hops = concat, spec.hops
        self.add_self_loops = phi.follows_signal if add_self_loops is None else add_self_loops
        self.loop_weight, self.fill_value = loop_weight, fill_value
        self.phi: Phi = phi
        self.lift = part_made(LIFTS, lift or phi.default_lift(spec), spec, "lift")
        self.lift_target = self._second_lift(spec) if isinstance(in_channels, tuple) else None
        self.taps = part_made(TAPS, taps or phi.default_taps(spec), spec, "taps")
        check_width(spec, self.lift, self.taps, phi.mixes_channels)
        self.bias = nn.Parameter(torch.zeros(self.out_width)) if bias else None
        if residual and out_channels == -1:
            raise ShapeError("out_channels=-1 leaves the width to the input, and a residual leads to one: say which.")
        #: a map of the targets' features that is added to the output
        self.root = StructuredLinear.dense(spec.target_channels, self.out_width) if residual else None

    def _second_lift(self, spec: LayerSpec) -> Lift | None:
        """The lift of the targets of a bipartite graph, where they have one of their own."""
        if not self.lifts_target or not hasattr(self.lift, "for_targets"):
            return None
        if not self.phi.shares_lift:
            return self.lift.for_targets(spec.target_channels)
        if spec.in_channels != spec.target_channels:
            raise ShapeError(f"share_weights lifts both ends alike, but they have {self.in_channels} channels.")
        return None

    @property
    def adds_to_heads(self) -> bool:
        """Whether a map of the input is added to the heads of the output, so that none can be taken from it alone."""
        return self.root is not None

    @property
    def out_width(self) -> int:
        """F_out of its output: ``out_channels``, of every head where heads stand side by side."""
        side_by_side = getattr(self.taps, "merge", None) == "concat" and not self.phi.mixes_channels
        return self.out_channels * (self.heads if side_by_side else 1)

    @property
    def reach(self) -> int:
        """How many hops away edges may be that a node's output depends on: in a piece with all of them it is exact."""
        return self.order + int(self.phi.reads_degrees)

    @property
    def needs_edge_attr(self) -> bool:
        """Whether it was made for edge features."""
        return self.phi.needs_edge_attr

    @property
    def self_tap(self) -> bool:
        """Whether z^(0) is among the combined signals."""
        return self.hops[0] == 0

    @property
    def lifts_target(self) -> bool:
        """Whether targets of a bipartite graph are lifted: for a self tap, or for a phi that reads them."""
        return self.self_tap or self.phi.reads_target

    def is_plain(self) -> bool:
        """Whether nobody would notice if its parts were passed by: none is touched, and nothing watches."""
        return unwatched() and untouched(self.phi, self.lift, self.taps, self.aggr_module) and not self.is_changed()

    # ---------------------------------------------------------------- set-up
    def arguments(self) -> dict[str, Any]:
        """Of the constructor's, those that are no attribute of the same name; saved models are made by them."""
        # heads of a phi that reads them off a signal come as an attribute
        told = {"heads": max(1, self.heads), "bias": self.bias is not None, "residual": self.root is not None}
        return told | {"flow": self.flow, "decomposed_layers": self.decomposed_layers}

    def reset_parameters(self) -> None:
        """Draw all parameters anew. Tables keep the graph they are bound to."""
        super().reset_parameters()
        for part in (self.lift, self.lift_target, self.phi, self.taps, self.root):
            if part is not None and hasattr(part, "reset_parameters"):
                part.reset_parameters()
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def bind(self, edges: Any, num_nodes: int | tuple[int, int] | None = None) -> EdgeNetConv:
        """Make the tables that belong to a graph: weights of its edges, taps of its nodes. Harmless without tables.

        The first forward pass on a full graph does the same; bind first if batches are sampled pieces, or if the
        optimizer is made before the first pass.

        Args:
            edges: a ``Graph``, a PyG ``Data``, or an edge list with ``num_nodes``.
            num_nodes: N; of a bipartite graph (sources, targets), as PyG's ``size``.
        """
        graph = self._graph_of(edges, num_nodes)
        width = self.in_channels if isinstance(self.in_channels, int) else -1
        heads = self.lift.walked_heads(self.heads, width) if hasattr(self.lift, "walked_heads") else self.heads
        self.phi.bind(graph, heads)
        if hasattr(self.taps, "bind"):
            copies = getattr(self.lift, "copies_input", False) and width != -1
            self.taps.bind(graph, width * self.lift.heads if copies else None)
        return self

    def _graph_of(self, edges: Any, num_nodes: int | tuple[int, int] | None) -> Graph:
        if hasattr(edges, "edge_index") and not isinstance(edges, Graph):
            edges, num_nodes = edges.edge_index, edges.num_nodes
        if isinstance(edges, Graph):
            graph = edges
        elif num_nodes is None:
            raise ShapeError("bind(edge_index) needs num_nodes: isolated nodes do not show in an edge list.")
        elif isinstance(num_nodes, tuple):
            backwards = self.flow == "target_to_source"
            graph, _ = Graph.of(edges, *(num_nodes if backwards else num_nodes[::-1]))
        else:
            graph, _ = Graph.of(edges, num_nodes)
        graph = graph.transpose() if self.flow == "target_to_source" else graph
        return self.with_self_loops(graph)[0] if self.add_self_loops and not graph.is_bipartite else graph

    def reads_input_besides(self) -> tuple[str, ...]:
        """Names of its linear maps that read the input and are neither lift nor taps.

        Raises:
            PlanError: if other things read it, of which no channels could be taken.
        """
        return () if self.root is None else ("root",)

    def with_self_loops(self, graph: Graph) -> tuple[Graph, Tensor]:
        """The graph with the loops that ``add_self_loops`` means; see ``Graph.with_self_loops``."""
        return graph.with_self_loops()

    # ---------------------------------------------------------------- forward
    def forward(
        self,
        x: Tensor | tuple[Tensor, Tensor | None],
        edge_index: Any,
        edge_values: Tensor | None = None,
        edge_attr: Tensor | None = None,
        size: tuple[int, int] | None = None,
        n_id: Tensor | None = None,
        e_id: Tensor | None = None,
        return_attention_weights: bool | None = None,
        *,
        edge_weight: Tensor | None = None,
        initial: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, Any]:
        """Run the layer.

        Args:
            x: (N, F_in), (B, N, F_in), (B, T, N, F_in), or a (source, target) pair; the target may be None where
                nothing needs it. Every time step is a signal of its own.
                Sparse tensors (N, F_in) are read as they are by layers that begin with a linear lift, with factored
                matrices on edges, or with taps of a shift operator that narrow the signal; others fill them up.
            edge_index: (2, E) edges, ``EdgeIndex``, a ``Graph``, or a transposed sparse adjacency, whose values are the
                edge weights; attention reads them as edge features, if it was made for some, or not at all.
            edge_values: what a layer takes third: edge features, if it was made for them and none come by name, as
                PyG's attention does; else edge weights.
            edge_attr: (E, D) edge features for attention; (E,) integer types for weights shared by type.
            size: (sources, targets) of a bipartite graph whose target signal is None.
            n_id, e_id: (N,), (E,) index of nodes and edges in the full graph, on a sampled piece.
            return_attention_weights: also return the edges, added self-loops included, and their weights: (E', H), or
                (K, E', H) where hops differ. (In a batch, B * H, or B * T * H.) Diagonals that live on nodes are not
                among them.
            edge_weight: (E,) or (E, R) given weights; a shift operator's entries, a factor on attention. Integers count
                as numbers of the signal's dtype.
            initial: (N, F_out), or with the leading axes of x, the signal that the network began with, for taps that
                take one (``InitialResidual``); not on bipartite graphs.

        Returns:
            (N, F_out), (B, N, F_out) or (B, T, N, F_out); with ``return_attention_weights``, a pair (output,
            (edge_index, weights)).
        """
        given = plain_inputs(self, x, edge_index, edge_values, edge_weight, edge_attr, size, n_id, e_id)
        first = None if initial is None else initial_signal(self.taps, given, initial)
        way = route(self, given, asked=bool(return_attention_weights))
        z = given.source.unsqueeze(-2) if way.lift_last else self._lifted(given)
        brought = given.edge_weight, given.edge_attr
        hops = self.phi.fused(given.x, z, given.graph, self.lift, *brought) if way.fuse else None
        weights = None if hops else self._weights(given, z, way)
        y = self._walked(given, z, weights, hops, way, first)
        if self.bias is not None:
            if y.shape[-1] != len(self.bias):
                raise ShapeError(
                    f"the {type(self.taps).__name__} taps gave {y.shape[-1]} channels, and out_channels and heads ask "
                    f"for {len(self.bias)}: where the input walks as it is, set lift='linear'."
                )
            y = y + self.bias
        elif hops:  # backward reads what attention gave; activations that work in place would change it
            y = y.clone()
        y = y if self.root is None else self.with_residual(y, given.target)
        if given.is_batch:
            y = y.transpose(0, 1).contiguous()
            y = y.unflatten(0, given.lead) if len(given.lead) > 1 else y
        return (y, self._edges_and_weights(given.graph, weights)) if return_attention_weights else y

    def with_residual(self, y: Tensor, target: Signal | None) -> Tensor:
        """The (N, [B,] F_out) output, and what the residual adds to it of the targets' features."""
        if self.root is None:
            return y
        if target is None:
            raise ShapeError("the residual needs the targets' signal: pass (x_source, x_target), or leave it out.")
        return y + self.root(target)

    def _lifted(self, given: Inputs) -> Tensor | tuple[Tensor, Tensor | None]:
        """z^(0) before Phi^(0); a pair on a bipartite graph, of which the second may be None."""
        z = self.lift(given.source)
        if not given.is_pair:
            return z
        if given.target is None or not self.lifts_target:
            return z, None
        if self.lift_target is None:
            self._check_one_width(given.target.shape[-1])
        return z, (self.lift_target or self.lift)(given.target)

    def _check_one_width(self, targets: int) -> None:
        """Refuse ends of two widths that one map is to lift."""
        width = self.lift.in_width() if isinstance(self.lift, Lift) else None
        if width not in (None, targets):
            raise ShapeError(
                f"this layer lifts sources and targets by one map, which takes {width} channels, and the targets have "
                f"{targets}: make it with a pair, in_channels=(sources, targets); (-1, -1) reads both off the first "
                f"input."
            )

    def _weights(self, given: Inputs, z: Any, way: Route) -> Tensor:
        """(K, E, H) Phi^(1), ..., Phi^(K)."""
        weights = self.phi(given.x, z, given.graph, given.edge_weight, given.edge_attr)
        return self.updated(weights, given.graph) if way.propagate else weights

    def _walked(
        self, given: Inputs, z: Any, weights: Tensor | None, fused: list[Hop] | None, way: Route, first: Tensor | None
    ) -> Tensor:
        """(N, [B,] H, C) lifted signal, or before its lift -> (N, [B,] F_out)."""
        graph, phi = given.graph, self.phi
        initial, diagonal = phi.initial(graph), phi.diagonal(graph)
        on_edges = None if given.edge_attr is None else phi.on_edges(graph, given.edge_attr)
        spmm, lift_last = self.propagated if way.propagate else ops.spmm, self.lift if way.lift_last else None
        hop = partial(self._hop, graph, weights, diagonal, on_edges, fused, spmm, lift_last)
        if given.is_pair:
            return self._walked_pair(z, hop, graph, initial, diagonal)
        if initial is not None:
            z = z * (initial[:, None, :, None] if given.is_batch else initial.unsqueeze(-1))
        alike = phi.shares_hops and diagonal is None and on_edges is None  # and linear
        walk = Walk(graph, weights, hop, self.order, self.hops, alike, self.taps, way.mix_first, first)
        taker = self.taps if hasattr(self.taps, "walk") else walker(self.taps)
        y = taker.walk(z, walk) if hasattr(taker, "walk") else all_hops(z, walk)
        return self.lift(y).flatten(-2) if way.lift_last and self.lift.heads == 1 else y

    def _walked_pair(self, z: Any, hop: Any, graph: Graph, initial: Any, diagonal: Any) -> Tensor:
        """One hop from the sources to the targets of a bipartite graph."""
        source, target = z
        if diagonal is not None or initial is not None:
            raise ShapeError("a bipartite graph has no diagonal: make the phi with self_loops=False and initial=False.")
        if getattr(walker(self.taps), "own_signals", False):
            raise ShapeError(
                f"{type(self.taps).__name__} taps take a walk of their own, from a set of nodes to itself, and a "
                f"bipartite graph is walked once, from sources to targets."
            )
        if self.self_tap and target is None:
            raise ShapeError(
                "the self tap needs the targets' signal: pass (x_source, x_target), or set self_tap=False."
            )
        walked = hop(0, source)
        return self.taps([target, walked] if self.self_tap else [walked], graph)

    def _hop(
        self, graph: Graph, weights: Tensor | None, diagonal: Tensor | None, on_edges: Tensor | None,
        fused: list[Hop] | None, spmm: Any, lift_last: Lift | None, k: int, z: Tensor, edges: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """z^(k + 1) = Phi^(k + 1) z^(k)."""
        batched = z.dim() == 4  # a sparse signal has two axes
        y = packed(z, self.phi.follows_signal) if batched else z
        if fused:
            y = fused[k](y)
        else:
            weight = weights[k] if edges is None else weights[k] * edges.unsqueeze(1)
            own = diagonal[k] if diagonal is not None and edges is None else None
            more = {} if on_edges is None else {"on_edges": on_edges}
            y = self.phi.hop(graph, weight, own, y, spmm, k, **more)
        y = unpacked(y, z, self.phi.follows_signal) if batched else y
        return y if lift_last is None or lift_last.heads == 1 else lift_last.each_head(y)

    def _edges_and_weights(self, graph: Graph, weights: Tensor) -> tuple[Tensor, Tensor]:
        """The edges as they were given, and their weights; without a hop axis where all hops are alike."""
        # a copy: what a caller writes into it must not change a graph that is kept
        edges = graph.edge_index.flip(0) if self.flow == "target_to_source" else graph.edge_index.clone()
        alike = self.order == 1 or (self.phi.shares_hops and self.order > 0)
        return edges, weights[0] if alike else weights

    def __repr__(self) -> str:
        return (
            f"{self.__class__.__name__}({self.in_channels}, {self.out_channels}, order={self.order}, "
            f"heads={self.heads}, "
            f"phi={type(self.phi).__name__})"
        )
