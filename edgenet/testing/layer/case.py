"""A layer to look into, and the signal, edges, weights and features that it is called with."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing

NODES, TARGETS = 7, 5
#: undirected, for spectral filters; the last node has no edges, and one has a loop
EDGES = torch.tensor([[1, 0, 2, 1, 4, 3, 0, 2, 5, 3, 4, 1, 0], [0, 1, 1, 2, 3, 4, 2, 0, 3, 5, 1, 4, 0]])
LOOPLESS = EDGES[:, :-1]
ACROSS = torch.tensor([[6, 0, 2, 1, 4, 3, 0, 2, 5], [0, 1, 1, 2, 3, 4, 2, 0, 3]])  # from 7 sources to 5 targets
#: (in_channels, out_channels): the layer widens the signal, or narrows it
WIDTHS = {"narrow": (4, 8), "wide": (40, 4)}

Made = tuple[nn.Module, Any, dict[str, Any]]


@dataclass(frozen=True)
class LayerCase:
    """A layer to look into.

    Attributes:
        make: the layer, of its numbers of input and output channels.
        weights: columns of edge weights that it is given; 0 for none.
        features: edge features that it is given: D numbers; -T for integer types of edges, 0 to T - 1.
        widths: names of the widths at which its shortcuts differ, of ``WIDTHS``.
        batches: whether it takes a batch of signals on one graph, (B, N, F).
        sparse: whether it reads sparse features.
        pair: whether it is called with the signals of sources and targets, of i and i + 1 channels.
        name: of the case.
        width: the one that is looked at.

    Example:
        >>> case = edgenet.testing.LayerCase(lambda width, out: edgenet.nn.specializations.gcn(width, out), name="gcn")
    """

    make: Callable[[Any, int], nn.Module]
    weights: int = 0
    features: int = 0
    widths: tuple[str, ...] = ("narrow", "wide")
    batches: bool = True
    sparse: bool = True
    pair: bool = False
    name: str = "layer"
    width: str = "narrow"

    def __str__(self) -> str:
        return f"{self.name}-{self.width}"

    @property
    def channels(self) -> tuple[int, int]:
        """Of the input, and as the layer is asked for in the output."""
        return WIDTHS[self.width]

    def at(self, width: str) -> LayerCase:
        return replace(self, width=width)

    def bare(self) -> nn.Module:
        """The layer as it is made, with its size and its graph."""
        layer: Any = self.make(*self.channels)
        if not self.pair and hasattr(layer, "bind"):  # tables that are structured from the start want it
            layer.bind(LOOPLESS if self.weights else EDGES, NODES)
        return layer

    def fresh(self) -> Made:
        """The layer with numbers in all its parameters, in training; its signal; and the rest of its arguments, by
        name. The layer is a copy: change it at will."""
        layer, x, more = prepared(self)
        # what PyG has learned of the class is large, and stays as it is
        told = {id(m.inspector): m.inspector for m in layer.modules() if isinstance(m, MessagePassing)}
        return copy.deepcopy(layer, told), x, more

    def ready(self) -> Made:
        """``fresh``, in eval mode."""
        layer, x, more = self.fresh()
        return layer.eval(), x, more


@lru_cache(maxsize=256)
def prepared(case: LayerCase) -> Made:
    """As ``fresh``, always the same one: look, and change nothing."""
    torch.manual_seed(0)
    layer, (i, _) = case.bare(), case.channels
    edges = ACROSS if case.pair else LOOPLESS if case.weights else EDGES
    count = edges.shape[1]
    x = (torch.randn(NODES, i), torch.randn(TARGETS, i + 1)) if case.pair else torch.randn(NODES, i)
    more: dict[str, Any] = {"edge_index": edges}
    if case.weights:
        more["edge_weight"] = torch.rand(count, case.weights).squeeze(1) + 0.5
    if case.features:  # types of edges, or numbers
        features = torch.randint(-case.features, (count,)) if case.features < 0 else torch.randn(count, case.features)
        more["edge_attr"] = features
    with torch.no_grad():
        layer(x, **more)
        for parameter in layer.parameters():
            parameter.add_(torch.rand_like(parameter).mul_(0.3).add_(0.1))
    return layer.train(), x, more


def takes(layer: nn.Module, argument: str) -> bool:
    """Whether the layer can be called with an argument of this name."""
    parameters = inspect.signature(layer.forward).parameters
    return argument in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def each(x: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """The function of the signal, or of both signals of a pair."""
    return tuple(map(function, x)) if isinstance(x, tuple) else function(x)


def of_edges(more: dict[str, Any], function: Callable[[Tensor], Tensor], edges: Tensor) -> dict[str, Any]:
    """The arguments of a layer on other edges, with the function of all that has a row for every edge."""
    return {name: edges if name == "edge_index" else function(value) for name, value in more.items()}
