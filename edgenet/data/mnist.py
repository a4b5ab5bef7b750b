"""Handwritten digits: 5,000 training images of MNIST, and its test set, as they are read from their files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import TensorDataset

from edgenet import reading
from edgenet.data import finding
from edgenet.data.facts import MNIST_FILES, MNIST_HOW
from edgenet.data.files import read_npz
from edgenet.data.places import Place, not_found, places, search
from edgenet.errors import ConfigError, DataError

IMAGES, LABELS, TRAINING = MNIST_FILES
SIDE = 28  # pixels
TRAIN, TEST, HELD_OUT = 5_000, 10_000, 1_000  # images; those held out of the training set validate


@dataclass(frozen=True)
class Digits:
    """Images (B, 1, 28, 28) from -1, the paper, to 1, float32, and their classes (B,), int64.

    Attributes:
        train, val: 4,000 and 1,000 of the 5,000 training images, in an order that does not change.
        test: 10,000 others.
    """

    train: TensorDataset
    val: TensorDataset
    test: TensorDataset


def mnist(data_root: Path | None = None) -> Digits:
    """Read the images.

    Raises:
        DatasetNotFoundError: if the files are nowhere; with where they were looked for.
        DataError: if they hold something else.
    """
    return read(find(places(data_root)))


def read(folder: Path) -> Digits:
    """The images in a folder.

    Raises:
        DataError: if its files hold something else.
    """
    x, y = _arrays(folder / TRAINING)
    order = np.random.default_rng(0).permutation(TRAIN)
    train, val = order[:-HELD_OUT], order[-HELD_OUT:]
    shown, known = (_idx(folder / name, rest) for name, rest in ((IMAGES, (SIDE, SIDE)), (LABELS, ())))
    return Digits(_pairs(x[train], y[train]), _pairs(x[val], y[val]), _pairs(shown, known))


def find(where: Sequence[Place], name: str = "MNIST") -> Path:
    """The folder of the three files.

    Args:
        name: what the message calls the data set.

    Raises:
        DatasetNotFoundError: if there is none; with where it was looked for.
    """
    files = finding.FILES["pixel_mnist"]
    looked = search(where, files.layouts, files.amiss)
    if looked.found is None:
        raise not_found(name, files.what, looked.tried, MNIST_HOW)
    return looked.found


def check_side(name: str, side: int) -> None:
    """Refuse sides of images that do not come of squares of whole pixels."""
    if not 1 <= side <= SIDE or SIDE % side:
        sides = ", ".join(str(size) for size in range(1, SIDE + 1) if SIDE % size == 0)
        raise ConfigError(f"{name}: side divides {SIDE}, so it is one of {sides}; got {side}.")


def _pairs(images: np.ndarray, labels: np.ndarray) -> TensorDataset:
    scaled = torch.as_tensor(images.astype(np.float32))[:, None] / 127.5 - 1
    return TensorDataset(scaled, torch.as_tensor(labels.astype(np.int64)))


def _arrays(file: Path) -> tuple[np.ndarray, np.ndarray]:
    wanted = {"x": (TRAIN, SIDE, SIDE), "y": (TRAIN,)}
    try:
        found = read_npz(file, tuple(wanted))
    except DataError as error:
        raise DataError(f"{error} {MNIST_HOW}") from error
    for name, shape in wanted.items():
        if name not in found or found[name].shape != shape or found[name].dtype != np.uint8:
            raise DataError(f"{file}: wants {name} of shape {shape}, uint8. {MNIST_HOW}")
    return found["x"], _classes(file, found["y"])


def _idx(file: Path, rest: tuple[int, ...]) -> np.ndarray:
    """The array of an idx file: two zero bytes, 8 for uint8, the number of axes, their sizes, the numbers."""
    shape = (TEST, *rest)
    wanted = bytes([0, 0, 8, len(shape)]) + b"".join(size.to_bytes(4, "big") for size in shape)
    size = len(wanted) + int(np.prod(shape))
    try:
        content = reading.read_gzip(file, DataError, reading.DATA, size + 1)
    except DataError as error:
        raise DataError(f"{error} {MNIST_HOW}") from error
    head, body = content[: len(wanted)], content[len(wanted) :]
    if head != wanted or len(content) != size:
        raise DataError(f"{file}: is no idx file of {' x '.join(map(str, shape))} bytes. {MNIST_HOW}")
    array = np.frombuffer(body, np.uint8).reshape(shape)
    return array if rest else _classes(file, array)


def _classes(file: Path, labels: np.ndarray) -> np.ndarray:
    if labels.max(initial=0) > 9:
        raise DataError(f"{file}: has the class {labels.max()}, and digits are 0 to 9. {MNIST_HOW}")
    return labels
