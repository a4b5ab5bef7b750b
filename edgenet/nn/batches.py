"""Batches of signals on one graph, as ops without a batch axis take them."""

from __future__ import annotations

from torch import Tensor


def packed(z: Tensor, follows_signal: bool) -> Tensor:
    """(N, B, H, C) -> (N, H', C'): a batch of signals becomes more heads where each has its own edge weights, and more
    channels where not."""
    return z.flatten(1, 2) if follows_signal else z.transpose(1, 2).flatten(2)


def unpacked(y: Tensor, like: Tensor, follows_signal: bool) -> Tensor:
    """(N, B, H, C) of what a hop has made of ``packed`` (N', B, H, C') signals ``like``."""
    batch, heads, channels = like.shape[1:]
    if follows_signal:
        return y.unflatten(1, (batch, heads))
    return y.unflatten(2, (batch, y.shape[2] // batch if batch else channels)).transpose(1, 2)
