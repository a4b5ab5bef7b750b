"""Drawing splits from a seed, never from global random state."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from edgenet.errors import ConfigError


def mask(nodes: np.ndarray, num_nodes: int) -> Tensor:
    """(num_nodes,) bool, true at ``nodes``."""
    chosen = torch.zeros(num_nodes, dtype=torch.bool)
    chosen[torch.as_tensor(nodes, dtype=torch.int64)] = True
    return chosen


def per_class_masks(y: np.ndarray, train: int, val: int, rng: np.random.Generator) -> dict[str, Tensor]:
    """The semi-supervised split: ``train`` and ``val`` nodes of every class, all others for testing.

    Raises:
        ConfigError: if a class has no node left for testing.
    """
    chosen: dict[str, list[np.ndarray]] = {"train_mask": [], "val_mask": [], "test_mask": []}
    for label in np.unique(y):
        members = rng.permutation(np.flatnonzero(y == label))
        if not (train >= 1 and val >= 1 and train + val < len(members)):
            raise ConfigError(
                f"class {label} has {len(members)} nodes: {train} for training and {val} for validation must each be "
                f"at least 1 and leave some for testing."
            )
        chosen["train_mask"].append(members[:train])
        chosen["val_mask"].append(members[train : train + val])
        chosen["test_mask"].append(members[train + val :])
    return {name: mask(np.concatenate(parts), len(y)) for name, parts in chosen.items()}
