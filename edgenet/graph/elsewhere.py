"""Graphs as other packages have them: networkx, scipy."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from edgenet.errors import ShapeError


class Edges(Protocol):
    """What is asked of a graph here; see ``Graph``."""

    @property
    def num_nodes(self) -> int: ...
    @property
    def num_sources(self) -> int: ...
    @property
    def num_edges(self) -> int: ...
    @property
    def is_bipartite(self) -> bool: ...
    @property
    def source(self) -> Tensor: ...
    @property
    def target(self) -> Tensor: ...


def to_networkx(graph: Edges, weights: Tensor | None, weight: str) -> Any:
    """See ``Graph.to_networkx``."""
    import networkx  # slow to import

    made: Any = networkx.MultiDiGraph()
    source: list[Any] = graph.source.tolist()
    target: list[Any] = graph.target.tolist()
    if graph.is_bipartite:
        made.add_nodes_from((("source", i) for i in range(graph.num_sources)), bipartite=0)
        made.add_nodes_from((("target", i) for i in range(graph.num_nodes)), bipartite=1)
        source, target = [("source", i) for i in source], [("target", i) for i in target]
    else:
        made.add_nodes_from(range(graph.num_nodes))
    if weights is None:
        made.add_edges_from(zip(source, target, strict=True))
    else:
        values = _one_an_edge(graph, weights).detach().tolist()
        made.add_edges_from((a, b, {weight: value}) for a, b, value in zip(source, target, values, strict=True))
    return made


def to_scipy(graph: Edges, weights: Tensor | None) -> Any:
    """See ``Graph.to_scipy``."""
    import scipy.sparse  # slow to import

    given = torch.ones(graph.num_edges) if weights is None else _one_an_edge(graph, weights)
    if given.dim() != 1:
        raise ShapeError(f"a sparse matrix has one number an edge, got {tuple(given.shape)}; take one column.")
    values = given.detach().cpu()
    values = values.float() if values.dtype in (torch.bfloat16, torch.float16) else values
    ends = graph.target.cpu().numpy(), graph.source.cpu().numpy()
    return scipy.sparse.coo_array((values.numpy(), ends), shape=(graph.num_nodes, graph.num_sources)).tocsr()


def _one_an_edge(graph: Edges, weights: Tensor) -> Tensor:
    if not isinstance(weights, Tensor) or weights.dim() == 0 or weights.shape[0] != graph.num_edges:
        got = tuple(weights.shape) if isinstance(weights, Tensor) else type(weights).__name__
        raise ShapeError(f"weights have one row for each of {graph.num_edges} edges, got {got}.")
    return weights
