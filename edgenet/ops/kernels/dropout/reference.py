"""Dropout as it is defined, in plain torch."""

from __future__ import annotations

from torch import Tensor

from edgenet.ops import mask


def dropout(x: Tensor, p: float, seed: Tensor | int) -> Tensor:
    """x times 1 / (1 - p) where the hash of a number's place keeps it, else times 0; see ``edgenet.ops.dropout``."""
    return mask.applied(x, p, seed)
