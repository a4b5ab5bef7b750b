"""Piece: a sampled piece of a graph while it grows, hop by hop."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from edgenet.errors import ConfigError, EdgeIndexError
from edgenet.ops.kernels.sample_neighbors import Numbering, sample_neighbors
from edgenet.ops.scrambled import scrambled
from edgenet.sampling.stored_graph import EdgeType, StoredGraph


class _Nodes:
    """The nodes of one type that are in the piece, in order.

    Args:
        seeds: (S,) which come first.
        batch: (S,) which tree each begins, where trees are disjoint.
        count: how many nodes of this type the graph has.
        trees: how many trees there are; 1 where they are not apart.
    """

    def __init__(self, seeds: Tensor, batch: Tensor | None, count: int, trees: int) -> None:
        self.count = count
        self.numbering = Numbering(self._key(seeds, batch), count * max(1, trees))
        self.node, self.batch = [seeds], None if batch is None else [batch]
        self.sampled = [len(seeds)]

    def _key(self, node: Tensor, batch: Tensor | None) -> Tensor:
        return node if batch is None else torch.where((node >= 0) & (node < self.count), batch * self.count + node, -1)

    def add(self, node: Tensor, batch: Tensor | None) -> Tensor:
        """(I,) local numbers of nodes; new ones join the others."""
        local, first = self.numbering.add(self._key(node, batch))
        self.node.append(node[first])
        if batch is not None and self.batch is not None:
            self.batch.append(batch[first])
        self.sampled[-1] += len(first)
        return local

    def all(self) -> tuple[Tensor, Tensor | None]:
        """Nodes, and the trees that they are in."""
        self.node = [torch.cat(self.node)]
        self.batch = None if self.batch is None else [torch.cat(self.batch)]
        return self.node[0], None if self.batch is None else self.batch[0]


class _Edges:
    """The sampled edges of one type: local ends, and columns of ``edge_index``."""

    def __init__(self) -> None:
        self.row, self.col, self.edge = ([torch.empty(0, dtype=torch.long)] for _ in range(3))
        self.sampled: list[int] = []

    def add(self, row: Tensor, col: Tensor, edge: Tensor) -> None:
        for kept, new in zip((self.row, self.col, self.edge), (row, col, edge), strict=True):
            kept.append(new)
        self.sampled.append(len(row))

    def all(self) -> tuple[Tensor, Tensor, Tensor]:
        return torch.cat(self.row), torch.cat(self.col), torch.cat(self.edge)


class Piece:
    """
    Args:
        seeds: by node type.
        times: of the seeds, by type; None: of nodes that have times, their own.
        disjoint: whether every seed has a tree of its own.
    """

    def __init__(
        self, graph: StoredGraph, seeds: Mapping[str, Tensor], times: Mapping[str, Tensor] | None, disjoint: bool
    ) -> None:
        self.graph, self.disjoint = graph, disjoint
        unknown = [kind for kind in seeds if kind not in graph.nodes]
        if unknown:
            raise ConfigError(f"no nodes are of type {unknown[0]!r}; there are {', '.join(graph.nodes)}.")
        trees, first = sum(len(seed) for seed in seeds.values()) if disjoint else 1, 0
        self.nodes: dict[str, _Nodes] = {}
        for kind in [*seeds, *(kind for kind in graph.nodes if kind not in seeds)]:
            seed = _checked(seeds.get(kind, torch.empty(0, dtype=torch.long)), kind, graph.nodes[kind])
            batch = torch.arange(first, first + len(seed)) if disjoint else None
            first += len(seed)
            self.nodes[kind] = _Nodes(seed, batch, graph.nodes[kind], trees)
        self.until = _bounds(graph, seeds, times) if graph.is_temporal else None
        self.edges = {kind: _Edges() for kind in graph.columns}
        self._grown = dict.fromkeys(self.nodes, 0)  # nodes whose neighbours were drawn
        self._by_hops = True

    def grow(self, hop: int, counts: Mapping[EdgeType, list[int]], replace: bool, last: bool, key: int) -> None:
        """Draw the neighbours of the nodes that came last."""
        fresh = {}
        for end_kind, nodes in self.nodes.items():
            node, batch = nodes.all()
            before, self._grown[end_kind] = self._grown[end_kind], len(node)
            fresh[end_kind] = before, node[before:], None if batch is None else batch[before:]
            nodes.sampled.append(0)
        for place, (kind, columns) in enumerate(self.graph.columns.items()):
            first, node, batch = fresh[kind[2]]
            count = counts[kind][hop] if hop < len(counts[kind]) else 0
            begin, end = columns.ranges(node, None if self.until is None else self.until[batch])
            if last and count >= 0:
                begin = torch.maximum(begin, end - count)
            seed = int(scrambled(torch.tensor(key), torch.tensor(hop * len(self.edges) + place)))
            ptr, at = sample_neighbors(begin, end, count, replace, seed % 2**64, columns.weight)
            col = torch.repeat_interleave(ptr.diff())
            row = self.nodes[kind[0]].add(columns.source[at].long(), None if batch is None else batch[col])
            self.edges[kind].add(row, col + first, columns.edges(at))

    def induce(self, backward: Mapping[EdgeType, EdgeType] | None) -> None:
        """Take all edges between the nodes; with ``backward``, only those that were drawn, and those of the type that
        it names which lead back along one."""
        self._by_hops = False
        kept = {kind: nodes.all() for kind, nodes in self.nodes.items()}
        drawn = {kind: edges.all() for kind, edges in self.edges.items()}
        for kind, columns in self.graph.columns.items():
            (node, batch), inside = kept[kind[2]], len(kept[kind[0]][0])
            begin, end = columns.ranges(node, None if self.until is None else self.until[batch])
            ptr, at = sample_neighbors(begin, end, -1, False, 0)
            col = torch.repeat_interleave(ptr.diff())
            row = self.nodes[kind[0]].add(columns.source[at].long(), None if batch is None else batch[col])
            own = row < inside
            row, col, edge = row[own], col[own], columns.edges(at[own])
            if backward is not None:
                stays = torch.isin(edge * len(node) + col, drawn[kind][2] * len(node) + drawn[kind][1])
                if kind in backward:
                    there, back, _ = drawn[backward[kind]]
                    stays |= torch.isin(col * inside + row, there * inside + back)
                row, col, edge = row[stays], col[stays], edge[stays]
            self.edges[kind] = _Edges()
            self.edges[kind].add(row, col, edge)
        for end_kind, (node, batch) in kept.items():  # what was only looked up is out again
            nodes = self.nodes[end_kind]
            nodes.node, nodes.batch = [node], None if batch is None else [batch]

    def output(self) -> dict[str, Any]:
        """What PyG's ``HeteroSamplerOutput`` takes, by type."""
        nodes = {kind: nodes.all() for kind, nodes in self.nodes.items()}
        edges = {kind: edges.all() for kind, edges in self.edges.items()}
        by_hops = self._by_hops
        return {
            "node": {kind: node for kind, (node, _) in nodes.items()},
            "row": {kind: row for kind, (row, _, _) in edges.items()},
            "col": {kind: col for kind, (_, col, _) in edges.items()},
            "edge": {kind: edge for kind, (_, _, edge) in edges.items()},
            "batch": {kind: batch for kind, (_, batch) in nodes.items()} if self.disjoint else None,
            "num_sampled_nodes": {kind: n.sampled for kind, n in self.nodes.items()} if by_hops else None,
            "num_sampled_edges": {kind: e.sampled for kind, e in self.edges.items()} if by_hops else None,
        }


def reverse_types(kinds: Mapping[EdgeType, Any]) -> dict[EdgeType, EdgeType]:
    """The edge type whose edges each type leads back along, by PyG's names: rev_..., itself between nodes of one type,
    or the only one there is between these."""
    found: dict[EdgeType, EdgeType] = {}
    for source, name, target in kinds:
        named = name.removeprefix("rev_") if name.startswith("rev_") else f"rev_{name}"
        between = [kind for kind in kinds if (kind[0], kind[2]) == (target, source)]
        if (target, named, source) in kinds:
            found[source, name, target] = target, named, source
        elif source == target:
            found[source, name, target] = source, name, target
        elif len(between) == 1:
            found[source, name, target] = between[0]
        else:
            warnings.warn(
                f"no edges lead back along those of type {(source, name, target)}: none of {list(kinds)} is named "
                f"{named!r}, or is the only type between their nodes.", stacklevel=3,
            )  # fmt: skip
    return found


def _checked(seed: Tensor, kind: str, nodes: int) -> Tensor:
    """Seeds of a type, which there are."""
    if seed.is_floating_point() or seed.is_complex() or seed.dtype == torch.bool:
        raise EdgeIndexError(f"seeds are whole numbers, got {seed.dtype}.")
    seed = seed.long().cpu()
    bad = seed[(seed < 0) | (seed >= nodes)]
    if len(bad):
        of = f" of type {kind!r}" if kind else ""
        raise EdgeIndexError(f"node {int(bad[0])}{of} is a seed, but valid indices are 0 to {nodes - 1}.")
    return seed


def _bounds(graph: StoredGraph, seeds: Mapping[str, Tensor], times: Mapping[str, Tensor] | None) -> Tensor:
    """(trees,) the time of each seed."""
    found = []
    for kind, seed in seeds.items():
        if times is not None and kind in times:
            found.append(times[kind].cpu())
        elif kind in graph.node_time:
            found.append(graph.node_time[kind][seed.long().cpu()])
        else:
            raise ConfigError("the seeds have no time of their own: hand in input_time, or edge_label_time of links.")
    until = torch.cat(found)
    if bool(until.isnan().any()):
        raise ConfigError("a seed's time is NaN: nothing is earlier or later.")
    return until
