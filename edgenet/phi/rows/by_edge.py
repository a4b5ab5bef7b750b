"""ByEdge: a row for every edge of one graph, found by its ends."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from edgenet.errors import SupportError
from edgenet.graph import Graph
from edgenet.ops.stacked import unstacked
from edgenet.phi.rows.base import UNKNOWN, OfGraph, stored_number
from edgenet.phi.rows.node_order import community_rank, important_nodes
from edgenet.phi.rows.shared import equal, narrow, shared


class ByEdge(OfGraph):
    """A row for every edge of one graph, found by its target and source.

    So shuffled or sampled edge lists cannot pick up another edge's weight. Repeated edges share a row.

    The pairs (target, source) of the graph, sorted, are two buffers: ``rowptr`` (N + 1,), where each target's pairs
    begin, and ``source`` (P,); files have them in the fewest bytes. All tables of a graph share them. Rows are numbered
    as the pairs are, unless ``row`` (P,) says otherwise, and nodes' as the nodes, unless ``node_row`` (N,) does; -1 for
    none.

    Args:
        self_loops: the diagonal lives on the nodes: self-loops in the edge list have no row, and every node has one.
        nodes: important nodes: (I,) indices, a number of nodes of the highest in-degree (ties by index), or a share in
            (0, 1] of all nodes likewise. Only edges that touch one, and only these nodes, have rows; others weigh 0.
        by_community: number the rows by the community of the receiver, then by receiver and by sender, so that rows
            near each other are edges near each other, which tensor trains over the row index want; else by receiver
            and sender.
        unseen: edges and nodes that were not bound are -2, instead of refused. Nodes keep their numbers.

    A bipartite graph has edges between two sets of nodes, which have no diagonal: ``self_loops=False``. ``num_nodes``
    then holds two numbers, of targets and of sources.

    Example:
        >>> layer = edgenet.EdgeNetConv(3, 8, phi="edge_varying", share="edge").bind(graph)
        >>> torch.allclose(layer(x, edges.flip(1)), layer(x, edges))  # another order of the same edges
        True
    """

    one_an_edge = True
    rowptr: Tensor
    source: Tensor
    row: Tensor
    node_row: Tensor
    position: Tensor | None

    def __init__(
        self,
        self_loops: bool = True,
        nodes: Tensor | int | float | None = None,
        by_community: bool = False,
        unseen: bool = False,
    ) -> None:
        super().__init__()
        self.self_loops, self.nodes, self.by_community, self.unseen = self_loops, nodes, by_community, unseen
        for name in ("rowptr", "source", "row", "node_row"):
            self.register_buffer(name, torch.empty(0, dtype=torch.int32))
        # the pair of every column of the edge list that was bound last, in whose order edge ids count
        self.register_buffer("position", None, persistent=False)

    def bind(self, graph: Graph) -> None:
        if graph.is_bipartite:
            self._check_two_sets()
        self.refuse_piece(graph)
        rowptr, source, position = graph.memo("pairs", lambda: _pairs(graph))
        if self.is_bound:
            if equal(rowptr, self.rowptr) and equal(source, self.source) and graph.num_sources == self._num_sources:
                self._hold(position=position)
                return
            raise SupportError(
                f"the table is bound to a graph of {self._num_nodes} nodes and {len(self.source)} edges already; "
                f"make a new layer for this one of {graph.num_nodes} nodes and {len(source)} edges."
            )
        target, source_ = _ends(rowptr, source)
        chosen = torch.ones(graph.num_nodes, dtype=torch.bool, device=source.device)
        has_row = torch.ones(len(source), dtype=torch.bool, device=source.device)
        if self.nodes is not None:
            chosen = torch.zeros_like(chosen)
            chosen[important_nodes(graph, self.nodes)] = True
            has_row = chosen[target] | chosen[source_]
        if self.self_loops:
            has_row &= target != source_
        row, node_row = _numbered(has_row), _numbered(chosen)
        if self.by_community:
            rank = community_rank(graph)
            row = _renumbered(row, rank[target] * graph.num_nodes + rank[source_])
            node_row = _renumbered(node_row, rank)
        counts = [graph.num_nodes, graph.num_sources] if graph.is_bipartite else graph.num_nodes
        number = torch.tensor(counts, device=source.device)
        self._hold(num_nodes=number, rowptr=rowptr, source=source, row=_brief(row), node_row=_brief(node_row))
        self._hold(position=position)
        self._sizes()

    def _check_two_sets(self) -> None:
        """Refuse what edges between two sets of nodes do not have."""
        if self.self_loops:
            raise SupportError(
                "edges between two sets of nodes have no loops and no diagonal: make the layer with a pair, "
                "in_channels=(sources, targets), or the phi with self_loops=False."
            )
        if self.nodes is not None or self.by_community:
            what = "important nodes" if self.nodes is not None else "communities"
            raise SupportError(f"{what} are of one set of nodes, and a bipartite graph has two; leave them out.")

    def ends(self) -> tuple[Tensor, Tensor]:
        """(P,) targets and sources of the pairs, sorted."""
        return _ends(self.rowptr, self.source)

    @property
    def key(self) -> Tensor:
        """(P,) target * N + source of the pairs, rising, with N the number of sources."""
        target, source = self.ends()
        return target * self._num_sources + source

    def bound_graph(self) -> Graph | None:
        if not self.is_bound:
            return None
        return Graph(torch.stack(self.ends()[::-1]), self._num_nodes, self._num_sources)

    def stored_rows(self, state_dict: Mapping[str, Tensor], prefix: str) -> tuple[int | None, int | None]:
        nodes = stored_number(state_dict, f"{prefix}num_nodes")
        if nodes is None:
            return None, None
        row, node_row, source = (state_dict[prefix + name] for name in ("row", "node_row", "source"))
        return _count(row, len(source)), _count(node_row, nodes)

    # ---------------------------------------------------------------- finding
    def of_edges(self, graph: Graph, edge_attr: Tensor | None) -> Tensor:
        if graph.node_id is None and graph.edge_id is not None:  # the ids of a loader say which edge it is
            edge_id = self.checked_edge_id(graph, len(self._positions()), self.self_loops)
            row = self._row_at(self._positions()[edge_id.clamp_min(0)].long())
            return torch.where(edge_id < 0, -1, row)  # an added loop, which the diagonal weighs
        if graph.edge_id is not None and self.position is not None and not self.unseen:
            self.checked_edge_id(graph, len(self._positions()), added_loops=True)  # n_id finds them, and both must fit
        ids = graph.node_id if self.unseen else self.global_id(graph)
        target, source = (graph.target, graph.source) if ids is None else (ids[graph.target], ids[graph.source])
        place, known = self._places(target, source)
        if self.self_loops:
            known = known | (target == source)
        if self.unseen:
            row = torch.where(known, self._row_at(place), UNKNOWN)
            return torch.where(target == source, -1, row) if self.self_loops else row
        if torch.compiler.is_compiling() or torch._C._len_torch_dispatch_stack():
            torch._assert_async(known.all(), "an edge lies outside the support of the table of edge weights")
        elif not known.all():
            bad = int((~known).nonzero()[0])
            raise SupportError(
                f"edge {bad} ({int(source[bad])} -> {int(target[bad])}) lies outside the support: the table was "
                f"bound to other "
                f"edges ({int((~known).sum())} of {len(known)} are unknown). Bind to the graph that has them, "
                f"share by hash, or let unseen edges weigh the mean of the table: unseen='shared'."
            )
        row = self._row_at(place)
        if torch.compiler.is_exporting():  # files of other kinds than torch's raise nothing
            row = torch.where(known, row, UNKNOWN)
        return torch.where(target == source, -1, row) if self.self_loops else row

    def of_nodes(self, graph: Graph) -> Tensor:
        if graph.node_id is None and graph.edge_id is not None and not torch.compiler.is_compiling():
            # a piece with all nodes may hold them in another order
            same = graph.num_nodes == self._num_nodes
            if same:
                place, known = self._places(graph.target, graph.source)
                same = bool(known.all()) and torch.equal(place, self._positions()[graph.edge_id].long())
            if not same:
                raise SupportError("the diagonal lives on nodes: pass n_id beside e_id for a sampled piece.")
        if self.unseen:
            ids = torch.arange(graph.num_nodes, device=self.rowptr.device) if graph.node_id is None else graph.node_id
            bound = ids.clamp_max(self._num_nodes - 1)
            row = self.node_row[bound].long() if len(self.node_row) else bound
            return torch.where((ids >= 0) & (ids < self._num_nodes), row, UNKNOWN)
        ids = self.global_id(graph)
        if not len(self.node_row):
            return torch.arange(self._num_nodes, device=self.rowptr.device) if ids is None else ids
        node_row = unstacked(self.node_row)
        return (node_row if ids is None else node_row[ids]).long()

    def _places(self, target: Tensor, source: Tensor) -> tuple[Tensor, Tensor]:
        """(I,) places of pairs among the sorted ones, and whether they are there."""
        rowptr, of_pair = unstacked(self.rowptr), unstacked(self.source)
        last = len(of_pair) - 1
        if last < 0:
            return torch.full_like(target, -1), torch.zeros_like(target, dtype=torch.bool)
        inside = (target >= 0) & (target < self._num_nodes)  # of unseen nodes, which have no pairs
        target = target.clamp(0, self._num_nodes - 1)
        low, end = rowptr[target].long(), rowptr[target + 1].long()
        high = end
        for _ in range(self._steps):  # halving the pairs of each target
            middle = (low + high) // 2
            below = (of_pair[middle.clamp_max(last)] < source) & (low < high)
            low, high = torch.where(below, middle + 1, low), torch.where(below, high, middle)
        found = low.clamp_max(last)
        return found, inside & (low < end) & (of_pair[found] == source)

    def _row_at(self, place: Tensor) -> Tensor:
        return unstacked(self.row)[place].long() if len(self.row) else place

    def _positions(self) -> Tensor:
        """
        Raises:
            SupportError: if it is not known which edge an id names, as after loading.
        """
        if self.position is None:
            raise SupportError(
                "a table that was loaded does not know in which order e_id counts its edges: pass n_id too, or call "
                "bind(edge_index, num_nodes) with the full edge list first."
            )
        return unstacked(self.position)

    # ---------------------------------------------------------------- removing
    def without(self, graph: Graph) -> Tensor:
        """(edge_rows,) which rows are left without those of the edges of ``graph``, a part of the bound one.

        Raises:
            SupportError: if an edge is not among the pairs.
        """
        gone = self.of_edges(graph, None)
        stays = torch.ones(self.edge_rows, dtype=torch.bool, device=self.source.device)
        stays[gone[gone >= 0]] = False
        return stays

    def keep_(self, stays: Tensor) -> None:
        """Number the rows that stay anew. Edges of the others weigh 0, and are still known."""
        if self.edge_rows:
            row = self._row_at(torch.arange(len(self.source), device=self.source.device))
            self._hold(row=_brief(torch.where(row < 0, -1, _numbered(stays)[row])))
        self._sizes()

    def global_id(self, graph: Graph) -> Tensor | None:
        ids = super().global_id(graph)
        if ids is None and graph.num_sources != self._num_sources:
            raise SupportError(
                f"the table belongs to edges from {self._num_sources} sources, and these are from {graph.num_sources}. "
                f"For a sampled piece pass e_id."
            )
        return ids

    # ---------------------------------------------------------------- loading
    def _fits(self, stored: dict[str, Tensor]) -> bool:
        nodes = int(stored["num_nodes"].reshape(-1)[0])
        rows = _count(stored["row"], len(stored["source"])), _count(stored["node_row"], nodes)
        sources = int(stored["num_nodes"].reshape(-1)[-1])
        return super()._fits(stored) and sources == self._num_sources and rows == (self.edge_rows, self.node_rows)

    def _take(self, stored: dict[str, Tensor]) -> None:
        # edge ids count in the order of the edge list that this table was bound to, not of the stored table's
        same = all(equal(stored[name], self._buffers[name]) for name in ("rowptr", "source"))
        super()._take(stored)
        if not same:
            self.position = None

    def _sizes(self) -> None:
        super()._sizes()
        self._num_sources = int(self.num_nodes.reshape(-1)[-1])
        if self._num_nodes >= 0:
            self.edge_rows, self.node_rows = _count(self.row, len(self.source)), _count(self.node_row, self._num_nodes)
            self._steps = int(self.rowptr.diff().max()).bit_length() if self._num_nodes else 0

    def extra_repr(self) -> str:
        return f"edges={self.edge_rows}, nodes={self.node_rows}" if self.is_bound else "unbound"


def _pairs(graph: Graph) -> tuple[Tensor, Tensor, Tensor]:
    """The sorted pairs of a graph, and the pair of every edge."""
    sources = graph.num_sources
    key, position = torch.unique(graph.target * sources + graph.source, return_inverse=True)
    first = torch.arange(graph.num_nodes + 1, device=key.device) * sources
    rowptr = narrow(torch.searchsorted(key, first), len(key))
    source = narrow(key % max(1, sources), sources)
    return shared(rowptr), shared(source), shared(narrow(position, len(key)))


def _ends(rowptr: Tensor, source: Tensor) -> tuple[Tensor, Tensor]:
    nodes = torch.arange(max(0, len(rowptr) - 1), device=source.device)
    return torch.repeat_interleave(nodes, rowptr.diff().long()), source.long()


def _count(row: Tensor, otherwise: int) -> int:
    return int((row >= 0).sum()) if len(row) else otherwise


def _brief(row: Tensor) -> Tensor:
    """The rows in few bytes, and in none where they are 0, 1, 2, ..."""
    if torch.equal(row, torch.arange(len(row), device=row.device)):
        return row.new_empty(0, dtype=torch.int32)
    return narrow(row, len(row))


def _numbered(chosen: Tensor) -> Tensor:
    """0, 1, 2, ... where true, -1 elsewhere."""
    return torch.where(chosen, chosen.cumsum(0) - 1, -1)


def _renumbered(row: Tensor, rank: Tensor) -> Tensor:
    """The rows in the order of ``rank``; -1 stays."""
    has_row = row >= 0
    order = rank[has_row].argsort()
    return row.masked_scatter(has_row, torch.empty_like(order).scatter(0, order, torch.arange(len(order)).to(order)))
