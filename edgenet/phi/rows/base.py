"""RowFinder: which row of a table holds the weight of an edge, and which that of a node."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn

from edgenet.errors import SupportError
from edgenet.graph import Graph
from edgenet.ops.stacked import is_stacked
from edgenet.phi.rows.shared import meta_of, read, shared, stored

#: the row, in an exported program, of an edge that a table does not know: it weighs NaN there, where layers raise
UNKNOWN = -2


class RowFinder(nn.Module, ABC):
    """Maps edges and nodes to rows of an edge table and a node table.

    Attributes:
        edge_rows, node_rows: the sizes of the two tables; None until the graph is known.
        belongs_to_graph: whether rows belong to one graph, which must be the first that is met, and whole.
        one_an_edge: whether every edge has a row of its own.

    Example:
        >>> issubclass(edgenet.phi.rows.ByHash, edgenet.phi.rows.RowFinder)
        True
    """

    edge_rows: int | None = None
    node_rows: int | None = None
    belongs_to_graph: bool = False
    one_an_edge: bool = False

    def bind(self, graph: Graph) -> None:
        """Learn the graph that the tables belong to. Nothing to do for rows that any graph may use."""

    @abstractmethod
    def of_edges(self, graph: Graph, edge_attr: Tensor | None) -> Tensor:
        """(E,) row of every edge; -1 for an edge without a weight of its own."""

    @abstractmethod
    def of_nodes(self, graph: Graph) -> Tensor:
        """(N,) row of every node; -1 likewise."""

    def bound_graph(self) -> Graph | None:
        """The edges that have rows of their own, in the order of the rows' keys; None where that is not known."""
        return None

    def is_stacked(self) -> bool:
        """Whether ``vmap`` brings an index for every member of an ensemble: what a graph remembers is of one alone."""
        return is_stacked(*self._buffers.values())

    def stored_rows(self, state_dict: Mapping[str, Tensor], prefix: str) -> tuple[int | None, int | None]:
        """How many rows the two tables have in a checkpoint; None where it does not say."""
        return None, None


class OfGraph(RowFinder):
    """Rows that belong to the nodes of one graph.

    What says which row is whose are buffers that no one writes into: they are replaced, and those of equal contents are
    one tensor in all tables of a process, and one in a file.

    Example:
        >>> issubclass(edgenet.phi.rows.ByNode, edgenet.phi.rows.OfGraph)
        True
    """

    belongs_to_graph = True
    num_nodes: Tensor  # N, or two numbers, of the targets and the sources of a bipartite graph

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("num_nodes", torch.tensor(-1))

    @property
    def is_bound(self) -> bool:
        return self.edge_rows is not None

    def global_id(self, graph: Graph) -> Tensor | None:
        """(N,) index of this graph's nodes in the bound graph; None if they are the same.

        Raises:
            SupportError: if the graph is not the bound one and does not say which of its nodes it holds.
        """
        bound = self._num_nodes
        if graph.node_id is None:
            if graph.num_nodes != bound:
                raise SupportError(
                    f"the table belongs to a graph of {bound} nodes and is used on one of {graph.num_nodes}. "
                    f"For a sampled "
                    f"piece pass n_id (and e_id); for other graphs share weights by type or hash."
                )
            return None
        if not torch.compiler.is_compiling() and graph.num_nodes:
            low, high = (int(v) for v in graph.node_id.aminmax())
            if low < 0 or high >= bound:
                raise SupportError(
                    f"n_id holds {low if low < 0 else high}, but the table's graph has nodes 0 to {bound - 1}."
                )
        return graph.node_id

    def checked_edge_id(self, graph: Graph, bound: int, added_loops: bool) -> Tensor:
        """(E,) ``edge_id``, which names edges of the bound graph, and -1 added loops.

        Args:
            bound: how many edges the bound graph has.
            added_loops: whether there are rows, or a diagonal, for added loops.

        Raises:
            SupportError: if it names others.
        """
        if not torch.compiler.is_compiling() and graph.num_edges:
            low, high = (int(v) for v in graph.edge_id.aminmax())
            if low == -1 and not added_loops:
                raise SupportError("added self-loops have no e_id, and their weights are found by node: pass n_id too.")
            if low < -1 or high >= bound:
                raise SupportError(f"e_id holds {low if low < 0 else high}; the table's graph has {bound} edges.")
        return graph.edge_id

    @staticmethod
    def refuse_piece(graph: Graph) -> None:
        """
        Raises:
            SupportError: if the graph is a piece of a larger one.
        """
        if graph.node_id is not None or graph.edge_id is not None:
            raise SupportError(
                "bind a table of edge weights to the full graph, not to a sampled piece: conv.bind(data.edge_index)."
            )

    # ---------------------------------------------------------------- buffers that are replaced, never written into
    def _hold(self, **buffers: Tensor) -> None:
        for name, value in buffers.items():
            self._buffers[name] = shared(value)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        before = dict(self._buffers)
        super()._apply(fn, recurse)
        moved = {k: v for k, v in self._buffers.items() if v is not None and v is not before[k]}
        self._hold(**{k: meta_of(before[k], v) if v.is_meta else v for k, v in moved.items()})
        return self

    def _save_to_state_dict(self, destination: dict, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        for name in self._buffers:
            if prefix + name in destination:
                destination[prefix + name] = stored(destination[prefix + name])

    def _load_from_state_dict(
        self, state_dict: dict, prefix: str, local_metadata: dict, strict: bool, missing: list, unexpected: list, *args
    ) -> None:
        for hook in self._load_state_dict_pre_hooks.values():
            hook(state_dict, prefix, local_metadata, strict, missing, unexpected, *args)
        found = self._stored(state_dict, prefix, strict, missing, unexpected)
        if found is None:
            return
        # all or nothing: keys of one graph with the node count of another would name wrong edges
        if self.is_bound and not self._fits(found):
            args[-1].append(
                f"{prefix[:-1] or type(self).__name__} is bound to a graph of {self._num_nodes} nodes and cannot "
                f"take the table of another, of {found['num_nodes'].tolist()} nodes or other edges. Load into a new, "
                f"unbound layer."
            )
            return
        if not local_metadata.get("assign_to_params_buffers", False):
            found = {name: value.to(self.num_nodes.device) for name, value in found.items()}
        self._take(found)
        self._sizes()

    def _stored(
        self, state_dict: dict, prefix: str, strict: bool, missing: list, unexpected: list
    ) -> dict[str, Tensor] | None:
        """All buffers as they are stored; None if one is missing. ``missing`` and ``unexpected`` take names."""
        names = [name for name in self._buffers if name not in self._non_persistent_buffers_set]
        found = {name: read(state_dict[prefix + name]) for name in names if prefix + name in state_dict}
        if strict:
            missing += [prefix + name for name in names if name not in found]
            own = {key.removeprefix(prefix): key for key in state_dict if key.startswith(prefix)}
            unexpected += [key for name, key in own.items() if "." not in name and name not in names]
        return found if len(found) == len(names) else None

    def _fits(self, stored: dict[str, Tensor]) -> bool:
        """Whether stored buffers are of a table with as many rows."""
        return int(stored["num_nodes"].reshape(-1)[0]) == self._num_nodes

    def _take(self, stored: dict[str, Tensor]) -> None:
        self._hold(**stored)

    def _sizes(self) -> None:
        """Read the plain numbers off the buffers."""
        self._num_nodes = int(self.num_nodes.reshape(-1)[0])


def need_node_id(graph: Graph) -> None:
    """Refuse a sampled piece of which only the edges are known, where rows belong to nodes.

    Raises:
        SupportError: if the graph has ``edge_id`` and no ``node_id``.

    Example:
        >>> edgenet.phi.rows.need_node_id(graph)  # a whole graph is no sampled piece: nothing is raised
    """
    if graph.edge_id is not None and graph.node_id is None:
        raise SupportError("these weights belong to nodes: pass n_id beside e_id for a sampled piece.")


def stored_number(state_dict: Mapping[str, Any], key: str) -> int | None:
    """A number in a checkpoint; None where there is none, or it says that nothing was bound."""
    value = state_dict.get(key)
    number = -1 if value is None else int(value.reshape(-1)[0])  # of two, that of the targets
    return None if number < 0 else number
