"""Windows: what is seen of a series of signals, and what is to be foretold, cut out of it at many times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from edgenet.data.check import check_edge_index
from edgenet.data.sequences import check_sequences
from edgenet.errors import ConfigError

SHARES = (0.7, 0.8)  # where training ends, and where testing begins
SPLITS = ("train", "val", "test")


def spans(steps: int) -> dict[str, range]:
    """The steps of a series of each split: the first 70 %, the next 10 % and the last 20 %."""
    first, second = (int(share * steps) for share in SHARES)
    return dict(zip(SPLITS, (range(first), range(first, second), range(second, steps)), strict=True))


def checked(name: str, past: int, ahead: int | Sequence[int], stride: int, steps: int) -> tuple[int, ...]:
    """The horizons, one or several, which fit every split.

    Raises:
        ConfigError: if a number is out of range, or a split is shorter than a window.
    """
    ahead = tuple(ahead) if isinstance(ahead, Sequence) else (ahead,)
    numbers = [past, stride, *ahead]
    if not ahead or not all(isinstance(n, int) and not isinstance(n, bool) and n >= 1 for n in numbers):
        raise ConfigError(
            f"{name}: past, stride and each of ahead are whole numbers from 1, got {past}, {stride} and {list(ahead)}."
        )
    shortest = min(map(len, spans(steps).values()))
    if past + max(ahead) > shortest:
        raise ConfigError(
            f"{name}: a window of {past} steps and {max(ahead)} ahead is longer than the {shortest} steps of the "
            f"shortest split; take fewer."
        )
    return ahead


def cut(
    inputs: np.ndarray,
    targets: np.ndarray,
    past: int,
    ahead: Sequence[int],
    stride: int,
    more: dict[str, Any],
    where: str,
) -> dict[str, list[Data]]:
    """Every window of a series that lies in one split wholly: nothing of the test steps is ever trained on.

    Args:
        inputs: (T, N, F).
        targets: (T, N).
        past: steps of a window.
        ahead: horizons; 1 is the step after the window.
        stride: between the windows that are trained on; the other splits have all.
        more: what else the data have: edges, and what is known of them.
        where: for messages.

    Returns:
        For each split x (S, past, N, F) and y (S, N), or (S, N, P) of P horizons.
    """
    found = {}
    for split, span in spans(len(inputs)).items():
        last = span.stop - max(ahead) - 1  # the last step that a window may see
        ends = np.arange(span.start + past - 1, last + 1, stride if split == "train" else 1)
        x = inputs[ends[:, None] + np.arange(1 - past, 1)]
        y = np.stack([targets[ends + step] for step in ahead], -1)
        y = y[..., 0] if len(ahead) == 1 else y
        data = Data(x=_tensor(x), y=_tensor(y), num_nodes=inputs.shape[1], **more)
        check_edge_index(data.edge_index, inputs.shape[1], where)
        found[split] = [check_sequences(data, f"{where} ({split})")]
    return found


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
