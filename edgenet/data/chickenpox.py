"""Chickenpox: how many cases will the counties of Hungary report next week?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from edgenet import reading
from edgenet.data import finding, windows
from edgenet.data.dataset import Dataset
from edgenet.data.facts import FACTS as KNOWN
from edgenet.data.files import check_sha256, read_bytes
from edgenet.data.places import Place
from edgenet.errors import DataError

WEEKS, COUNTIES = 521, 20

FACTS = KNOWN["chickenpox"]
_BUDGET = reading.Budget(bytes=1 << 20, more=1 << 20)  # it has 50 kB, and 300 kB unpacked


def make(
    where: Sequence[Place],
    *,
    past: int = 8,
    ahead: int | Sequence[int] | None = None,
    stride: int = 1,
    verify: bool = True,
) -> Dataset:
    """A window is some weeks of cases in all counties; its targets are the cases in all counties some weeks later.

    Counts come as published: of every county less their mean, over their standard deviation, of **all** 521 weeks. So
    the scale of a county knows of the test weeks; nothing else does.

    Args:
        where: folders to look in.
        past: weeks of a window.
        ahead: horizons, in weeks. None: 1.
        stride: weeks between the windows that are trained on.
        verify: compare the checksum of the packed file.

    Returns:
        x (S, past, 20, 1) and y (S, 20), or (S, 20, P) of P horizons; edges between neighbouring counties.
        ``info["persistence_rmse"]`` is the test error of the last week, at each horizon; ``info["mean_rmse"]`` that of
        the mean of the training weeks.

    Raises:
        ConfigError: if an option is out of range.
        DatasetNotFoundError: no folder has the file.
        DataError: it holds something else.
    """
    ahead = windows.checked("chickenpox", past, (1,) if ahead is None else ahead, stride, WEEKS)
    path = find(where)
    if verify and path.name in FACTS.sha256:
        check_sha256(read_bytes(path), FACTS.sha256[path.name], path)
    cases, edge_index = read(path)
    more = {"edge_index": torch.from_numpy(edge_index)}
    lists = windows.cut(cases[:, :, None], cases, past, ahead, stride, more, "chickenpox")
    spans = windows.spans(WEEKS)
    ends = np.arange(spans["test"].start + past - 1, WEEKS - max(ahead))
    mean = cases[: spans["train"].stop].mean(0)
    info = {
        "source": FACTS.source,
        "licence": FACTS.licence,
        "split": FACTS.split,
        "seed": None,
        "normalisation": "as published: cases less their mean over their standard deviation, county by county",
        "ahead": list(ahead),
        "persistence_rmse": [_rms(cases[ends + step] - cases[ends]) for step in ahead],
        "mean_rmse": [_rms(cases[ends + step] - mean) for step in ahead],
        "found": str(path),
        "warnings": [],
    }
    return Dataset("chickenpox", "sequence", "value", "rmse", 1, len(ahead), *lists.values(), info)


def find(where: Sequence[Place]) -> Path:
    """The file, packed or not."""
    return finding.find("chickenpox", where)


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """(521, 20) cases and (2, 82) edges between different counties, in both directions.

    Raises:
        DataError: if the file is no JSON of these.
    """
    text = reading.read_gzip(path, DataError, _BUDGET)
    held = reading.parse_json(text, str(path), DataError, _BUDGET)
    try:
        cases, edges = np.asarray(held["FX"], dtype=np.float64), np.asarray(held["edges"], dtype=np.int64)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise DataError(f"{path}: no JSON with the arrays FX and edges: {error!r:.200}. {FACTS.how_to_get}") from error
    if cases.shape != (WEEKS, COUNTIES) or edges.ndim != 2 or edges.shape[1] != 2:
        raise DataError(
            f"{path}: wants FX of shape {(WEEKS, COUNTIES)} and edges (E, 2), got {cases.shape} and {edges.shape}."
        )
    return cases, np.ascontiguousarray(edges[edges[:, 0] != edges[:, 1]].T)


def _rms(error: np.ndarray) -> float:
    return float(np.sqrt(np.square(error).mean()))
