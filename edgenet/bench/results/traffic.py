"""The week of METR-LA that benches read: speeds at 207 sensors on the highways of Los Angeles, and their road graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from edgenet.data import metr_la
from edgenet.data.places import places

FILE, DAY = metr_la.METR_LA_FILE, metr_la.DAY


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
    week = metr_la.read(metr_la.find(places(data_root)))
    edge_index, weight = metr_la.edges(week.closeness, 2)
    _, near = metr_la.edges(week.closeness, 1)
    return Traffic(*(torch.as_tensor(a) for a in (week.speed, edge_index, weight, near)))
