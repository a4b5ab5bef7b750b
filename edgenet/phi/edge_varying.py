"""EdgeVarying: every edge learns its own weight. EdgeMatrix: every edge learns its own matrix."""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
from torch import Tensor

from edgenet import gso, ops
from edgenet.errors import PlanError, ShapeError, SupportError
from edgenet.graph import Graph
from edgenet.phi.base import Choice, LayerSpec, Pair, Phi, Spmm, source_and_target
from edgenet.phi.channels import made
from edgenet.phi.rows import EdgeRows, HashRows, NodeRows, Rows, TypeRows
from edgenet.structured import Dense, StructuredMatrix
from edgenet.structured.dense import dense

_REMEMBERED = 32  # tables a graph keeps the rows of
_ROWS = {"edge": "row", "node": "node_row"}  # the buffers of ``EdgeRows`` that say which row of each table is used


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
        share: whose weight it is. "edge": one for every (source, target) pair of the bound graph. "node": one for every
            receiving node. "type": one for every integer in ``edge_attr`` (``num_types`` of them). "hash": one of
            ``buckets``. The last two are legal on graphs that were never seen.
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
        structure: {"structure": name, **options}, the family that both tables are made of when they meet their graph;
            otherwise they are dense. An optimizer that was made before would miss them, so ``bind`` comes first.
        by_community: number the rows of the tables by communities of the graph, see ``EdgeRows``.

    Raises:
        SupportError: in ``forward``, if an edge lies outside the support, or the graph is not the bound one.
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
        structure: dict[str, Any] | None = None,
        by_community: bool = False,
    ) -> None:
        super().__init__()
        self.order, self.heads, self.share, self.structure = order, heads, share, structure
        self.reads_edge_attr = self.needs_edge_attr = share == "type"
        self.has_diagonal, self.has_initial, self.times_edge_weight = self_loops, initial, times_edge_weight
        if normalize is not None and (share == "edge" or normalize not in gso.NORMALISATIONS):
            raise ShapeError(
                f"normalize is 'sym' or 'rw', for weights that edges share; got {normalize!r}, share={share!r}."
            )
        if structure is not None and heads == -1:
            raise ShapeError("a table that is structured from the start has a known number of heads; got heads=-1.")
        self.normalize = normalize
        self.where = _rows(share, self_loops, nodes, num_types, buckets, by_community)
        self.edge_table: StructuredMatrix = Dense.lazy(-1, -1)
        self.node_table: StructuredMatrix | None = Dense.lazy(-1, -1) if self_loops or initial else None
        self._token = new_token()  # under which a graph remembers its rows; new whenever the tables' rows change
        if self.where.edge_rows is not None and heads > 0:
            self._make_tables(None)

    @property
    def is_bound(self) -> bool:
        """Whether the tables know their edges."""
        return self.where.edge_rows is not None

    @property
    def numbers_an_edge(self) -> int:
        return self.order * self.heads if isinstance(self.where, EdgeRows) else 0

    @property
    def table_rows(self) -> int:
        return self.edge_table.shape[0]

    def bound_graph(self) -> Graph | None:
        return self._bound_graph()

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
        """Make the tables for this graph. The weights start as a random multiple of its normalised adjacency.

        Raises:
            SupportError: if the tables belong to another graph already, or this one is a sampled piece.
        """
        if heads is not None and self.heads == -1:
            self.heads = heads
        self.where.bind(graph)
        self._token = new_token()
        self._check_sizes()
        self._make_tables(graph)

    def _check_sizes(self) -> None:
        for table, rows in ((self.edge_table, self.where.edge_rows), (self.node_table, self.where.node_rows)):
            if table is not None and not is_lazy(table) and table.shape[0] != rows:
                raise SupportError(
                    f"a table of {table.shape[0]} rows stands in the slot, and this graph needs {rows}: it was "
                    f"made for other edges."
                )

    def _make_tables(self, graph: Graph | None) -> None:
        if self.heads == -1 and self.order and not is_lazy(self.edge_table):
            self.heads = self.edge_table.shape[1] // self.order
        if self.heads == -1:
            raise ShapeError("the number of heads is not known yet: pass it, or run the layer once on the full graph.")
        fresh = [name for name in ("edge_table", "node_table") if is_lazy(getattr(self, name))]
        if "edge_table" in fresh:
            self.edge_table = self._made(self.edge_table, self.where.edge_rows, self.order)
        if "node_table" in fresh:
            hops = self.order * self.has_diagonal + self.has_initial
            self.node_table = self._made(self.node_table, self.where.node_rows, hops)
        if fresh:
            self._draw(graph, fresh)

    def _made(self, lazy: Dense, rows: int, hops: int) -> StructuredMatrix:
        if self.structure is None or rows == 0:
            lazy.materialise(rows, hops * self.heads)
            return lazy
        return made(self.structure, (rows, hops * self.heads), lazy.weight)

    def reset_parameters(self) -> None:
        """Draw the tables anew; for a table keyed by edges, around its graph's normalised adjacency."""
        self._draw(self._bound_graph())

    def _bound_graph(self) -> Graph | None:
        if not isinstance(self.where, EdgeRows) or not self.is_bound:
            return None
        n = max(1, self.where._num_nodes)
        return Graph(torch.stack([self.where.key % n, self.where.key // n]), self.where._num_nodes)

    @torch.no_grad()
    def _draw(self, graph: Graph | None, tables: Sequence[str] = ("edge_table", "node_table")) -> None:
        if not self.is_bound or self.heads == -1:
            return
        edges, nodes = self.where.edge_rows, self.where.node_rows
        like = next(self.edge_table.parameters(), torch.empty(0))
        # one random factor a hop and head: an EdgeNet starts as a graph convolution and moves away edge by edge
        factor = torch.empty(self.order * self.heads, dtype=like.dtype, device=like.device).uniform_(0.5, 1.5)
        if isinstance(self.where, EdgeRows) and graph is not None:
            start = like.new_zeros(edges)
            row = self.where.of_edges(graph, None)
            start[row[row >= 0]] = gso.symmetric(graph, None, like.dtype)[row >= 0]
        else:
            start = like.new_ones(edges)
        if "edge_table" in tables:
            self.edge_table.reset_parameters(start[:, None] * factor)
        if self.node_table is not None and "node_table" in tables:
            first = like.new_empty(self.heads * self.has_initial).uniform_(-1, 1) * math.sqrt(3)
            rest = like.new_zeros(self.order * self.heads * self.has_diagonal)
            self.node_table.reset_parameters(torch.cat([first, rest]).repeat(nodes, 1))

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args) -> None:
        if self.structure is not None and is_lazy(self.edge_table):
            self._make_as_stored(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)
        self._token = new_token()

    def _make_as_stored(self, state_dict: dict, prefix: str) -> None:
        """Make the tables that a checkpoint will fill, of as many rows as its graph needs."""
        for name, hops in (("edge", self.order), ("node", self.order * self.has_diagonal + self.has_initial)):
            table, row = getattr(self, f"{name}_table"), state_dict.get(f"{prefix}where.{_ROWS[name]}")
            rows = state_dict.get(f"{prefix}where.num_nodes") if row is None else (row >= 0).sum()  # None: by node
            # a table without rows is dense, and has a weight
            if rows is not None and int(rows) > 0 and is_lazy(table):
                setattr(self, f"{name}_table", self._made(table, int(rows), hops))

    # ---------------------------------------------------------------- using
    def forward(
        self,
        x: Tensor | Pair,
        z: Tensor | Pair,
        graph: Graph,
        edge_weight: Tensor | None = None,
        edge_attr: Tensor | None = None,
    ) -> Tensor:
        heads = source_and_target(z)[0].shape[-2]
        if not self.is_bound or is_lazy(self.edge_table):
            if self.structure is not None:
                raise SupportError(
                    f"tables that are {self.structure['structure']} from the start are made for a graph: call "
                    f"bind(edge_index) before the first pass, and before the optimizer is made."
                )
            if isinstance(self.where, EdgeRows | NodeRows) and (graph.node_id is not None or graph.edge_id is not None):
                raise SupportError(
                    "the first graph a table of edge weights meets must be the full one: call bind(edge_index)."
                )
            self.bind(graph, heads)
        elif self.heads == -1:  # a table that was loaded knows its graph
            self.heads = heads
        if self.share == "type":
            row = self._edge_rows(graph, edge_attr)
        else:
            row = self._remembered(graph, "edge rows", lambda: self._edge_rows(graph, None))
        weight = _read(self.edge_table, *row).unflatten(1, (self.order, self.heads)).movedim(1, 0)
        if self.normalize is not None:
            weight = weight * self._shift(graph, weight.dtype).unsqueeze(-1)
        if self.times_edge_weight and edge_weight is not None:
            given = gso.floating(edge_weight, weight.dtype)
            weight = weight * (given if given.dim() == 2 else given.unsqueeze(-1))
        return weight

    def _shift(self, graph: Graph, dtype: torch.dtype) -> Tensor:
        """(E,) normalised weights of the edges; loops, where the diagonal weighs them, do not count as edges."""

        def normalised() -> Tensor:
            counts = (graph.source != graph.target).to(dtype) if self.has_diagonal else None
            return gso.NORMALISATIONS[self.normalize](graph, counts, dtype)

        return graph.memo(("shared", self.normalize, self.has_diagonal, dtype), normalised)

    def _remembered(self, graph: Graph, what: str, compute: Callable[[], tuple[Tensor, bool]]) -> tuple[Tensor, bool]:
        """Rows that were looked up before on this graph; the graph forgets those of the oldest tables."""
        return graph.memo((what, self._token), compute, at_most=_REMEMBERED)

    def _edge_rows(self, graph: Graph, edge_attr: Tensor | None) -> tuple[Tensor, bool]:
        row = self.where.of_edges(graph, edge_attr)
        if self.has_diagonal:  # the loops of the edge list are the diagonal's
            row = torch.where(graph.source == graph.target, -1, row)
        return row, _complete(row)

    def initial(self, graph: Graph) -> Tensor | None:
        return self._on_nodes(graph)[0] if self.has_initial else None

    def diagonal(self, graph: Graph) -> Tensor | None:
        return self._on_nodes(graph)[int(self.has_initial) :] if self.has_diagonal else None

    def _on_nodes(self, graph: Graph) -> Tensor:
        def rows() -> tuple[Tensor, bool]:
            row = self.where.of_nodes(graph)
            return row, _complete(row)

        row = self._remembered(graph, "node rows", rows)
        return _read(self.node_table, *row).unflatten(1, (-1, self.heads)).movedim(1, 0)

    # ---------------------------------------------------------------- removing
    def _keep(self, order: int, heads: Tensor) -> None:
        def columns(hops: int) -> Tensor:
            return (torch.arange(hops).unsqueeze(1) * self.heads + heads).flatten()

        dense(self.edge_table, "the weights of edges").keep_(columns=columns(order))
        if self.node_table is not None:
            dense(self.node_table, "the weights of nodes").keep_(
                columns=columns(order * self.has_diagonal + self.has_initial)
            )

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
        if not isinstance(self.where, EdgeRows) or not self.is_bound:
            raise PlanError("only weights of the edges of one graph can be removed: share='edge', after bind.")
        table = dense(self.edge_table, "the weights of edges")
        rows = table.shape[0]
        edges = torch.stack([source, target]).to(self.where.key.device)
        table.keep_(rows=self.where.remove_(Graph(edges, self.where._num_nodes)))
        self._token = new_token()
        return rows - table.shape[0]

    def extra_repr(self) -> str:
        return f"order={self.order}, heads={self.heads}, share={self.share!r}"


class EdgeMatrix(Phi):
    """One (F, F) matrix for every edge and hop, which mixes channels as the signal walks.

    z^(k)[i] = D^(k)[i] z^(k-1)[i] + sum over e = (j -> i) of Theta^(k)[e] z^(k-1)[j]

    Unlike the bank of F_out F_in scalar filters that ``EdgeVarying`` gives with a ``FilterBank`` lift, whose channels
    meet only at the end; for one hop the two are the same. The lifted signal is (N, F, 1).

    Args:
        order: K.
        channels: F.
        options: of ``EdgeVarying`` (share, self_loops, nodes, ...), whose heads here are the F * F entries.

    Raises:
        ShapeError: with ``initial=True``: Phi^(0) is the identity here.
    """

    mixes_channels = True

    def __init__(self, order: int = 1, channels: int = 1, **options) -> None:
        super().__init__()
        if options.get("initial"):
            raise ShapeError("matrices on edges leave the input as it is before the first hop: set initial=False.")
        self.entries = EdgeVarying(order, channels * channels, **options)
        self.order, self.heads, self.channels = order, channels, channels
        self.reads_edge_attr, self.needs_edge_attr = self.entries.reads_edge_attr, self.entries.needs_edge_attr
        self.has_diagonal = self.entries.has_diagonal
        self.reset_parameters()

    @classmethod
    def for_layer(cls, spec: LayerSpec, **options: Any) -> Self:
        check_no_heads(spec)
        return cls(spec.order, spec.out_channels, **options)

    def default_lift(self, spec: LayerSpec) -> Choice:
        return "linear", {"heads": self.channels, "width": self.channels}  # every channel is a head of its own

    def default_taps(self, spec: LayerSpec) -> Choice:
        return "sum", {"merge": "concat"}

    @property
    def numbers_an_edge(self) -> int:
        return self.entries.numbers_an_edge

    @property
    def table_rows(self) -> int:
        return self.entries.table_rows

    def bound_graph(self) -> Graph | None:
        return self.entries.bound_graph()

    def remove_edges_(self, source: Tensor, target: Tensor) -> int:
        return self.entries.remove_edges_(source, target)

    def bind(self, graph: Graph, heads: int | None = None) -> None:
        fresh = is_lazy(self.entries.edge_table)
        self.entries.bind(graph)
        if fresh:
            self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        self.entries.reset_parameters()
        if self.entries.is_bound:  # random signs and the variance of a dense (F, F) layer, so that channels differ
            table = self.entries.edge_table
            mixing = torch.empty(self.order * self.channels**2).uniform_(-1, 1) * math.sqrt(3 / self.channels)
            table.reset_parameters(table.to_dense() * mixing.to(table.to_dense()))

    def forward(
        self,
        x: Tensor | Pair,
        z: Tensor | Pair,
        graph: Graph,
        edge_weight: Tensor | None = None,
        edge_attr: Tensor | None = None,
    ) -> Tensor:
        if not self.entries.is_bound:
            self.bind(graph)
        return self.entries(x, z, graph, edge_weight, edge_attr)

    def diagonal(self, graph: Graph) -> Tensor | None:
        return self.entries.diagonal(graph)

    def _keep(self, order: int, heads: Tensor) -> None:
        if len(heads) < self.heads:
            raise PlanError("the heads of matrices on edges are channels, which mix at every hop; remove hops only.")
        self.entries.keep_(order, range(self.entries.heads))

    def hop(
        self, graph: Graph, weight: Tensor, diagonal: Tensor | None, z: Tensor, spmm: Spmm = ops.spmm, k: int = 0
    ) -> Tensor:
        channels = self.channels
        # entry (f, g) of every matrix is a head that carries input channel g to output channel f
        fanned = z.unsqueeze(1).expand(-1, channels, -1, -1).flatten(1, 2)
        y = spmm(graph, weight, fanned)
        if diagonal is not None:
            y = torch.addcmul(y, diagonal.unsqueeze(-1), fanned)
        return y.unflatten(1, (channels, channels)).sum(2)

    def extra_repr(self) -> str:
        return f"order={self.order}, channels={self.channels}"


def check_no_heads(spec: LayerSpec) -> None:
    """Refuse heads where hops mix all channels.

    Raises:
        ShapeError: if there is more than one.
    """
    if spec.heads != 1:
        raise ShapeError(f"matrices mix all channels at every hop and have no heads; got heads={spec.heads}.")


def _rows(
    share: str,
    self_loops: bool,
    nodes: Tensor | int | float | None,
    num_types: int | None,
    buckets: int | None,
    by_community: bool,
) -> Rows:
    if by_community and share != "edge":
        raise ShapeError(f"communities order the rows of one graph's edges: share must be 'edge', got {share!r}.")
    if nodes is not None and share != "edge":
        raise ShapeError(f"important nodes choose among edges of one graph: share must be 'edge', got {share!r}.")
    if share == "edge":
        return EdgeRows(self_loops, nodes, by_community)
    if share == "node":
        return NodeRows()
    if share == "type":
        if not num_types:
            raise ShapeError("share='type' needs num_types, the number of edge types.")
        return TypeRows(num_types)
    if share == "hash":
        if not buckets:
            raise ShapeError("share='hash' needs buckets, the number of weights to share.")
        return HashRows(buckets)
    raise ShapeError(f"share is one of 'edge', 'node', 'type', 'hash', got {share!r}.")


def is_lazy(table: StructuredMatrix | None) -> bool:
    return isinstance(table, Dense) and table.is_lazy


def new_token() -> str:
    """A name that no other table has, in this process or in one that wrote a pickle; a string, which can be traced."""
    return uuid.uuid4().hex


def _complete(row: Tensor) -> bool:
    """Whether every edge has a row; what cannot be known while tracing is taken as no."""
    return not torch.compiler.is_compiling() and bool((row >= 0).all())


def _read(table: StructuredMatrix, row: Tensor, complete: bool) -> Tensor:
    """table[row], and zeros where the row is -1."""
    if complete:
        return table.rows(row)
    if table.shape[0] == 0:
        return table.to_dense().new_zeros(len(row), table.shape[1])
    return table.rows(row.clamp_min(0)) * (row >= 0).unsqueeze(-1)
