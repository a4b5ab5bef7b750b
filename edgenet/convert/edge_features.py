"""PyG's layers whose messages are made of edge features or types, as EdgeNet layers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.nn.dense.linear import Linear as PygLinear

from edgenet.convert.converted import Converted
from edgenet.convert.source import Source
from edgenet.nn.taps import GraphIsomorphism
from edgenet.phi import EdgeAdded, EdgeNetwork, EdgeTyped
from edgenet.phi.channels import ChannelTable
from edgenet.structured import Dense, StructuredLinear


def gine(source: Source) -> Converted:
    """``GINEConv``: edge features are added to the senders' signals, which are rectified; else as ``GINConv``."""
    layer = source.layer
    mean = source.aggregation("sum", "mean") == "mean"
    source.check_node_dim(-2)
    lifted = layer.lin is not None
    channels, features = (layer.lin.out_channels, 1) if lifted else (-1, None)
    phi = EdgeAdded(1, 1, channels, features, normalize="rw" if mean else None)
    if lifted:
        phi.lift_edge = source.linear("lin", "edges")
    taps = GraphIsomorphism(float(layer.initial_eps), isinstance(layer.eps, nn.Parameter))
    taps.epsilon = source.same(layer.eps)
    after = source.whole(layer.nn) if isinstance(layer.nn, nn.Module) else layer.nn
    return source.converted(
        -1, -1, None, calling="featured", options={"eps": "taps.epsilon", "nn": "after"}, phi=phi, taps=taps,
        lift="identity", after=after,
    )  # fmt: skip


def rgcn(source: Source) -> Converted:
    """``RGCNConv``: a matrix for every type of edges, or for every basis, and one of the node itself beside them."""
    layer = source.layer
    mean = source.aggregation("mean", "sum") == "mean"
    source.check_node_dim(0)
    if layer.num_blocks is not None:
        raise source.refusal(
            "num_blocks", layer.num_blocks, "Its matrices are blocks on a diagonal, and ours are whole; use num_bases, "
            "or none of the two.",
        )  # fmt: skip
    inputs = layer.in_channels
    phi = EdgeTyped(
        1, layer.in_channels_l, layer.out_channels, layer.num_relations, layer.num_bases, "rw" if mean else None
    )
    _fill(source, phi.maps[0], "weight", [layer.weight], lambda w: w.transpose(1, 2))
    if layer.comp is not None:
        phi.coefficients = source.matrix(source.same(layer.comp))
    root = None
    if layer.root is not None:
        root = StructuredLinear(source.matrix(source.made("root", [layer.root], lambda w: w.t())))
    return source.converted(
        inputs, layer.out_channels, layer.bias, calling="typed", phi=phi, root=root, self_tap=False,
    )  # fmt: skip


def nnconv(source: Source) -> Converted:
    """``NNConv``: a matrix on every edge, of a network whose last map is linear. In factors: no matrix is made."""
    layer = source.layer
    mean = source.aggregation("sum", "mean") == "mean"
    source.check_node_dim(-2)
    inner, last = _ends(source)
    rank = last.weight.shape[1]
    if not isinstance(layer.in_channels_l, int) or layer.in_channels_l < 1 or rank < 1:
        raise source.refusal("in_channels", layer.in_channels, "Its network must know the sizes: run the layer once.")
    phi = EdgeNetwork(
        1, layer.in_channels_l, layer.out_channels, rank, network=inner, constant=last.bias is not None,
        normalize="rw" if mean else None,
    )  # fmt: skip

    def matrices(weight: Tensor, bias: Tensor | None = None) -> Tensor:  # (in out, R) -> (R, out, in)
        columns = weight if bias is None else torch.cat([weight, bias.unsqueeze(1)], 1)
        return columns.t().unflatten(1, (layer.in_channels_l, layer.out_channels)).transpose(1, 2)

    parts = [last.weight] if last.bias is None else [last.weight, last.bias]
    _fill(source, phi.maps[0], "nn", parts, matrices)
    root = source.linear("lin", "target") if layer.root_weight else None
    return source.converted(
        layer.in_channels, layer.out_channels, layer.bias, calling="featured", phi=phi, root=root, self_tap=False,
        fixed=("nn",),
    )  # fmt: skip


def _ends(source: Source) -> tuple[nn.Module, Any]:
    """What comes before the last linear map of the network of edges, and that map.

    Raises:
        ConversionError: if it does not end in one.
    """
    network = source.layer.nn
    layers = list(network) if type(network) is nn.Sequential else [network]
    last = layers[-1] if layers else None
    if type(last) not in (nn.Linear, PygLinear):
        raise source.refusal(
            "nn", type(network).__name__, "The matrices of edges are sums of few only where the network ends in a "
            "linear map: make it one Linear, or a torch.nn.Sequential that ends in one.",
        )  # fmt: skip
    before = layers[:-1]
    for module in before:
        source.whole(module)
    return (before[0] if len(before) == 1 else nn.Sequential(*before) if before else nn.Identity()), last


def _fill(source: Source, maps: ChannelTable, name: str, parameters: list[nn.Parameter], matrices: Any) -> None:
    """Put the (R, F_out, F_in) ``matrices`` of the parameters into a table."""

    def table(*given: Tensor) -> Tensor:
        each = matrices(*given)
        return each.movedim(0, 1).flatten(1) if maps.walk_first else each.flatten(0, 1)

    matrix = Dense.lazy(*maps.table.shape)
    matrix.weight = source.made(name, parameters, table)
    maps.table = matrix
