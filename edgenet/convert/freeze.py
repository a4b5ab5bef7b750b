"""freeze_attention: attention on one graph and its features becomes a table of edge weights."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from edgenet.convert.model import copied
from edgenet.errors import ConversionError
from edgenet.graph import Graph
from edgenet.nn import EdgeNetConv
from edgenet.nn.evaluating import evaluating
from edgenet.phi import EdgeVarying
from edgenet.structured import Dense


def freeze_attention(model: nn.Module, *inputs: Any, inplace: bool = False, **named_inputs: Any) -> nn.Module:
    """Replace attention by the edge weights that it gives on one graph and these features.

    Every layer whose weights follow the signal gets an ``EdgeVarying`` phi: a table keyed by (target, source), bound
    to the graph, self-loops included. On this graph and these inputs the model computes the same in eval mode, and
    scores no edges any more; on other features the weights stay as they are. The table, ``phi.edge_table``, is a slot,
    can be trained and compressed. Attention dropout is gone.

    Repeated edges add up, and share a row of the table that holds the mean of their weights.

    Args:
        model: a model of EdgeNet layers (``to_edgenet`` makes one of a PyG model), or one layer.
        inputs, named_inputs: what ``model`` is called with, once, in eval mode: mostly ``x, edge_index``.
        inplace: change ``model`` rather than a copy. All or nothing: an error leaves it as it was.

    Raises:
        ConversionError: if there is no attention, a layer runs more or less than once in a pass, or its graph cannot
            have a table (a sampled piece, a batch of signals), its edges carry features, or its attention is not
            finite.

    Example:
        >>> model = edgenet.NodeClassifier(3, 2, layer="gat", heads=2).eval()
        >>> frozen = edgenet.freeze_attention(model, x, edges)
        >>> torch.allclose(frozen(x, edges), model(x, edges), atol=1e-6)
        True
    """
    if not inplace:
        model = copied(model)
    layers = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, EdgeNetConv) and module.phi.follows_signal
    }
    if not layers:
        raise ConversionError(
            f"there is no attention in this {type(model).__name__}; for a model of PyG layers call to_edgenet first."
        )
    seen = _watched(model, layers, inputs, named_inputs)
    tables = {name: _table(name, seen[name]) for name in layers}
    for name, conv in layers.items():
        conv.phi = tables[name].train(conv.training)
        if not conv.self_tap:
            conv.lift_target = None
    return model


class Call(NamedTuple):
    """What an attention was asked for: its graph, its (K, E, H) weights, H, whether edge features entered, and whether
    edges carry something of their own besides the senders' signals."""

    graph: Graph
    weight: Tensor
    heads: int
    with_features: bool
    carries: bool


def _watched(
    model: nn.Module, layers: dict[str, EdgeNetConv], inputs: tuple, named_inputs: dict[str, Any]
) -> dict[str, list[Call]]:
    """Every call of every attention during one pass."""
    seen: dict[str, list[Call]] = {name: [] for name in layers}

    def watch(name: str, heads: int) -> Any:
        def hook(phi: Any, args: tuple, weight: Tensor) -> None:
            carries = phi.on_edges(args[2], args[4]) is not None
            seen[name].append(Call(args[2], weight.detach(), heads, args[4] is not None, carries))

        return hook

    # a layer whose phi has a hook computes its weights in the open, instead of on the way
    hooks = [conv.phi.register_forward_hook(watch(name, conv.phi.heads)) for name, conv in layers.items()]
    try:
        with evaluating(model), torch.no_grad():
            model(*inputs, **named_inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def _table(name: str, calls: list[Call]) -> EdgeVarying:
    where = name or "the layer"
    if len(calls) != 1:
        raise ConversionError(
            f"{where} runs {len(calls)} times in one pass, and a table holds the weights of one; give every call a "
            f"layer of its own."
        )
    graph, weight, heads, with_features, carries = calls[0]
    if carries:
        raise ConversionError(
            f"{where} adds edge features to what its edges carry, which no table of weights can hold; freeze a layer "
            f"whose features are in the scores alone, such as GATConv."
        )
    if graph.node_id is not None or graph.edge_id is not None:
        raise ConversionError(f"{where} runs on a sampled piece (n_id, e_id); freeze on the full graph.")
    if weight.shape[-1] != heads:
        raise ConversionError(
            f"{where} runs on a batch of {weight.shape[-1] // heads} signals, each with an attention of its own; "
            f"freeze on one."
        )
    if not weight.isfinite().all():
        raise ConversionError(f"the attention of {where} is not finite on these inputs; look for NaN or inf in them.")
    order = weight.shape[0]
    with torch.random.fork_rng(devices=[]):  # the table is filled at once
        phi = EdgeVarying(order, heads, self_loops=False).to(weight)
        phi.bind(graph)
    row = phi.where.of_edges(graph, None)
    per_edge = weight.movedim(0, 1).flatten(1)  # (E, K H)
    table = per_edge.new_zeros(phi.where.edge_rows, order * heads).index_add(0, row, per_edge)
    count = table.new_zeros(len(table)).index_add(0, row, table.new_ones(len(row)))
    phi.edge_table = Dense(table / count.unsqueeze(1))
    phi.reads_edge_attr = with_features  # the layer is still called with them
    return phi
