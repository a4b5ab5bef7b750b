"""StoredGraph: what samplers read of a data set, of one type or several."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data, FeatureStore, GraphStore, HeteroData
from torch_geometric.sampler.utils import to_csc

from edgenet.errors import ConfigError
from edgenet.sampling.columns import Columns

EdgeType = tuple[str, str, str]
#: the one type of nodes, and of edges, of a graph without types
ALONE: str = ""
EDGES: EdgeType = ("", "", "")


@dataclass(frozen=True, eq=False)
class StoredGraph:
    """Edges by type, and when nodes or edges came to be.

    Attributes:
        columns: the edges of every type.
        nodes: how many nodes a type has.
        is_hetero: whether there are types; else there are ``ALONE`` and ``EDGES``.
        node_time: by type, where nodes have times.
        is_temporal: whether nodes or edges have.
    """

    columns: Mapping[EdgeType, Columns]
    nodes: Mapping[str, int]
    is_hetero: bool
    node_time: Mapping[str, Tensor] = field(default_factory=dict)
    is_temporal: bool = False

    @classmethod
    def of(cls, data: Any, time_attr: str | None = None, weight_attr: str | None = None) -> StoredGraph:
        """What of PyG's classes samplers read; see ``NeighborSampler``."""
        if isinstance(data, Data):
            return _of_data(data, time_attr, weight_attr)
        if isinstance(data, HeteroData):
            return _of_hetero(data, time_attr, weight_attr)
        if isinstance(data, tuple | list) and len(data) == 2:
            features, graph = data
            if isinstance(features, FeatureStore) and isinstance(graph, GraphStore):
                if weight_attr is not None:
                    raise ConfigError("a GraphStore has no edge weights to draw by; leave weight_attr out.")
                return _of_stores(features, graph, time_attr)
        raise ConfigError(
            f"samplers read a Data, a HeteroData, or a pair (FeatureStore, GraphStore) of PyG's, got "
            f"{type(data).__name__}."
        )


def _of_data(data: Data, time_attr: str | None, weight_attr: str | None) -> StoredGraph:
    nodes = int(data.num_nodes or 0)
    node_time, edge_time = {}, None
    if time_attr is not None:
        _there(time_attr, time_attr in data, "time_attr")
        if data.is_node_attr(time_attr):
            node_time = {ALONE: data[time_attr].cpu()}
        else:
            edge_time = data[time_attr]
    columns = _columns(data, nodes, nodes, node_time.get(ALONE), edge_time, weight_attr)
    return StoredGraph({EDGES: columns}, {ALONE: nodes}, False, node_time, time_attr is not None)


def _of_hetero(data: HeteroData, time_attr: str | None, weight_attr: str | None) -> StoredGraph:
    nodes = {kind: int(data[kind].num_nodes or 0) for kind in data.node_types}
    node_time: dict[str, Tensor] = {}
    if time_attr is not None:
        node_time = {kind: data[kind][time_attr].cpu() for kind in data.node_types if time_attr in data[kind]}
        with_edges = [kind for kind in data.edge_types if time_attr in data[kind]]
        _there(time_attr, bool(node_time or with_edges), "time_attr")
        if node_time and with_edges:
            raise ConfigError(f"time_attr {time_attr!r} is a field of nodes and of edges; name one of either.")
    if weight_attr is not None:
        _there(weight_attr, any(weight_attr in data[kind] for kind in data.edge_types), "weight_attr")
    columns = {}
    for kind in data.edge_types:
        store, (source, _, target) = data[kind], kind
        edge_time = store[time_attr] if time_attr is not None and time_attr in store else None
        by = weight_attr if weight_attr is not None and weight_attr in store else None
        columns[kind] = _columns(store, nodes[target], nodes[source], node_time.get(source), edge_time, by)
    return StoredGraph(columns, nodes, True, node_time, time_attr is not None)


def _columns(
    store: Any, targets: int, sources: int, source_time: Tensor | None, edge_time: Tensor | None, by: str | None
) -> Columns:
    edges = store.edge_index if "edge_index" in store else None
    if edges is None and ("adj" in store or "adj_t" in store):
        if source_time is not None or edge_time is not None or by is not None:
            raise ConfigError("edges with times or weights are read from edge_index, and the data have an adjacency.")
        if not hasattr(store["adj" if "adj" in store else "adj_t"], "csr"):
            raise ConfigError("an adjacency is read where it is torch-sparse's; give edge_index instead.")
        return Columns.stored(*to_csc(store, device=torch.device("cpu")))
    edges = torch.empty(2, 0, dtype=torch.long) if edges is None else edges
    if source_time is not None:
        edge_time = source_time[edges[0].cpu()]
    if by is not None:
        _there(by, by in store, "weight_attr")
    return Columns.of(edges, targets, sources, edge_time, None if by is None else store[by])


def _of_stores(features: Any, graph: Any, time_attr: str | None) -> StoredGraph:
    kinds = [attr.edge_type for attr in graph.get_all_edge_attrs()]
    is_hetero = kinds != [None]
    times: dict[Any, Tensor] = {}
    for attr in features.get_all_tensor_attrs() if time_attr is not None else []:
        if attr.attr_name == time_attr:
            if isinstance(attr.group_name, tuple):
                raise ConfigError("of a FeatureStore, times of nodes are read, not of edges.")
            found = features.get_tensor(group_name=attr.group_name, attr_name=time_attr, index=None)
            times[attr.group_name or ALONE] = found.cpu()
    if time_attr is not None:
        _there(time_attr, bool(times), "time_attr")
    source, ptr, edge = graph.csc()
    sizes: dict[str, int] = {}
    for attr in graph.get_all_edge_attrs():
        ends = (ALONE, ALONE) if attr.edge_type is None else (attr.edge_type[0], attr.edge_type[2])
        for end, size in zip(ends, attr.size, strict=True):
            sizes[end] = max(sizes.get(end, 0), int(size))
    if not is_hetero:
        columns = {EDGES: Columns.stored(ptr, source, edge, times.get(ALONE))}
    else:
        columns = {k: Columns.stored(ptr[k], source[k], (edge or {}).get(k), times.get(k[0])) for k in ptr}
    return StoredGraph(columns, sizes, is_hetero, times, bool(times))


def _there(name: str, there: bool, argument: str) -> None:
    if not there:
        raise ConfigError(f"{argument} {name!r} is no field of the data.")
