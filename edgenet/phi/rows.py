"""Which row of a table holds the weight of an edge: one an edge, or shared by node, by type or by hash."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from edgenet.errors import ShapeError, SupportError
from edgenet.graph import Graph


class Rows(nn.Module, ABC):
    """Maps edges and nodes to rows of an edge table and a node table.

    Attributes:
        edge_rows, node_rows: the sizes of the two tables; None until the graph is known.
    """

    edge_rows: int | None = None
    node_rows: int | None = None

    def bind(self, graph: Graph) -> None:
        """Learn the graph that the tables belong to. Nothing to do for rows that any graph may use."""

    @abstractmethod
    def of_edges(self, graph: Graph, edge_attr: Tensor | None) -> Tensor:
        """(E,) row of every edge; -1 for an edge without a weight of its own."""

    @abstractmethod
    def of_nodes(self, graph: Graph) -> Tensor:
        """(N,) row of every node; -1 likewise."""


class _Bound(Rows):
    """Rows that belong to the nodes of one graph."""

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

    @staticmethod
    def _refuse_piece(graph: Graph) -> None:
        if graph.node_id is not None or graph.edge_id is not None:
            raise SupportError(
                "bind a table of edge weights to the full graph, not to a sampled piece: conv.bind(data.edge_index)."
            )

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args) -> None:
        stored = {name: state_dict.get(prefix + name) for name, _ in self.named_buffers(recurse=False)}
        stored = {name: value for name, value in stored.items() if value is not None}
        if not self.is_bound:  # what is stored decides the sizes of an unbound table
            for name, value in stored.items():
                self.register_buffer(name, getattr(self, name).new_empty(value.shape))
        elif "num_nodes" in stored:
            nodes = int(stored["num_nodes"])
            sizes = any(getattr(self, name).shape != v.shape for name, v in stored.items())
            if nodes != self._num_nodes or sizes or self._other_rows(stored):
                # all or nothing: keys of one graph with the node count of another would name wrong edges
                args[-1].append(
                    f"{prefix[:-1] or type(self).__name__} is bound to a graph of {self._num_nodes} nodes and cannot "
                    f"take the table of another, of {nodes} nodes or other edges. Load into a new, unbound layer."
                )
                return
        own = self._kept(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)
        for name, value in own.items():
            self.register_buffer(name, value)
        self._sizes()

    def _other_rows(self, stored: dict[str, Tensor]) -> bool:
        """Whether stored buffers of the same sizes are of a table with more or fewer rows."""
        return False

    def _kept(self, state_dict: dict, prefix: str) -> dict[str, Tensor]:
        """Buffers that stay as they are, whatever is loaded."""
        return {}

    def _sizes(self) -> None:
        """Read the plain numbers off the buffers."""
        self._num_nodes = int(self.num_nodes)


class EdgeRows(_Bound):
    """A row for every edge of one graph, keyed by (target, source).

    Edges are found by key, so shuffled or sampled edge lists cannot pick up another edge's weight. Repeated edges share
    a row.

    Args:
        self_loops: the diagonal lives on the nodes: self-loops in the edge list have no row, and every node has one.
        nodes: important nodes: (I,) indices, a number of nodes of the highest in-degree (ties by index), or a share in
            (0, 1] of all nodes likewise. Only edges that touch one, and only these nodes, have rows; others weigh 0.
        by_community: number the rows by the community of the receiver, then by receiver and by sender, so that rows
            near each other are edges near each other, which tensor trains over the row index want; else by receiver
            and sender.
    """

    def __init__(
        self, self_loops: bool = True, nodes: Tensor | int | float | None = None, by_community: bool = False
    ) -> None:
        super().__init__()
        self.self_loops, self.nodes, self.by_community = self_loops, nodes, by_community
        # key: sorted target * N + source of the support. row: of every key, -1 for none. position: key of every column
        # of the bound edge_index, for edge ids. node_row: of every node, -1 for none
        for name in ("key", "row", "position", "node_row"):
            self.register_buffer(name, torch.empty(0, dtype=torch.long))

    def bind(self, graph: Graph) -> None:
        if graph.is_bipartite:
            raise SupportError(
                "a table keyed by edges walks one set of nodes; bipartite graphs need weights shared by type or hash."
            )
        self._refuse_piece(graph)
        key, position = torch.unique(graph.target * graph.num_nodes + graph.source, return_inverse=True)
        if self.is_bound:
            if self._num_nodes == graph.num_nodes and torch.equal(key, self.key):
                self.position = position  # edge ids count in the order that was bound last
                return
            raise SupportError(
                f"the table is bound to a graph of {self._num_nodes} nodes and {len(self.key)} edges already; "
                f"make a new layer for this one of {graph.num_nodes} nodes and {len(key)} edges."
            )
        target, source = key // max(1, graph.num_nodes), key % max(1, graph.num_nodes)
        chosen = torch.ones(graph.num_nodes, dtype=torch.bool, device=key.device)
        if self.nodes is not None:
            chosen = torch.zeros_like(chosen)
            chosen[important_nodes(graph, self.nodes)] = True
        has_row = chosen[target] | chosen[source]
        if self.self_loops:
            has_row &= target != source
        self.key, self.position = key, position
        self.row, self.node_row = _numbered(has_row), _numbered(chosen)
        if self.by_community:
            rank = community_rank(graph)
            self.row = _renumbered(self.row, rank[target] * graph.num_nodes + rank[source])
            self.node_row = _renumbered(self.node_row, rank)
        self.num_nodes = torch.tensor(graph.num_nodes, device=key.device)
        self._sizes()

    def _other_rows(self, stored: dict[str, Tensor]) -> bool:
        rows = (("row", self.edge_rows), ("node_row", self.node_rows))
        return any(name in stored and int((stored[name] >= 0).sum()) != count for name, count in rows)

    def _kept(self, state_dict: dict, prefix: str) -> dict[str, Tensor]:
        # edge ids count in the order of the edge list that this table was bound to, not of the stored table's
        key = state_dict.get(prefix + "key")
        same = self.is_bound and key is not None and torch.equal(key.to(self.key.device), self.key)
        return {"position": self.position.clone()} if same else {}

    def _sizes(self) -> None:
        super()._sizes()
        if self._num_nodes >= 0:
            self.edge_rows, self.node_rows = int((self.row >= 0).sum()), int((self.node_row >= 0).sum())

    def of_edges(self, graph: Graph, edge_attr: Tensor | None) -> Tensor:
        if graph.node_id is None and graph.edge_id is not None:  # the ids of a loader say which edge it is
            if not torch.compiler.is_compiling() and graph.num_edges:
                low, high = (int(v) for v in graph.edge_id.aminmax())
                if low == -1 and not self.self_loops:
                    raise SupportError(
                        "added self-loops have no e_id, and their weights are found by node: pass n_id too."
                    )
                if low < (-1 if self.self_loops else 0) or high >= len(self.position):
                    raise SupportError(
                        f"e_id holds {low if low < 0 else high}; the table's graph has {len(self.position)} edges."
                    )
            known = self.row[self.position[graph.edge_id.clamp_min(0)]]
            return torch.where(graph.edge_id < 0, -1, known)  # an added loop, which the diagonal weighs
        ids = self.global_id(graph)
        target, source = (graph.target, graph.source) if ids is None else (ids[graph.target], ids[graph.source])
        wanted = target * self._num_nodes + source
        if len(self.key) == 0:
            found, known = torch.zeros_like(wanted), torch.zeros_like(wanted, dtype=torch.bool)
        else:
            found = torch.searchsorted(self.key, wanted).clamp_max(len(self.key) - 1)
            known = self.key[found] == wanted
        if self.self_loops:
            known = known | (target == source)
        if torch.compiler.is_compiling():
            torch._assert_async(known.all(), "an edge lies outside the support of the table of edge weights")
        elif not known.all():
            bad = int((~known).nonzero()[0])
            raise SupportError(
                f"edge {bad} ({int(source[bad])} -> {int(target[bad])}) lies outside the support: the table was "
                f"bound to other "
                f"edges ({int((~known).sum())} of {len(known)} are unknown). Bind to the graph that has them, "
                f"or share by hash."
            )
        if len(self.key) == 0:
            return found - 1
        row = self.row[found]
        return torch.where(target == source, -1, row) if self.self_loops else row

    def remove_(self, graph: Graph) -> Tensor:
        """Take the rows of the edges of ``graph``, a part of the bound one, away; the numbers of those that stay.

        Raises:
            SupportError: if an edge has no key.
        """
        gone = self.of_edges(graph, None)
        stays = torch.ones(self.edge_rows, dtype=torch.bool, device=self.row.device)
        stays[gone[gone >= 0]] = False
        self.row = torch.where(self.row < 0, -1, _numbered(stays)[self.row]) if self.edge_rows else self.row
        self._sizes()
        return stays.nonzero().squeeze(1)

    def of_nodes(self, graph: Graph) -> Tensor:
        if graph.node_id is None and graph.edge_id is not None and not torch.compiler.is_compiling():
            # a piece with all nodes may hold them in another order
            here = graph.target * graph.num_nodes + graph.source
            if graph.num_nodes != self._num_nodes or not torch.equal(here, self.key[self.position[graph.edge_id]]):
                raise SupportError("the diagonal lives on nodes: pass n_id beside e_id for a sampled piece.")
        ids = self.global_id(graph)
        return self.node_row if ids is None else self.node_row[ids]

    def extra_repr(self) -> str:
        return f"edges={self.edge_rows}, nodes={self.node_rows}" if self.is_bound else "unbound"


class NodeRows(_Bound):
    """A row for every receiving node of one graph, shared by its in-edges. New edges between known nodes are legal."""

    def bind(self, graph: Graph) -> None:
        self._refuse_piece(graph)
        if self.is_bound and self._num_nodes != graph.num_nodes:
            raise SupportError(
                f"the table is bound to {self._num_nodes} nodes already and this graph has {graph.num_nodes}."
            )
        self.num_nodes = torch.tensor(graph.num_nodes, device=graph.edge_index.device)
        self._sizes()

    def _sizes(self) -> None:
        super()._sizes()
        if self._num_nodes >= 0:
            self.edge_rows = self.node_rows = self._num_nodes

    def of_edges(self, graph: Graph, edge_attr: Tensor | None) -> Tensor:
        need_node_id(graph)
        ids = self.global_id(graph)
        return graph.target if ids is None else ids[graph.target]

    def of_nodes(self, graph: Graph) -> Tensor:
        need_node_id(graph)
        ids = self.global_id(graph)
        return torch.arange(graph.num_nodes, device=graph.edge_index.device) if ids is None else ids


class TypeRows(Rows):
    """A row for every edge type, given as (E,) integers in ``edge_attr``, and one for all nodes. Legal on any graph."""

    def __init__(self, num_types: int) -> None:
        super().__init__()
        self.num_types = self.edge_rows = num_types
        self.node_rows = 1

    def of_edges(self, graph: Graph, edge_attr: Tensor | None) -> Tensor:
        if edge_attr is None or edge_attr.is_floating_point() or edge_attr.numel() != graph.num_edges:
            got = "none" if edge_attr is None else f"{tuple(edge_attr.shape)} {edge_attr.dtype}"
            raise ShapeError(f"weights shared by type need ({graph.num_edges},) integer types as edge_attr, got {got}.")
        kind = edge_attr.reshape(-1)
        if not torch.compiler.is_compiling() and kind.numel():
            low, high = (int(v) for v in kind.aminmax())
            if low < 0 or high >= self.edge_rows:
                raise SupportError(
                    f"edge type {low if low < 0 else high} is not among the {self.edge_rows} types "
                    f"0 to {self.edge_rows - 1}."
                )
        return kind

    def of_nodes(self, graph: Graph) -> Tensor:
        return torch.zeros(graph.num_nodes, dtype=torch.long, device=graph.edge_index.device)

    def extra_repr(self) -> str:
        return f"types={self.edge_rows}"


class HashRows(Rows):
    """One of a fixed number of rows for every (source, target) pair, by a hash of their ids. Legal on any graph.

    Pairs collide at random, about 1 / ``buckets`` of them with any given one. Ids are ``node_id`` where the graph has
    them, else positions: several graphs in one batch, and sampled pieces, need ids to mean the same thing every time.
    """

    def __init__(self, buckets: int) -> None:
        super().__init__()
        self.buckets = self.edge_rows = self.node_rows = buckets

    def of_edges(self, graph: Graph, edge_attr: Tensor | None) -> Tensor:
        need_node_id(graph)
        ids = graph.node_id
        if ids is None:
            return self._hash(graph.source, graph.target)
        if graph.is_bipartite:
            raise SupportError("ids of one set of nodes cannot name both ends of bipartite edges; leave n_id out.")
        return self._hash(ids[graph.source], ids[graph.target])

    def of_nodes(self, graph: Graph) -> Tensor:
        need_node_id(graph)
        ids = graph.node_id
        if ids is None:
            ids = torch.arange(graph.num_nodes, device=graph.edge_index.device)
        return self._hash(ids, ids)

    def _hash(self, a: Tensor, b: Tensor) -> Tensor:
        # multiply-xorshift in wrapping int64, constants of splitmix64; the mask keeps the shift logical
        h = a * -7046029254386353131 + b * -4658895280553007687
        h = (h ^ ((h >> 30) & 0x3FFFFFFFF)) * -4658895280553007687
        h = (h ^ ((h >> 27) & 0x1FFFFFFFFF)) * -7723592293110705685
        return (h ^ ((h >> 31) & 0x1FFFFFFFF)) % self.edge_rows

    def extra_repr(self) -> str:
        return f"buckets={self.edge_rows}"


def need_node_id(graph: Graph) -> None:
    """Refuse a sampled piece of which only the edges are known, where rows belong to nodes.

    Raises:
        SupportError: if the graph has ``edge_id`` and no ``node_id``.
    """
    if graph.edge_id is not None and graph.node_id is None:
        raise SupportError("these weights belong to nodes: pass n_id beside e_id for a sampled piece.")


def important_nodes(graph: Graph, nodes: Tensor | list[int] | int | float) -> Tensor:
    """(I,) the nodes themselves, or the ``nodes`` (a number, or a share in (0, 1]) of highest in-degree, ties by index.

    Raises:
        ShapeError: if there are not that many nodes, or an index names none.
    """
    if isinstance(nodes, list | tuple):
        nodes = torch.tensor(nodes, dtype=torch.long)
    if isinstance(nodes, Tensor):
        if nodes.numel() and not 0 <= int(nodes.min()) <= int(nodes.max()) < graph.num_nodes:
            raise ShapeError(f"important nodes must be among 0 to {graph.num_nodes - 1}, got {nodes.tolist()[:8]}.")
        return nodes.to(graph.edge_index.device)
    count = nodes if isinstance(nodes, int) else max(1, int(nodes * graph.num_nodes))
    if not 0 < count <= max(1, graph.num_nodes) or (isinstance(nodes, float) and not 0 < nodes <= 1):
        raise ShapeError(f"{nodes} important nodes are asked for, the graph has {graph.num_nodes}.")
    return torch.sort(graph.in_degree, descending=True, stable=True).indices[:count]


def community_rank(graph: Graph) -> Tensor:
    """(N,) place of every node when nodes are sorted by community, then by index: communities by Louvain's method
    (Blondel, Guillaume, Lambiotte, Lefebvre 2008) as networkx has it, with a fixed seed, on undirected edges."""
    import networkx

    whole = networkx.Graph()
    whole.add_nodes_from(range(graph.num_nodes))
    whole.add_edges_from(graph.edge_index.t().tolist())
    groups = networkx.community.louvain_communities(whole, seed=0) if graph.num_edges else [range(graph.num_nodes)]
    order = torch.tensor([node for group in groups for node in sorted(group)], dtype=torch.long)
    rank = torch.empty_like(order).index_put((order,), torch.arange(len(order)))
    return rank.to(graph.edge_index.device)


def _numbered(chosen: Tensor) -> Tensor:
    """0, 1, 2, ... where true, -1 elsewhere."""
    return torch.where(chosen, chosen.cumsum(0) - 1, -1)


def _renumbered(row: Tensor, rank: Tensor) -> Tensor:
    """The rows in the order of ``rank``; -1 stays."""
    has_row = row >= 0
    order = rank[has_row].argsort()
    return row.masked_scatter(has_row, torch.empty_like(order).scatter(0, order, torch.arange(len(order)).to(order)))
