"""Graphs to measure on: Cora, and power-law graphs of the sizes of published ones, from fixed seeds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgenet.errors import ConfigError, DatasetNotFoundError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

EXPONENT = 2.2  # of the Pareto law that the expected degrees follow


@dataclass(frozen=True)
class Size:
    """A power-law graph to make.

    Attributes:
        nodes, edges: N and E, which come out exactly.
        largest_degree: at about which expected degrees are cut off.
        seed: of the draw.
    """

    nodes: int
    edges: int
    largest_degree: int
    seed: int = 0


#: graph: its size. "cora" is the citation graph itself where its files are found.
GRAPHS = {
    "cora": Size(2_708, 10_556, 168, seed=1),
    "ppi": Size(2_372, 68_226, 700, seed=2),
    "arxiv": Size(169_343, 2_332_486, 5_000, seed=3),
    "products8": Size(306_128, 15_464_784, 5_000, seed=4),
}


@dataclass(frozen=True)
class Sample:
    """A graph to measure on.

    Attributes:
        edge_index: (2, E) int64, sorted by target and then source; no self-loops, no edge twice.
        num_nodes: N.
        made: False if it is a real graph.
        x: (N, F) node features, where it has its own.
        y, train_mask: classes and training nodes, likewise.
    """

    edge_index: Tensor
    num_nodes: int
    made: bool = True
    x: Tensor | None = None
    y: Tensor | None = None
    train_mask: Tensor | None = None

    def facts(self) -> dict[str, int | bool]:
        """JSON-able: how many nodes and edges, and whether it was made."""
        return {"nodes": self.num_nodes, "edges": self.edge_index.shape[1], "made": self.made}


def sample(name: str, data_root: str | Path | None = None, shuffle: bool = False) -> Sample:
    """A graph by its name in ``GRAPHS``; with ``shuffle``, its edges in random order.

    Raises:
        ConfigError: if there is no such graph.
    """
    import numpy as np
    import torch

    if name not in GRAPHS:
        raise ConfigError(f"no graph is called {name!r}; there are {', '.join(GRAPHS)}.")
    found = _cora(data_root) if name == "cora" else None
    if found is None:
        size = GRAPHS[name]
        found = Sample(torch.from_numpy(power_law(size)), size.nodes)
    if shuffle:
        order = torch.from_numpy(np.random.default_rng(0).permutation(found.edge_index.shape[1]))
        found = Sample(found.edge_index[:, order], found.num_nodes, found.made)
    return found


def _cora(data_root: str | Path | None) -> Sample | None:
    from edgenet.data import load

    try:
        data = load("cora", root=data_root, download=False).train[0]
    except DatasetNotFoundError:
        return None
    return Sample(data.edge_index, data.num_nodes, False, data.x, data.y, data.train_mask)


def power_law(size: Size) -> np.ndarray:
    """(2, E) directed edges of a Chung-Lu graph, in target order: both ends of every edge are drawn in proportion to
    weights that follow a Pareto law.

    Node numbers say nothing of the neighbourhood: a walk jumps through memory, as on an unsorted real graph.

    Raises:
        ConfigError: if there are not so many pairs of nodes.
    """
    import numpy as np

    nodes, edges = size.nodes, size.edges
    if edges > nodes * (nodes - 1):
        raise ConfigError(f"{nodes} nodes have {nodes * (nodes - 1)} pairs, so not {edges} edges. Make more nodes.")
    rng = np.random.default_rng(size.seed)
    weight = (1 - rng.random(nodes)) ** (-1 / (EXPONENT - 1))
    weight = np.minimum(weight, weight.mean() * size.largest_degree * nodes / edges)
    upto = np.cumsum(weight) / weight.sum()
    key = np.empty(0, np.int64)
    draws = int(edges * 1.1)
    while len(key) < edges:  # hubs draw some edges twice
        source, target = (np.searchsorted(upto, rng.random(draws)) for _ in range(2))
        apart = source != target
        key = np.unique(np.concatenate([key, (target * nodes + source)[apart]]))
        draws = max(1000, 2 * (edges - len(key)))
    key = np.sort(rng.permutation(key)[:edges])
    return np.stack([key % nodes, key // nodes])
