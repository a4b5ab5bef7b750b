"""scikit-learn's handwritten digits as a graph of near neighbours: real data without a file and without a network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch_geometric.data import Data

from edgenet.data.check import check_data
from edgenet.data.dataset import Dataset
from edgenet.data.facts import FACTS as KNOWN
from edgenet.data.places import Place
from edgenet.data.split import per_class_masks
from edgenet.errors import ConfigError, DataError

FACTS = KNOWN["digits"]


def make(
    where: Sequence[Place],
    *,
    neighbours: int = 10,
    train_per_class: int = 20,
    val_per_class: int = 30,
    seed: int = 0,
) -> Dataset:
    """8 x 8 grey images as nodes; an edge joins two images when either is among the nearest of the other.

    Args:
        where: not used; the images are part of scikit-learn.
        neighbours: k of the k-nearest-neighbour graph, 1 to 1796, by Euclidean distance of the pixels.
        train_per_class, val_per_class: labelled nodes of every class; the rest is for testing.
        seed: draws the split. The graph does not depend on it.

    Raises:
        ConfigError: if an option is out of range.
        DataError: if scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits  # only this data set needs scikit-learn
    except ImportError as error:
        raise DataError("digits: the images are part of scikit-learn: pip install scikit-learn.") from error
    pixels, y = load_digits(return_X_y=True)
    if not 1 <= neighbours < len(y):
        raise ConfigError(f"digits: neighbours must be 1 to {len(y) - 1}, got {neighbours}.")
    data = Data(
        x=torch.from_numpy((pixels / 16).astype(np.float32)),
        y=torch.from_numpy(y.astype(np.int64)),
        edge_index=torch.from_numpy(nearest_neighbours(pixels, neighbours)),
        **per_class_masks(y, train_per_class, val_per_class, np.random.default_rng(seed)),
    )
    info = {
        "source": FACTS.source,
        "licence": FACTS.licence,
        "split": f"{train_per_class} train and {val_per_class} val nodes per class, the rest for testing",
        "seed": seed,
        "normalisation": "grey values 0 to 16 divided by 16",
        "neighbours": neighbours,
        "found": "part of scikit-learn",
        "warnings": [],
    }
    lists = [check_data(data, "digits")]
    return Dataset("digits", "node", "class", "accuracy", 64, 10, lists, list(lists), list(lists), info)


def nearest_neighbours(points: np.ndarray, k: int) -> np.ndarray:
    """(2, E) int64: both directions between every point and its k nearest others, sorted by source and target.

    Args:
        points: (N, D). A point is not its own neighbour, even when another one coincides with it. Of equally
            distant ones the lower number is nearer, so that every version of scipy makes the same graph.
    """
    nodes, tree = len(points), cKDTree(points)
    count = min(k + 17, nodes)
    # equal distances are common among whole-numbered points, and the tree cuts them off anywhere: ask for all of them
    while True:
        distance, near = tree.query(points, k=count)
        if count == nodes or (distance[:, -1] > distance[:, k]).all():
            break
        count = min(2 * count, nodes)
    distance = np.where(near == np.arange(nodes)[:, None], np.inf, distance)
    order = np.lexsort((near, distance), axis=1)[:, :k]
    source, target = np.repeat(np.arange(nodes), k), np.take_along_axis(near, order, axis=1).ravel()
    key = np.unique(np.concatenate([source * nodes + target, target * nodes + source]))
    return np.stack([key // nodes, key % nodes])
