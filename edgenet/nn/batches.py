"""Batches of signals on one graph, as ops without a batch axis take them."""

from __future__ import annotations

import torch
from torch import Tensor


def folded(x: Tensor) -> Tensor:
    """(B, T, N, F) as B T signals, (B T, N, F); (B, N, F) as it is."""
    return x.flatten(0, 1) if x.dim() == 4 else x


def packed(z: Tensor, follows_signal: bool) -> Tensor:
    """(N, B, H, C) -> (N, H', C'): a batch of signals becomes more heads where each has its own edge weights, and more
    channels where not. An empty batch walks as one signal of zeros, which tells how wide a hop makes it."""
    if follows_signal:
        return z.flatten(1, 2)
    z = z if z.shape[1] else torch.cat([z, z.new_zeros(len(z), 1, *z.shape[2:])], 1)
    return z.transpose(1, 2).flatten(2)


def unpacked(y: Tensor, like: Tensor, follows_signal: bool) -> Tensor:
    """(N, B, H, C) of what a hop has made of ``packed`` (N', B, H, C') signals ``like``."""
    batch, heads = like.shape[1:3]
    if follows_signal:
        return y.unflatten(1, (batch, heads))
    signals = max(1, batch)
    return y.unflatten(2, (signals, y.shape[2] // signals)).transpose(1, 2)[:, :batch]
