"""Dropout of edge weights by a hash of the edge, so that every backend, and backward, draws the same mask."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_ALL = 0xFFFFFFFF


def keep(num_edges: int, heads: int, dropout: float, seed: Tensor | int, like: Tensor) -> Tensor:
    """(E, H) factors in the dtype of ``like``: 1 / (1 - dropout) where a weight is kept, 0 where it is dropped."""
    number = torch.arange(num_edges * heads, device=like.device).view(num_edges, heads) & _ALL
    kept = _hash(number ^ torch.as_tensor(seed, device=like.device)) >= math.floor(dropout * 2**32)
    return kept.to(like.dtype) * (0.0 if dropout == 1 else 1 / (1 - dropout))


def applied(alpha: Tensor, dropout: float, seed: Tensor | int) -> Tensor:
    """The weights (E, H) that are left of alpha."""
    return alpha if dropout == 0 else alpha * keep(*alpha.shape, dropout, seed, alpha)


def draw(dropout: float) -> Tensor:
    """() a seed in [0, 2^32), from torch's default generator if it will be used."""
    if not 0 <= dropout <= 1:
        raise ValueError(f"dropout is a probability in [0, 1], got {dropout}.")
    if dropout == 0:
        return torch.zeros((), dtype=torch.long, device="cpu")
    return torch.randint(2**32, (), device="cpu")


def _hash(x: Tensor) -> Tensor:
    """A 32-bit mixing function, in int64; overflow leaves the low 32 bits right."""
    x = x ^ (x >> 16)
    x = (x * 0x7FEB352D) & _ALL
    x = x ^ (x >> 15)
    x = (x * 0x846CA68B) & _ALL
    return x ^ (x >> 16)
