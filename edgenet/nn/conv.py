"""EdgeNetConv: lift, walk the graph with edge weights from a phi, combine the hops."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing

from edgenet import ops
from edgenet.errors import ShapeError
from edgenet.graph import Graph
from edgenet.hub import Pretrained
from edgenet.nn import lift as lifts
from edgenet.nn import taps as tapping
from edgenet.phi import PHIS, Additive, Attention, AttentionV2, DotProduct, EdgeFactored, EdgeMatrix, Phi, ShiftOperator
from edgenet.phi.base import Hop
from edgenet.structured import Dense, SparseSignal, StructuredLinear

_MESSAGE_PASSING_OPTIONS = ("flow", "decomposed_layers")
_PROPAGATE = getattr(MessagePassing, "_orig_propagate", MessagePassing.propagate)  # PyG's own, before it is templated


class EdgeNetConv(MessagePassing, Pretrained):
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
            "edge_factored", "shift", "shift_product", "attention", "attention_v2", "dot_product", "additive"), or a
            ``Phi``.
        concat: put heads side by side; otherwise average them.
        bias: whether to learn an additive bias.
        self_tap: whether z^(0) is among the combined signals. Default: no for attention and for factored matrices on
            edges, whose loops have matrices of their own; else yes.
        hops: which signals z^(k) are combined, rising and ending at K; says more than ``self_tap``. Default: all, z^(0)
            if ``self_tap``.
        add_self_loops: give every node one self-loop before weighing. Default: yes for attention, else no. Of loops
            that the graph has already, the edge weight is kept and the edge feature is not.
        loop_weight: edge weight of the added loops, where edge weights are given.
        fill_value: edge feature of the added loops: a number, or "mean", "min", "max", "add" of the node's in-edges'.
        lift, taps: parts to use instead of the phi's usual ones.
        **options: of the phi (``dropout``, ``edge_dim``, ``negative_slope``, ``share``, ``normalize``, ...), and
            ``flow`` and ``decomposed_layers`` of ``MessagePassing``.

    Raises:
        ShapeError: if a part or an input does not fit; the text has the sizes.
        EdgeIndexError: in ``forward``, if the edge list is malformed.
        SupportError: in ``forward``, if a table of edge weights meets an edge that it was not made for.

    Shapes:
        - **input:** node features (N, F_in), or ((N_s, F_s), (N_t, F_t)) if bipartite, or (B, N, F_in) for a batch of
          signals on one graph; edges (2, E) or a ``Graph``; edge weights (E,) or (E, R); edge features (E, D)
        - **output:** (N, F_out) or (B, N, F_out), with F_out = H * out_channels where heads are concatenated
    """

    propagate_type: ClassVar[dict[str, type]] = {"x": Tensor, "weight": Tensor}

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
        self_tap: bool | None = None,
        hops: Sequence[int] | None = None,
        add_self_loops: bool | None = None,
        loop_weight: float = 1.0,
        fill_value: float | str = "mean",
        lift: nn.Module | None = None,
        taps: tapping.Taps | None = None,
        **options: Any,
    ) -> None:
        passing = {name: options.pop(name) for name in _MESSAGE_PASSING_OPTIONS if name in options}
        super().__init__(aggr="add", node_dim=0, **passing)
        # PyG takes the templated propagate of a base class for the original, and would not explain subclasses
        type(self)._orig_propagate = _PROPAGATE
        kept_width = out_channels == -1 and taps is not None
        if order < 0 or heads < 1 or (out_channels < 1 and not kept_width):
            raise ShapeError(
                f"order >= 0, heads >= 1, out_channels >= 1 are wanted, got {order}, {heads}, {out_channels}."
            )
        source_channels, target_channels = in_channels if isinstance(in_channels, tuple) else (in_channels, in_channels)
        if isinstance(phi, str):
            phi = _phi(phi, (source_channels, target_channels), out_channels, order, heads, bias, options)
        elif options:
            raise ShapeError(
                f"options {sorted(options)} are for a phi given by name; set them on the {type(phi).__name__}."
            )
        else:
            order, heads = phi.order, phi.heads
        self.in_channels, self.out_channels, self.order, self.heads = in_channels, out_channels, order, heads
        self.concat = concat
        self.phi = phi
        hops = None if hops is None else _whole_numbers(hops)
        unlifted = isinstance(phi, EdgeFactored)  # its first hop leads from the features to the channels
        if unlifted and (in_channels, out_channels, lift, bool(self_tap) or 0 in (hops or ())) != (
            phi.in_channels,
            phi.out_channels,
            None,
            False,
        ):
            raise ShapeError(
                f"factored matrices on edges lead from {phi.in_channels} to {phi.out_channels} channels without a lift "
                f"or a self tap; got {in_channels} to {out_channels}, lift={lift}, self_tap={self_tap}."
            )
        if hops is None:
            self_tap = not (phi.follows_signal or unlifted) if self_tap is None else self_tap
            hops = range(0 if self_tap else 1, order + 1)
        self.hops = _checked_hops(hops, order, self_tap)
        self.add_self_loops = phi.follows_signal if add_self_loops is None else add_self_loops
        self.loop_weight, self.fill_value = loop_weight, fill_value

        shifts = isinstance(phi, ShiftOperator)
        if lift is None:
            plain = shifts or unlifted
            lift = lifts.Identity(heads) if plain else _linear_lift(source_channels, phi, heads, out_channels)
        self.lift = lift
        self.lift_target: nn.Module | None = None
        if isinstance(in_channels, tuple) and isinstance(lift, lifts.LinearLift) and self.lifts_target:
            if not isinstance(phi, AttentionV2) or phi.target is not None:
                self.lift_target = _linear_lift(target_channels, phi, heads, out_channels)
            elif source_channels != target_channels:
                raise ShapeError(f"share_weights lifts both ends alike, but they have {in_channels} channels.")
        if taps is None:
            taps = _taps(self, shifts, source_channels, target_channels)
        self.taps = taps
        width = (
            heads * out_channels
            if getattr(taps, "merge", None) == "concat" and not isinstance(phi, EdgeMatrix)
            else out_channels
        )
        self.bias = nn.Parameter(torch.zeros(width)) if bias else None

    @property
    def self_tap(self) -> bool:
        """Whether z^(0) is among the combined signals."""
        return self.hops[0] == 0

    @property
    def lifts_target(self) -> bool:
        """Whether targets of a bipartite graph are lifted: for a self tap, or attention without a second lift."""
        phi = self.phi
        scores_twice = isinstance(phi, DotProduct) or (isinstance(phi, AttentionV2) and phi.target is not None)
        return self.self_tap or (phi.follows_signal and not scores_twice)

    # ---------------------------------------------------------------- set-up
    def reset_parameters(self) -> None:
        """Draw all parameters anew. Tables keep the graph they are bound to."""
        super().reset_parameters()
        for part in (self.lift, self.lift_target, self.phi, self.taps):
            if part is not None and hasattr(part, "reset_parameters"):
                part.reset_parameters()
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def bind(self, edges: Any, num_nodes: int | None = None) -> EdgeNetConv:
        """Make the tables that belong to a graph: weights of its edges, taps of its nodes. Harmless without tables.

        The first forward pass on a full graph does the same; bind first if batches are sampled pieces, or if the
        optimizer is made before the first pass.

        Args:
            edges: a ``Graph``, a PyG ``Data``, or an edge list with ``num_nodes``.
        """
        graph = self._graph_of(edges, num_nodes)
        lanes = self._lanes()
        self.phi.bind(graph, lanes)
        if isinstance(self.taps, tapping.NodeVarying):
            known = isinstance(self.lift, lifts.Identity) and self.in_channels != -1
            self.taps.bind(graph, self.in_channels * self.lift.heads if known else None)
        return self

    def _graph_of(self, edges: Any, num_nodes: int | None) -> Graph:
        if hasattr(edges, "edge_index") and not isinstance(edges, Graph):
            edges, num_nodes = edges.edge_index, edges.num_nodes
        if isinstance(edges, Graph):
            graph = edges
        elif num_nodes is None:
            raise ShapeError("bind(edge_index) needs num_nodes: isolated nodes do not show in an edge list.")
        else:
            graph, _ = Graph.of(edges, num_nodes)
        graph = graph.transpose() if self.flow == "target_to_source" else graph
        return graph.with_self_loops()[0] if self.add_self_loops and not graph.is_bipartite else graph

    def _lanes(self) -> int | None:
        """Heads of the walk, where they are known before the first signal."""
        if not isinstance(self.lift, lifts.Fan):
            return self.heads
        return None if self.in_channels == -1 else self.lift.fans * self.in_channels

    # ---------------------------------------------------------------- forward
    def forward(
        self,
        x: Tensor | tuple[Tensor, Tensor | None],
        edge_index: Any,
        edge_weight: Tensor | None = None,
        edge_attr: Tensor | None = None,
        size: tuple[int, int] | None = None,
        n_id: Tensor | None = None,
        e_id: Tensor | None = None,
        return_attention_weights: bool | None = None,
    ) -> Tensor | tuple[Tensor, tuple[Tensor, Tensor]]:
        """Run the layer.

        Args:
            x: (N, F_in), (B, N, F_in), or a (source, target) pair; the target may be None where nothing needs it.
                Sparse tensors (N, F_in) are read as they are by layers that begin with a linear lift or with factored
                matrices on edges; others fill them up.
            edge_index: (2, E) edges, ``EdgeIndex``, a ``Graph``, or a transposed sparse adjacency, whose values are the
                edge weights; attention reads them as edge features, if it was made for some, or not at all.
            edge_weight: (E,) or (E, R) given weights; a shift operator's entries, a factor on attention.
            edge_attr: (E, D) edge features for attention; (E,) integer types for weights shared by type.
            size: (sources, targets) of a bipartite graph whose target signal is None.
            n_id, e_id: (N,), (E,) index of nodes and edges in the full graph, on a sampled piece.
            return_attention_weights: also return the edges, added self-loops included, and their weights: (E', H), or
                (K, E', H) where hops differ. (In a batch, B * H.) Diagonals that live on nodes are not among them.

        Returns:
            (N, F_out) or (B, N, F_out); with ``return_attention_weights``, a pair (output, (edge_index, weights)).
        """
        if isinstance(self.in_channels, tuple):
            x = x if isinstance(x, tuple) else (x, x)
        elif isinstance(x, tuple) and x[0] is x[1]:
            x = x[0]  # PyG's to_hetero hands a node type that is both source and target over as a pair
        pair = isinstance(x, tuple)
        if pair and any(side is not None and side.dim() != 2 for side in x):
            raise ShapeError(f"signals on a bipartite graph are (nodes, features), got {[tuple(s.shape) for s in x]}.")
        if pair and self.order != 1:
            raise ShapeError(
                f"a bipartite graph is walked once, from sources to targets; this layer has order {self.order}."
            )
        source, target = (self._readable(side) for side in x) if pair else (self._readable(x),) * 2
        n_id, e_id = (ids[1] if isinstance(ids, tuple) else ids for ids in (n_id, e_id))  # likewise
        self._check_signal(source, 0)
        batched = not pair and source.dim() == 3
        if batched:
            source = target = source.transpose(0, 1)  # nodes first, inside
        graph, edge_weight, edge_attr = self._prepared(
            source, target if pair else source, edge_index, edge_weight, edge_attr, size, n_id, e_id
        )

        given = edge_weight is not None or edge_attr is not None
        fusable = self._may_fuse() and not (given or return_attention_weights)
        lift_last = not pair and self._narrower_before_lift(source, fusable and not batched)
        z = source.unsqueeze(-2) if lift_last else self.lift(source)
        if pair:
            z_target = None
            if target is not None:
                self._check_signal(target, 1)
                if self.lifts_target:
                    z_target = (self.lift_target or self.lift)(target)
            z, source = (z, z_target), (source, target)
        fused = self.phi.fused(source, z, graph, self.lift) if fusable else None
        weights = None if fused else self.phi(source, z, graph, edge_weight, edge_attr)
        if pair:
            y = self._walk_pair(z, fused, weights, graph)
        else:
            y = self._walk(z, fused, weights, graph, self.lift if lift_last else None)
        if self.bias is not None:
            y = y + self.bias
        elif fused:  # backward reads what attention gave; activations that work in place would change it
            y = y.clone()
        if batched:
            y = y.transpose(0, 1)
        if not return_attention_weights:
            return y
        walked = graph.edge_index.flip(0) if self.flow == "target_to_source" else graph.edge_index  # as they were given
        alike = self.order == 1 or (self.phi.shares_hops and self.order > 0)
        return y, (walked, weights[0] if alike else weights)

    def _readable(self, x: Tensor | SparseSignal | None) -> Tensor | SparseSignal | None:
        """Sparse features stay sparse where a linear lift is all that reads them, or a first hop that can."""
        if isinstance(x, Tensor) and x.layout != torch.strided:
            x = SparseSignal.of(x)
        if isinstance(x, SparseSignal) and not (isinstance(self.lift, lifts.LinearLift) or self.phi.reads_sparse):
            return x.to_dense()
        return x

    def _check_signal(self, x: Tensor, side: int) -> None:
        wanted = self.in_channels[side] if isinstance(self.in_channels, tuple) else self.in_channels
        if x.dim() not in (2, 3) or not x.is_floating_point():
            raise ShapeError(
                f"a signal is (nodes, features), or (batch, nodes, features) on one graph, of floats; got "
                f"{tuple(x.shape)} {x.dtype}."
            )
        if wanted != -1 and x.shape[-1] != wanted:
            raise ShapeError(
                f"this layer was made for {wanted} input channels and got {x.shape[-1]} (x is {tuple(x.shape)})."
            )

    def _prepared(
        self,
        source: Tensor,
        target: Tensor | None,
        edges: Any,
        edge_weight: Tensor | None,
        edge_attr: Tensor | None,
        size: tuple[int, int] | None,
        n_id: Tensor | None,
        e_id: Tensor | None,
    ) -> tuple[Graph, Tensor | None, Tensor | None]:
        """The graph that is walked, with its edge weights and features: sorted, turned round, given self-loops."""
        if target is not None:
            num_nodes = target.shape[0]
        elif size is not None:
            num_nodes = size[1]
        else:
            raise ShapeError("without a target signal, pass size=(sources, targets).")
        counts = (source.shape[0], num_nodes) if self.flow == "target_to_source" else (num_nodes, source.shape[0])
        graph, values = Graph.of(edges, *counts)
        if self.flow == "target_to_source":
            if values is not None:
                raise ShapeError("a sparse adjacency says its own direction; use flow='source_to_target' with it.")
            graph = graph.transpose()
        graph = graph.with_ids(n_id, e_id) if n_id is not None or e_id is not None else graph
        if graph.is_bipartite and graph.node_id is not None:
            raise ShapeError("n_id numbers one set of nodes, and a bipartite graph has two; leave it out.")
        if values is not None and self.phi.follows_signal:  # as in PyG: edge features, or nothing
            if edge_attr is None and getattr(self.phi, "lift_edge", None) is not None:
                edge_attr = values
        elif edge_weight is None:
            edge_weight = values
        if edge_attr is not None and not self.phi.reads_edge_attr:
            raise ShapeError(
                f"{type(self.phi).__name__} reads no edge features, and edge_attr {tuple(edge_attr.shape)} came; pass "
                f"numbers that scale edges as edge_weight."
            )
        for name, value in (("edge_weight", edge_weight), ("edge_attr", edge_attr)):
            if value is not None and value.shape[0] != graph.num_edges:
                raise ShapeError(f"{name} wants one row for each of {graph.num_edges} edges, got {tuple(value.shape)}.")
        if self.add_self_loops:
            bare = graph
            graph, kept = bare.with_self_loops()
            if edge_weight is not None:
                edge_weight = torch.cat([edge_weight[kept], _loop_weights(bare, edge_weight, self.loop_weight)])
            if edge_attr is not None:
                edge_attr = torch.cat([edge_attr[kept], _loop_features(bare, kept, edge_attr, self.fill_value)])
        return graph, edge_weight, edge_attr

    def _may_fuse(self) -> bool:
        """Whether weights may be made on the way: nobody looks at them, and no subclass or hook changes them."""
        if self.explain or self.taps.reads_weights or type(self.phi) not in (Attention, AttentionV2):
            return False
        return not any(_is_hooked(module) for part in (self.phi, self.lift) for module in part.modules())

    def _narrower_before_lift(self, x: Tensor | SparseSignal, fusable: bool) -> bool:
        """Whether to walk the input and lift afterwards: it commutes, and the input is narrower than its lift."""
        lift, width = self.lift, x.shape[-1]
        linear = isinstance(lift, lifts.LinearLift) and lift.linear.bias is None
        if not (linear and type(self.taps) is tapping.Sum) or isinstance(x, SparseSignal):
            return False
        if isinstance(self.phi, Attention):  # every head walks the input by its own weights
            matrix = lift.linear.weight
            return (
                fusable and self.order == 1 and not self.self_tap and isinstance(matrix, Dense)
                and not matrix.is_lazy and width * lift.heads < matrix.shape[0]
            )  # fmt: skip
        commutes = lift.heads == 1 and not self.phi.follows_signal and not isinstance(self.phi, EdgeMatrix)
        return commutes and width < self.out_channels

    def _walk(
        self, z: Tensor, fused: list[Hop] | None, weights: Tensor | None, graph: Graph, lift_last: nn.Module | None
    ) -> Tensor:
        """(N, [B,] H, C) lifted signal, or with ``lift_last`` the input itself -> (N, [B,] F_out)."""
        initial, diagonal = self.phi.initial(graph), self.phi.diagonal(graph)
        batch = z.shape[1] if z.dim() == 4 else None  # a sparse signal has two axes
        if initial is not None:
            z = z * (initial.unsqueeze(-1) if batch is None else initial[:, None, :, None])
        spmm = self._propagated if self.explain else ops.spmm

        def hop(k: int, z: Tensor, edges: Tensor | None = None) -> Tensor:
            y = self._packed(z, batch)
            if fused:
                y = fused[k](y)
            elif edges is not None:
                y = self.phi.hop(graph, weights[k] * edges.unsqueeze(1), None, y, spmm, k)
            else:
                y = self.phi.hop(graph, weights[k], None if diagonal is None else diagonal[k], y, spmm, k)
            y = self._unpacked(y, batch, y.shape[-1] // batch if batch else z.shape[-1])
            return y if lift_last is None or lift_last.heads == 1 else lift_last.each_head(y)

        shares_hops = self.phi.shares_hops and diagonal is None
        y = self.taps.walk(z, tapping.Walk(graph, weights, hop, self.order, self.hops, shares_hops))
        return y if lift_last is None or lift_last.heads > 1 else lift_last(y).flatten(-2)

    def _walk_pair(
        self, z: tuple[Tensor, Tensor | None], fused: list[Hop] | None, weights: Tensor | None, graph: Graph
    ) -> Tensor:
        """One hop from the sources to the targets of a bipartite graph."""
        z_source, z_target = z
        if self.phi.diagonal(graph) is not None or self.phi.initial(graph) is not None:
            raise ShapeError("a bipartite graph has no diagonal: make the phi with self_loops=False and initial=False.")
        if self.self_tap and z_target is None:
            raise ShapeError(
                "the self tap needs the targets' signal: pass (x_source, x_target), or set self_tap=False."
            )
        if fused:
            walked = fused[0](z_source)
        else:
            walked = self.phi.hop(graph, weights[0], None, z_source, self._propagated if self.explain else ops.spmm)
        return self.taps([z_target, walked] if self.self_tap else [walked], graph)

    def _packed(self, z: Tensor, batch: int | None) -> Tensor:
        """A batch of signals becomes more heads where each has its own edge weights, and more channels where not."""
        if batch is None:
            return z
        return z.flatten(1, 2) if self.phi.follows_signal else z.transpose(1, 2).flatten(2)

    def _unpacked(self, z: Tensor, batch: int | None, channels: int) -> Tensor:
        if batch is None:
            return z
        if self.phi.follows_signal:
            return z.unflatten(1, (batch, self.phi.heads))
        return z.unflatten(2, (batch, channels)).transpose(1, 2)

    # ---------------------------------------------------------------- PyG's way of moving messages, for its explainers
    def _propagated(self, graph: Graph, weight: Tensor, x: Tensor) -> Tensor:
        if self.flow == "target_to_source":  # the graph was turned round for us, and propagate turns it again
            return self.propagate(
                graph.edge_index.flip(0), x=x, weight=weight, size=(graph.num_nodes, graph.num_sources)
            )
        return self.propagate(graph.edge_index, x=x, weight=weight, size=(graph.num_sources, graph.num_nodes))

    def message(self, x_j: Tensor, weight: Tensor) -> Tensor:
        return weight.unsqueeze(-1) * x_j

    def __repr__(self) -> str:
        return (
            f"{self.__class__.__name__}({self.in_channels}, {self.out_channels}, order={self.order}, "
            f"heads={self.heads}, "
            f"phi={type(self.phi).__name__})"
        )


def _is_hooked(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks or module._backward_hooks)


def _phi(
    name: str,
    in_channels: tuple[int, int],
    out_channels: int,
    order: int,
    heads: int,
    bias: bool,
    options: dict[str, Any],
) -> Phi:
    if name not in PHIS:
        raise ShapeError(f"no phi is called {name!r}; there are {', '.join(PHIS)}.")
    kind = PHIS[name]
    if kind is Attention:
        return Attention(order, heads, out_channels, in_channels=in_channels[1], **options)
    if kind is AttentionV2:
        return AttentionV2(order, heads, out_channels, in_channels=in_channels[1], bias=bias, **options)
    if kind is DotProduct:
        return DotProduct(order, heads, out_channels, in_channels=in_channels, bias=bias, **options)
    if kind is Additive:
        return Additive(order, heads, in_channels, **options)
    if kind in (EdgeMatrix, EdgeFactored):
        if heads != 1:
            raise ShapeError(f"matrices mix all channels at every hop and have no heads; got heads={heads}.")
        if kind is EdgeMatrix:
            return EdgeMatrix(order, out_channels, **options)
        return EdgeFactored(order, in_channels[0], out_channels, **options)
    return kind(order, heads, **options)


def _linear_lift(in_channels: int, phi: Phi, heads: int, out_channels: int) -> lifts.LinearLift:
    if isinstance(phi, EdgeMatrix):  # every channel is a head of its own
        return lifts.LinearLift(StructuredLinear.dense(in_channels, phi.channels), phi.channels)
    # the lift of GATv2 is one of the two that make its scores, and has a bias where the other does; likewise the value
    # map of a transformer
    bias = isinstance(phi, AttentionV2 | DotProduct) and phi.lifts_have_bias
    return lifts.LinearLift(StructuredLinear.dense(in_channels, heads * out_channels, bias=bias), heads)


def _taps(conv: EdgeNetConv, shifts: bool, in_channels: int, own_channels: int) -> tapping.Taps:
    if isinstance(conv.phi, EdgeFactored) and conv.phi.lanes:
        return tapping.SumFan(conv.out_channels)
    if isinstance(conv.phi, EdgeMatrix | EdgeFactored):
        return tapping.Sum("concat")
    if shifts:
        walked = len(conv.hops) - conv.self_tap
        width = conv.heads * (walked * in_channels + conv.self_tap * own_channels)
        width = -1 if -1 in (in_channels, own_channels) else width
        return tapping.Linear(StructuredLinear.dense(width, conv.out_channels))
    return tapping.Sum("concat" if conv.concat else "mean")


def _whole_numbers(hops: Any) -> tuple[int, ...]:
    try:
        return tuple(operator.index(k) for k in hops)
    except TypeError:
        raise ShapeError(f"hops are a list of whole numbers, got {hops!r}.") from None


def _checked_hops(hops: Sequence[int], order: int, self_tap: bool | None) -> tuple[int, ...]:
    hops = tuple(hops)
    if not hops:
        raise ShapeError("a layer of order 0 without a self tap has no signal to combine.")
    if list(hops) != sorted(set(hops)) or hops[0] < 0 or hops[-1] != order:
        raise ShapeError(f"hops rise from 0 or more and end at the order {order}, got {list(hops)}.")
    if self_tap is not None and self_tap != (hops[0] == 0):
        raise ShapeError(f"self_tap={self_tap} contradicts hops={list(hops)}; leave it out.")
    return hops


def _loop_weights(graph: Graph, edge_weight: Tensor, fill: float) -> Tensor:
    """(N, ...) weights of the loops: those the graph has, and ``fill`` for the rest."""
    weight = edge_weight.new_full((graph.num_nodes, *edge_weight.shape[1:]), fill)
    loops = (graph.source == graph.target).nonzero().squeeze(1)
    return weight.index_put((graph.source[loops],), edge_weight[loops])


def _loop_features(graph: Graph, kept: Tensor, edge_attr: Tensor, fill: float | str) -> Tensor:
    """(N, ...) features of the loops: ``fill``, or a reduction of those of the node's other in-edges."""
    shape = (graph.num_nodes, *edge_attr.shape[1:])
    if not isinstance(fill, str):
        return edge_attr.new_full(shape, fill)
    reduce = {"mean": "mean", "min": "amin", "max": "amax", "add": "sum"}.get(fill)
    if reduce is None:
        raise ShapeError(f"fill_value is a number, 'mean', 'min', 'max' or 'add', got {fill!r}.")
    index = graph.target[kept].view(-1, *[1] * (edge_attr.dim() - 1)).expand_as(edge_attr[kept])
    return edge_attr.new_zeros(shape).scatter_reduce(0, index, edge_attr[kept], reduce, include_self=False)
