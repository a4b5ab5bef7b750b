"""What modules of graph signals are called with: a signal on the nodes of a graph, and nodes by their numbers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from edgenet.errors import ConfigError, ShapeError
from edgenet.graph import Graph
from edgenet.nn.options import is_whole

FLOWS = ("source_to_target", "target_to_source")


def walked_graph(x: Any, edges: Any, flow: str) -> tuple[Graph, Tensor | None]:
    """The graph that a signal lives on, turned round for "target_to_source"; and the values of a sparse adjacency.

    Raises:
        ShapeError: if the signal is none (..., N, F) of floats, or the graph has another number of nodes.
        EdgeIndexError: if the edges are malformed, or name a node that the signal has not.
    """
    if not isinstance(x, Tensor) or x.layout != torch.strided or x.dim() < 2 or not x.is_floating_point():
        found = f"{tuple(x.shape)} {x.dtype} {x.layout}" if isinstance(x, Tensor) else type(x).__name__
        raise ShapeError(
            f"a signal is (nodes, features), (batch, nodes, features) or (batch, time, nodes, features) of floats, "
            f"dense; got {found}."
        )
    graph, values = Graph.of(edges, x.shape[-2])
    if flow == "source_to_target":
        return graph, values
    if values is not None:
        raise ShapeError("a sparse adjacency says its own direction; use flow='source_to_target' with it.")
    return graph.transpose(), None


def checked_flow(flow: str) -> str:
    """The direction of messages.

    Raises:
        ConfigError: if it is none of ``FLOWS``.
    """
    if flow not in FLOWS:
        raise ConfigError(f"flow is one of {', '.join(FLOWS)}, got {flow!r}.")
    return flow


def checked_hops(hops: int) -> int:
    """How far neighbourhoods reach.

    Raises:
        ConfigError: if it is no whole number of 1 or more.
    """
    if not is_whole(hops) or hops < 1:
        raise ConfigError(f"hops are a whole number, 1 or more, got {hops!r}.")
    return int(hops)


def checked_nodes(nodes: Any) -> tuple[int, ...]:
    """Numbers of nodes, each once; of one whole number, so many nodes: the first.

    Raises:
        ConfigError: if they are no whole numbers of 0 or more, there are none, or one comes twice.
    """
    if isinstance(nodes, Tensor):
        nodes = nodes.tolist()
    if is_whole(nodes):
        nodes = range(int(nodes))
    if not isinstance(nodes, Iterable) or isinstance(nodes, str):
        raise ConfigError(f"nodes are numbers of nodes, or how many of the first, got {nodes!r}.")
    found = list(nodes)
    for place, node in enumerate(found):
        if not is_whole(node) or node < 0:
            raise ConfigError(f"nodes are whole numbers, 0 or more; number {place} of them is {node!r}.")
    numbers = tuple(int(node) for node in found)
    if not numbers or len(set(numbers)) < len(numbers):
        twice = next((node for node in numbers if numbers.count(node) > 1), None)
        raise ConfigError("at least one node is wanted." if twice is None else f"node {twice} is named twice.")
    return numbers


def check_within(nodes: tuple[int, ...], num_nodes: int) -> None:
    """Refuse nodes that a graph has not.

    Raises:
        ShapeError: with the largest of them.
    """
    if max(nodes) >= num_nodes:
        raise ShapeError(f"node {max(nodes)} was asked for, and the graph has {num_nodes} nodes, from 0 on.")
