"""The week of METR-LA that benches read: speeds at 207 sensors on the highways of Los Angeles, and their road graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from edgenet.data.places import lacks_files, not_found, places, search
from edgenet.errors import DataError

FILE = "metr_la_week.npz"
DAY = 288  # readings, one in 5 minutes
_SHAPES = {"speed_mph": (2016, 207), "adj_dcrnn": (207, 207)}
_HOW = (
    "METR-LA is published with DCRNN (Li et al. 2018, github.com/liyaguang/DCRNN); save a week of speeds (2016, 207) "
    f"and the adjacency (207, 207) as speed_mph and adj_dcrnn into {FILE}, and name its folder by --data-root or "
    "$EDGENET_DATA."
)


@dataclass(frozen=True)
class Traffic:
    """Speeds and two shift operators on the same edges.

    Attributes:
        speed: (2016, 207) miles an hour.
        edge_index: (2, E), every pair of sensors that a road leads between, in either direction.
        edge_weight: (E, 2). Column 0 averages over the sensors downstream, D^-1 A, column 1 over those upstream,
            D^-1 A^T, with A the closeness of DCRNN, exp(-distance^2 / s^2), cut at 0.1.
        closeness: (E,) the larger of the two entries of A.
    """

    speed: Tensor
    edge_index: Tensor
    edge_weight: Tensor
    closeness: Tensor

    def samples(self, times: Sequence[int], readings: int, ahead: int) -> tuple[Tensor, np.ndarray]:
        """(B, N, readings) speeds up to each time, the newest first, and (B * N,) speeds ``ahead`` readings later."""
        x = torch.stack([self.speed[k - readings + 1 : k + 1].flip(0).t() for k in times])
        return x, torch.stack([self.speed[k + ahead] for k in times]).flatten().numpy()

    def windows(self, times: Sequence[int], past: int, ahead: int) -> tuple[Tensor, Tensor]:
        """(B, N, past) speeds up to each time, the oldest first, and (B, N, ahead) the speeds that follow it."""
        cut = self.speed.t().unfold(1, past + ahead, 1)  # (N, windows, past + ahead)
        found = cut[:, torch.as_tensor(times) - past + 1].transpose(0, 1)
        return found[..., :past], found[..., past:]


def traffic(data_root: Path | None = None) -> Traffic:
    """Read the week, float64.

    Raises:
        DatasetNotFoundError: if the file is nowhere; with where it was looked for.
        DataError: if it holds something else.
    """
    looked = search(places(data_root), (".",), lacks_files([FILE]))
    if looked.found is None:
        raise not_found("METR-LA", FILE, looked.tried, _HOW)
    return _read(looked.found / FILE)


def _read(file: Path) -> Traffic:
    with np.load(file, allow_pickle=False) as arrays:
        for name, shape in _SHAPES.items():
            if name not in arrays or arrays[name].shape != shape:
                raise DataError(f"{file}: wants {name} of shape {shape}. {_HOW}")
        speed, closeness = (arrays[name].astype(np.float64) for name in _SHAPES)
    np.fill_diagonal(closeness, 0.0)
    downstream, upstream = (a / np.where(a.sum(1) > 0, a.sum(1), 1.0)[:, None] for a in (closeness, closeness.T))
    target, source = np.nonzero((closeness > 0) | (closeness.T > 0))
    weight = np.stack([downstream[target, source], upstream[target, source]], 1)
    near = np.maximum(closeness, closeness.T)[target, source]
    return Traffic(*(torch.as_tensor(a) for a in (speed, np.stack([source, target]), weight, near)))
