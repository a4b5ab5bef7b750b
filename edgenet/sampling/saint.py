"""SaintLoader: random subgraphs, and what makes their sums those of the whole graph on average."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch_geometric.data import Data

from edgenet.errors import ConfigError
from edgenet.ops.kernels.sample_neighbors import sample_neighbors
from edgenet.ops.scrambled import scrambled
from edgenet.sampling.loaders import Reseeded
from edgenet.sampling.stored_graph import ALONE, EDGES, StoredGraph
from edgenet.sampling.subgraphs import Subgraphs

KINDS = ("node", "edge", "walk")


class SaintSampler:
    """Draws the nodes of a subgraph (Zeng et al. 2020: GraphSAINT, sec. 3.4 and algorithm 2).

    PyG's samplers draw nodes by degree and edges by the sum of the degrees of their ends; these are the paper's.

    Args:
        kind: "node": nodes v by the squared norm of their column of D^(-1) A, sum over edges v -> u of 1 / deg(u)^2;
            "edge": both ends of edges, drawn by 1 / deg(u) + 1 / deg(v); "walk": random walks from random nodes,
            against the edges. All with replacement; degrees are of in-edges.
        size: nodes, edges or walks that are drawn.
        walk_length: hops of a walk.
    """

    def __init__(self, data: Data, kind: str, size: int, walk_length: int) -> None:
        numbers = all(isinstance(number, int) and number >= 1 for number in (size, walk_length))
        if kind not in KINDS or not numbers:
            raise ConfigError(
                f"a subgraph is of one of {', '.join(KINDS)}, size >= 1 and walk_length >= 1; got {kind!r}, {size}, "
                f"{walk_length}."
            )
        if data.edge_index is None:
            raise ConfigError("the data have no edge_index, whose edges random subgraphs are drawn by.")
        graph = StoredGraph.of(data)
        self.columns, self.nodes = graph.columns[EDGES], graph.nodes[ALONE]
        self.kind, self.size, self.walk_length = kind, size, walk_length
        self.edge_index = data.edge_index.cpu()
        source, target = self.edge_index
        if not self.nodes or (kind != "walk" and not len(source)):
            raise ConfigError(f"a subgraph of kind {kind!r} is drawn from nodes and edges, and there are none.")
        degree = torch.bincount(target, minlength=self.nodes).clamp_min(1).double()
        self.weight = torch.empty(0)
        if kind == "node":
            self.weight = torch.zeros(self.nodes, dtype=torch.double).index_add_(0, source, degree[target] ** -2)
        elif kind == "edge":
            self.weight = 1 / degree[source] + 1 / degree[target]
        self._seed = torch.zeros(1, dtype=torch.long).share_memory_()

    @property
    def seed(self) -> int:
        return int(self._seed)

    @seed.setter
    def seed(self, value: int) -> None:
        self._seed.fill_(value)

    def draw(self, step: int) -> Tensor:
        """(I,) the nodes of a subgraph, rising."""
        key = int(scrambled(self._seed, torch.tensor(step))) % 2**64
        whole = torch.tensor([0])
        if self.kind != "walk":
            _, found = sample_neighbors(whole, torch.tensor([len(self.weight)]), self.size, True, key, self.weight)
            return (found if self.kind == "node" else self.edge_index[:, found].flatten()).unique()
        _, node = sample_neighbors(whole, torch.tensor([self.nodes]), self.size, True, key)
        seen = [node]
        for hop in range(self.walk_length):
            begin, end = self.columns.ranges(node)
            _, at = sample_neighbors(begin, end, 1, True, (key + hop + 1) % 2**64)
            node = self.columns.source[at].long()  # walks end at nodes that no edge enters
            seen.append(node)
        return torch.cat(seen).unique()


class SaintLoader(Reseeded, DataLoader):  # type: ignore[misc]  # both have an __iter__, of other types
    """Batches that are random subgraphs (Zeng et al. 2020: GraphSAINT), with ``n_id`` and ``e_id``.

    The chances of nodes and edges are counted among ``coverage`` x N nodes that are drawn beforehand. ``node_norm`` is
    1 / (N times the chance of the node): its sum with the losses of a batch is the mean loss of all nodes, on average.
    ``edge_norm`` is the chance of the target over that of the edge: what a node sums up with it is what it sums up in
    the whole graph, on average.

    Args:
        data: a PyG ``Data``.
        kind, size, walk_length: how nodes are drawn, see ``SaintSampler``.
        steps: batches of an epoch.
        coverage: how often a node is drawn on average, to count chances; 0: no norms.
        **options: of torch's ``DataLoader``: num_workers, generator, ...

    Raises:
        ConfigError: if there is no such kind, or a number is out of range.

    Example:
        >>> from torch_geometric.data import Data
        >>> loader = edgenet.sampling.SaintLoader(Data(x=x, edge_index=edges), "walk", size=2, steps=3)
        >>> len(list(loader)), "edge_norm" in next(iter(loader))
        (3, True)
    """

    def __init__(
        self,
        data: Data,
        kind: str,
        size: int,
        *,
        walk_length: int = 2,
        steps: int = 1,
        coverage: int = 50,
        **options: Any,
    ) -> None:
        if steps < 1 or coverage < 0:
            raise ConfigError(f"steps >= 1 and coverage >= 0 are wanted, got {steps}, {coverage}.")
        self.data, self.subgraph = data, Subgraphs(data)
        self.sampler_of_nodes = self._sampler = SaintSampler(data, kind, size, walk_length)
        self.node_norm: Tensor | None = None
        self.edge_norm: Tensor | None = None
        if coverage:
            self.node_norm, self.edge_norm = self._norms(coverage)
        super().__init__(range(steps), batch_size=1, collate_fn=self._batch, **options)  # type: ignore[arg-type]  # a range is a dataset

    def _norms(self, coverage: int) -> tuple[Tensor, Tensor]:
        """(N,) and (E,) of the nodes and edges, by their counts in subgraphs drawn beforehand."""
        edges, nodes = self._sampler.edge_index, self._sampler.nodes
        node_count, edge_count = torch.zeros(nodes), torch.zeros(edges.shape[1])
        step = drawn = 0
        while drawn < coverage * nodes:
            inside = torch.zeros(nodes, dtype=torch.bool).index_fill_(0, self._sampler.draw(step), True)
            node_count += inside
            edge_count += inside[edges].all(0)
            step, drawn = step + 1, drawn + int(inside.sum())
        node_count, edge_count = node_count.clamp_min(1), edge_count.clamp_min(1)  # of what comes up later, seen once
        return step / (node_count * nodes), node_count[edges[1]] / edge_count

    def _batch(self, steps: Sequence[int]) -> Data:
        batch = self.subgraph(self._sampler.draw(1 + steps[0]))
        if self.node_norm is not None and self.edge_norm is not None:
            batch.node_norm, batch.edge_norm = self.node_norm[batch.n_id], self.edge_norm[batch.e_id]
        return batch
