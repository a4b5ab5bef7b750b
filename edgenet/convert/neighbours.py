"""PyG's sums and means over neighbourhoods without weights as EdgeNet layers."""

from __future__ import annotations

from torch import nn

from edgenet.convert.converted import Converted
from edgenet.convert.source import Source
from edgenet.nn.taps import GraphIsomorphism, Linear
from edgenet.phi import ShiftOperator


def sage(source: Source) -> Converted:
    """``SAGEConv``: a map of the neighbours' mean (or sum), and one of the node itself beside it."""
    layer = source.layer
    mean = source.aggregation("mean", "sum") == "mean"
    source.check_node_dim(-2)
    before = source.linear("lin") if layer.project else None
    taps = Linear(source.linear("lin_l"))
    root = source.linear("lin_r", "target") if layer.root_weight else None
    return source.converted(
        taps.linear.weight.shape[1], layer.out_channels, None, calling="summed", options={"normalize": "unit_length"},
        phi=ShiftOperator(1, normalize="rw" if mean else None), taps=taps, self_tap=False, before=before, root=root,
        unit_length=layer.normalize,
    )  # fmt: skip


def gin(source: Source) -> Converted:
    """``GINConv``: the neighbours' sum and the node itself, then the layer's own network."""
    layer = source.layer
    mean = source.aggregation("sum", "mean") == "mean"
    source.check_node_dim(-2)
    taps = GraphIsomorphism(float(layer.initial_eps), isinstance(layer.eps, nn.Parameter))
    taps.epsilon = source.same(layer.eps)
    after = source.whole(layer.nn) if isinstance(layer.nn, nn.Module) else layer.nn
    return source.converted(
        -1, -1, None, calling="summed", options={"eps": "taps.epsilon", "nn": "after"},
        phi=ShiftOperator(1, normalize="rw" if mean else None), taps=taps, after=after,
    )  # fmt: skip
