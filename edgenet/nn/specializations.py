"""The published networks that are choices of lift, phi and taps. Each function returns an ``EdgeNetConv`` (or a sum of
two).

Functions and not subclasses: PyG's ``MessagePassing`` patches a class when its first instance is made, and explainers
would silently not see the layers of a subclass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from edgenet.errors import ShapeError
from edgenet.nn import lift as lifts
from edgenet.nn import taps as tapping
from edgenet.nn.conv import EdgeNetConv
from edgenet.nn.deep import appnp, dagnn, gcnii, gpr, grand
from edgenet.nn.options import checked
from edgenet.nn.parallel import Parallel
from edgenet.nn.spectral import SpectralConv
from edgenet.phi import Attention, EdgeFactored, EdgeMatrix, EdgeVarying, ShiftOperator
from edgenet.structured import StructuredLinear

Channels = int | tuple[int, int]


@checked
def gcnn(
    in_channels: Channels,
    out_channels: int,
    order: int = 2,
    shifts: int = 1,
    normalize: str | None = "sym",
    bias: bool = True,
) -> EdgeNetConv:
    """Graph convolutional filter, a polynomial of the shift operator: y = sum over k of S^k x W_k.

    With ``shifts`` = R > 1, the edge weights are (E, R), a polynomial for each column, and ``normalize`` must be None.
    Same as PyG's ``TAGConv`` and alegnn's ``GraphFilter`` (whose K counts taps: order + 1).

    Example:
        >>> layer = edgenet.nn.specializations.gcnn(3, 8, order=2)
        >>> layer(x, edges, edge_weight=torch.rand(4)).shape
        torch.Size([4, 8])
    """
    return EdgeNetConv(in_channels, out_channels, order, shifts, "shift", normalize=normalize, bias=bias)


@checked
def tag(in_channels: Channels, out_channels: int, order: int = 3, bias: bool = True) -> EdgeNetConv:
    """Topology adaptive graph convolution (Du et al. 2017): ``gcnn`` with symmetric normalisation.

    Example:
        >>> edgenet.nn.specializations.tag(3, 8)(x, edges).shape
        torch.Size([4, 8])
    """
    return gcnn(in_channels, out_channels, order, normalize="sym", bias=bias)


@checked
def gcn(in_channels: Channels, out_channels: int, bias: bool = True) -> EdgeNetConv:
    """Graph convolution of Kipf and Welling 2017: y = D^(-1/2) (A + I) D^(-1/2) x W.

    Example:
        >>> edgenet.nn.specializations.gcn(3, 8)(x, edges).shape
        torch.Size([4, 8])
    """
    return _smoothed(in_channels, out_channels, 1, bias)


@checked
def sgc(in_channels: Channels, out_channels: int, order: int = 2, bias: bool = True) -> EdgeNetConv:
    """Simplified graph convolution (Wu et al. 2019): y = (D^(-1/2) (A + I) D^(-1/2))^K x W.

    Example:
        >>> edgenet.nn.specializations.sgc(3, 8, order=2)(x, edges).shape
        torch.Size([4, 8])
    """
    return _smoothed(in_channels, out_channels, order, bias)


def _smoothed(in_channels: Channels, out_channels: int, order: int, bias: bool) -> EdgeNetConv:
    source = in_channels[0] if isinstance(in_channels, tuple) else in_channels
    lift = lifts.LinearLift(StructuredLinear.dense(source, out_channels))
    phi, taps = ShiftOperator(order, normalize="sym"), tapping.Sum(last=True)
    return EdgeNetConv(
        in_channels, out_channels, phi=phi, lift=lift, taps=taps, self_tap=False, add_self_loops=True, bias=bias
    )


@checked
def gat(
    in_channels: Channels,
    out_channels: int,
    heads: int = 1,
    concat: bool = True,
    dropout: float = 0.0,
    edge_dim: int | None = None,
    add_self_loops: bool = True,
    negative_slope: float = 0.2,
    fill_value: float | str = "mean",
    score_bias: bool = False,
    bias: bool = True,
    residual: bool = False,
    flow: str = "source_to_target",
) -> EdgeNetConv:
    """Graph attention network (Velickovic et al. 2018), as PyG's ``GATConv``: an EdgeNet of order 1.

    ``score_bias`` adds a bias a head to the attention scores, as the authors' code has it and PyG's has not.

    Example:
        >>> layer = edgenet.nn.specializations.gat(3, 8, heads=2, edge_dim=5)
        >>> layer(x, edges, edge_attr=torch.randn(4, 5)).shape
        torch.Size([4, 16])
    """
    return EdgeNetConv(
        in_channels, out_channels, 1, heads, "attention", concat=concat, bias=bias, add_self_loops=add_self_loops,
        residual=residual, fill_value=fill_value, flow=flow, dropout=dropout, edge_dim=edge_dim,
        negative_slope=negative_slope, score_bias=score_bias,
    )  # fmt: skip


@checked
def gatv2(
    in_channels: Channels,
    out_channels: int,
    heads: int = 1,
    concat: bool = True,
    dropout: float = 0.0,
    edge_dim: int | None = None,
    add_self_loops: bool = True,
    negative_slope: float = 0.2,
    fill_value: float | str = "mean",
    share_weights: bool = False,
    bias: bool = True,
    residual: bool = False,
    flow: str = "source_to_target",
) -> EdgeNetConv:
    """Dynamic graph attention (Brody, Alon, Yahav 2022), as PyG's ``GATv2Conv``.

    Example:
        >>> edgenet.nn.specializations.gatv2(3, 8, heads=2)(x, edges).shape
        torch.Size([4, 16])
    """
    return EdgeNetConv(
        in_channels, out_channels, 1, heads, "attention_v2", concat=concat, bias=bias, add_self_loops=add_self_loops,
        residual=residual, fill_value=fill_value, flow=flow, dropout=dropout, edge_dim=edge_dim,
        negative_slope=negative_slope, share_weights=share_weights,
    )  # fmt: skip


#: taps of ``gcat`` that combine the hops of one lift, by their names in ``taps.TAPS``
_SHARED_LIFT = {"scalar": "scaled", "mean": "mean", "adaptive": "adaptive", "teleport": "teleport"}


@checked
def gcat(
    in_channels: Channels,
    out_channels: int,
    order: int = 2,
    heads: int = 1,
    concat: bool = True,
    dropout: float = 0.0,
    add_self_loops: bool = True,
    taps: str = "scalar",
    bias: bool = True,
) -> EdgeNetConv:
    """Graph convolutional attention network (Isufi, Gama, Ribeiro 2021, sec. V-B): a polynomial of one learned
    operator.

    y = merge over heads of sum over k of A^k x W_k,   A the attention weights, k = 0..K

    Args:
        taps: "scalar": W_k = h_k W, one number a tap, and attention reads x W, as in alegnn. "matrix": a matrix for
            every tap and head, as in the paper; attention then reads all of x W_0, ..., x W_K, where the paper gives
            it a matrix of its own. "mean", "adaptive", "teleport": GRAND, DAGNN, APPNP that walk by attention.

    Example:
        >>> edgenet.nn.specializations.gcat(3, 8, order=2, heads=2)(x, edges).shape
        torch.Size([4, 16])
    """
    merge, bare = "concat" if concat else "mean", {"concat": concat, "bias": bias, "add_self_loops": add_self_loops}
    if taps in _SHARED_LIFT:
        return EdgeNetConv(
            in_channels, out_channels, order, heads, "attention", self_tap=True, dropout=dropout,
            taps=_SHARED_LIFT[taps], **bare,
        )  # fmt: skip
    if taps != "matrix":
        known = ", ".join(map(repr, _SHARED_LIFT))
        raise ShapeError(f"taps of a graph convolutional attention network are {known} or 'matrix', got {taps!r}.")
    width = (order + 1) * out_channels
    source = in_channels[0] if isinstance(in_channels, tuple) else in_channels
    return EdgeNetConv(
        in_channels, out_channels, phi=Attention(order, heads, width, dropout=dropout), self_tap=True,
        lift=lifts.LinearLift(StructuredLinear.dense(source, heads * width), heads), taps=tapping.Horner(merge), **bare,
    )  # fmt: skip


@checked
def edge_varying_gat(
    in_channels: Channels,
    out_channels: int,
    order: int = 2,
    heads: int = 1,
    concat: bool = True,
    dropout: float = 0.0,
    add_self_loops: bool = True,
    bias: bool = True,
) -> EdgeNetConv:
    """Edge-varying GAT (Isufi, Gama, Ribeiro 2021, sec. V-C): every hop has an attention of its own.

    Example:
        >>> edgenet.nn.specializations.edge_varying_gat(3, 8, order=2, heads=2)(x, edges).shape
        torch.Size([4, 16])
    """
    return EdgeNetConv(
        in_channels, out_channels, order, heads, "attention", concat=concat, bias=bias,
        add_self_loops=add_self_loops, share_hops=False, dropout=dropout,
    )  # fmt: skip


@checked
def edge_varying(
    in_channels: Channels,
    out_channels: int,
    order: int = 2,
    bank: str = "siso",
    heads: int = 1,
    concat: bool = True,
    share: str = "edge",
    nodes: Tensor | int | float | None = None,
    num_types: int | None = None,
    buckets: int | None = None,
    form: str = "full",
    rank: int = 8,
    base: str = "shared",
    density: float | None = None,
    ratio: float = 8.0,
    structure: str | dict[str, Any] | None = None,
    bias: bool = True,
    unseen: str | None = None,
) -> EdgeNetConv:
    """The edge-varying EdgeNet: every edge, hop and filter has a weight of its own.

    Args:
        bank: "siso": one scalar recursion for each (output, input) pair, F_out F_in (N + K (M + N)) weights, as in the
            paper (Isufi, Gama, Ribeiro 2021, eq. 9-11). "mimo": one (F_out, F_out) matrix for every edge and hop, which
            mixes channels as it walks. "heads": a linear lift to ``heads`` heads, each with one weight an edge and hop.
        nodes: important nodes; the filter is learned around them and 0 elsewhere, see ``EdgeVarying``. The banks that
            start from a linear lift then have no self tap.
        share, num_types, buckets: of ``EdgeVarying``; weights that edges share are multiplied by those of D^(-1) A, so
            that a walk does not grow with the degrees.
        form: "full" stores every weight. "cp", "node_bilinear", "kronecker", "tensor_train", "hashed", "shared" and
            "doped" store the (K, M + N, F_out, F_in) weights of the banks "siso" and "mimo" in factors, and never build
            them; the first hop then leads from F_in to F_out channels in both banks. See ``EdgeFactored``.
        rank, base, density, ratio: of ``EdgeFactored``.
        structure: what the tables of form="full" are made of: the name of a family, or {"structure": name, **options},
            ``{"structure": "low_rank", "rank": 2}`` say. Then ``bind`` comes before the optimizer is made.
        unseen: of ``EdgeVarying``: "shared" lets edges that the tables have no row for weigh the mean of all rows.

    With a pair of ``in_channels``, sources and targets of a bipartite graph, the banks are "mimo" and "heads".

    Raises:
        ShapeError: if options do not go together.
        PlanError: if there is no such family, or it needs an option.

    Example:
        >>> layer = edgenet.nn.specializations.edge_varying(3, 8, order=2, bank="heads", heads=2).bind(graph)
        >>> layer(x, graph).shape
        torch.Size([4, 16])
    """
    if isinstance(in_channels, tuple) and (form != "full" or bank == "siso"):
        raise ShapeError(
            f"between two sets of nodes, edge-varying banks are 'mimo' and 'heads' with form='full', which lift both "
            f"ends; got bank={bank!r}, form={form!r}."
        )
    if form != "full":
        if unseen is not None:
            raise ShapeError(f"unseen={unseen!r} is for the tables of form='full', got form={form!r}.")
        if structure is not None:
            raise ShapeError(
                f"form={form!r} says what its tables are made of; structure={structure} is for form='full'. To "
                f"compress the tables of a form, compress the layer: edgenet.compress.compress_."
            )
        if bank == "heads":
            raise ShapeError("bank='heads' has few weights an edge, and no factors: leave form='full'.")
        sharing = {"share": share, "nodes": nodes, "num_types": num_types, "buckets": buckets}
        phi = EdgeFactored(
            order, in_channels, out_channels, form, rank, bank, base=base, density=density, ratio=ratio, **sharing
        )
        return EdgeNetConv(in_channels, out_channels, phi=phi, bias=bias)
    if density is not None:
        raise ShapeError(f"a density is of corrections to weights in factors; form='full' has none, got {density}.")
    if heads != 1 and bank != "heads":
        raise ShapeError(f"several heads are for bank='heads'; got heads={heads} with bank={bank!r}.")
    sharing = {"share": share, "nodes": nodes, "num_types": num_types, "buckets": buckets, "structure": structure}
    sharing |= {"normalize": None if share.startswith("edge") else "rw", "unseen": unseen}
    sharing["self_loops"] = not isinstance(in_channels, tuple)
    self_tap = nodes is None
    if bank == "siso":
        filters = -1 if in_channels == -1 else out_channels * in_channels
        phi = EdgeVarying(order, filters, initial=True, **sharing)
        return EdgeNetConv(
            in_channels,
            out_channels,
            phi=phi,
            lift=lifts.FilterBank(out_channels),
            taps=tapping.SumInputs(out_channels),
            bias=bias,
        )
    if bank == "mimo":
        phi = EdgeMatrix(order, out_channels, **sharing)
        return EdgeNetConv(in_channels, out_channels, phi=phi, self_tap=self_tap, bias=bias)
    if bank == "heads":
        phi = EdgeVarying(order, heads, **sharing)
        return EdgeNetConv(in_channels, out_channels, phi=phi, concat=concat, self_tap=self_tap, bias=bias)
    raise ShapeError(f"bank is one of 'siso', 'mimo', 'heads', got {bank!r}.")


@checked
def node_varying(
    in_channels: int,
    out_channels: int,
    order: int = 2,
    groups: Tensor | int | float | None = None,
    normalize: str | None = "sym",
    bias: bool = True,
) -> EdgeNetConv:
    """Node-varying filter (Isufi, Gama, Ribeiro 2021, sec. IV-B): taps for every node, or every group of nodes.

    Example:
        >>> edgenet.nn.specializations.node_varying(3, 8, order=2).bind(graph)(x, graph).shape
        torch.Size([4, 8])
    """
    taps = tapping.NodeVarying(out_channels, order + 1, in_channels, groups)
    return EdgeNetConv(in_channels, out_channels, phi=ShiftOperator(order, normalize=normalize), taps=taps, bias=bias)


@checked
def hybrid(
    in_channels: int,
    out_channels: int,
    order: int = 2,
    nodes: Tensor | int | float = 0.1,
    bank: str = "siso",
    heads: int = 1,
    normalize: str | None = "sym",
    bias: bool = True,
) -> Parallel:
    """Hybrid edge-varying filter (Isufi, Gama, Ribeiro 2021, sec. IV-C): edge-varying around important nodes, plus a
    GCNN.

    Args:
        nodes: the important nodes, or how many (or what share) of the highest in-degree.
        bank, heads: of ``edge_varying``.

    Example:
        >>> edgenet.nn.specializations.hybrid(3, 8, nodes=0.5).bind(graph)(x, graph).shape
        torch.Size([4, 8])
    """
    if bank == "heads" and out_channels % heads:
        raise ShapeError(f"{heads} heads must divide the {out_channels} output channels of a hybrid filter.")
    width = out_channels // heads if bank == "heads" else out_channels
    free = edge_varying(in_channels, width, order, bank, heads, nodes=nodes, bias=False)
    return Parallel(gcnn(in_channels, out_channels, order, normalize=normalize, bias=bias), free)


@checked
def arma(
    in_channels: int,
    out_channels: int,
    order: int = 2,
    poles: int = 1,
    iterations: int = 2,
    normalize: str | None = "sym",
    bias: bool = True,
) -> Parallel:
    """ARMA filter (Isufi, Gama, Ribeiro 2021, sec. IV-D): P poles by Jacobi iterations, plus a GCNN of ``order``.

    Example:
        >>> edgenet.nn.specializations.arma(3, 8, order=2, poles=2)(x, edges).shape
        torch.Size([4, 8])
    """
    if iterations < 1:
        raise ShapeError(f"an ARMA filter takes iterations >= 1 of Jacobi's method, got {iterations}.")
    poly = gcnn(in_channels, out_channels, order, normalize=normalize, bias=bias)
    rational = EdgeNetConv(
        in_channels, out_channels, phi=ShiftOperator(iterations, normalize=normalize), bias=False,
        lift=lifts.FilterBank(out_channels * poles), taps=tapping.Jacobi(in_channels, out_channels, poles),
    )  # fmt: skip
    return Parallel(poly, rational)


@checked
def spectral(
    in_channels: int,
    out_channels: int,
    coefficients: int | None = None,
    normalize: str | None = "sym",
    bias: bool = True,
    shifts: int = 1,
) -> SpectralConv:
    """Spectral filter with a spline frequency response; see ``SpectralConv``.

    With ``shifts`` = R > 1, the edge weights are (E, R), a filter for each column, and ``normalize`` must be None.

    Example:
        >>> both_ways = torch.cat([edges, edges.flip(0)], dim=1)
        >>> edgenet.nn.specializations.spectral(3, 8)(x, both_ways).shape
        torch.Size([4, 8])
    """
    return SpectralConv(in_channels, out_channels, coefficients, normalize, bias, shifts)


@checked
def spectral_product(
    in_channels: int,
    out_channels: int,
    order: int = 2,
    heads: int = 1,
    normalize: str | None = "sym",
    bias: bool = True,
) -> EdgeNetConv:
    """Shift-invariant EdgeNet in product form: the sum over k of prod (mu_0 I + mu_1 S); see ``ShiftProduct``.

    Example:
        >>> edgenet.nn.specializations.spectral_product(3, 8, order=2)(x, edges).shape
        torch.Size([4, 8])
    """
    return EdgeNetConv(in_channels, out_channels, order, heads, "shift_product", normalize=normalize, bias=bias)


@checked
def additive(
    in_channels: Channels,
    out_channels: int,
    order: int = 1,
    heads: int = 1,
    concat: bool = True,
    edge_dim: int | None = None,
    endpoints: str = "both",
    link: str = "identity",
    df: int = 6,
    share_hops: bool = True,
    normalize: str | None = "sym",
    add_self_loops: bool = True,
    fill_value: float | str = "mean",
    bias: bool = True,
) -> EdgeNetConv:
    """Edge weights that are a link of a sum of smooth functions of edge features and of the features of both ends.

    Starts as the shift operator that ``normalize`` names. As a callback of training,
    ``compress.GroupLasso({r".*coefficients": "functions"}, 0.03)`` sets whole functions to zero.

    Args:
        edge_dim, endpoints, link, df, share_hops, normalize: of ``phi.Additive``.

    Example:
        >>> edgenet.nn.specializations.additive(3, 8, edge_dim=2)(x, edges, edge_attr=torch.rand(4, 2)).shape
        torch.Size([4, 8])
    """
    return EdgeNetConv(
        in_channels, out_channels, order, heads, "additive", concat=concat, bias=bias, self_tap=False,
        add_self_loops=add_self_loops, fill_value=fill_value, edge_dim=edge_dim, endpoints=endpoints, link=link, df=df,
        share_hops=share_hops, normalize=normalize,
    )  # fmt: skip


#: The layers, by the name that models, configurations and the command line use.
SPECIALIZATIONS: dict[str, Callable[..., nn.Module]] = {
    function.__name__: function
    for function in (
        gcnn, gcn, tag, sgc, dagnn, appnp, gpr, gcnii, grand, gat, gatv2, gcat, edge_varying, edge_varying_gat,
        node_varying, hybrid, arma, spectral, spectral_product, additive,
    )
}  # fmt: skip
