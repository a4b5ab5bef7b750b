"""NeighborSampler: the pieces around seed nodes, hop by hop, for PyG's loaders."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch_geometric.sampler import (
    BaseSampler,
    EdgeSamplerInput,
    HeteroSamplerOutput,
    NegativeSampling,
    NodeSamplerInput,
    NumNeighbors,
    SamplerOutput,
)
from torch_geometric.sampler.neighbor_sampler import edge_sample, node_sample

from edgenet.errors import ConfigError
from edgenet.ops.scrambled import scrambled
from edgenet.sampling.growing import Piece, reverse_types
from edgenet.sampling.stored_graph import ALONE, EDGES, StoredGraph

_SUBGRAPHS = ("directional", "bidirectional", "induced")
_STRATEGIES = ("uniform", "last")


class NeighborSampler(BaseSampler):
    """Draws the neighbours of seeds, of these the neighbours, and so on; for PyG's ``NodeLoader`` and ``LinkLoader``.

    Neighbours are those whose edges enter a node: messages of the piece flow to the seeds. What is drawn depends on
    ``seed`` and on the seeds' numbers alone, on no thread, worker or other batch. Compiled kernels draw, and where
    there are none, plain torch draws the same.

    Args:
        data: a PyG ``Data`` or ``HeteroData``, or a pair of PyG's ``FeatureStore`` and ``GraphStore``.
        num_neighbors: how many at every hop; -1: all. Of a graph of several types also {edge type: list}, or PyG's
            ``NumNeighbors``.
        replace: whether an edge may be drawn again.
        subgraph_type: "directional": the edges that were drawn; "bidirectional": those and the edges of the graph that
            lead back along them; "induced": all edges between the nodes. PyG makes edges up that lead back, of the
            same ``e_id``, where the graph has none; those of a table would be wrong.
        disjoint: a tree of its own for every seed: a node is there once for each seed that reached it.
        time_attr: the field that says when nodes, or edges, came to be; only earlier ones, or those of the seed's own
            time, are neighbours. Then trees are disjoint.
        temporal_strategy: "uniform" draws among them, "last" takes the latest.
        weight_attr: the field of edge weights, by which neighbours are drawn. 0: never.
        seed: of all draws, of 64 bits. A loader of ``edgenet.sampling`` sets it anew in every epoch.

    Raises:
        ConfigError: if an option has no such value, a field is not there, or a count of neighbours is missing.
        EdgeIndexError, ShapeError: if edges or weights cannot be read.

    Example:
        >>> from torch_geometric.data import Data
        >>> from torch_geometric.sampler import NodeSamplerInput
        >>> sampler = edgenet.sampling.NeighborSampler(Data(x=x, edge_index=edges), [2, 2])
        >>> sampler.sample_from_nodes(NodeSamplerInput(None, torch.tensor([0]))).num_sampled_nodes
        [1, 1, 1]
    """

    def __init__(
        self,
        data: Any,
        num_neighbors: Any,
        *,
        replace: bool = False,
        subgraph_type: Any = "directional",
        disjoint: bool = False,
        time_attr: str | None = None,
        temporal_strategy: str = "uniform",
        weight_attr: str | None = None,
        seed: int = 0,
    ) -> None:
        subgraph_type = getattr(subgraph_type, "value", subgraph_type)
        for name, value, known in (
            ("subgraph_type", subgraph_type, _SUBGRAPHS),
            ("temporal_strategy", temporal_strategy, _STRATEGIES),
        ):
            if value not in known:
                raise ConfigError(f"{name} is one of {', '.join(known)}, got {value!r}.")
        self.graph = StoredGraph.of(data, time_attr, weight_attr)
        self.num_neighbors = num_neighbors
        self.replace, self.subgraph_type, self.temporal_strategy = replace, subgraph_type, temporal_strategy
        self.disjoint = disjoint or self.graph.is_temporal
        self._backward = reverse_types(self.graph.columns) if subgraph_type == "bidirectional" else {}
        #: in memory that the workers of a loader see
        self._seed = torch.zeros(1, dtype=torch.long).share_memory_()
        self.seed = seed

    @property
    def seed(self) -> int:
        return int(self._seed)

    @seed.setter
    def seed(self, value: int) -> None:
        value %= 2**64
        self._seed.fill_(value - 2**64 if value >= 2**63 else value)

    @property
    def num_neighbors(self) -> NumNeighbors:
        """How many neighbours are drawn; may be set."""
        return self._num_neighbors

    @num_neighbors.setter
    def num_neighbors(self, counts: Any) -> None:
        self._num_neighbors = counts if isinstance(counts, NumNeighbors) else NumNeighbors(counts)
        self._counts = _counts(self._num_neighbors, self.graph)

    @property
    def hops(self) -> int:
        """How many hops a piece reaches."""
        return max((len(counts) for counts in self._counts.values()), default=0)

    @property
    def leaves_out(self) -> bool:
        """Whether neighbours are left out even where all are wanted: those of the future, or of weight 0."""
        return self.graph.is_temporal or any(columns.weight is not None for columns in self.graph.columns.values())

    @property
    def edge_permutation(self) -> None:
        """None: ``edge`` of a piece counts in the order of ``edge_index``."""
        return None

    def sample_from_nodes(self, inputs: NodeSamplerInput, **kwargs: Any) -> SamplerOutput | HeteroSamplerOutput:
        """The piece around nodes."""
        return node_sample(inputs, partial(self._sample, key=self._key(inputs.node)))

    def sample_from_edges(
        self, inputs: EdgeSamplerInput, neg_sampling: NegativeSampling | None = None
    ) -> SamplerOutput | HeteroSamplerOutput:
        """The piece around the ends of edges, and of others that are drawn."""
        key = self._key(inputs.row, inputs.col)
        graph = self.graph
        nodes: Any = graph.nodes if graph.is_hetero else graph.nodes[ALONE]
        times: Any = graph.node_time or None
        if times is not None and not graph.is_hetero:
            times = times[ALONE]
        if inputs.time is not None and not self.disjoint:
            raise ConfigError("seeds have times, and the sampler has no time_attr: name the field of times.")
        with _drawn_from(key):  # negative samples come from torch's own generator
            return edge_sample(inputs, partial(self._sample, key=key), nodes, self.disjoint, times, neg_sampling)

    def _key(self, *seeds: Tensor) -> int:
        """A number of 64 bits for a batch."""
        numbers = torch.cat([s.long().cpu() for s in seeds])
        return int(scrambled(self._seed, scrambled(numbers, torch.arange(len(numbers))).sum()))

    def _sample(
        self, seed: Any, seed_time: Any = None, *, key: int, **kwargs: Any
    ) -> SamplerOutput | HeteroSamplerOutput:
        """A piece, as PyG's functions around it want it."""
        graph = self.graph
        seeds: Mapping[str, Tensor] = seed if isinstance(seed, Mapping) else {ALONE: seed}
        times = seed_time if seed_time is None or isinstance(seed_time, Mapping) else {ALONE: seed_time}
        piece = Piece(graph, seeds, times, self.disjoint)
        for hop in range(self.hops):
            piece.grow(hop, self._counts, self.replace, self.temporal_strategy == "last", key)
        if self.subgraph_type != "directional":
            piece.induce(self._backward if self.subgraph_type == "bidirectional" else None)
        found = piece.output()
        if graph.is_hetero:
            return HeteroSamplerOutput(**found)
        names = ("node", "batch", "num_sampled_nodes")
        alone = {name: v if v is None else v[ALONE if name in names else EDGES] for name, v in found.items()}
        return SamplerOutput(**alone)


@contextmanager
def _drawn_from(seed: int) -> Iterator[None]:
    """Torch's default generator of the CPU from this seed on, and afterwards as before."""
    state = torch.default_generator.get_state()
    try:
        torch.default_generator.manual_seed(seed)
        yield
    finally:
        torch.default_generator.set_state(state)


def _counts(numbers: NumNeighbors, graph: StoredGraph) -> dict[Any, list[int]]:
    """Neighbours at every hop, by edge type."""
    try:
        found = numbers.get_values(list(graph.columns) if graph.is_hetero else None)
    except ValueError as error:
        raise ConfigError(f"num_neighbors: {str(error).rstrip('.')}. Edge types: {list(graph.columns)}.") from error
    if not isinstance(found, Mapping):
        found = {EDGES: found}
    for counts in found.values():
        if not all(isinstance(count, int) and count >= -1 for count in counts):
            raise ConfigError(f"num_neighbors are whole numbers, and -1 stands for all neighbours; got {counts}.")
    return dict(found)
