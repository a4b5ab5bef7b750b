"""Inference layer by layer: every layer sees all neighbours, in pieces that are no larger than its own reach."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from edgenet.errors import ConfigError
from edgenet.models.foreign_layer import is_foreign

_ROWS = 1 << 16  # nodes that functions of single nodes get at once
_VALUES = ("edge_weight", "edge_attr", "n_id", "e_id")


@torch.no_grad()
def layer_by_layer(model: Any, loader: Any) -> Tensor:
    """See ``Stack.inference``; ``model`` is such a stack."""
    check_reach(loader, max(activation_hops(model.activation), *(walks_of(conv)[1] for conv in model.convs)))
    modes = {part: part.training for part in model.modules()}
    model.eval()
    try:
        return _walked(model, _Pieces(model, loader))
    finally:
        for part, mode in modes.items():
            part.training = mode


def _walked(model: Any, pieces: _Pieces) -> Tensor:
    """As ``Stack.walked``, of all nodes at once."""
    x = pieces.signal()
    if model.node_dropout is not None:
        x = pieces.alone(model.node_dropout, x)
    for linear_map in model.before:
        x = pieces.alone(nn.Sequential(linear_map, model.activation), x)
    first = x if len(model.before) else None
    for depth, conv in enumerate(model.convs):
        x = pieces.each(partial(model.layered, depth), x, first)
        if next(conv.parameters(), None) is None or (depth == model.num_layers - 1 and not len(model.after)):
            continue
        own = model.activation[depth] if isinstance(model.activation, nn.ModuleList) else model.activation
        local = getattr(own, "takes_graph", False)
        x = pieces.each(lambda x, first, edges, own=own, **given: own(x, edges), x) if local else pieces.alone(own, x)
    for number, linear_map in enumerate(model.after, 1):
        x = pieces.alone(linear_map, x)
        x = x if number == len(model.after) else pieces.alone(model.activation, x)
    return x


class _Pieces:
    """The pieces of a loader, which a function is called with, one pass after the other."""

    def __init__(self, model: nn.Module, loader: Any) -> None:
        like = next(model.parameters(), torch.empty(0))
        self.loader, self.device, self.dtype = loader, like.device, like.dtype
        self.names = [name for name in _VALUES if name != "edge_attr" or getattr(model, "needs_edge_attr", True)]

    def signal(self) -> Tensor:
        """The signal of all nodes, which a store on disk gives piece by piece."""
        x = getattr(self.loader.data, "x", None)
        return self.each(lambda x, *_, **given: x, None) if x is None else x.to_dense()

    def alone(self, function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """What a function of single nodes makes of all."""
        return torch.cat([function(self._placed(rows)).cpu() for rows in x.split(_ROWS)])

    def each(self, function: Callable[..., Tensor], x: Tensor | None, first: Tensor | None = None) -> Tensor:
        """What a function (signal, first signal, edges, ...) makes of all nodes, from a signal of theirs; None: that of
        the data."""
        out, seen = torch.empty(0), torch.zeros(0, dtype=torch.bool)
        for batch in self.loader:
            seeds = batch.n_id[: batch.batch_size]
            given = {name: self._placed(batch[name]) for name in self.names if batch.get(name) is not None}
            own = batch.x if x is None else x[batch.n_id]
            begun = None if first is None else self._placed(first[batch.n_id])
            made = function(self._placed(own), begun, self._placed(batch.edge_index), **given)[: len(seeds)].cpu()
            if not len(seen):
                seen = torch.zeros(_nodes(self.loader), dtype=torch.bool)
                out = made.new_empty(len(seen), *made.shape[1:])
            out[seeds], seen[seeds] = made, True
        if not bool(seen.all()):
            raise ConfigError(
                f"the loader leaves {int((~seen).sum())} of {len(seen)} nodes out: all must be among its seeds."
            )
        return out

    def _placed(self, value: Tensor) -> Tensor:
        return value.to(self.device, self.dtype) if value.is_floating_point() else value.to(self.device)


def _nodes(loader: Any) -> int:
    """How many nodes the graph has."""
    count = getattr(loader.data, "num_nodes", None)
    return int(loader.input_data.node.max()) + 1 if count is None else int(count)


def walks_of(conv: nn.Module) -> tuple[int, int]:
    """Hops that a layer takes, and those to the farthest edge that a node's output depends on. Layers of others tell
    neither: they are taken to walk K hops, or 1, and to look one farther where they normalise by degrees.

    Raises:
        ConfigError: if the layer wants the whole graph.
    """
    own: Any = conv
    if getattr(own, "reach", None) is not None:
        return own.order, own.reach
    if not is_foreign(conv):
        raise ConfigError(f"a {type(conv).__name__} is of one whole graph, and takes no pieces of it.")
    hops = getattr(own, "K", 1)
    hops = hops if isinstance(hops, int) else 1
    return hops, hops + int(bool(getattr(own, "normalize", False)))


def activation_hops(activation: Any) -> int:
    """How many hops an activation looks at."""
    first = activation[0] if isinstance(activation, nn.ModuleList) and len(activation) else activation
    return first.hops if getattr(first, "takes_graph", False) else 0


def reach_of(model: Any) -> int:
    """See ``Stack.reach``."""
    behind, reach, local = 0, 0, activation_hops(model.activation)
    for depth, conv in reversed(list(enumerate(model.convs))):
        hops, own = walks_of(conv)
        behind += local if depth < model.num_layers - 1 else 0
        reach, behind = max(reach, behind + own), behind + hops
    return reach


def check_reach(loader: Any, reach: int) -> None:
    """
    Raises:
        ConfigError: if a loader's pieces reach fewer hops, or leave neighbours out.
    """
    numbers = getattr(getattr(loader, "node_sampler", None), "num_neighbors", None)
    counts = getattr(numbers, "values", None)
    if not isinstance(counts, list | tuple) or any(count != -1 for count in counts) or len(counts) < reach:
        raise ConfigError(
            f"inference wants pieces with all neighbours within {reach} hops, num_neighbors={[-1] * reach}; got a "
            f"{type(loader).__name__} of {counts if counts is not None else 'no such numbers'}."
        )
    sampler = loader.node_sampler
    # as PyG's sampler names them
    theirs = any(getattr(sampler, name, None) is not None for name in ("node_time", "edge_time", "edge_weight"))
    if theirs or getattr(sampler, "leaves_out", False):
        raise ConfigError("inference wants all neighbours: make its loader without time_attr and weight_attr.")
