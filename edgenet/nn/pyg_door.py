"""The door to PyG: what a layer does where PyG's explainers, hooks and subclasses look at its messages."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch_geometric.nn import MessagePassing
from torch_geometric.nn.aggr import SumAggregation

from edgenet.graph import Graph
from edgenet.shortcuts import untouched

#: arguments of the layer that are ``MessagePassing``'s
OPTIONS = ("flow", "decomposed_layers")
_PROPAGATE = getattr(MessagePassing, "_orig_propagate", MessagePassing.propagate)  # PyG's own, before it is templated
_HOOKS = tuple(
    f"_{step}_forward_{when}hooks"
    for step in ("propagate", "message", "aggregate", "edge_update")
    for when in ("pre_", "")
)
_STEPS = ("message", "aggregate", "update", "edge_update", "propagate")  # of the last PyG makes one for each class
_changing: dict[type, bool] = {}  # whether a class has a step of its own


class PygDoor(MessagePassing):
    """A ``MessagePassing`` that calls ``propagate`` only where somebody looks: under its hooks, while PyG explains, and
    in subclasses that change a step. Otherwise ``ops.spmm`` does the same without a message an edge.

    Then every hop is ``propagate(edge_index, x=..., alpha=...)`` with (E, H) ``alpha``, where PyG's tools look for
    attention, and weights go through ``edge_updater`` first.
    """

    in_channels: int | tuple[int, int]
    out_channels: int
    takes_graph = True  # for the edges; what PyG makes of its own layers does not
    propagate_type: ClassVar[dict[str, type]] = {"x": Tensor, "alpha": Tensor}
    edge_updater_type: ClassVar[dict[str, type]] = {"alpha": Tensor}

    def __init__(self, **options: Any) -> None:
        super().__init__(aggr="add", node_dim=0, **options)
        # PyG takes the templated propagate of a base class for the original, and would not explain subclasses
        type(self)._orig_propagate = _PROPAGATE

    @property
    def drops_head_axis(self) -> bool:
        """Whether messages of one head are (E, C), as they are in PyG's layers without heads, and not (E, 1, C)."""
        return False

    def is_looked_at(self) -> bool:
        """Whether messages must be PyG's."""
        return self.is_changed() or not untouched(self.aggr_module)

    def is_changed(self) -> bool:
        """The same, but for what may be on the module that sums messages."""
        kind, own = type(self), self.__dict__
        if kind not in _changing:
            _changing[kind] = any(getattr(kind, step) is not getattr(PygDoor, step) for step in _STEPS[:-1])
        if self.explain or _changing[kind] or type(self.aggr_module) is not SumAggregation:
            return True
        for hooks in _HOOKS:
            if own[hooks]:
                return True
        given_back = getattr(kind, "_jinja_propagate", _PROPAGATE)  # by PyG, to a layer that it has explained
        for step in _STEPS:  # noqa: SIM110  a generator is one call more, at every pass
            if step in own and getattr(own[step], "__func__", None) is not given_back:
                return True
        return False

    def propagated(self, graph: Graph, weight: Tensor, x: Tensor) -> Tensor:
        """``ops.spmm`` by PyG's ``propagate``."""
        width = self._gated_width(x)
        if width is not None and x.shape[-1] > 1:
            return self._propagated(graph, weight, x.unflatten(-1, (-1, width))).flatten(2)
        if width is not None:
            x = x.squeeze(-1) if x.shape[1] == width else x.view(len(x), -1, width)
            return self._propagated(graph, weight, x).flatten(1).unsqueeze(-1)
        if self.drops_head_axis and x.shape[1] == weight.shape[1] == 1:
            return self._propagated(graph, weight, x.squeeze(1)).unsqueeze(1)
        return self._propagated(graph, weight, x)

    def _gated_width(self, x: Tensor) -> int | None:
        """Channels of a message for explainers with a rule of their own for messages: GraphMask's gates are as wide as
        the layer's input or output. Scalar filters, and blocks of channels, are grouped to that. None: as they are."""
        if "explain_message" not in self.__dict__:
            return None
        sides = self.in_channels if isinstance(self.in_channels, tuple) else (self.in_channels,)
        widths = [width for width in (*sides, self.out_channels) if width > 1]
        heads, channels = x.shape[1:]
        if channels in widths:
            return None
        return next((width for width in widths if (channels if channels > 1 else heads) % width == 0), None)

    def _propagated(self, graph: Graph, weight: Tensor, x: Any) -> Tensor:
        if "explain_message" in self.__dict__ and graph.num_sources != graph.num_nodes:
            x = (x, x.new_zeros(graph.num_nodes, *x.shape[1:]))  # it reads both ends of an edge
        if self.flow == "target_to_source":  # the graph was turned round for us, and propagate turns it again
            x = x[::-1] if isinstance(x, tuple) else x
            return self.propagate(
                graph.edge_index.flip(0), x=x, alpha=weight, size=(graph.num_nodes, graph.num_sources)
            )
        return self.propagate(graph.edge_index, x=x, alpha=weight, size=(graph.num_sources, graph.num_nodes))

    def updated(self, weights: Tensor, graph: Graph) -> Tensor:
        """(K, E, H) weights as hooks of ``edge_updater`` leave them; hops that share them are updated once."""
        edges, size = graph.edge_index, (graph.num_sources, graph.num_nodes)
        if self.flow == "target_to_source":
            edges, size = edges.flip(0), size[::-1]
        if len(weights) == 0:
            return weights
        alike = weights.stride(0) == 0
        hops = [self.edge_updater(edges, size=size, alpha=w) for w in (weights[:1] if alike else weights)]
        return hops[0].expand(len(weights), -1, -1) if alike else torch.stack(hops)

    def message(self, x_j: Tensor, alpha: Tensor) -> Tensor:
        if x_j.dim() == 3 and 1 < x_j.shape[1] < alpha.shape[1]:  # scalar filters, grouped
            alpha = alpha.view_as(x_j)
        return alpha.view(*alpha.shape, *[1] * (x_j.dim() - alpha.dim())) * x_j

    def edge_update(self, alpha: Tensor) -> Tensor:
        return alpha
