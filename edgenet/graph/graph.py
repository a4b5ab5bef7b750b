"""Graph: a directed edge list with both sort orders, checked and sorted at most once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch._guards import detect_fake_mode
from torch._subclasses.fake_tensor import is_fake

from edgenet import shortcuts
from edgenet.errors import EdgeIndexError, ShapeError
from edgenet.graph.checks import (
    check_edge_id,
    check_memory,
    check_range,
    check_sparse_size,
    checked_integers,
    checked_shape,
)
from edgenet.graph.elsewhere import to_networkx, to_scipy
from edgenet.graph.given import indices_of, parts_of, remembered, traced
from edgenet.graph.keeping import kept_once, orders
from edgenet.seen import Seen

T = TypeVar("T")

#: beginnings of the keys (kind, row) under which a graph keeps its edges sorted by source (row 0) or target (row 1)
_ORDERS = ("sorted", "native")
_NOTHING: Any = object()


@dataclass(frozen=True, eq=False)
class Graph:
    """E directed edges on N nodes. Messages flow from row 0 of ``edge_index`` (source) to row 1 (target), as in PyG.

    Edge weights stay in the order of ``edge_index`` as given; sorting is the kernels' business. The sort orders are
    built when first asked for, and kept until the edges change. Changes through NumPy are seen at once, those through
    ``edge_index.data`` when a layer is called with the graph. What ``torch.compile`` made of a call with a graph takes
    the orders that it had then: change the edges, and hand it a new ``Graph``.

    Args:
        edge_index: (2, E) int64.
        num_nodes: N, the number of target nodes.
        num_sources: number of source nodes; differs from N only for bipartite graphs. Default N.
        node_id: (N,) int64, index of every node in the full graph when this graph is a sampled piece of it.
        edge_id: (E,) int64, column of every edge in the full graph's ``edge_index``, likewise.

    Raises:
        EdgeIndexError: if ``edge_index`` is not (2, E) integers, an index names no node, or ids are not integers.
        ShapeError: if ``node_id`` or ``edge_id`` has another length than there are nodes or edges.

    Example:
        >>> graph = edgenet.Graph(torch.tensor([[0, 1, 2], [1, 2, 0]]), num_nodes=3)
        >>> graph.num_edges, graph.in_degree.tolist()
        (3, [1, 1, 1])
    """

    edge_index: Tensor
    num_nodes: int
    num_sources: int = None  # type: ignore[assignment]  # None stands for N, and is N from __post_init__ on
    node_id: Tensor | None = None
    edge_id: Tensor | None = None
    _memo: dict[Any, Any] = field(default_factory=dict, repr=False)  # what was computed once for this graph
    _own: bool = field(default=False, repr=False)  # whether nobody else writes into edge_index

    def __post_init__(self) -> None:
        if self.num_sources is None:
            object.__setattr__(self, "num_sources", self.num_nodes)
        checked = checked_shape(self.edge_index)
        object.__setattr__(self, "edge_index", checked)
        for name, ids in (("node_id", self.node_id), ("edge_id", self.edge_id)):
            if ids is not None:  # int64, in which keys made of two ids do not overflow
                object.__setattr__(self, name, checked_integers(name, ids))
        if torch.compiler.is_compiling() or self._has_no_numbers():
            return
        self._refresh()
        for name, ids, count in (
            ("node_id", self.node_id, self.num_nodes),
            ("edge_id", self.edge_id, self.num_edges),
        ):
            if ids is not None and ids.shape != (count,):
                raise ShapeError(
                    f"{name} must hold one index for each of the {count} {name[:4]}s, got shape {tuple(ids.shape)}. "
                    f"PyG's Data.generate_ids() writes them before a loader slices the graph."
                )

    # ---------------------------------------------------------------- plain facts
    @property
    def num_edges(self) -> int:
        return self.edge_index.shape[1]

    @property
    def source(self) -> Tensor:
        """(E,) node every edge leaves."""
        return self.edge_index[0]

    @property
    def target(self) -> Tensor:
        """(E,) node every edge enters."""
        return self.edge_index[1]

    @property
    def is_bipartite(self) -> bool:
        return self.num_sources != self.num_nodes

    @property
    def in_degree(self) -> Tensor:
        """(N,) number of edges that enter each node."""
        return self.rowptr.diff()

    @property
    def snapshot(self) -> Tensor:
        """(2, E) the edges as they were checked: a copy of those that others may write into at any time."""
        of = None if traced() else self._memo.get("of")
        return self.edge_index if of is None or of.edges.value is None else of.edges.value

    # ---------------------------------------------------------------- sort orders
    @property
    def by_target(self) -> Tensor:
        """(E,) permutation that sorts the edges by target, stable."""
        return self._sorted(1, self.num_nodes)[1]

    @property
    def rowptr(self) -> Tensor:
        """(N + 1,) where each target's edges begin in ``by_target``."""
        return self._sorted(1, self.num_nodes)[0]

    @property
    def by_source(self) -> Tensor:
        """(E,) permutation that sorts the edges by source, stable; for the backward pass."""
        return self._sorted(0, self.num_sources)[1]

    @property
    def colptr(self) -> Tensor:
        """(N_source + 1,) where each source's edges begin in ``by_source``."""
        return self._sorted(0, self.num_sources)[0]

    def _sorted(self, row: int, count: int) -> tuple[Tensor, Tensor]:
        def sort() -> tuple[Tensor, Tensor]:
            ends, order = torch.sort(self.snapshot[row], stable=True)
            boundaries = torch.arange(count + 1, device=ends.device)
            return torch.searchsorted(ends, boundaries), order

        return self.memo(("sorted", row), sort)

    # ---------------------------------------------------------------- derived graphs
    def transpose(self) -> Graph:
        """The graph with every edge turned round. Edge order is kept, and so are the sort orders already built."""

        def build() -> Graph:
            node_id = None if self.is_bipartite else self.node_id
            ends = self.edge_index.flip(0)
            turned = Graph(ends, self.num_sources, self.num_nodes, node_id, self.edge_id, _own=True)
            known = dict(self._memo.get("orders", {}))  # another thread may add to it
            if known:
                orders(turned._memo).update({(kind, 1 - row): order for (kind, row), order in known.items()})
            return turned

        return self.memo("transpose", build)

    def with_self_loops(self) -> tuple[Graph, Tensor]:
        """The graph with exactly one self-loop a node, appended after the other edges in node order.

        Returns:
            The graph, and (E',) the columns of ``edge_index`` that were kept, in order. Column E' + i of the new graph
            is the loop of node i.

        Raises:
            ShapeError: on a bipartite graph, whose nodes have no loops.
        """
        if self.num_sources != self.num_nodes:
            raise ShapeError(
                f"self-loops need one set of nodes, got a bipartite graph with {self.num_sources} sources "
                f"and {self.num_nodes} targets. Use add_self_loops=False."
            )

        def build() -> tuple[Graph, Tensor]:
            loop = torch.arange(self.num_nodes, device=self.edge_index.device)
            if torch.compiler.is_compiling() and not torch.compiler.is_exporting():
                edge_index, kept = _looped(self.edge_index, loop, loop.shape[0])
                edge_id = None if self.edge_id is None else torch.cat([self.edge_id[kept], torch.full_like(loop, -1)])
                return Graph(edge_index, self.num_nodes, node_id=self.node_id, edge_id=edge_id, _own=True), kept
            bare, kept = self.without_self_loops()
            edge_index = torch.cat([bare.edge_index, loop.expand(2, -1)], dim=1)
            edge_id = None  # an added loop has none
            if bare.edge_id is not None:
                edge_id = torch.cat([bare.edge_id, torch.full_like(loop, -1)])
            return Graph(edge_index, self.num_nodes, node_id=self.node_id, edge_id=edge_id, _own=True), kept

        return self.memo("with_self_loops", build)

    def without_self_loops(self) -> tuple[Graph, Tensor]:
        """The graph without its self-loops, and (E',) the columns of ``edge_index`` that were kept, in order."""

        def build() -> tuple[Graph | None, Tensor]:
            kept = (self.source != self.target).nonzero().squeeze(1)
            if not torch.compiler.is_compiling() and len(kept) == self.num_edges:
                return None, kept  # not self: the memo may outlive this graph and must not keep it alive
            edge_id = None if self.edge_id is None else self.edge_id[kept]
            return replace(self, edge_index=self.edge_index[:, kept], edge_id=edge_id, _memo={}, _own=True), kept

        bare, kept = self.memo("without_self_loops", build)
        return bare or self, kept

    def with_ids(self, node_id: Tensor | None = None, edge_id: Tensor | None = None) -> Graph:
        """This graph as a sampled piece of a larger one: ids of its nodes and edges there."""
        if node_id is None and edge_id is None:
            return self
        memo = {}
        if "of" in self._memo and not traced():
            memo = {"of": self._memo["of"], "orders": orders(self._memo)}
        return replace(self, node_id=node_id, edge_id=edge_id, _memo=memo)

    def to(self, device: torch.device | str) -> Graph:
        """This graph on another device; the sort orders are built anew there."""
        node_id, edge_id = (None if ids is None else ids.to(device) for ids in (self.node_id, self.edge_id))
        return Graph(self.edge_index.to(device), self.num_nodes, self.num_sources, node_id, edge_id)

    def memo(self, key: Any, compute: Callable[[], T], at_most: int | None = None) -> T:
        """``compute()``, once for this graph under a hashable key. Forgotten when the edges or ids are changed.

        With ``at_most``, the key is a tuple, and only so many keys that begin alike are kept, the latest.
        ``edgenet.kept(False)`` has everything computed anew.
        """
        if not shortcuts.keeping:
            if not (traced() or self.edge_index.is_meta):
                self._refresh(closely=True)
            return compute()
        memo, sorts = self._memo, isinstance(key, tuple) and key[0] in _ORDERS
        known = memo.get("orders", {}) if sorts else memo
        found = known.get(key, _NOTHING)
        # torch.jit.trace would write down as a constant what was computed for these edges before
        if found is not _NOTHING and (torch.compiler.is_compiling() or not torch._C._is_tracing()):
            of, no_ids = memo.get("of"), self.node_id is None and self.edge_id is None
            if torch.compiler.is_compiling() or (
                of is not None and of.edges.at_a_glance(self.edge_index) and (no_ids or self._knows_ids())
            ):
                return found
        if traced() or self.edge_index.is_meta:  # such values die with the trace
            return compute()
        self._refresh()
        if not sorts:
            self._refresh_ids()
        memo = self._memo  # of the edges as they are now: another thread may put a new one in its place
        known = orders(memo) if sorts else memo
        found = known.get(key, _NOTHING)
        if found is _NOTHING:
            with torch.inference_mode(False):  # tensors made in that mode could not be used in training later
                found = kept_once(known, key, compute(), at_most)
        return found

    def pin(self) -> Any:
        """The edges as they are known now: forward passes keep it, and backward passes hand it to ``unpin``."""
        return self._memo.get("of")

    def unpin(self, pinned: Any) -> None:
        """Make sure that the edges are those of a forward pass, whose weights and signals come in their order.

        Raises:
            EdgeIndexError: if they were changed or replaced meanwhile.
        """
        if pinned is None or pinned.edges.still(self.edge_index):
            return
        if pinned.edges.value is not None or not pinned.edges.unmoved(self.edge_index):
            raise EdgeIndexError(
                f"between forward and backward the edges were changed behind torch's back (through a shared array, or "
                f".data); there are {self.num_edges} now. Make a new Graph of changed edges."
            )

    def _has_no_numbers(self) -> bool:
        """Whether the edges are stand-ins, or what is computed of them would be: then nothing can be read."""
        return self.edge_index.is_meta or is_fake(self.edge_index) or detect_fake_mode() is not None

    def _knows_ids(self) -> bool:
        """Whether the memo is of these ids, as far as can be said without reading them."""
        seen = self._memo.get("ids", (None, None))
        return all(s is None or s.at_a_glance(ids) for s, ids in zip(seen, (self.node_id, self.edge_id), strict=True))

    def _refresh(self, closely: bool = False) -> None:
        """Check the edges and begin a new memo, if this one is of other edges, or of these before they were changed."""
        edges, of = self.edge_index, self._memo.get("of")
        if torch._C._functorch.is_functorch_wrapped_tensor(edges):
            return  # made inside a transform: nothing of it is kept, and the ops check what is behind it
        if of is None or of.counts != (self.num_nodes, self.num_sources) or not of.edges.still(edges, closely):
            check_memory("edge_index", edges)
            seen = Seen(edges, self._own)
            # the copy, where there is one: what others write into may be right while it is looked at, and wrong then
            check_range(edges if seen.value is None else seen.value, self.num_nodes, self.num_sources)
            of = _Of(seen, (self.num_nodes, self.num_sources))
            object.__setattr__(self, "_memo", {"of": of})  # a new one: other graphs, and threads, may have the old

    def _refresh_ids(self, closely: bool = False) -> None:
        """Forget all but the sort orders, if the ids were changed."""
        memo, ids = self._memo, (self.node_id, self.edge_id)
        seen = memo.get("ids")
        if seen is not None and all(s is None or s.still(t, closely) for s, t in zip(seen, ids, strict=True)):
            return
        for name, value in zip(("node_id", "edge_id"), ids, strict=True):
            check_memory(name, value)
        check_edge_id(self.edge_id)
        now = tuple(None if t is None else Seen(t) for t in ids)
        if seen is None:
            memo["ids"] = now
        else:
            object.__setattr__(self, "_memo", {"of": memo["of"], "orders": orders(memo), "ids": now})

    def __reduce__(self) -> tuple[Any, ...]:
        return Graph, (self.edge_index, self.num_nodes, self.num_sources, self.node_id, self.edge_id)

    # ---------------------------------------------------------------- from elsewhere
    @classmethod
    def of(cls, edges: Any, num_nodes: int, num_sources: int | None = None) -> tuple[Graph, Tensor | None]:
        """A graph from whatever a convolution is given, sorted at most once per edge tensor.

        Args:
            edges: a (2, E) index tensor, PyG's ``EdgeIndex``, a ``Graph``, or a sparse adjacency that is transposed as
                PyG's ``adj_t`` is (row = target, column = source): ``torch.sparse`` COO / CSR / CSC or
                ``torch_sparse.SparseTensor``.
            num_nodes: N.
            num_sources: number of source nodes of a bipartite graph.

        Returns:
            The graph, and the (E,) or (E, R) edge weights when ``edges`` carried values, else None.

        Raises:
            EdgeIndexError, ShapeError: as the constructor; also if a ``Graph`` or sparse matrix has other node counts.
        """
        num_sources = num_nodes if num_sources is None else num_sources
        if isinstance(edges, Graph):
            if (edges.num_nodes, edges.num_sources) != (num_nodes, num_sources):
                raise ShapeError(
                    f"the graph has {edges.num_nodes} nodes ({edges.num_sources} sources), the signal {num_nodes} "
                    f"({num_sources}). Signals are (nodes, features), or (batch, nodes, features) on a fixed graph."
                )
            if not (traced() or edges.edge_index.is_meta):
                edges._refresh(closely=True)
                edges._refresh_ids(closely=True)
            return edges, None
        if not isinstance(edges, Tensor):
            if hasattr(edges, "coo") and hasattr(edges, "sparse_size"):  # torch_sparse.SparseTensor
                row, col, value = edges.coo()
                check_sparse_size(tuple(edges.sparse_sizes()), num_nodes, num_sources)
                return cls(torch.stack([col, row]), num_nodes, num_sources), value
            raise EdgeIndexError(
                f"edges must be a (2, E) integer tensor, a Graph or a sparse adjacency, got {type(edges).__name__}."
            )
        if edges.layout != torch.strided:
            check_sparse_size(tuple(edges.shape[:2]), num_nodes, num_sources)
            if edges.layout == torch.sparse_csr:  # row after row, the order of coalesced indices
                values = edges.values()
            else:
                values = edges.to_sparse_coo().coalesce().values()
            indices = partial(indices_of, edges)
            return remembered(cls, edges, parts_of(edges), indices, num_nodes, num_sources), values
        plain = edges.as_tensor() if hasattr(edges, "as_tensor") else edges  # PyG's EdgeIndex
        return remembered(cls, edges, [plain], lambda: plain, num_nodes, num_sources), None

    @classmethod
    def from_data(cls, data: Any) -> Graph:
        """The graph of a PyG ``Data``, with ``n_id`` and ``e_id`` where a loader left them. Edge weights stay there.

        Example:
            >>> from torch_geometric.data import Data
            >>> edgenet.Graph.from_data(Data(x=x, edge_index=edges)).num_nodes
            4
        """
        graph, _ = cls.of(data.edge_index, data.num_nodes)
        return graph.with_ids(getattr(data, "n_id", None), getattr(data, "e_id", None))

    @classmethod
    def from_networkx(cls, graph: Any, weight: str = "weight") -> tuple[Graph, Tensor | None]:
        """The graph of a networkx graph, nodes numbered in its own order; undirected edges are taken both ways.

        Returns:
            The graph, and (E,) the edge attribute ``weight`` in torch's default dtype if every edge has it, else None.

        Example:
            >>> import networkx
            >>> graph, weights = edgenet.Graph.from_networkx(networkx.karate_club_graph())
            >>> graph.num_nodes, graph.num_edges, weights.shape
            (34, 156, torch.Size([156]))
        """
        number = {node: i for i, node in enumerate(graph.nodes)}
        directed = graph if graph.is_directed() else graph.to_directed()
        edges = [(number[a], number[b], values.get(weight)) for a, b, values in directed.edges(data=True)]
        edge_index = torch.tensor([edge[:2] for edge in edges], dtype=torch.long).reshape(-1, 2).t().contiguous()
        values = [edge[2] for edge in edges]
        weights = None if not values or None in values else torch.tensor(values, dtype=torch.get_default_dtype())
        return cls(edge_index, len(number)), weights

    @classmethod
    def from_scipy(cls, matrix: Any) -> tuple[Graph, Tensor]:
        """The graph of a scipy sparse matrix A in which A[i, j] is the weight of the edge from j to i.

        Returns:
            The graph and (E,) its weights in torch's default dtype. Pass ``A.T`` for the other convention.

        Example:
            >>> import scipy.sparse
            >>> matrix = scipy.sparse.csr_array([[0, 2.0], [0, 0]])  # from node 1 to node 0
        >>> graph, weights = edgenet.Graph.from_scipy(matrix)
            >>> graph.edge_index.tolist(), weights.tolist()
            ([[1], [0]], [2.0])
        """
        coo = matrix.tocoo()
        if coo.shape[0] != coo.shape[1]:
            raise ShapeError(f"an adjacency matrix is square, got {coo.shape}.")
        edge_index = torch.stack(
            [torch.as_tensor(coo.col, dtype=torch.long), torch.as_tensor(coo.row, dtype=torch.long)]
        )
        return cls(edge_index, coo.shape[0]), torch.tensor(coo.data, dtype=torch.get_default_dtype())


    # ---------------------------------------------------------------- to elsewhere
    def to_networkx(self, weights: Tensor | None = None, weight: str = "weight") -> Any:
        """This graph as a ``networkx.MultiDiGraph``, which has every edge, repeated ones too.

        Nodes are 0 to N - 1. Those of a bipartite graph are ("source", i) and ("target", i), with the attribute
        ``bipartite`` 0 and 1. ``from_networkx`` leads back, to edges in the order of their sources.

        Args:
            weights: (E,) numbers of the edges, or (E, R) lists of numbers; None: edges have none.
            weight: the name of the edge attribute that holds them.

        Raises:
            ShapeError: if there is not one row of weights for every edge.
        """
        return to_networkx(self, weights, weight)

    def to_scipy(self, weights: Tensor | None = None) -> Any:
        """This graph as a ``scipy.sparse.csr_array`` A of (targets, sources): A[i, j] is the weight of the edge from j
        to i, as ``from_scipy`` reads it. Repeated edges are added up.

        Args:
            weights: (E,) numbers of the edges; None: 1 each, of torch's default dtype.

        Raises:
            ShapeError: if there is not one number for every edge.
        """
        return to_scipy(self, weights)


def _looped(edge_index: Tensor, loop: Tensor, loops: int) -> tuple[Tensor, Tensor]:
    """The edges (2, E') that are no loops, and then these loops; and which edges they are. Inductor wants E' to be the
    size of one tensor: it has no name for a sum of two."""
    every = torch.cat([edge_index, loop.expand(2, -1)], dim=1)
    stays = torch.cat([edge_index[0] != edge_index[1], loop >= 0]).nonzero().squeeze(1)
    return every[:, stays], stays.narrow(0, 0, stays.shape[0] - loops)


class _Of(NamedTuple):
    """What a memo is of: edges, and the numbers of targets and sources."""

    edges: Seen
    counts: tuple[int, int]
