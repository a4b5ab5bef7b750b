"""EdgeFactored: a matrix on every edge, as a combination of few shared ones; the table of matrices is never built."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn

from edgenet import gso, ops
from edgenet.errors import PlanError, ShapeError, SupportError
from edgenet.graph import Graph
from edgenet.phi.base import Choice, LayerSpec, Pair, Phi, Spmm
from edgenet.phi.channels import ChannelKronecker, ChannelTable
from edgenet.phi.corrections import Corrections
from edgenet.phi.edge_varying import _REMEMBERED, EdgeVarying, check_no_heads, is_lazy, new_token
from edgenet.phi.rows import EdgeRows, HashRows, NodeRows, Rows
from edgenet.phi.shift import ShiftOperator
from edgenet.structured import Dense, SparseSignal, StructuredMatrix
from edgenet.structured.base import glorot
from edgenet.structured.svd import double, truncated_svd

FORMS = ("cp", "node_bilinear", "kronecker", "tensor_train", "hashed", "shared", "doped")


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
    ``coefficients.node_table`` (N, K R); ``channels.k.table``, (F_out, R F_in) or (R F_out, F_in).

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
        ratio: how many times fewer parameters the tables of "hashed" have than entries.
        base, density: of "doped".
        weights: s of "node_bilinear" and "shared": "learned" (not for "shared"), or "sym", "rw", "none": the entries of
            that shift operator of the graph, or of the edge weights given to the layer.
        share, self_loops, nodes, num_types, buckets, times_edge_weight: of ``EdgeVarying``.

    Raises:
        ShapeError: if options do not go together.
        SupportError: in ``forward``, if an edge lies outside the support, the graph is bipartite or not the bound one.
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
        if form not in FORMS or bank not in ("siso", "mimo") or base not in FORMS[:-1]:
            raise ShapeError(
                f"form is one of {', '.join(FORMS)}, bank 'siso' or 'mimo', base a form other than 'doped'; got "
                f"{form!r}, {bank!r} and {base!r}."
            )
        if in_channels < 1 or out_channels < 1 or rank < 1 or order < 1:
            raise ShapeError(
                f"matrices on edges have a known size, and rank and order of 1 at least: got {in_channels} to "
                f"{out_channels} channels, rank={rank}, order={order}."
            )
        self.order, self.heads, self.form, self.bank = order, 1, form, bank
        self.in_channels, self.out_channels = in_channels, out_channels
        base = base if form == "doped" else form
        if form == "doped" and density is None:
            density = 0.001
        self.base, self.density, self.self_loops = base, density, self_loops
        self.rank = (1 + self_loops) if base == "shared" else rank
        self.lanes = bank == "siso" and order > 1
        self.is_bilinear = base == "node_bilinear"
        given = weights or ("sym" if base == "shared" else "learned")
        if base != "node_bilinear" and (given == "learned") == (base == "shared"):
            raise ShapeError(f"weights={weights!r} does not go with the form {base!r}.")
        self.weights = given

        # as they were asked for, from which saved models are made again
        self.share, self.nodes, self.num_types, self.buckets = share, nodes, num_types, buckets
        self.ratio, self.edge_rank, self.channel_rank = ratio, edge_rank, channel_rank
        self.times_edge_weight = times_edge_weight
        structures = self._structures(base, ratio, edge_rank or rank, channel_rank or rank)
        sharing: dict[str, Any] = {"share": share, "nodes": nodes, "num_types": num_types, "buckets": buckets}
        sharing |= {"self_loops": self_loops, "times_edge_weight": times_edge_weight, "structure": structures[0]}
        sharing |= {"normalize": None if share == "edge" else "rw", "by_community": base == "tensor_train"}
        if given != "learned":
            if share not in ("edge", "hash") or nodes is not None or times_edge_weight:
                raise ShapeError(f"weights={given!r} are given, and take no share={share!r}, nodes or edge weights.")
            self.coefficients: Phi = ShiftOperator(order, normalize=given)
        else:
            self.coefficients = EdgeVarying(order, 1 if self.is_bilinear else self.rank, **sharing)
        self.reads_edge_attr, self.needs_edge_attr = (
            self.coefficients.reads_edge_attr, self.coefficients.needs_edge_attr
        )  # fmt: skip
        self.has_diagonal = self_loops
        fans = [in_channels, *[out_channels] * (order - 1)]
        fans = [in_channels] * order if bank == "siso" else fans
        self.channels = nn.ModuleList(
            ChannelKronecker(self.rank, fan, out_channels)
            if base == "kronecker"
            else ChannelTable(self.rank, fan, out_channels, structures[1])
            for fan in fans
        )
        self.where: Rows | None = None  # whose receivers and senders, and corrections, are which
        self.receivers: StructuredMatrix | None = None  # u, (N, K R)
        self.senders: StructuredMatrix | None = None  # v, (N, K R)
        if self.is_bilinear:
            self.where = HashRows(buckets) if share == "hash" and buckets else NodeRows()
            rows = -1 if self.where.node_rows is None else self.where.node_rows
            self.receivers, self.senders = Dense.lazy(rows, order * rank), Dense.lazy(rows, order * rank)
        self.corrections: nn.ModuleList | None = None
        self.corrected: EdgeRows | None = None  # which row of the corrections is whose
        if density is not None:
            if share != "edge":
                raise ShapeError(f"corrections belong to the edges of one graph: share must be 'edge', got {share!r}.")
            self.corrected = EdgeRows(self_loops, nodes)
            self.corrections = nn.ModuleList(
                Corrections(out_channels, fan, density, self.lanes and k > 0, self.lanes) for k, fan in enumerate(fans)
            )
        self._token = new_token()
        self.reset_parameters()

    def _structures(
        self, base: str, ratio: float, edge_rank: int, channel_rank: int
    ) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
        """Of the tables of edges and nodes, and of the channels."""
        if base == "hashed":
            return ({"structure": "hashed", "ratio": ratio},) * 2
        if base == "tensor_train":
            edges = {"structure": "tensor_train", "in_modes": [1, self.order * self.rank], "rank": edge_rank}
            return edges, {"structure": "tensor_train", "dims": 2, "rank": channel_rank}
        return None, None

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
        return ("sum_inputs", {}) if self.lanes else ("sum", {"merge": "concat"})

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
        fresh = not self.is_bound and is_lazy(getattr(self.coefficients, "edge_table", self.senders))
        if self.corrected is not None:
            self.corrected.bind(graph)
        self.coefficients.bind(graph, self.rank)
        if self.where is not None:
            self.where.bind(graph)
        self._token = new_token()
        for table in (self.receivers, self.senders):
            if is_lazy(table):
                table.materialise(self.where.node_rows, self.order * self.rank)
        for part in self.corrections or ():
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
        if next(self.channels.parameters()).is_meta:  # for numbers that a file has
            return
        for part in self.channels:
            # the sum over r of a factor in [0.5, 1.5] times C_r has Glorot's variance
            part.draw_(glorot((part.in_channels, part.out_channels)) / (1 if self.base == "shared" else self._spread()))
        for part in self.corrections or ():
            part.reset_parameters()
        bound = isinstance(self.coefficients, EdgeVarying) and self.coefficients._bound_graph()
        self._draw_coefficients(bound or None)

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
        like = c.edge_table.to_dense()
        edges, loops = like.new_ones(c.where.edge_rows), like.new_ones(c.where.node_rows or 0)
        if isinstance(c.where, EdgeRows) and graph is not None:
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
        like = next(self.channels.parameters())
        column = [0.0, 1.0] if self.base == "shared" else [1.0]
        return like.new_tensor(column).expand(self.order, graph.num_nodes, -1)

    def hop(
        self, graph: Graph, weight: Tensor, diagonal: Tensor | None, z: Tensor, spmm: Spmm = ops.spmm, k: int = 0
    ) -> Tensor:
        """z^(k + 1) from z^(k): (N, 1, B F_in) -> (N, 1, B F_out), B signals side by side; between scalar recursions
        (N, F_out F_in, B), and to them at the first hop."""
        channels, lanes = self.channels[k], self.lanes
        if lanes and k:  # (N, B, L), a lane a channel
            z = z.transpose(1, 2)
        elif not isinstance(z, SparseSignal):  # (N, B, F_in)
            z = z.squeeze(1).unflatten(1, (-1, channels.in_channels))
        batch = 1 if isinstance(z, SparseSignal) else z.shape[1]
        if lanes or channels.walk_first:
            z = z.to_dense().unsqueeze(1) if isinstance(z, SparseSignal) else z
            y = self._moved(graph, weight, diagonal, z.flatten(1).unsqueeze(1), spmm, k)
            y = y.unflatten(2, (batch, -1)).transpose(1, 2)  # (N, B, R, C)
            if lanes:
                matrices = channels.matrices()
                pattern = "nbrl,rl->nbl" if k else "nbrg,rfg->nbfg"
                y = torch.einsum(pattern, y, matrices.flatten(1) if k else matrices).flatten(2)
            else:
                y = channels.gather(y)
        else:
            y = channels.spread(z)
            y = y.unsqueeze(1) if isinstance(z, SparseSignal) else y
            y = self._moved(graph, weight, diagonal, y.transpose(1, 2).flatten(2), spmm, k)
            y = y.sum(1).unflatten(1, (batch, -1))
        if self.corrections is not None:
            if spmm is not ops.spmm:
                raise ShapeError("corrections of single entries are no messages that an explainer can weigh.")
            y = y + self.corrections[k].hop(self._wires(graph, k), z)
        return y.transpose(1, 2) if lanes else y.flatten(1).unsqueeze(1)

    def _moved(self, graph: Graph, weight: Tensor, diagonal: Tensor | None, z: Tensor, spmm: Spmm, k: int) -> Tensor:
        """(N, R or 1, C) -> (N, R, C): R scalar hops."""
        if self.is_bilinear:
            mine = slice(k * self.rank, (k + 1) * self.rank)
            row = self._remembered(graph, "nodes", lambda: self.where.of_nodes(graph))
            u, v = (table.rows(row)[:, mine].unsqueeze(-1) for table in (self.receivers, self.senders))
            z = z * v
        y = spmm(graph, weight, z)
        if diagonal is not None:
            y = torch.addcmul(y, diagonal.unsqueeze(-1), z)
        return y * u if self.is_bilinear else y

    def _wires(self, graph: Graph, k: int) -> tuple[Graph, Tensor]:
        """Where the corrections of this graph's edges and loops lead."""

        def compute() -> tuple[Graph, Tensor]:
            node = torch.arange(graph.num_nodes, device=graph.edge_index.device)
            source, target, row = graph.source, graph.target, self._rows(graph)
            if self.self_loops:
                source, target = torch.cat([source, node]), torch.cat([target, node])
            return self.corrections[k].wires(source, target, row, graph.num_nodes)

        return self._remembered(graph, f"corrections {k}", compute)

    def _rows(self, graph: Graph) -> Tensor:
        """Rows of the corrections of the edges, then of the loops, which have theirs behind those of all edges."""
        row = self.corrected.of_edges(graph, None)
        if not self.self_loops:
            return row
        own = self.corrected.of_nodes(graph)
        return torch.cat([row, torch.where(own < 0, -1, own + self.corrected.edge_rows)])

    def _remembered(self, graph: Graph, what: str, compute: Callable[[], Any]) -> Any:
        return graph.memo((f"factored {what}", self._token), compute, at_most=_REMEMBERED)

    # ---------------------------------------------------------------- the whole tensor
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
        return rows * sum(part.in_channels * part.out_channels for part in self.channels)

    def to_tensor(
        self, graph: Graph, edge_weight: Tensor | None = None, edge_attr: Tensor | None = None
    ) -> list[Tensor]:
        """W of every hop, (E + N, F_out, F_in), a matrix for every edge of the graph and then for every node; for small
        ones."""
        like = next(self.channels.parameters())
        signal = like.new_zeros(graph.num_nodes, 1, 1)
        weight, diagonal = self(signal, signal, graph, edge_weight, edge_attr), self.diagonal(graph)
        source, target = graph.source, graph.target
        if diagonal is not None:
            node = torch.arange(graph.num_nodes, device=source.device)
            source, target = torch.cat([source, node]), torch.cat([target, node])
            weight = torch.cat([weight, diagonal.to(weight)], 1)
        found = []
        for k, channels in enumerate(self.channels):
            a = weight[k]
            if self.is_bilinear:
                mine = slice(k * self.rank, (k + 1) * self.rank)
                u, v = (table.rows(self.where.of_nodes(graph))[:, mine] for table in (self.receivers, self.senders))
                a = a * u[target] * v[source]
            theta = torch.einsum("er,rfg->efg", a, channels.matrices())
            if self.corrections is not None:
                row = self._rows(graph)
                table = self.corrections[k].to_dense(self.corrected.edge_rows + self.corrected.node_rows)
                theta = theta + table[row.clamp_min(0)] * (row >= 0)[:, None, None]
            found.append(theta)
        return found

    @torch.no_grad()
    def fit_(self, graph: Graph, tensors: list[Tensor]) -> None:
        """Take over given matrices as nearly as the form allows.

        Coefficients and channels are those of the truncated singular value decomposition of the (E + N, F_out F_in)
        unfolding of every hop, the nearest in CP form; structures in the slots then project each factor. Shared taps
        are least squares. Corrections take the largest of what is left. Exact where the rank is large enough.

        Args:
            graph: the bound graph, or the one to bind to.
            tensors: for every hop (E + N, F_out, F_in), as ``to_tensor`` gives them; of repeated edges the last counts.

        Raises:
            ShapeError: for node-bilinear weights, for which no such fit is known, and for weights that are not one an
                edge.
        """
        if not self.is_bound:
            self.bind(graph)
        c = self.coefficients
        per_edge = isinstance(c, EdgeVarying) and isinstance(c.where, EdgeRows)
        if self.is_bilinear or not (per_edge or self.base == "shared"):
            raise ShapeError(f"only weights of one graph's edges are fitted, and no node-bilinear ones; got {self}.")
        unfolded = [double(theta.flatten(1)) for theta in tensors]
        if per_edge:
            row = c._edge_rows(graph, None)[0]
            node = c.where.of_nodes(graph)
            kept = torch.cat([row, torch.where(node < 0, -1, node + c.where.edge_rows)] if self.self_loops else [row])
            rows = c.where.edge_rows + c.where.node_rows * self.self_loops
            tables = [m.new_zeros(rows, m.shape[1]).index_put((kept[kept >= 0],), m[kept >= 0]) for m in unfolded]
            factors = [_factors(table, self.rank) for table in tables]
            table = torch.cat([a for a, _ in factors], 1)
            like = next(self.channels.parameters())
            c.edge_table.reset_parameters(table[: c.where.edge_rows].to(like))
            if c.node_table is not None:
                c.node_table.reset_parameters(table[c.where.edge_rows :].to(like))
            matrices = [matrix for _, matrix in factors]
        else:
            weight, diagonal = self(None, double(torch.zeros(graph.num_nodes, 1, 1)), graph), self.diagonal(graph)
            a = weight if diagonal is None else torch.cat([weight, diagonal.to(weight)], 1)
            matrices = [torch.linalg.lstsq(double(a[k]), m, driver="gelsd").solution for k, m in enumerate(unfolded)]
        for part, matrix in zip(self.channels, matrices, strict=True):
            like = next(part.parameters())
            part.set_(matrix.unflatten(1, (part.out_channels, part.in_channels)).to(like))
        if self.corrections is not None:
            self._fit_corrections(graph, tensors)

    def _fit_corrections(self, graph: Graph, tensors: list[Tensor]) -> None:
        for part in self.corrections:
            part.reset_parameters()
        for part, theta, near in zip(self.corrections, tensors, self.to_tensor(graph), strict=True):
            row = self._rows(graph)
            rest = near.new_zeros(self.corrected.edge_rows + self.corrected.node_rows * self.self_loops, part.width)
            rest = rest.index_put((row[row >= 0],), (theta.to(near) - near).flatten(1)[row >= 0]).flatten()
            position = rest.abs().topk(len(part.position)).indices
            part.place_(position, rest[position])
        self._token = new_token()

    def keep_inputs_(self, channels: Tensor) -> None:
        raise PlanError("the first hop of factored matrices leads from the input channels; none can be taken.")

    def extra_repr(self) -> str:
        return (
            f"order={self.order}, {self.in_channels} -> {self.out_channels}, form={self.form!r}, rank={self.rank}, "
            f"bank={self.bank!r}"
        )


def _factors(table: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """(rows, R) and (R, columns) whose product is nearest to a table; zeros where it has no rank that large."""
    useful = min(rank, *table.shape)
    u, s, vh = truncated_svd(table, useful) if useful else (table[:, :0], table.new_zeros(0), table[:0])
    root = s.sqrt()
    missing = rank - useful
    return nn.functional.pad(u * root, (0, missing)), nn.functional.pad(vh * root[:, None], (0, 0, 0, missing))
