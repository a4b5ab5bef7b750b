"""Inputs: what a layer is called with, made plain: sparse signals, pairs, batches, edges of every kind, self-loops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from edgenet.errors import ShapeError
from edgenet.graph import Graph
from edgenet.nn.batches import folded
from edgenet.nn.taps.base import walker
from edgenet.phi import Phi
from edgenet.shortcuts import untouched
from edgenet.structured import SparseSignal

Signal = Tensor | SparseSignal


class Layer(Protocol):
    """What is asked of a layer here; see ``EdgeNetConv``."""

    in_channels: int | tuple[int, int]
    order: int
    lift: Any
    taps: Any
    phi: Phi
    flow: str
    add_self_loops: bool
    loop_weight: float
    fill_value: float | str

    def is_plain(self) -> bool: ...

    def with_self_loops(self, graph: Graph) -> tuple[Graph, Tensor]: ...


@dataclass
class Inputs:
    """What a layer works on.

    Attributes:
        x: the signal, or the pair of source and target.
        source: (N, [B,] F_in) signal of the senders, nodes first. A time axis is folded into B.
        target: that of the receivers: the same, but on bipartite graphs, where it may be None.
        is_pair: whether the graph is bipartite.
        lead: the axes before the nodes': none, (B,) or (B, T).
        graph: that is walked: turned round for flow="target_to_source", with the self-loops that the layer adds.
        edge_weight: (E,) or (E, R), of a floating dtype; None if none came.
        edge_attr: (E, D), or (E,) types; None likewise.
    """

    x: Signal | tuple[Signal, Signal | None]
    source: Signal
    target: Signal | None
    is_pair: bool
    lead: tuple[int, ...]
    graph: Graph
    edge_weight: Tensor | None = None
    edge_attr: Tensor | None = None

    @property
    def is_batch(self) -> bool:
        """Whether there is a batch axis."""
        return len(self.lead) > 0


def plain_inputs(
    layer: Layer,
    x: Any,
    edges: Any,
    values: Tensor | None,
    edge_weight: Tensor | None,
    edge_attr: Tensor | None,
    size: tuple[int, int] | None,
    n_id: Any,
    e_id: Any,
) -> Inputs:
    """The inputs of a layer from the arguments of its ``forward``.

    Raises:
        ShapeError: if something does not fit the layer, or each other.
        EdgeIndexError: if the edges are malformed.
    """
    if isinstance(layer.in_channels, tuple):
        x = x if isinstance(x, tuple) else (x, x)
    elif isinstance(x, tuple) and x[0] is x[1]:
        x = x[0]  # PyG's to_hetero hands a node type that is both source and target over as a pair
    pair = isinstance(x, tuple)
    if pair:
        _check_pair(layer, x)
        source, target = _signal(layer, x[0], 0, pair), None if x[1] is None else _signal(layer, x[1], 1, pair)
    else:
        source = target = _signal(layer, x, 0, pair)
    lead: tuple[int, ...] = ()
    if not pair and source.dim() > 2:
        lead = tuple(source.shape[:-2])
        source = target = folded(source).transpose(0, 1)  # nodes first, inside
    n_id = n_id[1] if isinstance(n_id, tuple) else n_id  # of to_hetero, likewise
    e_id = e_id[1] if isinstance(e_id, tuple) else e_id
    graph, stored = _graph(layer, source, target, edges, size, n_id, e_id)
    if graph.node_id is not None and (graph.is_bipartite or (pair and x[0] is not x[1])):
        raise ShapeError("n_id numbers one set of nodes, and a bipartite graph has two; pass e_id alone.")
    given = Inputs((source, target) if pair else source, source, target, pair, lead, graph)
    if layer.phi.needs_edge_attr or not (stored is values is edge_weight is edge_attr is None):
        _set_values(layer, given, stored, values, edge_weight, edge_attr)
    if layer.add_self_loops:
        _add_self_loops(layer, given)
    return given


# ---------------------------------------------------------------- signals
def initial_signal(taps: Any, given: Inputs, initial: Tensor) -> Tensor:
    """The signal that a network began with, (N, F) or with the leading axes of its input, as (N, [B,] F).

    Raises:
        ShapeError: if the taps take none, or it is no such signal of these nodes, or the graph is bipartite.
    """
    if not getattr(walker(taps), "takes_initial", False):
        raise ShapeError(
            f"{type(taps).__name__} taps take no initial signal, and one of {tuple(initial.shape)} came: leave it out, "
            f"or make the layer with taps='initial_residual'."
        )
    if given.is_pair:
        raise ShapeError("an initial signal is of one set of nodes, and a bipartite graph has two; leave it out.")
    rows = (*given.lead, given.graph.num_nodes)
    if initial.layout != torch.strided or tuple(initial.shape[:-1]) != rows:
        raise ShapeError(
            f"the initial signal is dense and of the input's {' x '.join(map(str, rows))} rows, got "
            f"{tuple(initial.shape)} ({initial.layout})."
        )
    if initial.dtype != given.source.dtype and not torch.is_autocast_enabled(initial.device.type):
        raise ShapeError(
            f"the initial signal is of {initial.dtype} and the input of {given.source.dtype}: make them alike, "
            f"initial.to({given.source.dtype})."
        )
    return folded(initial).transpose(0, 1) if given.is_batch else initial


def _check_pair(layer: Layer, x: tuple[Any, Any]) -> None:
    if any(side is not None and side.dim() != 2 for side in x):
        raise ShapeError(f"signals on a bipartite graph are (nodes, features), got {[tuple(s.shape) for s in x]}.")
    if layer.order != 1:
        raise ShapeError(
            f"a bipartite graph is walked once, from sources to targets; this layer has order {layer.order}."
        )


def _signal(layer: Layer, x: Any, side: int, pair: bool) -> Signal:
    """A signal that the layer can read, of a size that fits it."""
    if isinstance(x, Tensor) and x.layout != torch.strided:
        x = SparseSignal.of(x)
    if isinstance(x, SparseSignal) and not (_reads_sparse(layer) or (not pair and _mixes_sparse(layer, x.shape[1]))):
        x = x.to_dense()
    wanted = layer.in_channels[side] if isinstance(layer.in_channels, tuple) else layer.in_channels
    if x.dim() not in (2, 3, 4) or not x.is_floating_point():
        raise ShapeError(
            f"a signal is (nodes, features), or (batch, nodes, features) or (batch, time, nodes, features) on one "
            f"graph, of floats; got {tuple(x.shape)} {x.dtype}."
        )
    if wanted != -1 and x.shape[-1] != wanted:
        raise ShapeError(
            f"this layer was made for {wanted} input channels and got {x.shape[-1]} (x is {tuple(x.shape)})."
        )
    return x


def _reads_sparse(layer: Layer) -> bool:
    """Sparse features stay sparse where a linear lift is all that reads them, or a first hop that can, and nobody who
    expects a tensor would meet them there."""
    reads = getattr(layer.lift, "reads_sparse", False) or layer.phi.reads_sparse
    return reads and untouched(layer.lift, layer.phi)


def _mixes_sparse(layer: Layer, channels: int) -> bool:
    """Likewise where taps mix channels before the walk, and nobody would notice that nothing else reads the signal."""
    phi, lift = layer.phi, layer.lift
    alike = phi.shares_hops and phi.commutes_with_lift and not (phi.has_initial or phi.has_diagonal)
    copied = getattr(lift, "copies_input", False) and lift.heads == phi.heads
    return alike and copied and layer.is_plain() and layer.taps.mixes_sparse(channels)


# ---------------------------------------------------------------- edges
def _graph(
    layer: Layer, source: Signal, target: Signal | None, edges: Any, size: Any, n_id: Any, e_id: Any
) -> tuple[Graph, Tensor | None]:
    """The graph, turned round where messages flow from targets to sources; and the values of a sparse adjacency."""
    if target is None and size is None:
        raise ShapeError("without a target signal, pass size=(sources, targets).")
    sources, targets = source.shape[0], size[1] if target is None else target.shape[0]
    backwards = layer.flow == "target_to_source"
    graph, values = Graph.of(edges, *((sources, targets) if backwards else (targets, sources)))
    if backwards:
        if values is not None:
            raise ShapeError("a sparse adjacency says its own direction; use flow='source_to_target' with it.")
        graph = graph.transpose()
    if n_id is not None or e_id is not None:
        graph = graph.with_ids(n_id, e_id)
    return graph, values


def _set_values(layer: Layer, given: Inputs, stored: Any, values: Any, edge_weight: Any, edge_attr: Any) -> None:
    """Edge weights and features, from where they came: by name, as the third argument, with a sparse adjacency."""
    phi = layer.phi
    if values is not None:  # the third argument, by position
        if phi.needs_edge_attr and edge_attr is None:
            edge_attr = values
        elif edge_weight is None:
            edge_weight = values
        else:
            raise ShapeError("edge weights came twice, as the third argument and by name.")
    if stored is not None and phi.follows_signal:  # as in PyG: edge features, or nothing
        edge_attr = stored if edge_attr is None and phi.needs_edge_attr else edge_attr
    elif edge_weight is None:
        edge_weight = stored
    if edge_attr is None and phi.needs_edge_attr:
        raise ShapeError(
            f"this {type(phi).__name__} was made for edge features and none came: pass edge_attr, the third argument, "
            f"or make the layer without edge_dim."
        )
    if edge_attr is not None and not phi.reads_edge_attr:
        raise ShapeError(
            f"{type(phi).__name__} reads no edge features, and edge_attr {tuple(edge_attr.shape)} came; pass "
            f"numbers that scale edges as edge_weight."
        )
    given.edge_weight = _one_an_edge("edge_weight", edge_weight, given.graph)
    given.edge_attr = _one_an_edge("edge_attr", edge_attr, given.graph)
    if edge_weight is not None and not (edge_weight.is_floating_point() or edge_weight.is_complex()):
        given.edge_weight = edge_weight.to(given.source.dtype)  # sums of small integers would overflow


def _one_an_edge(name: str, value: Tensor | None, graph: Graph) -> Tensor | None:
    if value is not None and (value.dim() == 0 or value.shape[0] != graph.num_edges):
        raise ShapeError(f"{name} wants one row for each of {graph.num_edges} edges, got {tuple(value.shape)}.")
    return value


def _add_self_loops(layer: Layer, given: Inputs) -> None:
    bare, weight, attr = given.graph, given.edge_weight, given.edge_attr
    given.graph, kept = layer.with_self_loops(bare)
    if weight is None and attr is None:
        return
    loops = min(bare.num_nodes, bare.num_sources)  # which a trace knows, as it does not how many edges were kept
    if weight is not None:
        given.edge_weight = torch.cat([weight[kept], _loop_weights(bare, weight, layer.loop_weight)[:loops]])
    if attr is not None:
        given.edge_attr = torch.cat([attr[kept], _loop_features(bare, kept, attr, layer.fill_value)[:loops]])


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
