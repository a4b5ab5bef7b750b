"""Contextual stochastic block model: how much of the answer is in the graph, how much in the features, is a dial."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch_geometric.data import Data

from edgenet.data.check import check_data
from edgenet.data.dataset import Dataset
from edgenet.data.facts import FACTS as KNOWN
from edgenet.data.places import Place
from edgenet.data.split import per_class_masks
from edgenet.errors import ConfigError

FACTS = KNOWN["csbm"]


def make(
    where: Sequence[Place],
    *,
    angle: float = 0.5,
    num_nodes: int = 2000,
    num_features: int = 400,
    degree: float = 5.0,
    excess: float = 3.25,
    train_share: float = 0.1,
    val_share: float = 0.1,
    seed: int = 0,
) -> Dataset:
    """Communities v in {-1, +1}^N of equal size; a sparse graph and Gaussian features that both depend on them:

        P(edge i - j) = c / N,  c = d + lambda sqrt(d) within a community, d - lambda sqrt(d) between
        x_i = sqrt(mu / N) v_i u + w_i / sqrt(F),  u ~ N(0, I / F) and w_i ~ N(0, I) in R^F

    With xi = N / F, recovery better than chance is possible for large N exactly when lambda^2 + mu^2 / xi > 1. Here
    lambda^2 + mu^2 / xi = 1 + excess, and the angle moves along that curve:

        lambda = sqrt(1 + excess) sin(angle pi / 2),  mu = sqrt(xi (1 + excess)) cos(angle pi / 2)

    Args:
        where: not used; everything is drawn.
        angle: in [-1, 1]. 0: the features say everything, the graph nothing; 1: only the graph, neighbours agree;
            -1: only the graph, neighbours differ (heterophily).
        num_nodes: N, even, at least 20.
        num_features: F.
        degree: d, the mean degree; d >= lambda^2 keeps c non-negative.
        excess: distance above the threshold of recovery, at least -1.
        train_share, val_share: shares of each community in (0, 1); the rest is for testing.
        seed: draws everything.

    Raises:
        ConfigError: if an option is out of range.
    """
    if not -1 <= angle <= 1:
        raise ConfigError(f"csbm: angle must be in [-1, 1], got {angle}.")
    if num_nodes < 20 or num_nodes % 2 or num_features < 1:
        raise ConfigError(
            f"csbm: num_nodes must be even and at least 20, num_features at least 1; got {num_nodes}, {num_features}."
        )
    if not excess >= -1:
        raise ConfigError(f"csbm: excess must be at least -1, got {excess}.")
    if not (train_share > 0 and val_share > 0 and train_share + val_share < 1):
        raise ConfigError(
            f"csbm: train_share and val_share must be positive and below 1 together, got {train_share}, {val_share}."
        )
    xi = num_nodes / num_features
    graph_strength = math.sqrt(1 + excess) * math.sin(angle * math.pi / 2)  # lambda
    feature_strength = math.sqrt(xi * (1 + excess)) * math.cos(angle * math.pi / 2)  # mu
    within = degree + graph_strength * math.sqrt(degree)
    between = degree - graph_strength * math.sqrt(degree)
    if not (min(within, between) >= 0 and max(within, between) <= num_nodes):
        raise ConfigError(
            f"csbm: degree {degree} must be between lambda^2 = {graph_strength**2:.3g} and about num_nodes; raise "
            f"degree or lower excess."
        )
    rng = np.random.default_rng(seed)
    side = rng.permutation(np.repeat([0, 1], num_nodes // 2))
    direction = rng.standard_normal(num_features) / math.sqrt(num_features)  # u, of length about 1
    x = math.sqrt(feature_strength / num_nodes) * (2 * side[:, None] - 1) * direction
    x = x + rng.standard_normal((num_nodes, num_features)) / math.sqrt(num_features)
    half = num_nodes // 2
    data = Data(
        x=torch.from_numpy(x.astype(np.float32)),
        y=torch.from_numpy(side.astype(np.int64)),
        edge_index=torch.from_numpy(_edges(side, within / num_nodes, between / num_nodes, rng)),
        **per_class_masks(side, max(1, round(train_share * half)), max(1, round(val_share * half)), rng),
    )
    info = {
        "source": FACTS.source,
        "licence": FACTS.licence,
        "split": f"{train_share:g} train and {val_share:g} val of each community, the rest for testing",
        "seed": seed,
        "normalisation": "none",
        "angle": angle,
        "lambda": graph_strength,
        "mu": feature_strength,
        "found": "made from the seed",
        "warnings": [],
    }
    lists = [check_data(data, "csbm")]
    return Dataset("csbm", "node", "class", "accuracy", num_features, 2, lists, list(lists), list(lists), info)


def _edges(side: np.ndarray, within: float, between: float, rng: np.random.Generator) -> np.ndarray:
    """(2, E) both directions of independent edges, drawn as a number of pairs per block and then that many pairs."""
    first, second = np.flatnonzero(side == 0), np.flatnonzero(side == 1)
    found = []
    for rows, columns, probability in ((first, first, within), (second, second, within), (first, second, between)):
        same = rows is columns
        pairs = len(rows) * (len(rows) - 1) // 2 if same else len(rows) * len(columns)
        chosen = rng.choice(pairs, rng.binomial(pairs, probability), replace=False)
        if same:
            # pair number p of i > j is i (i - 1) / 2 + j
            i = ((1 + np.sqrt(1 + 8 * chosen.astype(np.float64))) / 2).astype(np.int64)
            i -= i * (i - 1) // 2 > chosen  # the square root may round across a whole number
            i += (i + 1) * i // 2 <= chosen
            j = chosen - i * (i - 1) // 2
        else:
            i, j = chosen // len(columns), chosen % len(columns)
        found.append(np.stack([rows[i], columns[j]]))
    edges = np.concatenate(found, axis=1).astype(np.int64)
    key = np.sort(np.concatenate([edges[0] * len(side) + edges[1], edges[1] * len(side) + edges[0]]))
    return np.stack([key // len(side), key % len(side)])
