"""METR-LA: how fast will traffic go at 207 sensors on the highways of Los Angeles?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from edgenet.data import finding, windows
from edgenet.data.dataset import Dataset
from edgenet.data.facts import FACTS as KNOWN
from edgenet.data.facts import METR_LA_FILE
from edgenet.data.files import check_sha256, read_bytes, read_npz
from edgenet.data.places import Place
from edgenet.errors import ConfigError, DataError

DAY = 288  # readings, one in 5 minutes
SHAPES = {"speed_mph": (2016, 207), "adj_dcrnn": (207, 207)}

FACTS = KNOWN["metr_la"]


class Week(NamedTuple):
    """The week as it is in the file.

    Attributes:
        speed: (2016, 207) miles an hour.
        closeness: (207, 207), A[i, j] = exp(-distance^2 / s^2) of the road from i to j, cut at 0.1, and no loops.
    """

    speed: np.ndarray
    closeness: np.ndarray


def make(
    where: Sequence[Place],
    *,
    past: int = 12,
    ahead: int | Sequence[int] | None = None,
    stride: int = 1,
    operators: int = 1,
    time_of_day: bool = False,
    verify: bool = True,
) -> Dataset:
    """A window is an hour of speeds at all sensors; its targets are the speeds at all sensors some readings later.

    Args:
        where: folders to look in.
        past: readings of a window, one in 5 minutes.
        ahead: horizons, in readings: 3 is 15 minutes, 12 an hour. None: 3.
        stride: readings between the windows that are trained on.
        operators: 1: edges have the closeness of their two sensors, the larger of both ways; 2: two shift operators,
            D^(-1) A over the sensors downstream and D^(-1) A^T over those upstream, for layers of two.
        time_of_day: whether nodes also have the sine and the cosine of the time of day.
        verify: compare the checksum of the file.

    Returns:
        x (S, past, 207, F) and y (S, 207), or (S, 207, P) of P horizons, speeds in both less the mean and over the
        standard deviation of the training speeds: ``info["mean"]``, ``info["std"]``, in miles an hour.
        ``info["persistence_mae"]`` is the test error of the last reading, at each horizon, in miles an hour.

    Raises:
        ConfigError: if an option is out of range.
        DatasetNotFoundError: no folder has the file.
        DataError: it holds something else.
    """
    ahead = windows.checked("metr_la", past, (3,) if ahead is None else ahead, stride, SHAPES["speed_mph"][0])
    if operators not in (1, 2):
        raise ConfigError(f"metr_la: operators is 1 or 2, got {operators}.")
    path = find(where)
    if verify:
        check_sha256(read_bytes(path), FACTS.sha256[METR_LA_FILE], path)
    week = read(path)
    trained = week.speed[: windows.spans(len(week.speed))["train"].stop]
    mean, std = float(trained.mean()), float(trained.std())
    scaled = (week.speed - mean) / std
    inputs = scaled[:, :, None]
    if time_of_day:
        angle = 2 * np.pi * np.arange(len(scaled)) / DAY
        clock = np.stack([np.sin(angle), np.cos(angle)], -1)[:, None].repeat(scaled.shape[1], 1)
        inputs = np.concatenate([inputs, clock], -1)
    edge_index, weight = edges(week.closeness, operators)
    more = {"edge_index": torch.from_numpy(edge_index), "edge_weight": torch.from_numpy(weight.astype(np.float32))}
    lists = windows.cut(inputs, scaled, past, ahead, stride, more, "metr_la")
    test = windows.spans(len(scaled))["test"]
    ends = np.arange(test.start + past - 1, test.stop - max(ahead))
    still = [float(np.abs(week.speed[ends + step] - week.speed[ends]).mean()) for step in ahead]
    info = {
        "source": FACTS.source,
        "licence": FACTS.licence,
        "split": FACTS.split,
        "seed": None,
        "normalisation": "speeds less the mean and over the standard deviation of the training speeds",
        "mean": mean,
        "std": std,
        "ahead": list(ahead),
        "persistence_mae": still,
        "found": str(path),
        "warnings": [],
    }
    return Dataset("metr_la", "sequence", "value", "mae", inputs.shape[-1], len(ahead), *lists.values(), info)


def find(where: Sequence[Place]) -> Path:
    """The week. It is never downloaded: its publishers ship the whole of METR-LA as a pickle, behind a form."""
    return finding.find("metr_la", where)


def read(path: Path) -> Week:
    """The arrays of the file, float64.

    Raises:
        DataError: if they are not there, or of other shapes.
    """
    arrays = read_npz(path)
    for name, shape in SHAPES.items():
        if name not in arrays or arrays[name].shape != shape:
            raise DataError(f"{path}: wants {name} of shape {shape}. {FACTS.how_to_get}")
    speed, closeness = (arrays[name].astype(np.float64) for name in SHAPES)
    np.fill_diagonal(closeness, 0.0)
    return Week(speed, closeness)


def edges(closeness: np.ndarray, operators: int) -> tuple[np.ndarray, np.ndarray]:
    """(2, E) edges, every pair of sensors that a road leads between, in both directions; and their (E,) closeness, or
    (E, 2) entries of D^(-1) A and D^(-1) A^T."""
    target, source = np.nonzero((closeness > 0) | (closeness.T > 0))
    index = np.stack([source, target])
    if operators == 1:
        return index, np.maximum(closeness, closeness.T)[target, source]
    down, up = (a / np.where(a.sum(1) > 0, a.sum(1), 1.0)[:, None] for a in (closeness, closeness.T))
    return index, np.stack([down[target, source], up[target, source]], 1)
