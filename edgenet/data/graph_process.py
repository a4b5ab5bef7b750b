"""Graph process: a signal that moves over edges of known weights, so that learned ones can be held against them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from edgenet.data import windows
from edgenet.data.dataset import Dataset
from edgenet.data.facts import FACTS as KNOWN
from edgenet.data.places import Place
from edgenet.errors import ConfigError

FACTS = KNOWN["graph_process"]


def make(
    where: Sequence[Place],
    *,
    num_nodes: int = 20,
    neighbours: int = 3,
    steps: int = 4000,
    past: int = 4,
    radius: float = 0.9,
    noise: float = 1.0,
    signs: bool = True,
    stride: int = 1,
    seed: int = 0,
    graph_seed: int | None = None,
) -> Dataset:
    """x_{t+1} = Phi x_t + noise * g_t, with g_t standard normal in R^N, and Phi free on edges and loops, 0 elsewhere.

    The graph joins points in the unit square to their nearest neighbours. Entries of Phi are drawn uniformly from
    [0.3, 1], with a random sign, and then all scaled to the spectral radius.

    Args:
        where: not used; everything is drawn.
        num_nodes: N, more than ``neighbours``.
        neighbours: of each point; an edge goes in both directions where either point chose the other.
        steps: of the process, after 200 to forget its start.
        past: steps of a window; the last alone decides what can be known of the next.
        radius: spectral radius of Phi, in (0, 1): how long the past is felt.
        noise: standard deviation, above 0.
        signs: whether entries may be negative; then no polynomial of a non-negative operator comes close to Phi.
        stride: steps between the windows that are trained on.
        seed: draws the process, and the graph with Phi unless ``graph_seed`` is given.
        graph_seed: draws the graph and Phi.

    Returns:
        x (S, past, N, 1) and y (S, N), the next step. Edges j -> i come with ``edge_weight`` (E,), 1 / lambda_max of
        the adjacency: the operator of somebody who knows the graph, and not the weights; with ``true_weight`` (E,), the
        entries Phi[i, j], and ``true_loop`` (N,), the Phi[i, i]. ``info["ideal_rmse"]`` is the test error of Phi x_t.

    Raises:
        ConfigError: if an option is out of range.
    """
    if not (1 <= neighbours < num_nodes):
        raise ConfigError(f"graph_process: neighbours are 1 to num_nodes - 1, got {neighbours} of {num_nodes} nodes.")
    if not 0 < radius < 1 or not (math.isfinite(noise) and noise > 0):
        raise ConfigError(f"graph_process: radius is in (0, 1) and noise above 0, got {radius} and {noise}.")
    if steps < 1:
        raise ConfigError(f"graph_process: steps is a whole number from 1, got {steps}.")
    windows.checked("graph_process", past, (1,), stride, steps)
    drawn = np.random.default_rng([0, seed if graph_seed is None else graph_seed])
    adjacency = _nearest(drawn.random((num_nodes, 2)), neighbours)
    phi = drawn.uniform(0.3, 1.0, adjacency.shape)
    if signs:
        phi = phi * drawn.choice([-1.0, 1.0], adjacency.shape)
    phi = np.where(adjacency | np.eye(num_nodes, dtype=bool), phi, 0.0)
    phi = phi * radius / np.abs(np.linalg.eigvals(phi)).max()
    series = _series(phi, steps, noise, np.random.default_rng([1, seed]))
    target, source = np.nonzero(adjacency)
    largest = float(np.linalg.eigvalsh(adjacency.astype(np.float64))[-1])
    more = {
        "edge_index": torch.from_numpy(np.stack([source, target])),
        "edge_weight": torch.full((len(source),), 1 / largest, dtype=torch.float32),
        "true_weight": torch.from_numpy(phi[target, source].astype(np.float32)),
        "true_loop": torch.from_numpy(phi.diagonal().astype(np.float32)),
    }
    lists = windows.cut(series[:, :, None], series, past, (1,), stride, more, "graph_process")
    test = lists["test"][0]
    best = test.y.numpy() - test.x[:, -1, :, 0].numpy() @ phi.T
    info = {
        "source": FACTS.source,
        "licence": FACTS.licence,
        "split": FACTS.split,
        "seed": seed,
        "graph_seed": seed if graph_seed is None else graph_seed,
        "normalisation": "none",
        "radius": radius,
        "noise": noise,
        "lambda_max": largest,
        "ideal_rmse": float(np.sqrt(np.square(best).mean())),
        "mean_rmse": float(test.y.square().mean().sqrt()),
        "found": "made from the seed",
        "warnings": [],
    }
    return Dataset("graph_process", "sequence", "value", "rmse", 1, 1, *lists.values(), info)


def _nearest(points: np.ndarray, neighbours: int) -> np.ndarray:
    """(N, N) whether either of two points is among the other's nearest."""
    distance = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    chosen = np.zeros(distance.shape, dtype=bool)
    np.put_along_axis(chosen, distance.argsort(1)[:, :neighbours], True, 1)
    return chosen | chosen.T


def _series(phi: np.ndarray, steps: int, noise: float, rng: np.random.Generator, forgotten: int = 200) -> np.ndarray:
    """(steps, N) of the process, once its start is forgotten."""
    pushes = noise * rng.standard_normal((forgotten + steps, len(phi)))
    x, found = np.zeros(len(phi)), []
    for push in pushes:
        x = phi @ x + push
        found.append(x)
    return np.stack(found[forgotten:])
