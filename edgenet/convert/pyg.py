"""How each layer of PyG is written as an EdgeNet layer."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch_geometric.nn import (
    ARMAConv,
    ChebConv,
    GATConv,
    GATv2Conv,
    GCNConv,
    GINConv,
    MessagePassing,
    SAGEConv,
    SGConv,
    TAGConv,
    TransformerConv,
)

from edgenet.convert.converted import Converted
from edgenet.convert.laplacian import ScaledLaplacian
from edgenet.convert.source import Source
from edgenet.errors import ConversionError
from edgenet.nn import EdgeNetConv
from edgenet.nn.lift import LinearLift
from edgenet.nn.taps import Chebyshev, GraphIsomorphism, Linear, Stacks, Sum
from edgenet.phi import Attention, AttentionV2, DotProduct, ShiftOperator
from edgenet.structured import StructuredLinear

_WEIGHTED = ("edge_weight",)


def converted(source: Source) -> Converted:
    """The EdgeNet layer that computes what a PyG layer does.

    Raises:
        ConversionError: if there is none, or an option is in the way.
    """
    layer = source.layer
    base = next((cls for cls in type(layer).__mro__ if cls in CONVERTERS), None)
    if base is None:
        raise ConversionError(
            f"{source.path or 'the layer'}: {type(layer).__name__} has no EdgeNet form here; there are "
            f"{', '.join(cls.__name__ for cls in CONVERTERS)}. To convert part of a model, convert its layers one by "
            f"one: model.conv = to_edgenet(model.conv)."
        )
    source.check(base, kept=("nn",) if base is GINConv else ("act",) if base is ARMAConv else ())
    modes = {module: module.training for module in layer.modules()}
    new = CONVERTERS[base](source)
    source.check_all_taken()
    new.train(layer.training)
    for module, mode in modes.items():  # parts that were taken over whole keep theirs
        module.training = mode
    return new


# --- attention --------------------------------------------------------------------------------------------------------
def gat(source: Source) -> Converted:
    """``GATConv``: attention of order 1; the residual is a map of the targets beside it."""
    layer, heads, channels = source.layer, source.layer.heads, source.layer.out_channels
    source.aggregation("sum")
    source.check_node_dim(0)
    pair = layer.lin is None
    lift = source.linear("lin_src" if pair else "lin")
    phi = Attention(
        1, heads, channels, edge_dim=None if layer.lin_edge is None else 1, negative_slope=layer.negative_slope,
        dropout=layer.dropout,
    )  # fmt: skip
    phi.needs_edge_attr = False  # PyG's layer does without features that do not come
    phi.att_source = _vectors(source, "att_src")
    phi.att_target = _vectors(source, "att_dst")
    if layer.lin_edge is not None:
        phi.att_edge = _vectors(source, "att_edge")
        phi.lift_edge = source.linear("lin_edge")
    if pair:
        second = source.linear("lin_dst")
        conv = _attended(source, phi, lift, (_width(lift), _width(second)))
        conv.lift_target = LinearLift(second, heads)
    else:
        conv = _attended(source, phi, lift, _width(lift))
    root = None if layer.res is None else source.linear("res")
    arguments = ("edge_attr", "size", "return_attention_weights")
    return Converted(conv, "GATConv", arguments, sparse="edges", root=root)


def gatv2(source: Source) -> Converted:
    """``GATv2Conv``: dynamic attention of order 1."""
    layer, heads, channels = source.layer, source.layer.heads, source.layer.out_channels
    source.aggregation("sum")
    source.check_node_dim(0)
    if layer.share_weights != (layer.lin_l is layer.lin_r):
        raise source.refusal("share_weights", layer.share_weights, "lin_l and lin_r say otherwise; set it to match.")
    lift = source.linear("lin_l")
    phi = AttentionV2(
        1, heads, channels, edge_dim=None if layer.lin_edge is None else 1, share_weights=layer.share_weights,
        bias=lift.bias is not None, negative_slope=layer.negative_slope, dropout=layer.dropout,
    )  # fmt: skip
    phi.needs_edge_attr = False  # as above
    phi.att = _vectors(source, "att")
    second = lift
    if not layer.share_weights:
        second = phi.target = source.linear("lin_r")
    if layer.lin_edge is not None:
        phi.lift_edge = source.linear("lin_edge")
    conv = _attended(source, phi, lift, _inputs(layer, lift, second))
    root = None if layer.res is None else source.linear("res")
    arguments = ("edge_attr", "return_attention_weights")
    return Converted(conv, "GATv2Conv", arguments, sparse="edges", root=root)


def transformer(source: Source) -> Converted:
    """``TransformerConv``: dot-product attention of order 1, the skip beside it, mixed by a gate if ``beta``."""
    layer, heads, channels = source.layer, source.layer.heads, source.layer.out_channels
    source.aggregation("sum")
    source.check_node_dim(0)
    if layer.edge_dim is not None:
        raise source.refusal(
            "edge_dim", layer.edge_dim, "It adds edge features to messages, which EdgeNets only scale; use edge_dim="
            "None, or GATConv, which has them in the scores alone.",
        )  # fmt: skip
    lift = source.linear("lin_value")
    phi = DotProduct(1, heads, channels, dropout=layer.dropout)
    phi.key, phi.query = source.linear("lin_key"), source.linear("lin_query")
    conv = _attended(source, phi, lift, _inputs(layer, lift, phi.query), loops=False)
    root = gate = None
    if layer.root_weight:
        root = source.linear("lin_skip")
        gate = source.linear("lin_beta") if layer.beta else None
    else:
        source.unused(*layer.lin_skip.parameters())
    arguments = ("edge_attr", "return_attention_weights")
    return Converted(conv, "TransformerConv", arguments, sparse="refused", root=root, gate=gate)


def _vectors(source: Source, name: str) -> nn.Module:
    """(1, H, C) -> a slot of (H, C)."""
    return source.matrix(source.made(name, [getattr(source.layer, name)], lambda att: att.flatten(0, -2)))


def _attended(
    source: Source,
    phi: Attention | AttentionV2 | DotProduct,
    lift: StructuredLinear,
    inputs: int | tuple[int, int],
    loops: bool | None = None,
) -> EdgeNetConv:
    layer = source.layer
    loops = layer.add_self_loops if loops is None else loops
    fill = layer.fill_value if loops and getattr(layer, "edge_dim", None) is not None else "mean"
    if isinstance(fill, Tensor) and fill.numel() == 1:
        fill = fill.item()
    if isinstance(fill, str):
        fill = {"sum": "add"}.get(fill, fill)
        if fill not in ("mean", "min", "max", "add"):
            raise source.refusal("fill_value", fill, "It is a number, 'mean', 'min', 'max' or 'add'.")
        if layer.flow == "target_to_source" and loops and layer.edge_dim is not None:
            raise source.refusal(
                "flow", layer.flow, "PyG fills the loops' features from the edges against the flow; set fill_value to "
                "a number.",
            )  # fmt: skip
    elif isinstance(fill, Tensor):
        raise source.refusal("fill_value", tuple(fill.shape), "It must be one number for all edge features.")
    conv = EdgeNetConv(
        inputs, layer.out_channels, phi=phi, lift=LinearLift(lift, layer.heads), concat=layer.concat,
        bias=False, add_self_loops=loops, fill_value=fill, flow=layer.flow,
    )  # fmt: skip
    conv.bias = source.same(getattr(layer, "bias", None))
    return conv


def _inputs(layer: MessagePassing, first: StructuredLinear, second: StructuredLinear) -> int | tuple[int, int]:
    """Input channels, of both sides where they are told apart; a lazy layer (-1) may have found them to differ."""
    widths = _width(first), _width(second)
    return widths if isinstance(layer.in_channels, tuple) or widths[0] != widths[1] else widths[0]


def _width(linear: StructuredLinear) -> int:
    return linear.weight.shape[1]


# --- shift operators --------------------------------------------------------------------------------------------------
def gcn(source: Source) -> Converted:
    """``GCNConv``: one hop of the normalised adjacency."""
    layer = source.layer
    source.check_not_cached()
    lift = source.linear("lin")
    phi = ShiftOperator(1, normalize="sym" if layer.normalize else None)
    conv = _smoothed(source, phi, lift, layer.add_self_loops, 2.0 if layer.improved else 1.0)
    conv.bias = source.same(layer.bias)
    return Converted(conv, "GCNConv", _WEIGHTED, sparse="no_loops")


def sgc(source: Source) -> Converted:
    """``SGConv``: the last of K hops of the normalised adjacency."""
    layer = source.layer
    source.check_not_cached()
    if layer.K < 1:
        raise source.refusal("K", layer.K, "It walks nowhere: put its linear map, lin, in its place.")
    lift = source.linear("lin")
    bias, lift.bias = lift.bias, None  # behind the walk, which it would otherwise take
    conv = _smoothed(source, ShiftOperator(layer.K, normalize="sym"), lift, layer.add_self_loops, 1.0)
    conv.bias = bias
    return Converted(conv, "SGConv", _WEIGHTED, sparse="no_loops")


def _smoothed(
    source: Source, phi: ShiftOperator, lift: StructuredLinear, loops: bool, loop_weight: float
) -> EdgeNetConv:
    source.aggregation("sum")
    source.check_node_dim(-2)
    return EdgeNetConv(
        _width(lift), source.layer.out_channels, phi=phi, lift=LinearLift(lift), taps=Sum(last=True), self_tap=False,
        bias=False, add_self_loops=loops, loop_weight=loop_weight, flow=source.layer.flow,
    )  # fmt: skip


def tag(source: Source) -> Converted:
    """``TAGConv``: a polynomial of the adjacency, one matrix a power."""
    layer = source.layer
    source.aggregation("sum")
    source.check_node_dim(-2)
    order, taps = layer.K, Linear(source.joined("lins"))
    phi = ShiftOperator(order, normalize="sym" if layer.normalize else None)
    conv = EdgeNetConv(
        _width(taps.linear) // (order + 1), layer.out_channels, phi=phi, taps=taps, bias=False, flow=layer.flow
    )
    conv.bias = source.same(layer.bias)
    return Converted(conv, "TAGConv", _WEIGHTED)


def cheb(source: Source) -> Converted:
    """``ChebConv``: Chebyshev polynomials of the scaled Laplacian, one matrix a polynomial."""
    layer = source.layer
    source.aggregation("sum")
    source.check_node_dim(-2)
    order, taps = len(layer.lins) - 1, Chebyshev(source.joined("lins"))
    conv = EdgeNetConv(
        _width(taps.linear) // (order + 1), layer.out_channels, phi=ShiftOperator(order), taps=taps, bias=False,
        flow=layer.flow,
    )  # fmt: skip
    conv.bias = source.same(layer.bias)
    arguments = ("edge_weight", "batch", "lambda_max")
    operator = ScaledLaplacian(layer.normalization)
    return Converted(conv, "ChebConv", arguments, sparse="refused", operator=operator)


def arma(source: Source) -> Converted:
    """``ARMAConv``: stacks of recursions that start again from the input, as taps."""
    layer = source.layer
    source.aggregation("sum")
    source.check_node_dim(-2)
    stacks, inputs, width = layer.init_weight.shape
    order, shared = layer.num_layers, layer.shared_weights
    taps = Stacks(inputs, width, order, stacks, shared, layer.act, layer.dropout, layer.bias is not None)

    def rows(t: int | None) -> Callable[[Tensor], Tensor]:
        return lambda w: (w if t is None else w[t]).transpose(-1, -2).flatten(0, 1)

    taps.mix[0] = source.matrix(source.made("init_weight", [layer.init_weight], rows(None)))
    for t in range(1, len(taps.mix)):
        taps.mix[t] = source.matrix(source.made("weight", [layer.weight], rows(t - 1)))
    source.unused(layer.weight)  # one layer mixes nothing further
    for t, root in enumerate(taps.root):
        root.weight = source.matrix(source.made("root_weight", [layer.root_weight], rows(t)))
        if layer.bias is not None:
            root.bias = source.made("bias", [layer.bias], lambda b, t=t: b[t].flatten())
    if isinstance(layer.act, nn.Module):
        source.whole(layer.act)
    phi = ShiftOperator(order, normalize="sym")
    conv = EdgeNetConv(inputs, width, phi=phi, taps=taps, bias=False, flow=layer.flow)
    return Converted(conv, "ARMAConv", _WEIGHTED)


# --- neighbourhoods without weights -----------------------------------------------------------------------------------
def sage(source: Source) -> Converted:
    """``SAGEConv``: a map of the neighbours' mean (or sum), and one of the node itself beside it."""
    layer = source.layer
    mean = source.aggregation("mean", "sum") == "mean"
    source.check_node_dim(-2)
    taps = Linear(source.linear("lin_l"))
    root = source.linear("lin_r") if layer.root_weight else None
    phi = ShiftOperator(1, normalize="rw" if mean else None)
    conv = EdgeNetConv(
        _width(taps.linear), layer.out_channels, phi=phi, taps=taps, self_tap=False, bias=False, flow=layer.flow
    )
    project = source.linear("lin") if layer.project else None
    return Converted(
        conv, "SAGEConv", ("size",), sparse="ones", project=project, root=root, normalize=layer.normalize
    )  # fmt: skip


def gin(source: Source) -> Converted:
    """``GINConv``: the neighbours' sum and the node itself, then the layer's own network."""
    layer = source.layer
    mean = source.aggregation("sum", "mean") == "mean"
    source.check_node_dim(-2)
    learned = isinstance(layer.eps, nn.Parameter)
    taps = GraphIsomorphism(float(layer.initial_eps), learned)
    taps.epsilon = source.same(layer.eps)
    phi = ShiftOperator(1, normalize="rw" if mean else None)
    conv = EdgeNetConv(-1, -1, phi=phi, taps=taps, bias=False, flow=layer.flow)
    after = source.whole(layer.nn) if isinstance(layer.nn, nn.Module) else layer.nn
    return Converted(conv, "GINConv", ("size",), sparse="ones", after=after)


#: How each layer of PyG is converted, by its class.
CONVERTERS: dict[type[MessagePassing], Callable[[Source], Converted]] = {
    GATConv: gat,
    GATv2Conv: gatv2,
    GCNConv: gcn,
    TAGConv: tag,
    SGConv: sgc,
    ARMAConv: arma,
    ChebConv: cheb,
    SAGEConv: sage,
    GINConv: gin,
    TransformerConv: transformer,
}
