"""Which node did a diffusion start at, on a graph whose conductances nobody is told? Made from a seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from scipy.sparse.csgraph import connected_components
from torch_geometric.data import Data

from edgenet.data import shift
from edgenet.data.check import check_data
from edgenet.data.dataset import Dataset
from edgenet.data.facts import FACTS as KNOWN
from edgenet.data.places import Place
from edgenet.data.source_localisation import diffuse, ideal_accuracy, split_sizes
from edgenet.errors import ConfigError

FACTS = KNOWN["hidden_conductance"]


def make(
    where: Sequence[Place],
    *,
    num_nodes: int = 100,
    neighbours: int = 5,
    spread: float = 1.0,
    noise: float = 1.0,
    times: int = 5,
    sizes: Sequence[int] | None = None,
    seed: int = 0,
    graph_seed: int | None = None,
) -> Dataset:
    """Mass that starts at node s and walks t steps; every node is a source, so the class is a node of the graph.

        c_(j -> i) = exp(spread * g),   P_ij = c_(j -> i) / sum over i' of c_(j -> i'),   g standard normal
        x = sqrt(N) P^t delta_s / ||P^t delta_s|| + noise * g'

    with s uniform on the N nodes and t uniform on 0, ..., times - 1. The graph is drawn too: points in the unit square,
    each joined to its nearest ones, until it is connected. **The conductances c are nowhere in the data set**: its edge
    weights are those of S = A / lambda_max, the same for every edge. What leads back to s differs from edge to edge,
    and must be learned edge by edge. ``spread=0`` is the control: every edge then conducts alike, and S says all.

    Args:
        where: not used; everything is drawn.
        num_nodes: N, at least 10.
        neighbours: nearest points that every point is joined to, in both directions; below N.
        spread: standard deviation of the logarithm of a conductance, 0 or more.
        noise: standard deviation, 0 or more; signals have a mean square of 1.
        times: number of diffusion times, 1 or more.
        sizes: signals for training, validation, testing; default (4000, 1000, 2000).
        seed: draws the signals, and the graph unless ``graph_seed`` is given.
        graph_seed: draws the graph and its conductances. One seed gives one graph and one noise at every spread.

    Returns:
        Signals (S, N, 1), y (S,) nodes. ``info`` has of the test split ``ideal_accuracy``, that of a receiver who knows
        t and all noiseless signals, and ``blind_accuracy``: of one who takes every conductance for 1.

    Raises:
        ConfigError: if an option is out of range.
    """
    sizes = (4000, 1000, 2000) if sizes is None else split_sizes("hidden_conductance", sizes)
    _check(num_nodes, neighbours, spread, noise, times)
    graph_rng = np.random.default_rng([4, seed if graph_seed is None else graph_seed])
    adjacency = geometric_graph(num_nodes, neighbours, graph_rng)
    conducts = adjacency.copy()
    conducts.data = np.exp(spread * graph_rng.standard_normal(adjacency.nnz))
    operator, largest = shift.over_lambda_max(adjacency, "hidden_conductance")
    edge_index, edge_weight = shift.edges(operator)
    clean, blind = (_walked(weights, times) for weights in (conducts, adjacency))
    rng = np.random.default_rng([5, seed])
    lists: dict[str, list[Data]] = {}
    for split, size in zip(("train", "val", "test"), sizes, strict=True):
        t, label = rng.integers(times, size=size), rng.integers(num_nodes, size=size)
        x = clean[t, label] + noise * rng.standard_normal((size, num_nodes))
        data = Data(
            x=torch.from_numpy(x.astype(np.float32))[:, :, None],
            y=torch.from_numpy(label),
            edge_index=torch.from_numpy(edge_index.copy()),
            edge_weight=torch.from_numpy(edge_weight.copy()),
            num_nodes=num_nodes,
        )
        lists[split] = [check_data(data, f"hidden_conductance ({split})")]
    info: dict[str, Any] = {
        "source": FACTS.source,
        "licence": FACTS.licence,
        "split": FACTS.split,
        "seed": seed,
        "graph_seed": seed if graph_seed is None else graph_seed,
        "normalisation": "S = A / lambda_max; signals of mean square 1 before noise",
        "spread": spread,
        "noise": noise,
        "times": list(range(times)),
        "lambda_max": largest,
        "ideal_accuracy": ideal_accuracy(clean, t, label, x),  # of the test split, the last
        "blind_accuracy": ideal_accuracy(blind, t, label, x),
        "found": "made from the seed",
        "warnings": [],
    }
    return Dataset("hidden_conductance", "signal", "class", "accuracy", 1, num_nodes, *lists.values(), info)


def geometric_graph(num_nodes: int, neighbours: int, rng: np.random.Generator) -> sp.csr_matrix:
    """A connected undirected graph of 0s and 1s: points drawn in the unit square, each joined to its nearest ones.

    Raises:
        ConfigError: if a hundred draws were not connected.
    """
    for _ in range(100):
        place = rng.random((num_nodes, 2))
        distance = np.linalg.norm(place[:, None] - place[None], axis=2)
        np.fill_diagonal(distance, np.inf)
        near = distance <= np.sort(distance, axis=1)[:, neighbours - 1, None]
        adjacency = sp.csr_matrix((near | near.T).astype(np.float64))
        if connected_components(adjacency, directed=False)[0] == 1:
            return adjacency
    raise ConfigError(
        f"hidden_conductance: no connected graph of {num_nodes} nodes with {neighbours} neighbours each in 100 draws; "
        f"take more neighbours."
    )


def _walked(weights: sp.csr_matrix, times: int) -> np.ndarray:
    """(times, N, N): P^t delta_s scaled to a mean square of 1, for every t and s; weights by (target, source)."""
    away = np.asarray(weights.sum(0)).ravel()
    clean = diffuse(sp.csr_matrix(weights @ sp.diags(1 / away)), range(weights.shape[0]), times)
    return math.sqrt(weights.shape[0]) * clean / np.linalg.norm(clean, axis=2, keepdims=True)


def _check(num_nodes: int, neighbours: int, spread: float, noise: float, times: int) -> None:
    if num_nodes < 10 or not 1 <= neighbours < num_nodes or times < 1:
        raise ConfigError(
            f"hidden_conductance: num_nodes is at least 10, neighbours 1 to num_nodes - 1, times at least 1; got "
            f"{num_nodes}, {neighbours}, {times}."
        )
    for name, value in (("spread", spread), ("noise", noise)):
        if not (math.isfinite(value) and value >= 0):
            raise ConfigError(f"hidden_conductance: {name} must be a finite number of at least 0, got {value}.")
