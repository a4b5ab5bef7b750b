"""EdgeFactored: a matrix on every edge, as a combination of few shared ones; the table of matrices is never built."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from edgenet import gso, ops
from edgenet.errors import PlanError, ShapeError, SupportError
from edgenet.graph import Graph
from edgenet.phi.base import Choice, LayerSpec, Pair, Phi, Spmm
from edgenet.phi.channels import ChannelKronecker, ChannelTable, hop_by_factors, matrices_of
from edgenet.phi.corrections import Corrections
from edgenet.phi.edge_matrix import check_no_heads
from edgenet.phi.edge_varying import REMEMBERED, EdgeVarying, new_token
from edgenet.phi.forms import check_sharing, check_sizes, of_channels, structures_of
from edgenet.phi.rows import ByEdge, ByHash, ByNode, RowFinder
from edgenet.phi.shift import ShiftOperator
from edgenet.structured import SparseSignal, StructuredMatrix
from edgenet.structured.base import glorot
from edgenet.structured.read import read, read_rows
from edgenet.structured.unbound import is_unbound, refuse_making, unbound


class EdgeFactored(Phi):
    """The full edge-varying tensor W of a layer, (K, E + N, F_out, F_in), in factors (Isufi, Gama, Ribeiro 2021, whose
    filters have all of it).

        z^(k)[i] = Theta^(k)[ii] z^(k-1)[i] + sum over e = (j -> i) of Theta^(k)[e] z^(k-1)[j]
        Theta^(k)[e] = sum over r of a^(k)[e, r] C_r^(k)

    A hop then is R scalar hops in the narrower of the two widths, and one product with the R matrices C_r side by side:
    R (E min(F_in, F_out) + N F_in F_out) multiply-adds, and N R min(F_in, F_out) numbers in memory. The first hop leads
    from F_in to F_out channels, later ones from F_out to F_out, and z^(0) = x is not lifted. The diagonals Theta[ii]
    stand for Phi^(0) and the self tap of the paper.

    The forms differ in what a and C are. Their tables are slots: ``coefficients.edge_table`` (E, K R) and
    ``coefficients.node_table`` (N, K R); ``maps.k.table``, (F_out, R F_in) or (R F_out, F_in).

    | form | a[e, r] | C_r |
    |---|---|---|
    | "cp" | free | free |
    | "node_bilinear" | u[i, r] s[e] v[j, r], which generalises node-varying filters | free |
    | "kronecker" | free | P_r (x) Q_r |
    | "tensor_train" | tensor train over (e1, e2), edges sorted by community | tensor train over (f1 g1, f2 g2) |
    | "hashed" | read from a hash pool | read from a hash pool |
    | "shared" | R = 2: (s[e], 0) on edges, (0, 1) on loops: taps that all edges share, a GCNN of order 1 a hop | free |
    | "doped" | as ``base`` | as ``base`` |

    With ``density``, a share of the entries of W, at random places, is free on top of that: ``Corrections``. The form
    "doped" is ``base`` with ``density=0.001``, by default shared taps with sparse edge-specific corrections.

    Args:
        order: K.
        in_channels, out_channels: F_in, F_out.
        form: see above.
        rank: R.
        bank: "mimo": hops multiply by the matrices. "siso": the matrices are tables of F_out F_in scalar recursions, as
            in the paper, which meet only at the end. They coincide for one hop. For more, factors make the parameters
            fewer, but the signals of all F_out F_in recursions are in memory, and are walked R times.
        edge_rank, channel_rank: TT ranks of the edges and of the channels of "tensor_train", by default R.
        ratio: how many times fewer parameters the tables of "hashed" have than entries. Channel tables that are too
            small for that are dense.
        base, density: of "doped".
        weights: s of "node_bilinear" and "shared": "learned" (not for "shared"), or "sym", "rw", "none": the entries of
            that shift operator of the graph, or of the edge weights given to the layer.
        share, self_loops, nodes, num_types, buckets, times_edge_weight: of ``EdgeVarying``.

    Raises:
        ShapeError: if options do not go together.
        SupportError: in ``forward``, if an edge lies outside the support, the graph is bipartite or not the bound one.

    Example:
        >>> phi = edgenet.phi.EdgeFactored(order=2, in_channels=3, out_channels=8, form="cp", rank=4)
        >>> edgenet.EdgeNetConv(3, 8, phi=phi).bind(graph)(x, graph).shape
        torch.Size([4, 8])
    """

    reads_sparse = True
    mixes_channels = True
    taps_itself = False  # the loops have matrices of their own

    def __init__(
        self,
        order: int = 1,
        in_channels: int = 1,
        out_channels: int = 1,
        form: str = "cp",
        rank: int = 8,
        bank: str = "mimo",
        channel_rank: int | None = None,
        edge_rank: int | None = None,
        ratio: float = 8.0,
        base: str = "shared",
        density: float | None = None,
        weights: str | None = None,
        share: str = "edge",
        self_loops: bool = True,
        nodes: Tensor | int | float | None = None,
        num_types: int | None = None,
        buckets: int | None = None,
        times_edge_weight: bool = False,
    ) -> None:
        super().__init__()
        whole = base if form == "doped" else form  # the form but for corrections
        density = 0.001 if form == "doped" and density is None else density
        given = weights or ("sym" if whole == "shared" else "learned")
        check_sizes(form, bank, base, in_channels, out_channels, rank, order)
        check_sharing(whole, given, share, nodes, times_edge_weight, density)
        self.order, self.heads, self.form, self.bank = order, 1, form, bank
        self.in_channels, self.out_channels = in_channels, out_channels
        self.base, self.density, self.self_loops = whole, density, self_loops
        self.rank = (1 + self_loops) if whole == "shared" else rank
        self.in_scalars = bank == "siso" and order > 1
        self.is_bilinear = whole == "node_bilinear"
        # as they were asked for, from which saved models are made again
        self.weights, self.share, self.nodes, self.num_types, self.buckets = given, share, nodes, num_types, buckets
        self.ratio, self.edge_rank, self.channel_rank = ratio, edge_rank, channel_rank
        self.times_edge_weight, self.has_diagonal = times_edge_weight, self_loops

        structures = structures_of(whole, order * self.rank, ratio, edge_rank or rank, channel_rank or rank)
        self.coefficients: Phi = self._made_coefficients(structures[0])
        self.reads_edge_attr, self.needs_edge_attr = (
            self.coefficients.reads_edge_attr, self.coefficients.needs_edge_attr
        )  # fmt: skip
        widths = [in_channels] * order if bank == "siso" else [in_channels, *[out_channels] * (order - 1)]
        self.maps = nn.ModuleList(
            ChannelKronecker(self.rank, width, out_channels)
            if whole == "kronecker"
            else ChannelTable(
                self.rank, width, out_channels, of_channels(structures[1], self.rank * width * out_channels)
            )
            for width in widths
        )
        self.where: RowFinder | None = None  # whose receivers and senders, and corrections, are which
        self.receivers: StructuredMatrix | None = None  # u, (N, K R)
        self.senders: StructuredMatrix | None = None  # v, (N, K R)
        if self.is_bilinear:
            self.where = ByHash(buckets) if share == "hash" and buckets else ByNode()
            rows = -1 if self.where.node_rows is None else self.where.node_rows
            self.receivers, self.senders = unbound(rows, order * rank), unbound(rows, order * rank)
        self.corrections: nn.ModuleList | None = None
        self.corrected: ByEdge | None = None  # which row of the corrections is whose
        if density is not None:
            self.corrected = ByEdge(self_loops, nodes)
            self.corrections = nn.ModuleList(
                Corrections(out_channels, width, density, self.in_scalars and k > 0, self.in_scalars)
                for k, width in enumerate(widths)
            )
        self._token = new_token()
        self.reset_parameters()

    def _made_coefficients(self, structure: dict[str, Any] | None) -> Phi:
        if self.weights != "learned":
            return ShiftOperator(self.order, normalize=self.weights)
        return EdgeVarying(
            self.order,
            1 if self.is_bilinear else self.rank,
            self.share,
            self.self_loops,
            nodes=self.nodes,
            times_edge_weight=self.times_edge_weight,
            normalize=None if self.share == "edge" else "rw",
            num_types=self.num_types,
            buckets=self.buckets,
            structure=structure,
            by_community=self.base == "tensor_train",
        )

    # ---------------------------------------------------------------- as part of a layer
    @classmethod
    def for_layer(cls, spec: LayerSpec, **options: Any) -> Self:
        check_no_heads(spec)
        return cls(spec.order, spec.in_channels, spec.out_channels, **options)

    def check_layer(self, spec: LayerSpec, lift: Any) -> None:
        alike = spec.in_channels == spec.target_channels == self.in_channels
        if not alike or spec.out_channels != self.out_channels or lift is not None or spec.self_tap:
            widths = (spec.in_channels, spec.target_channels)
            raise ShapeError(
                f"factored matrices on edges lead from {self.in_channels} to {self.out_channels} channels without a "
                f"lift or a self tap; got {widths[0] if widths[0] == widths[1] else widths} to {spec.out_channels}, "
                f"lift={lift}, self_tap={spec.self_tap}."
            )

    def default_lift(self, spec: LayerSpec) -> Choice:
        return "identity", {}

    def default_taps(self, spec: LayerSpec) -> Choice:
        return ("sum_inputs", {}) if self.in_scalars else ("sum", {"merge": "concat"})

    # ---------------------------------------------------------------- making
    @property
    def is_bound(self) -> bool:
        """Whether the tables know their edges."""
        parts = [self.coefficients, self.where, self.corrected]
        return all(part.is_bound for part in parts if hasattr(part, "is_bound"))

    def bind(self, graph: Graph, heads: int | None = None) -> None:
        """Make the tables for this graph. The layer starts as a graph convolution that counts loops as edges.

        Raises:
            SupportError: if they belong to another graph already, or this one is a sampled piece or bipartite.
        """
        self._check(graph)
        fresh = not self.is_bound and is_unbound(getattr(self.coefficients, "edge_table", self.senders))
        ends = [table for table in (self.receivers, self.senders) if is_unbound(table)]
        corrections = list(self.corrections or ())
        empty = ends + [part.values for part in corrections if is_lazy(part.values)]
        if empty:
            refuse_making(*empty)
        if self.corrected is not None:
            self.corrected.bind(graph)
        self.coefficients.bind(graph, self.rank)
        if self.where is not None:
            self.where.bind(graph)
        self._token = new_token()
        for table in ends:
            table.materialise(self.where.node_rows, self.order * self.rank)
        for part in corrections:
            part.bind(self.corrected.edge_rows + self.corrected.node_rows * self.self_loops)
        if fresh:
            self._draw_coefficients(graph)

    @staticmethod
    def _check(graph: Graph) -> None:
        if graph.is_bipartite:
            raise SupportError(
                f"matrices on edges walk one set of nodes, and this graph leads from {graph.num_sources} to "
                f"{graph.num_nodes}."
            )

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw all anew."""
        if next(self.maps.parameters()).is_meta:  # for numbers that a file has
            return
        for part in self.maps:
            # the sum over r of a factor in [0.5, 1.5] times C_r has Glorot's variance
            part.draw_(glorot((part.in_channels, part.out_channels)) / (1 if self.base == "shared" else self._spread()))
        for part in self.corrections or ():
            part.reset_parameters()
        where = getattr(self.coefficients, "where", None)
        self._draw_coefficients(None if where is None else where.bound_graph())

    def _spread(self) -> float:
        return (self.rank * (1 + 1 / 12)) ** 0.5

    @torch.no_grad()
    def _draw_coefficients(self, graph: Graph | None) -> None:
        if not self.is_bound:
            return
        factor = torch.empty(self.order * self.rank).uniform_(0.5, 1.5)
        if self.is_bilinear:
            like = next(self.senders.parameters())
            self.receivers.reset_parameters(torch.ones_like(like))
            self.senders.reset_parameters(factor.to(like).expand(like.shape))
            factor = torch.ones(self.order)
        c = self.coefficients
        if not isinstance(c, EdgeVarying):
            return
        like = read(c.edge_table)
        edges, loops = like.new_ones(c.where.edge_rows), like.new_ones(c.where.node_rows or 0)
        if c.where.one_an_edge and graph is not None:
            walked = graph.with_self_loops()[0] if c.has_diagonal else graph
            weight, row = gso.symmetric(walked, None, like.dtype), c.where.of_edges(walked, None)
            edges[row[row >= 0]] = weight[row >= 0]
            node = c.where.of_nodes(graph)
            loops[node[node >= 0]] = weight[len(weight) - graph.num_nodes :][node >= 0] if c.has_diagonal else 1.0
        factor = factor.to(like)
        c.edge_table.reset_parameters(edges[:, None] * factor)
        if c.node_table is not None:
            c.node_table.reset_parameters(loops[:, None] * factor)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args)
        self._token = new_token()

    # ---------------------------------------------------------------- using
    def forward(
        self,
        x: Tensor | Pair,
        z: Tensor | Pair,
        graph: Graph,
        edge_weight: Tensor | None = None,
        edge_attr: Tensor | None = None,
    ) -> Tensor:
        """(K, E, R) coefficients a of the edges; (K, E, 1) numbers s where they are node-bilinear."""
        self._check(graph)
        if not self.is_bound:
            if getattr(self.coefficients, "structure", None) is not None:
                raise SupportError(
                    f"the tables of form={self.base!r} are made for a graph: call bind(edge_index) before the first "
                    f"pass, and before the optimizer is made."
                )
            self.bind(graph)
        weight = self.coefficients(x, z, graph, edge_weight, edge_attr)
        if self.base == "shared" and self.self_loops:
            weight = torch.cat([weight, torch.zeros_like(weight)], -1)
        return weight

    def diagonal(self, graph: Graph) -> Tensor | None:
        """(K, N, R) coefficients of the loops, or (K, N, 1) numbers s likewise."""
        if not self.self_loops:
            return None
        own = self.coefficients.diagonal(graph)
        if own is not None:
            return own
        like = next(self.maps.parameters())
        column = [0.0, 1.0] if self.base == "shared" else [1.0]
        return like.new_tensor(column).expand(self.order, graph.num_nodes, -1)

    def hop(
        self, graph: Graph, weight: Tensor, diagonal: Tensor | None, z: Tensor, spmm: Spmm = ops.spmm, k: int = 0
    ) -> Tensor:
        """z^(k + 1) from z^(k): (N, 1, B F_in) -> (N, 1, B F_out), B signals side by side; between scalar recursions
        (N, F_out F_in, B), and to them at the first hop."""
        maps, in_scalars = self.maps[k], self.in_scalars
        if in_scalars and k:  # (N, B, F_out F_in)
            z = z.transpose(1, 2)
        elif not isinstance(z, SparseSignal):  # (N, B, F_in)
            z = z.squeeze(1).unflatten(1, (-1, maps.in_channels))
        batch = 1 if isinstance(z, SparseSignal) else z.shape[1]
        if in_scalars:
            z = z.to_dense().unsqueeze(1) if isinstance(z, SparseSignal) else z
            y = self._moved(graph, weight, diagonal, z.flatten(1).unsqueeze(1), spmm, k)
            y = y.unflatten(2, (batch, -1)).transpose(1, 2)  # (N, B, R, C)
            matrices = matrices_of(maps)
            pattern = "nbrl,rl->nbl" if k else "nbrg,rfg->nbfg"
            y = torch.einsum(pattern, y, matrices.flatten(1) if k else matrices).flatten(2)
        else:
            y = hop_by_factors(maps, z, lambda signal: self._moved(graph, weight, diagonal, signal, spmm, k))
        if self.corrections is not None:
            if spmm is not ops.spmm:
                raise ShapeError("corrections of single entries are no messages that an explainer can weigh.")
            y = y + self.corrections[k](self._wires(graph, k), z)
        return y.transpose(1, 2) if in_scalars else y.flatten(1).unsqueeze(1)

    def _moved(self, graph: Graph, weight: Tensor, diagonal: Tensor | None, z: Tensor, spmm: Spmm, k: int) -> Tensor:
        """(N, R or 1, C) -> (N, R, C): R scalar hops."""
        if self.is_bilinear:
            u, v = self.ends(graph, k)
            z = z * v
        y = spmm(graph, weight, z)
        if diagonal is not None:
            y = torch.addcmul(y, diagonal.unsqueeze(-1), z)
        return y * u if self.is_bilinear else y

    def ends(self, graph: Graph, k: int) -> tuple[Tensor, Tensor]:
        """(N, R, 1) factors u of the receivers and v of the senders at hop k + 1."""
        mine = slice(k * self.rank, (k + 1) * self.rank)
        row = self._remembered(graph, "nodes", lambda: self.where.of_nodes(graph))
        u, v = (read_rows(table, row)[:, mine].unsqueeze(-1) for table in (self.receivers, self.senders))
        return u, v

    def forget_rows(self) -> None:
        """Let graphs forget where the rows of this layer's tables are, which have changed."""
        self._token = new_token()

    def _wires(self, graph: Graph, k: int) -> tuple[Graph, Tensor]:
        """Where the corrections of this graph's edges and loops lead."""

        def compute() -> tuple[Graph, Tensor]:
            node = torch.arange(graph.num_nodes, device=graph.edge_index.device)
            source, target, row = graph.source, graph.target, self.correction_rows(graph)
            if self.self_loops:
                source, target = torch.cat([source, node]), torch.cat([target, node])
            return self.corrections[k].wires(source, target, row, graph.num_nodes)

        return self._remembered(graph, f"corrections {k}", compute)

    def correction_rows(self, graph: Graph) -> Tensor:
        """Rows of the corrections of the edges, then of the loops, which have theirs behind those of all edges."""
        row = self.corrected.of_edges(graph, None)
        if not self.self_loops:
            return row
        own = self.corrected.of_nodes(graph)
        return torch.cat([row, torch.where(own < 0, -1, own + self.corrected.edge_rows)])

    def _remembered(self, graph: Graph, what: str, compute: Callable[[], Any]) -> Any:
        if any(rows is not None and rows.is_stacked() for rows in (self.where, self.corrected)):
            return compute()
        return graph.memo((f"factored {what}", self._token), compute, at_most=REMEMBERED)

    # ---------------------------------------------------------------- sizes
    @property
    def virtual_weights(self) -> int:
        """Numbers of W, (K, E + N, F_out, F_in), that these parameters stand for; of a bound layer.

        Raises:
            SupportError: if it is not bound, or its weights belong to no graph.
        """
        where = self.corrected if self.corrected is not None else getattr(self.coefficients, "where", self.where)
        if where is None or where.edge_rows is None:
            raise SupportError(
                f"how many weights there are is known when they are bound to the edges of a graph; got {self}."
            )
        rows = where.edge_rows + self.self_loops * where.node_rows
        return rows * sum(part.in_channels * part.out_channels for part in self.maps)

    def keep_inputs_(self, channels: Tensor) -> None:
        raise PlanError("the first hop of factored matrices leads from the input channels; none can be taken.")

    def extra_repr(self) -> str:
        return (
            f"order={self.order}, {self.in_channels} -> {self.out_channels}, form={self.form!r}, rank={self.rank}, "
            f"bank={self.bank!r}"
        )
