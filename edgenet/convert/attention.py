"""PyG's attentions as EdgeNet layers."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch_geometric.nn import MessagePassing

from edgenet.convert.converted import Converted
from edgenet.convert.source import Source
from edgenet.nn.lift import LinearLift
from edgenet.phi import Attention, AttentionV2, DotProduct, Phi
from edgenet.structured import StructuredLinear

_SCORES = {"dropout": "phi.dropout", "negative_slope": "phi.negative_slope"}


def gat(source: Source) -> Converted:
    """``GATConv``: attention of order 1; the residual is a map of the targets beside it."""
    layer, heads, channels = source.layer, source.layer.heads, source.layer.out_channels
    root = _residual(source)
    pair = layer.lin is None
    lift = source.linear("lin_src" if pair else "lin")
    second = source.linear("lin_dst", "target") if pair else None
    phi = Attention(
        1, heads, channels, edge_dim=None if layer.lin_edge is None else 1, negative_slope=layer.negative_slope,
        dropout=layer.dropout,
    )  # fmt: skip
    phi.needs_edge_attr = False  # PyG's layer does without features that do not come
    phi.att_source = _vectors(source, "att_src")
    phi.att_target = _vectors(source, "att_dst")
    if layer.lin_edge is not None:
        phi.att_edge = _vectors(source, "att_edge")
        phi.lift_edge = source.linear("lin_edge", "edges")
    inputs = (_width(lift), _width(second)) if pair else _width(lift)
    return _attended(
        source, phi, lift, inputs, calling="graph_attention", options=_SCORES, root=root,
        lift_target=LinearLift(second, heads) if pair else None, **_loops(layer, source),
    )  # fmt: skip


def gatv2(source: Source) -> Converted:
    """``GATv2Conv``: dynamic attention of order 1."""
    layer, heads, channels = source.layer, source.layer.heads, source.layer.out_channels
    if layer.share_weights != (layer.lin_l is layer.lin_r):
        raise source.refusal("share_weights", layer.share_weights, "lin_l and lin_r say otherwise; set it to match.")
    root = _residual(source)
    lift = source.linear("lin_l")
    phi = AttentionV2(
        1, heads, channels, edge_dim=None if layer.lin_edge is None else 1, share_weights=layer.share_weights,
        bias=lift.bias is not None, negative_slope=layer.negative_slope, dropout=layer.dropout,
    )  # fmt: skip
    phi.needs_edge_attr = False  # as above
    phi.att = _vectors(source, "att")
    second = lift
    if not layer.share_weights:
        second = phi.target = source.linear("lin_r", "target")
    if layer.lin_edge is not None:
        phi.lift_edge = source.linear("lin_edge", "edges")
    inputs = _inputs(layer, lift, second)
    return _attended(
        source, phi, lift, inputs, calling="attention", options=_SCORES, root=root, **_loops(layer, source)
    )


def transformer(source: Source) -> Converted:
    """``TransformerConv``: dot-product attention of order 1, the skip beside it, mixed by a gate if ``beta``."""
    layer, heads, channels = source.layer, source.layer.heads, source.layer.out_channels
    phi = DotProduct(1, heads, channels, dropout=layer.dropout, edge_dim=None if layer.lin_edge is None else 1)
    if layer.lin_edge is not None:
        phi.lift_edge = source.linear("lin_edge", "edges")
    phi.query, phi.key = source.linear("lin_query", "target"), source.linear("lin_key")
    lift = source.linear("lin_value")
    root = gate = None
    if layer.root_weight:
        root = source.linear("lin_skip", "target")
        gate = source.linear("lin_beta") if layer.beta else None
    else:
        source.unused(*layer.lin_skip.parameters())
    return _attended(
        source, phi, lift, _inputs(layer, lift, phi.query), calling="transformer", options={"dropout": "phi.dropout"},
        root=root, gate=gate, add_self_loops=False,
    )  # fmt: skip


def _attended(
    source: Source, phi: Phi, lift: StructuredLinear, inputs: int | tuple[int, int], **options: Any
) -> Converted:
    layer = source.layer
    source.aggregation("sum")
    source.check_node_dim(0)
    return source.converted(
        inputs, layer.out_channels, getattr(layer, "bias", None), phi=phi, lift=LinearLift(lift, layer.heads),
        concat=layer.concat, fixed=("concat",), **options,
    )  # fmt: skip


def _residual(source: Source) -> StructuredLinear | None:
    return None if source.layer.res is None else source.linear("res", "target")


def _loops(layer: MessagePassing, source: Source) -> dict[str, Any]:
    """Whether there are self-loops, and their features."""
    loops, fill = layer.add_self_loops, layer.fill_value
    if not loops or layer.edge_dim is None:
        return {"add_self_loops": loops}
    if isinstance(fill, Tensor) and fill.numel() == 1:
        fill = fill.item()
    if isinstance(fill, str):
        fill = {"sum": "add"}.get(fill, fill)
        if fill not in ("mean", "min", "max", "add"):
            raise source.refusal("fill_value", fill, "It is a number, 'mean', 'min', 'max' or 'add'.")
        if layer.flow == "target_to_source":
            raise source.refusal(
                "flow", layer.flow, "PyG fills the loops' features from the edges against the flow; set fill_value to "
                "a number.",
            )  # fmt: skip
    elif isinstance(fill, Tensor):
        raise source.refusal("fill_value", tuple(fill.shape), "It must be one number for all edge features.")
    return {"add_self_loops": loops, "fill_value": fill}


def _vectors(source: Source, name: str) -> nn.Module:
    """(1, H, C) -> a slot of (H, C)."""
    return source.matrix(source.made(name, [getattr(source.layer, name)], lambda att: att.flatten(0, -2)))


def _inputs(layer: MessagePassing, first: StructuredLinear, second: StructuredLinear) -> int | tuple[int, int]:
    """Input channels, of both sides where they are told apart; a lazy layer (-1) may have found them to differ."""
    widths = _width(first), _width(second)
    return widths if isinstance(layer.in_channels, tuple) or widths[0] != widths[1] else widths[0]


def _width(linear: StructuredLinear) -> int:
    return linear.weight.shape[1]
