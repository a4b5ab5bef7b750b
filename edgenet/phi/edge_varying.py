"""EdgeVarying: every edge learns its own weight."""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
from torch import Tensor

from edgenet import gso
from edgenet.errors import PlanError, ShapeError, SupportError
from edgenet.graph import Graph
from edgenet.phi.base import LayerSpec, Pair, Phi, source_and_target
from edgenet.phi.channels import as_structure, made
from edgenet.phi.rows import ByEdge
from edgenet.phi.rows.finder import finder
from edgenet.phi.rows.looked_up import LookedUp
from edgenet.shortcuts import untouched
from edgenet.structured import StructuredMatrix
from edgenet.structured.linear import take_
from edgenet.structured.unbound import is_unbound, refuse_making, unbound

REMEMBERED = 32  # tables a graph keeps the rows of
_STARTS = ("random", "shift")


class EdgeVarying(Phi):
    """Phi^(k) free on the edges, for every hop and head: the edge-varying filter (Isufi, Gama, Ribeiro 2021, eq. 9-10).

    z^(k)[i] = D^(k)[i] z^(k-1)[i] + sum over e = (j -> i) of Phi^(k)[e] z^(k-1)[j],   z^(0) = D^(0) z

    The values of the shift operator are not used, only its edges. The edge weights stand in ``edge_table``,
    (edges, K H), and the diagonals D in ``node_table``, (nodes, (K + 1) H) or (nodes, K H): slots that hold a
    structured matrix. A table keyed by edges belongs to one graph: ``bind`` it, or let the first forward pass on a
    full graph do it.

    Args:
        order: K.
        heads: H; -1 reads it off the first lifted signal.
        share: whose weight it is. "edge": one for every (source, target) pair of the bound graph, found by its ends.
            "edge_id": one for every edge of the bound edge list, in its order; nothing is stored to find it, and other
            lists and sampled pieces need ``e_id``. "node": one for every receiving node. "type": one for every integer
            in ``edge_attr`` (``num_types`` of them). "hash": one of ``buckets``. The last two are legal on graphs that
            were never seen.
        self_loops: whether there is a diagonal at hops 1..K. Then self-loops in an edge list are not weighed again.
        initial: whether Phi^(0) = D^(0) is learned; otherwise the identity.
        nodes: important nodes, by index, or how many of the highest in-degree, or what share of all. With share="edge",
            only edges that touch one, and their own diagonals, are learned, and all other weights are 0; with
            ``initial`` that includes Phi^(0). Hybrid edge-varying filters.
        normalize: with weights that are not per edge, multiply them by the weights of a shift operator made of the
            edges alone: "rw" averages over in-neighbours, "sym" is D^(-1/2) A D^(-1/2). Without it a walk grows with
            the degrees.
        times_edge_weight: multiply the learned weights by the given edge weights.
        num_types, buckets: sizes of the shared tables.
        structure: the family that both tables are made of when they meet their graph, by its name or as
            {"structure": name, **options}; otherwise they are dense. An optimizer that was made before would miss them,
            so ``bind`` comes first.
        by_community: number the rows of the tables by communities of the graph, see ``ByEdge``.
        start: how the tables begin, and ``reset_parameters`` draws them. "random": every hop and head is a random
            multiple of the graph's normalised adjacency, between 0.5 and 1.5 in size and of either sign. "shift": all
            are the normalised adjacency itself, and Phi^(0) is 1: a walk of a fixed shift operator that moves away edge
            by edge.
        unseen: "shared": with share="edge", an edge that the table has no row for weighs the mean of all rows, hop by
            hop and head by head, and so does the diagonal of a node that is not in the bound graph. Nodes are told by
            their numbers, or by ``n_id``. None: such edges are refused.

    Edges between two sets of nodes (bipartite graphs) have tables like any others, without a diagonal. Layers that are
    made with a pair of ``in_channels`` have none by default. Sampled pieces of such graphs need ``e_id``.

    Raises:
        SupportError: in ``forward``, if an edge lies outside the support, or the graph is not the bound one.

    Example:
        >>> phi = edgenet.phi.EdgeVarying(order=2, heads=3)
        >>> phi.bind(graph)
        >>> phi(x, torch.randn(4, 3, 5), graph).shape  # hops, edges, heads
        torch.Size([2, 4, 3])
    """

    def __init__(
        self,
        order: int = 1,
        heads: int = 1,
        share: str = "edge",
        self_loops: bool = True,
        initial: bool = False,
        nodes: Tensor | int | float | None = None,
        times_edge_weight: bool = False,
        normalize: str | None = None,
        num_types: int | None = None,
        buckets: int | None = None,
        structure: str | dict[str, Any] | None = None,
        by_community: bool = False,
        unseen: str | None = None,
        start: str = "random",
    ) -> None:
        super().__init__()
        if start not in _STARTS:
            raise ShapeError(f"tables start {' or '.join(map(repr, _STARTS))}, got start={start!r}.")
        self.unseen, self.start = unseen, start
        self.order, self.heads, self.share, self.structure = order, heads, share, as_structure(structure)
        self.reads_edge_attr = self.needs_edge_attr = share == "type"
        self.has_diagonal, self.has_initial, self.times_edge_weight = self_loops, initial, times_edge_weight
        if normalize is not None and (share.startswith("edge") or normalize not in gso.NORMALISATIONS):
            raise ShapeError(
                f"normalize is 'sym' or 'rw', for weights that edges share; got {normalize!r}, share={share!r}."
            )
        if structure is not None and heads == -1:
            raise ShapeError("a table that is structured from the start has a known number of heads; got heads=-1.")
        self.normalize = normalize
        self.where = finder(share, self_loops, nodes, num_types, buckets, by_community, unseen)
        self.edge_table: StructuredMatrix = unbound()
        self.node_table: StructuredMatrix | None = unbound() if self_loops or initial else None
        self._token = new_token()  # under which a graph remembers its rows; new whenever the tables' rows change
        if self.where.edge_rows is not None and heads > 0:
            self._make_tables(None)

    @classmethod
    def for_layer(cls, spec: LayerSpec, **options: Any) -> Self:
        return cls(spec.order, spec.heads, **{"self_loops": not spec.is_pair, **options})

    @property
    def is_bound(self) -> bool:
        """Whether the tables know their edges."""
        return self.where.edge_rows is not None

    @property
    def numbers_an_edge(self) -> int:
        return self.order * self.heads if self.where.one_an_edge else 0

    @property
    def table_rows(self) -> int:
        return self.edge_table.shape[0]

    def bound_graph(self) -> Graph | None:
        return self.where.bound_graph()

    def arguments(self) -> dict[str, Any]:
        return {
            "self_loops": self.has_diagonal,
            "initial": self.has_initial,
            "nodes": getattr(self.where, "nodes", None),
            "num_types": self.where.edge_rows if self.share == "type" else None,
            "buckets": self.where.edge_rows if self.share == "hash" else None,
        }

    # ---------------------------------------------------------------- making
    def bind(self, graph: Graph, heads: int | None = None) -> None:
        """Make the tables for this graph; ``start`` says what their numbers are.

        Raises:
            SupportError: if the tables belong to another graph already, or this one is a sampled piece.
        """
        fresh = [table for table in (self.edge_table, self.node_table) if is_unbound(table)]
        if fresh:
            refuse_making(*fresh)
        if heads is not None and self.heads == -1:
            self.heads = heads
        self.where.bind(graph)
        self._token = new_token()
        self._check_sizes()
        self._make_tables(graph)

    def _check_sizes(self) -> None:
        for table, rows in ((self.edge_table, self.where.edge_rows), (self.node_table, self.where.node_rows)):
            if table is not None and not is_unbound(table) and table.shape[0] != rows:
                raise SupportError(
                    f"a table of {table.shape[0]} rows stands in the slot, and this graph needs {rows}: it was "
                    f"made for other edges."
                )

    def _make_tables(self, graph: Graph | None) -> None:
        if self.heads == -1 and self.order and not is_unbound(self.edge_table):
            self.heads = self.edge_table.shape[1] // self.order
        if self.heads == -1:
            raise ShapeError("the number of heads is not known yet: pass it, or run the layer once on the full graph.")
        fresh = [name for name in ("edge_table", "node_table") if is_unbound(getattr(self, name))]
        if "edge_table" in fresh:
            self.edge_table = self._made(self.edge_table, self.where.edge_rows, self.order)
        if "node_table" in fresh:
            hops = self.order * self.has_diagonal + self.has_initial
            self.node_table = self._made(self.node_table, self.where.node_rows, hops)
        if fresh:
            self._draw(graph, fresh)

    def _made(self, lazy: StructuredMatrix, rows: int, hops: int) -> StructuredMatrix:
        if self.structure is None or rows == 0:
            lazy.materialise(rows, hops * self.heads)
            return lazy
        if not untouched(lazy):
            raise SupportError(
                f"a {self.structure['structure']} table takes the place of one that has hooks, or an adapter around "
                f"it: bind first, and add them then."
            )
        return made(self.structure, (rows, hops * self.heads), lazy.weight)

    def reset_parameters(self) -> None:
        """Draw the tables anew; for a table keyed by edges, around its graph's normalised adjacency, in which repeated
        edges count once by then."""
        self._draw(self.bound_graph())

    @torch.no_grad()
    def _draw(self, graph: Graph | None, tables: Sequence[str] = ("edge_table", "node_table")) -> None:
        if not self.is_bound or self.heads == -1:
            return
        edges, nodes = self.where.edge_rows, self.where.node_rows
        like = next(self.edge_table.parameters(), torch.empty(0))
        # one factor a hop and head: an EdgeNet starts as a graph convolution and moves away edge by edge
        factor = like.new_ones(self.order * self.heads)
        if self.start == "random":
            # of both signs: walks of positive weights alone are low-pass, and training seldom turns a whole table round
            factor.uniform_(-1, 1)
            factor += torch.copysign(factor.new_tensor(0.5), factor)
        start = like.new_ones(edges)
        if self.where.one_an_edge and graph is not None:
            row = self.where.of_edges(graph, None)
            shift = gso.random_walk if graph.is_bipartite else gso.symmetric
            start[row[row >= 0]] = shift(graph, None, like.dtype)[row >= 0]
        elif self.where.one_an_edge:  # which edges is not known any more; they are as many a node
            start *= nodes / max(1, edges)
        if "edge_table" in tables:
            self.edge_table.reset_parameters(start[:, None] * factor)
        if self.node_table is not None and "node_table" in tables:
            first = like.new_ones(self.heads * self.has_initial)
            if self.start == "random":
                first = first.uniform_(-1, 1) * math.sqrt(3)
            rest = like.new_zeros(self.order * self.heads * self.has_diagonal)
            self.node_table.reset_parameters(torch.cat([first, rest]).repeat(nodes, 1))

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args) -> None:
        if self.structure is not None and is_unbound(self.edge_table):
            self._make_as_stored(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)
        self._token = new_token()

    def _make_as_stored(self, state_dict: dict, prefix: str) -> None:
        """Make the tables that a checkpoint will fill, of as many rows as its graph needs."""
        rows = self.where.stored_rows(state_dict, f"{prefix}where.")
        hops = self.order, self.order * self.has_diagonal + self.has_initial
        for name, count, wide in zip(("edge_table", "node_table"), rows, hops, strict=True):
            table = getattr(self, name)
            if count and is_unbound(table):  # a table without rows is dense, and has a weight
                setattr(self, name, self._made(table, count, wide))

    # ---------------------------------------------------------------- using
    def forward(
        self,
        x: Tensor | Pair,
        z: Tensor | Pair,
        graph: Graph,
        edge_weight: Tensor | None = None,
        edge_attr: Tensor | None = None,
    ) -> Tensor:
        self._meet(graph, source_and_target(z)[0].shape[-2])
        if self.share == "type":
            row = self.looked_up(graph, edge_attr)
        else:
            row = self._remembered(graph, "edge rows", lambda: self.looked_up(graph, None))
        weight = row.weights(self.edge_table).unflatten(1, (self.order, self.heads)).movedim(1, 0)
        if self.normalize is not None:
            weight = weight * self._shift(graph, weight.dtype).unsqueeze(-1)
        if self.times_edge_weight and edge_weight is not None:
            given = gso.floating(edge_weight, weight.dtype)
            weight = weight * (given if given.dim() == 2 else given.unsqueeze(-1))
        return weight

    def _meet(self, graph: Graph, heads: int) -> None:
        """Make the tables at the first pass, where that can be."""
        if self.is_bound and not is_unbound(self.edge_table):
            if self.heads == -1:  # a table that was loaded knows its graph
                self.heads = heads
            return
        if self.structure is not None:
            raise SupportError(
                f"tables that are {self.structure['structure']} from the start are made for a graph: call "
                f"bind(edge_index, num_nodes) before the first pass, and before the optimizer is made."
            )
        if self.where.belongs_to_graph and (graph.node_id is not None or graph.edge_id is not None):
            raise SupportError(
                "the first graph a table of edge weights meets must be the full one: call bind(edge_index, num_nodes)."
            )
        self.bind(graph, heads)

    def _shift(self, graph: Graph, dtype: torch.dtype) -> Tensor:
        """(E,) normalised weights of the edges; loops, where the diagonal weighs them, do not count as edges."""

        def normalised() -> Tensor:
            counts = (graph.source != graph.target).to(dtype) if self.has_diagonal else None
            return gso.NORMALISATIONS[self.normalize](graph, counts, dtype)

        return graph.memo(("shared", self.normalize, self.has_diagonal, dtype), normalised)

    def _remembered(self, graph: Graph, what: str, compute: Callable[[], LookedUp]) -> LookedUp:
        """Rows that were looked up before on this graph; the graph forgets those of the oldest tables."""
        if self.where.is_stacked():
            return compute()
        return graph.memo((what, self._token), compute, at_most=REMEMBERED)

    def edge_rows(self, graph: Graph, edge_attr: Tensor | None) -> Tensor:
        """(E,) rows of the edges, -1 for loops that the diagonal weighs."""
        row = self.where.of_edges(graph, edge_attr)
        # the loops of the edge list are the diagonal's
        return torch.where(graph.source == graph.target, -1, row) if self.has_diagonal else row

    def looked_up(self, graph: Graph, edge_attr: Tensor | None) -> LookedUp:
        """The same, as they are kept."""
        return LookedUp.of(self.edge_rows(graph, edge_attr), self.table_rows, self.unseen is not None)

    def initial(self, graph: Graph) -> Tensor | None:
        return self._on_nodes(graph)[0] if self.has_initial else None

    def diagonal(self, graph: Graph) -> Tensor | None:
        return self._on_nodes(graph)[int(self.has_initial) :] if self.has_diagonal else None

    def _on_nodes(self, graph: Graph) -> Tensor:
        def rows() -> LookedUp:
            return LookedUp.of(self.where.of_nodes(graph), self.node_table.shape[0], self.unseen is not None)

        row = self._remembered(graph, "node rows", rows)
        return row.weights(self.node_table).unflatten(1, (-1, self.heads)).movedim(1, 0)

    # ---------------------------------------------------------------- removing
    def _keep(self, order: int, heads: Tensor) -> None:
        hops = order, order * self.has_diagonal + self.has_initial
        for table, count in zip((self.edge_table, self.node_table), hops, strict=True):
            if table is not None:
                take_(table, columns=(torch.arange(count).unsqueeze(1) * self.heads + heads).flatten())

    def remove_edges_(self, source: Tensor, target: Tensor) -> int:
        """Take edges out of the table, in place: they weigh 0 from then on, and are not trained. They stay in the
        support, so that edge lists which have them are still accepted.

        Args:
            source, target: (R,) ends of the edges, by number in the bound graph.

        Returns:
            How many rows the table has lost.

        Raises:
            PlanError: if weights are not kept for each edge of one graph, or are compressed.
            SupportError: if an edge is not in the support.
        """
        if not isinstance(self.where, ByEdge) or not self.is_bound:
            raise PlanError("only weights of the edges of one graph can be removed: share='edge', after bind.")
        table = self.edge_table
        rows = table.shape[0]
        edges = torch.stack([source, target]).to(self.where.source.device)
        bound = self.where.bound_graph()
        stays = self.where.without(Graph(edges, bound.num_nodes, bound.num_sources))
        take_(table, rows=stays.nonzero().squeeze(1))
        self.where.keep_(stays)
        self._token = new_token()
        return rows - table.shape[0]

    def extra_repr(self) -> str:
        return f"order={self.order}, heads={self.heads}, share={self.share!r}"


def new_token() -> str:
    """A name that no other table has, in this process or in one that wrote a pickle; a string, which can be traced."""
    return uuid.uuid4().hex
