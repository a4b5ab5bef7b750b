"""What a layer means: its modules called one by one. The definition that every shortcut is compared with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from edgenet import ops
from edgenet.graph import Graph
from edgenet.nn import EdgeNetConv
from edgenet.nn.taps import Chebyshev, Horner, InitialResidual, Jacobi, Stacks, Teleport

#: (layer, graph, (E, H) weights, (N, H, C) signal) -> (N, H, C)
Move = Callable[[EdgeNetConv, Graph, Tensor, Tensor], Tensor]


def moved(conv: EdgeNetConv, graph: Graph, weights: Tensor, x: Tensor) -> Tensor:
    """One message an edge, summed by PyG's module for that."""
    messages = weights.unsqueeze(-1) * x.index_select(0, graph.source)
    return conv.aggr_module(messages, graph.target, dim_size=graph.num_nodes, dim=0)


@contextmanager
def plainly(move: Move = moved) -> Iterator[None]:
    """Layers, also those inside of others, compute what they mean: lift, weigh, walk, combine, by calls of modules.

    Args:
        move: what moves messages along edges. Layers with corrections of single entries, which are no messages, take
            ``ops.spmm``.
    """

    def forward(
        conv: Any,
        x: Any,
        edge_index: Any,
        *,
        edge_weight: Tensor | None = None,
        edge_attr: Tensor | None = None,
        size: tuple[int, int] | None = None,
        initial: Tensor | None = None,
    ) -> Tensor:
        x = tuple(map(filled, x)) if isinstance(x, tuple) else filled(x)
        if isinstance(x, Tensor) and x.dim() == 3:  # a batch is its signals, one by one
            firsts = [None] * len(x) if initial is None else initial
            one = partial(forward, conv, edge_index=edge_index, edge_weight=edge_weight, edge_attr=edge_attr)
            return torch.stack([one(z, initial=first) for z, first in zip(x, firsts, strict=True)])
        pair = isinstance(x, tuple)
        source, target = x if pair else (x, x)
        nodes = size[1] if target is None and size is not None else len(target)
        graph, edge_weight, edge_attr = given(conv, edge_index, nodes, len(source), edge_weight, edge_attr)

        z, z_target = conv.lift(source), None
        if pair and target is not None and conv.lifts_target:
            z_target = (conv.lift_target or conv.lift)(target)
        ends = ((source, target), (z, z_target)) if pair else (source, z)
        weights = conv.phi(*ends, graph, edge_weight, edge_attr)
        own, diagonal = conv.phi.initial(graph), conv.phi.diagonal(graph)
        if own is not None:
            z = own.unsqueeze(-1) * z

        wanted = conv.phi.on_edges(graph, edge_attr)
        more = {} if wanted is None else {"on_edges": wanted}
        spmm = ops.spmm if getattr(conv.phi, "corrections", None) is not None else partial(move, conv)

        def hop(k: int, signal: Tensor) -> Tensor:
            own = None if diagonal is None else diagonal[k]
            return conv.phi.hop(graph, weights[k], own, signal, spmm, k, **more)

        if pair:
            signals = [z_target, hop(0, z)] if 0 in conv.hops else [hop(0, z)]
        else:
            signals = walked(conv, z, hop, weights, graph, initial)
        y = conv.taps(signals, graph)
        y = y if conv.bias is None else y + conv.bias
        return conv.with_residual(y, target)

    with patch.object(EdgeNetConv, "forward", forward):
        yield


def filled(x: Tensor | None) -> Tensor | None:
    return x if x is None or x.layout == torch.strided else x.to_dense()


def given(
    conv: Any, edge_index: Any, nodes: int, sources: int, weight: Tensor | None, features: Tensor | None
) -> tuple[Graph, Tensor | None, Tensor | None]:
    """The graph that is walked. Loops that are added weigh ``loop_weight`` and have the features ``fill_value``."""
    graph, values = Graph.of(edge_index, nodes, sources)
    weight = values if weight is None else weight
    graph = graph.transpose() if conv.flow == "target_to_source" else graph
    if not conv.add_self_loops:
        return graph, weight, features
    graph, kept = graph.with_self_loops()
    loops = graph.num_edges - len(kept)
    if weight is not None:
        weight = torch.cat([weight[kept], weight.new_full((loops, *weight.shape[1:]), conv.loop_weight)])
    if features is not None:
        features = torch.cat([features[kept], features.new_full((loops, *features.shape[1:]), conv.fill_value)])
    return graph, weight, features


def walked(
    conv: Any, z: Tensor, hop: Callable[..., Tensor], weights: Tensor, graph: Graph, initial: Tensor | None
) -> list[Tensor]:
    """The signals that the taps combine: of the hops that count, or of a recursion of their own."""
    taps = conv.taps
    kind = taps
    while hasattr(kind, "wrapped"):
        kind = kind.wrapped
    signals = [z]
    if isinstance(kind, Jacobi):
        pole, residue = (entries(matrix).reshape(-1, 1) for matrix in (taps.pole, taps.residue))
        loops = weights[0, :, 0] * (graph.source == graph.target)
        own = loops.new_zeros(graph.num_nodes, 1, 1).index_add(0, graph.target, loops.view(-1, 1, 1))
        u = z
        for k in range(conv.order):
            u = (residue * z - hop(k, u) + own * u) / (own - pole)
        return [u]
    if isinstance(kind, Stacks):
        z = z.flatten(-2)
        u = taps.mix[0](z)
        for k in range(conv.order):
            if k > 0:
                u = each_block(taps.mix[1 if taps.shared else k], u, taps.stacks)
            root = taps.root[0 if taps.shared else k]
            u = hop(k, u.unsqueeze(-2)).squeeze(-2) + root(ops.dropout(z, taps.dropout, taps.training))
            u = u if taps.activation is None else taps.activation(u)
        return [u.unsqueeze(-2)]
    if isinstance(kind, Horner):
        *before, y = z.chunk(conv.order + 1, -1)
        for k in reversed(range(conv.order)):
            y = hop(k, y) + before[k]
        return [y]
    if isinstance(kind, Teleport):
        h = z
        for k in range(conv.order):
            h = (1 - taps.alpha) * hop(k, h) + taps.alpha * z
        return [h]
    for k in range(conv.order):
        step = hop(k, signals[-1])
        signals.append(2 * step - signals[-2] if isinstance(kind, Chebyshev) and k else step)
    if isinstance(kind, InitialResidual):
        return [signals[-1], z if initial is None else initial.unsqueeze(-2)]
    return [signals[k] for k in conv.hops]


def each_block(matrix: nn.Module, u: Tensor, blocks: int) -> Tensor:
    pairs = zip(u.chunk(blocks, -1), entries(matrix).chunk(blocks, 0), strict=True)
    return torch.cat([part @ block.mT for part, block in pairs], -1)


def entries(matrix: Any) -> Tensor:
    """W, as a call uses it."""
    return matrix(torch.eye(matrix.shape[1])).mT
