"""partition: the nodes of a graph in parts of nearly equal size with few edges between them."""

from __future__ import annotations

import torch
from torch import Tensor

from edgenet.errors import ConfigError
from edgenet.graph import Graph

SLACK = 1.05  # a part is at most so many times as large as the mean
_ROUNDS = 20  # of moving nodes to the part of most of their neighbours


def partition(graph: Graph, parts: int, seed: int = 0) -> Tensor:
    """(N,) the part of every node, 0 to ``parts`` - 1; none is larger than 1.05 N / ``parts``, or N / ``parts`` rounded
    up.

    Parts grow from random nodes by the neighbours that have most edges into them; then nodes move to the part of most
    of their neighbours while there is room (label propagation under sizes: Ugander, Backstrom 2013). Edges count in
    both directions. No METIS: its parts have fewer edges between them.

    Raises:
        ConfigError: unless there are 1 to N parts.

    Example:
        >>> edgenet.sampling.partition(graph, 2).bincount().tolist()
        [2, 2]
    """
    nodes = graph.num_nodes
    if graph.is_bipartite or not isinstance(parts, int) or not 1 <= parts <= max(1, nodes):
        raise ConfigError(f"{nodes} nodes of one set are cut into 1 to {nodes} parts, got {parts}.")
    edges = torch.cat([graph.edge_index, graph.edge_index.flip(0)], 1).cpu()
    edges = edges[:, edges[0] != edges[1]]
    draw = torch.Generator().manual_seed(seed)
    most = max(-(-nodes // parts), int(nodes * SLACK / parts))
    part = _grown(edges, nodes, parts, -(-nodes // parts), draw)
    best, cut = part, _cut(edges, part)
    for _ in range(_ROUNDS):
        part = _moved(edges, part, parts, most, draw)
        now = _cut(edges, part)
        if now < cut:
            best, cut = part, now
    return best


def _cut(edges: Tensor, part: Tensor) -> int:
    return int((part[edges[0]] != part[edges[1]]).sum())


def _grown(edges: Tensor, nodes: int, parts: int, most: int, draw: torch.Generator) -> Tensor:
    """Parts grown from random nodes."""
    part = torch.full((nodes,), -1)
    part[torch.randperm(nodes, generator=draw)[:parts]] = torch.arange(parts)[: min(parts, nodes)]
    while bool((left := part < 0).any()):
        room = most - torch.bincount(part[~left], minlength=parts)
        edges = edges[:, left[edges[1]]]
        reached = ~left[edges[0]]
        node, wanted, count = _votes(edges[1, reached], part[edges[0, reached]], parts, room > 0)
        taken = _accepted(wanted, count, room, draw)
        part[node[taken]] = wanted[taken]
        if not bool(taken.any()):  # what is left is cut off, or its neighbours' parts are full
            other = left.nonzero().squeeze(1)
            other = other[torch.randperm(len(other), generator=draw)[: max(1, len(other) // 8)]]
            open_ = torch.repeat_interleave(room.clamp_min(0))
            chosen = open_[torch.randperm(len(open_), generator=draw)[: len(other)]]
            part[other[: len(chosen)]] = chosen
    return part


def _moved(edges: Tensor, part: Tensor, parts: int, most: int, draw: torch.Generator) -> Tensor:
    """One round in which half of the nodes may move to the part of most of their neighbours."""
    border = torch.zeros(len(part), dtype=torch.bool)
    border[edges[1, part[edges[0]] != part[edges[1]]]] = True
    edges = edges[:, border[edges[1]]]
    node, wanted, count = _votes(edges[1], part[edges[0]], parts)
    own = torch.zeros(len(part), dtype=torch.long)
    own.index_add_(0, edges[1], (part[edges[0]] == part[edges[1]]).long())
    gain = count - own[node]
    go = (gain > 0) & (torch.rand(len(node), generator=draw) < 0.5)
    room = most - torch.bincount(part, minlength=parts)
    node, wanted, gain = node[go], wanted[go], gain[go]
    taken = _accepted(wanted, gain, room, draw)
    return part.index_put((node[taken],), wanted[taken])


def _votes(node: Tensor, of: Tensor, parts: int, may: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Nodes, the part of most of their neighbours among those that ``may`` grow, and how many these are."""
    pair, count = torch.unique(node * parts + of, return_counts=True)
    if may is not None:
        kept = may[pair % parts]
        pair, count = pair[kept], count[kept]
    order = count.argsort(stable=True)
    order = order[(pair[order] // parts).argsort(stable=True)]  # by node, then by count
    pair, count = pair[order], count[order]
    last = torch.ones(len(pair), dtype=torch.bool)
    last[:-1] = (pair // parts).diff() > 0
    return pair[last] // parts, pair[last] % parts, count[last]


def _accepted(wanted: Tensor, weight: Tensor, room: Tensor, draw: torch.Generator) -> Tensor:
    """Who gets into the part that they want: of each part those of most weight, ties at random, while there is room."""
    shuffled = torch.randperm(len(wanted), generator=draw)
    order = shuffled[weight[shuffled].argsort(stable=True, descending=True)]
    order = order[wanted[order].argsort(stable=True)]
    size = torch.bincount(wanted, minlength=len(room))
    rank = torch.arange(len(order)) - (size.cumsum(0) - size)[wanted[order]]
    return torch.zeros(len(order), dtype=torch.bool).index_put((order,), rank < room[wanted[order]])
