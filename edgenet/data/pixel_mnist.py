"""Pixel MNIST: handwritten digits, read pixel by pixel."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch_geometric.data import Data

from edgenet.data import mnist
from edgenet.data.dataset import Dataset
from edgenet.data.facts import FACTS as KNOWN
from edgenet.data.mnist import SIDE, check_side, read
from edgenet.data.places import Place
from edgenet.data.sequences import check_sequences

FACTS = KNOWN["pixel_mnist"]


def make(where: Sequence[Place], *, side: int = 14, permuted: bool = True, seed: int = 0) -> Dataset:
    """An image is a sequence of side^2 grey values in [0, 1], from the upper left line by line, or in a drawn order.

    Args:
        where: folders to look in for MNIST's files.
        side: pixels of a side, which divides 28: of the squares of an image that become one pixel the mean is taken.
            T = side^2, 784 for the images as they are.
        permuted: whether the pixels come in an order drawn by the seed, one and the same for all images.
        seed: of that order.

    Returns:
        x (S, side^2, 1) float32 and y (S,) int64.

    Raises:
        ConfigError: if an option is out of range.
        DatasetNotFoundError: no folder has the files.
        DataError: they hold something else.
    """
    check_side("pixel_mnist", side)
    folder = find(where)
    images = read(folder)
    order = np.random.default_rng(seed).permutation(side * side) if permuted else np.arange(side * side)
    places, squares = torch.from_numpy(order), SIDE // side
    lists = []
    for split in (images.train, images.val, images.test):
        x, y = split.tensors
        grey = torch.nn.functional.avg_pool2d((x + 1) / 2, squares).flatten(1)
        lists.append([check_sequences(Data(x=grey[:, places, None], y=y), "pixel_mnist")])
    info = {
        "source": FACTS.source,
        "licence": FACTS.licence,
        "split": FACTS.split,
        "seed": seed if permuted else None,
        "normalisation": "grey values 0 to 255 divided by 255",
        "side": side,
        "permuted": permuted,
        "found": str(folder),
        "warnings": [],
    }
    return Dataset("pixel_mnist", "sequence", "class", "accuracy", 1, 10, *lists, info)


def find(where: Sequence[Place]) -> Path:
    """The folder of MNIST's files.

    Raises:
        DatasetNotFoundError: if there is none; with where it was looked for.
    """
    return mnist.find(where, "pixel_mnist")
