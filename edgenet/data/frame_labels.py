"""Frame labels: several handwritten digits in a row, read column by column; every column is to be told its digit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from edgenet.data import mnist
from edgenet.data.dataset import Dataset
from edgenet.data.facts import FACTS as KNOWN
from edgenet.data.mnist import SIDE, check_side, read
from edgenet.data.places import Place
from edgenet.data.sequences import check_sequences
from edgenet.errors import ConfigError

FACTS = KNOWN["frame_labels"]


def make(where: Sequence[Place], *, digits: int = 4, side: int = SIDE, seed: int = 0) -> Dataset:
    """Images beside each other, without the empty columns to their left and right, so that digits last differently
    long. A frame is one column, from the top to the bottom; its label is the digit that it is a column of.

    The first columns of a digit tell little, and what comes next is not known: a network that reads from left to right
    cannot be right about every frame. Speech is labelled frame by frame in the same way, with phones for digits; no
    corpus of speech is here.

    Args:
        where: folders to look in for MNIST's files.
        digits: images of a sequence; the last few of a split that fill none are left out.
        side: rows and columns of an image, which divides 28: of the squares that become one pixel the mean is taken.
        seed: draws which digits stand beside each other.

    Returns:
        x (S, T, side) float32 in [0, 1], y (S, T) int64, and ``lengths`` (S,), with zeros behind the end; T is the
        longest sequence of the split.

    Raises:
        ConfigError: if an option is out of range.
        DatasetNotFoundError: no folder has the files.
        DataError: they hold something else.
    """
    check_side("frame_labels", side)
    folder = find(where)
    images = read(folder)
    draw, lists = np.random.default_rng(seed), []
    for name in ("train", "val", "test"):
        x, y = getattr(images, name).tensors
        if not 1 <= digits <= len(x):
            raise ConfigError(f"frame_labels: digits must be 1 to {len(x)}, the images of {name}; got {digits}.")
        grey = torch.nn.functional.avg_pool2d((x + 1) / 2, SIDE // side)[:, 0]
        order = torch.from_numpy(draw.permutation(len(x)))
        lists.append([check_sequences(_in_rows(grey[order], y[order], digits), "frame_labels")])
    info = {
        "source": FACTS.source,
        "licence": FACTS.licence,
        "split": FACTS.split,
        "seed": seed,
        "normalisation": "grey values 0 to 255 divided by 255",
        "digits": digits,
        "side": side,
        "found": str(folder),
        "warnings": [],
    }
    return Dataset("frame_labels", "sequence", "class", "accuracy", side, 10, *lists, info)


def _in_rows(images: Tensor, labels: Tensor, digits: int) -> Data:
    """Sequences of so many images (I, side, side) each, of which the empty columns at both ends are left out."""
    columns = [_without_margins(image.t()) for image in images]
    rows = [slice(start, start + digits) for start in range(0, len(images) - digits + 1, digits)]
    frames = [torch.cat(columns[row]) for row in rows]
    answers = [
        torch.cat([label.expand(len(part)) for label, part in zip(labels[row], columns[row], strict=True)])
        for row in rows
    ]
    pad = torch.nn.utils.rnn.pad_sequence
    lengths = torch.tensor([len(part) for part in frames])
    return Data(x=pad(frames, batch_first=True), y=pad(answers, batch_first=True), lengths=lengths)


def _without_margins(columns: Tensor) -> Tensor:
    """The columns from the first with ink in it to the last; of an empty image the first alone."""
    inked = columns.amax(1).nonzero()[:, 0]
    return columns[int(inked[0]) : int(inked[-1]) + 1] if len(inked) else columns[:1]


def find(where: Sequence[Place]) -> Path:
    """The folder of MNIST's files.

    Raises:
        DatasetNotFoundError: if there is none; with where it was looked for.
    """
    return mnist.find(where, "frame_labels")
