"""Converted: an EdgeNet layer that is called as the PyG layer it was made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing
from torch_geometric.nn.inits import reset

from edgenet.convert.laplacian import ScaledLaplacian
from edgenet.errors import ShapeError
from edgenet.graph import Graph
from edgenet.nn import EdgeNetConv
from edgenet.structured import StructuredLinear

IDS = ("n_id", "e_id")  # EdgeNet layers find tables of weights by them


class Converted(MessagePassing):
    """What ``to_edgenet`` puts in the place of a PyG layer: ``conv``, called with that layer's arguments.

    y = after(gate(conv(x, ...), root(x_target)))

    It is a ``MessagePassing`` because ``to_hetero`` calls nothing else with edges; its ``conv`` moves the messages.

    Args:
        conv: the EdgeNet layer.
        origin: name of the PyG layer.
        arguments: what the PyG layer takes after ``x`` and ``edge_index``, in its order.
        sparse: what a sparse adjacency means to the PyG layer. "values": its values are the edge weights. "no_loops":
            as "values", and it must be without self-loops, which PyG treats otherwise there than in an edge list.
            "ones": its values must be 1. "edges": its values are passed over. "refused": nothing.
        project: a map of the sources' signal, followed by a ReLU, before everything (GraphSAGE).
        root: a map of the targets' signal, which is added (residual, skip, root weight).
        gate: 3 F_out -> 1, mixes the two instead: beta root + (1 - beta) conv, beta = sigmoid(gate) (transformer).
        normalize: whether to scale every output to length 1 (GraphSAGE).
        after: what the output goes through at last (the network of GIN).
        operator: edge weights that the walk takes instead of the given ones (Chebyshev).

    Raises:
        ShapeError: in ``forward``, where the PyG layer would do with the input what an edge list and its weights
            cannot say.
    """

    def __init__(
        self,
        conv: EdgeNetConv,
        origin: str,
        arguments: tuple[str, ...],
        *,
        sparse: str = "values",
        project: StructuredLinear | None = None,
        root: StructuredLinear | None = None,
        gate: StructuredLinear | None = None,
        normalize: bool = False,
        after: Callable[[Tensor], Tensor] | None = None,
        operator: ScaledLaplacian | None = None,
    ) -> None:
        super().__init__(aggr="add", flow=conv.flow)
        self.conv, self.origin, self.arguments, self.sparse = conv, origin, arguments, sparse
        self.project, self.root, self.gate, self.normalize = project, root, gate, normalize
        self.after, self.operator = after, operator
        self.frozen = False

    @property
    def in_channels(self) -> int | tuple[int, int]:
        return self.conv.in_channels

    @property
    def out_channels(self) -> int:
        return self.conv.out_channels

    @property
    def heads(self) -> int:
        return self.conv.heads

    @property
    def add_self_loops(self) -> bool:
        return self.conv.add_self_loops

    @property
    def adds_to_heads(self) -> bool:
        return self.root is not None

    def reset_parameters(self) -> None:
        """Draw all parameters anew, as an EdgeNet layer does."""
        super().reset_parameters()
        for part in (self.conv, self.project, self.root, self.gate, self.after):
            reset(part)

    def bind(self, edges: Any, num_nodes: int | None = None) -> Converted:
        """As ``EdgeNetConv.bind``."""
        self.conv.bind(edges, num_nodes)
        return self

    def forward(
        self, x: Tensor | tuple[Tensor, Tensor | None], edge_index: Any, *args: Any, **kwargs: Any
    ) -> Tensor | tuple[Tensor, tuple[Tensor, Tensor]]:
        """Arguments and result as of the PyG layer; ``n_id`` and ``e_id`` as of ``EdgeNetConv.forward`` besides."""
        given = self._named(args, kwargs)
        pair = isinstance(x, tuple)
        source, target = x if pair else (x, x)
        if pair and self.flow == "target_to_source":
            raise ShapeError(f"{self.origin} with flow='target_to_source' swaps the two sides of a bipartite graph.")
        takes_pairs = "size" in self.arguments or "return_attention_weights" in self.arguments
        if pair and not takes_pairs and source is not target:
            raise ShapeError(f"{self.origin} walks one set of nodes; pass x, not a pair of signals.")
        if pair and target is None and given.get("size") is None:
            given["size"] = (source.shape[0], source.shape[0])
        size = given.get("size")
        if size is not None and target is not None and tuple(size) != (source.shape[-2], target.shape[-2]):
            raise ShapeError(f"size {tuple(size)} is not that of the signals, {(source.shape[-2], target.shape[-2])}.")
        if self.project is not None:
            source = self.project(source).relu()
        alpha = self._wants_weights(given, edge_index)
        edge_index = self._edges(edge_index, source, target, given)

        signal = (source, target) if pair else source
        if pair and self.origin == "SAGEConv":  # whose walk reads no target: they may be of another width
            signal, given["size"] = (source, None), (source.shape[0], target.shape[0] if size is None else size[1])
        y = self.conv(signal, edge_index, **given)
        y, weights = y if alpha else (y, None)
        if self.root is not None and target is not None:
            own = self.root(target)
            if self.gate is None:
                y = y + own
            else:
                beta = self.gate(torch.cat([y, own, y - own], dim=-1)).sigmoid()
                y = beta * own + (1 - beta) * y
        if self.normalize:
            y = F.normalize(y, p=2.0, dim=-1)
        if self.after is not None:
            y = self.after(y)
        return (y, weights) if alpha else y

    def _named(self, args: tuple, kwargs: dict[str, Any]) -> dict[str, Any]:
        """The arguments by name, as Python would bind them."""
        if len(args) > len(self.arguments):
            raise TypeError(f"{self.origin} takes {', '.join(('x', 'edge_index', *self.arguments))}.")
        given = dict(zip(self.arguments, args, strict=False))
        for name, value in kwargs.items():
            if name in given:
                raise TypeError(f"{self.origin} got two values for {name!r}.")
            if name not in (*self.arguments, *IDS):
                known = ", ".join(("x", "edge_index", *self.arguments))
                raise TypeError(f"{self.origin} takes {known}, and was given {name!r}.")
            given[name] = value
        return given

    def _edges(self, edges: Any, source: Tensor, target: Tensor | None, given: dict[str, Any]) -> Any:
        """The edges to walk, as PyG's layer understands them; weights and features go into ``given``."""
        if self.frozen or (self.origin == "GATConv" and self.conv.phi.lift_edge is None):
            given.pop("edge_attr", None)  # PyG's GATConv passes over features that it has no map for
        if is_sparse(edges):
            features = self.sparse == "edges" and not self.frozen and self.conv.phi.lift_edge is not None
            if self.sparse == "refused" or features:
                raise ShapeError(f"{self.origin} takes an edge list here; pass edge_index, (2, E), not a matrix.")
            if given.get("edge_weight") is not None:
                raise ShapeError("a sparse adjacency has edge weights of its own; pass one or the other.")
            nodes = target.shape[-2] if target is not None else given["size"][1]
            graph, values = Graph.of(edges, nodes, source.shape[-2])
            if self.sparse == "no_loops" and self.add_self_loops and bool((graph.source == graph.target).any()):
                raise ShapeError(f"{self.origin} adds to the self-loops of a sparse adjacency; pass an edge list.")
            if self.sparse == "ones" and values is not None and not bool((values == 1).all()):
                raise ShapeError(f"{self.origin} weighs no edges: a sparse adjacency must hold ones.")
            if self.sparse in ("ones", "edges"):
                return graph
        if self.operator is not None:
            graph, given["edge_weight"] = self.operator(
                edges, source, given.get("edge_weight"), given.pop("batch", None), given.pop("lambda_max", None)
            )
            return graph
        return edges

    def _wants_weights(self, given: dict[str, Any], edges: Any) -> bool:
        wanted = given.pop("return_attention_weights", None)
        # PyG's TransformerConv returns them for False, too
        wanted = isinstance(wanted, bool) if self.origin == "TransformerConv" else bool(wanted)
        if not wanted:
            return False
        if is_sparse(edges):
            raise ShapeError("attention weights belong to an edge list; pass edge_index, (2, E), not a matrix.")
        if self.origin == "TransformerConv" and self.training and self.conv.phi.dropout > 0 and not self.frozen:
            raise ShapeError("TransformerConv returns its weights before dropout; ask for them in eval mode.")
        given["return_attention_weights"] = True
        return True

    def __repr__(self) -> str:
        return nn.Module.__repr__(self)

    def extra_repr(self) -> str:
        return f"as {self.origin}(x, edge_index, {', '.join(self.arguments)})"


def is_sparse(edges: Any) -> bool:
    """Whether edges came as a sparse matrix."""
    return (isinstance(edges, Tensor) and edges.layout != torch.strided) or hasattr(edges, "sparse_sizes")
