"""Calling: the ways in which PyG's layers are called, and what an EdgeNet layer is called with instead."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from edgenet.convert.adjacency import is_sparse, sides_of, stored_order, weighed
from edgenet.errors import ShapeError
from edgenet.graph import Graph

IDS = ("n_id", "e_id")  # EdgeNet layers find tables of weights by them


class Layer(Protocol):
    """What is asked of a layer here; see ``Converted``."""

    origin: str
    phi: Any
    self_tap: bool
    flow: str
    add_self_loops: bool
    fill_value: float | str
    operator: Any
    training: bool


@dataclass
class Call:
    """One call, as an EdgeNet layer understands it.

    Args:
        source, target: the two sides' signals; the same one for one set of nodes, a target of None for none.
        pair: whether they came as two sides.
        edges: the edges to walk.
        given: what else ``EdgeNetConv.forward`` is called with.
        adjacency: the sparse matrix that the edges came as, where the weights go back into one.
    """

    source: Tensor
    target: Tensor | None
    pair: bool
    edges: Any
    given: dict[str, Any] = field(default_factory=dict)
    adjacency: Tensor | None = None

    @property
    def wants_weights(self) -> bool:
        return bool(self.given.get("return_attention_weights"))


class Calling:
    """x, edge_index and then ``arguments``, for layers that walk one set of nodes.

    One object serves all layers that are called alike; it holds nothing. A way of its own is a subclass, registered in
    ``CALLINGS``.
    """

    #: what the PyG layer takes after ``x`` and ``edge_index``, in its order
    arguments: ClassVar[tuple[str, ...]] = ()
    #: whether ``x`` may be the signals of two sets of nodes
    takes_pairs: ClassVar[bool] = False
    #: whether its messages have an axis for heads
    has_heads: ClassVar[bool] = False

    def read(self, layer: Layer, x: Any, edges: Any, args: tuple, named: dict[str, Any]) -> Call:
        """The call that these arguments are.

        Raises:
            TypeError: if they are not what the PyG layer takes.
            ShapeError: where the PyG layer would do with the input what an edge list and its weights cannot say.
        """
        given = self._bound(layer.origin, args, named)
        pair = isinstance(x, tuple)
        source, target = x if pair else (x, x)
        call = Call(source, target, pair, edges, given)
        if pair:
            self._check_pair(layer, call)
        self.read_options(layer, call)
        if is_sparse(edges):
            if layer.flow == "target_to_source":
                raise ShapeError("a sparse adjacency says its own direction; use flow='source_to_target' with it.")
            self.read_sparse(layer, call)
        return call

    def read_options(self, layer: Layer, call: Call) -> None:
        """What the arguments besides ``x`` and the edges say, put into the call."""

    def read_sparse(self, layer: Layer, call: Call) -> None:
        """What the values of a sparse adjacency mean: they are the weights of its edges."""
        if call.given.get("edge_weight") is not None:
            raise ShapeError("a sparse adjacency has edge weights of its own; pass one or the other.")
        if layer.add_self_loops:
            graph, _ = graph_of(call)
            if bool((graph.source == graph.target).any()):
                raise ShapeError(f"{layer.origin} adds to the self-loops of a sparse adjacency; pass an edge list.")

    def returned(self, call: Call, edge_index: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Edges and weights as PyG gives them back: an edge list, or a sparse matrix of the weights where one came."""
        if call.adjacency is None:
            return edge_index, weights
        order = stored_order(call.adjacency, edge_index)
        weights = weights[order]
        return weighed(call.adjacency, edge_index[:, order], weights), weights

    def _bound(self, origin: str, args: tuple, named: dict[str, Any]) -> dict[str, Any]:
        """The arguments by name, as Python would bind them."""
        known = ", ".join(("x", "edge_index", *self.arguments))
        if len(args) > len(self.arguments):
            raise TypeError(f"{origin} takes {known}, and was given {2 + len(args)} arguments.")
        given = dict(zip(self.arguments, args, strict=False))
        for name, value in named.items():
            if name in given:
                raise TypeError(f"{origin} got two values for {name!r}.")
            if name not in (*self.arguments, *IDS):
                raise TypeError(f"{origin} takes {known}, and was given {name!r}.")
            given[name] = value
        return given

    def _check_pair(self, layer: Layer, call: Call) -> None:
        source, target, given = call.source, call.target, call.given
        if layer.flow == "target_to_source":
            raise ShapeError(f"{layer.origin} with flow='target_to_source' swaps the two sides of a bipartite graph.")
        if not self.takes_pairs and source is not target:
            raise ShapeError(f"{layer.origin} walks one set of nodes; pass x, not a pair of signals.")
        size = given.get("size")
        if target is None and size is None:
            given["size"] = sides_of(call.edges) if is_sparse(call.edges) else (source.shape[0], source.shape[0])
        elif target is not None and size is not None and tuple(size) != (source.shape[-2], target.shape[-2]):
            raise ShapeError(f"size {tuple(size)} is not that of the signals, {(source.shape[-2], target.shape[-2])}.")


class Weighted(Calling):
    """x, edge_index, edge_weight: GCN, TAG, SG, ARMA."""

    arguments = ("edge_weight",)


class Spectral(Calling):
    """x, edge_index, edge_weight, batch, lambda_max: Chebyshev, which walks an operator that is made of them."""

    arguments = ("edge_weight", "batch", "lambda_max")

    def read_options(self, layer: Layer, call: Call) -> None:
        if is_sparse(call.edges):
            raise ShapeError(f"{layer.origin} takes an edge list; pass edge_index, (2, E), not a matrix.")
        given = call.given
        batch, largest = given.pop("batch", None), given.pop("lambda_max", None)
        call.edges, given["edge_weight"] = layer.operator(
            call.edges, call.source, given.get("edge_weight"), batch, largest
        )


class Summed(Calling):
    """x, edge_index, size, and no weights: SAGE, GIN."""

    arguments = ("size",)
    takes_pairs = True

    def read_options(self, layer: Layer, call: Call) -> None:
        if not call.pair:
            return
        if not layer.self_tap:  # the walk reads no target: they may be of another width, and a map of theirs is added
            if call.target is not None:
                call.given["size"] = call.source.shape[0], call.target.shape[0]
        elif call.target is None:  # nothing is added to the sum of the neighbours
            call.target = call.source.new_zeros(call.given["size"][1], call.source.shape[1])

    def read_sparse(self, layer: Layer, call: Call) -> None:
        call.edges, values = graph_of(call)
        if values is not None and not bool((values == 1).all()):
            raise ShapeError(f"{layer.origin} weighs no edges: a sparse adjacency must hold ones.")


class Featured(Summed):
    """x, edge_index, edge_attr, size: GINE, NNConv."""

    arguments = ("edge_attr", "size")

    def read_sparse(self, layer: Layer, call: Call) -> None:
        raise ShapeError(f"{layer.origin} takes an edge list here; pass edge_index, (2, E), not a matrix.")


class Typed(Summed):
    """x, edge_index, edge_type: relational graph convolutions."""

    arguments = ("edge_type",)

    def read(self, layer: Layer, x: Any, edges: Any, args: tuple, named: dict[str, Any]) -> Call:
        sides = x if isinstance(x, tuple) else (x,)
        if any(not isinstance(side, Tensor) or not side.is_floating_point() for side in sides):
            raise ShapeError(
                f"{layer.origin} without features, or of the numbers of nodes, learns a row for every node; pass the "
                f"features of an identity, torch.eye(N), or of an embedding."
            )
        return super().read(layer, x, edges, args, named)

    def read_options(self, layer: Layer, call: Call) -> None:
        super().read_options(layer, call)
        kind = call.given.pop("edge_type", None)
        if kind is None and not is_sparse(call.edges):
            raise ShapeError(f"{layer.origin} wants edge_type, (E,) whole numbers, the third argument.")
        call.given["edge_attr"] = kind

    def read_sparse(self, layer: Layer, call: Call) -> None:
        raise ShapeError(f"{layer.origin} takes an edge list here; pass edge_index, (2, E), not a matrix.")


class Initial(Calling):
    """x, x_0, edge_index, edge_weight: a layer of a deep network, which reads the signal that it began with."""

    arguments = ("edge_index", "edge_weight")

    def read(self, layer: Layer, x: Any, edges: Any, args: tuple, named: dict[str, Any]) -> Call:
        """``edges`` is the second argument, which here is the initial signal, unless the edges come by name."""
        named = dict(named)
        if "x_0" in named:
            first, args = named.pop("x_0"), (edges, *args)
        else:
            first = edges
        given = self._bound(layer.origin, args, named)
        if given.get("edge_index") is None:
            raise TypeError(f"{layer.origin} takes x, x_0, edge_index, edge_weight, and was given no edge_index.")
        found = given.pop("edge_index")
        call = super().read(layer, x, found, (), given)
        nodes = call.source.shape[-2]
        call.given["initial"] = first[..., :nodes, :]
        return call


class Attentive(Calling):
    """x, edge_index, edge_attr, return_attention_weights: GATv2. Attention that was frozen reads no features."""

    arguments = ("edge_attr", "return_attention_weights")
    takes_pairs = has_heads = True

    def read_options(self, layer: Layer, call: Call) -> None:
        given = call.given
        if not (layer.phi.follows_signal and self.reads_features(layer)):
            given.pop("edge_attr", None)
        filled = given.get("edge_attr") is not None and layer.add_self_loops and isinstance(layer.fill_value, str)
        if filled and layer.flow == "target_to_source":
            raise ShapeError(
                f"{layer.origin} with flow='target_to_source' fills the features of self-loops from the edges against "
                f"the flow; set fill_value to a number."
            )
        if not self.asks(given.pop("return_attention_weights", None)):
            return
        given["return_attention_weights"] = True
        if is_sparse(call.edges):
            if not isinstance(call.edges, Tensor):
                raise ShapeError("attention weights go back into a torch.sparse matrix or an edge list; pass one.")
            call.adjacency = call.edges

    def reads_features(self, layer: Layer) -> bool:
        """Whether edge features are read, or else refused; if not, they are passed over."""
        return True

    def asks(self, wanted: bool | None) -> bool:
        """Whether ``return_attention_weights`` asks for them."""
        return bool(wanted)

    def read_sparse(self, layer: Layer, call: Call) -> None:
        """PyG passes over its values, and reads features there of ``SparseTensor`` alone."""
        if layer.phi.follows_signal and getattr(layer.phi, "lift_edge", None) is not None:
            raise ShapeError(f"{layer.origin} takes an edge list here; pass edge_index, (2, E), not a matrix.")
        if isinstance(call.edges, Tensor) and call.edges.layout == torch.sparse_coo and not call.edges.is_coalesced():
            raise ShapeError(f"{layer.origin} counts the repeated entries of a sparse adjacency; coalesce it first.")
        call.edges, _ = graph_of(call)


class GraphAttention(Attentive):
    """x, edge_index, edge_attr, size, return_attention_weights: GAT."""

    arguments = ("edge_attr", "size", "return_attention_weights")

    def reads_features(self, layer: Layer) -> bool:
        return layer.phi.lift_edge is not None


class Transformer(Attentive):
    """As GATv2, but weights come back whenever they are spoken of."""

    def asks(self, wanted: bool | None) -> bool:
        return isinstance(wanted, bool)

    def read_options(self, layer: Layer, call: Call) -> None:
        super().read_options(layer, call)
        if call.wants_weights and layer.training and getattr(layer.phi, "dropout", 0) > 0:
            raise ShapeError(f"{layer.origin} returns its weights before dropout; ask for them in eval mode.")

    def returned(self, call: Call, edge_index: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """With the adjacency itself, where one came."""
        weights = super().returned(call, edge_index, weights)[1]
        return edge_index if call.adjacency is None else call.adjacency, weights


#: By name.
CALLINGS: dict[str, Calling] = {
    "weighted": Weighted(),
    "spectral": Spectral(),
    "summed": Summed(),
    "featured": Featured(),
    "typed": Typed(),
    "initial": Initial(),
    "graph_attention": GraphAttention(),
    "attention": Attentive(),
    "transformer": Transformer(),
}


def graph_of(call: Call) -> tuple[Graph, Tensor | None]:
    """The graph of a sparse adjacency, and its values."""
    nodes = call.target.shape[-2] if call.target is not None else call.given["size"][1]
    return Graph.of(call.edges, nodes, call.source.shape[-2])
