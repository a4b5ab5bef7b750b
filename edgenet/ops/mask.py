"""Which numbers dropout keeps: a hash of their position and a seed, the same on every backend, and in backward.

Positions are whole numbers below 2^63. A seed of 64 bits has two keys of 32 bits for every 2^32 of them,

    (first, second) = the halves of m(m(seed) + (high + 1) g),   high = position >> 32,

m the mixing function of SplitMix64 (Steele, Lea, Flood 2014) and g its step. The low half of the position is hashed by
three multiplications (``triple32``, Wellons 2018): ``first`` is joined to it before the first, ``second`` before the
second. So masks of two seeds are no rearrangements of each other, as they were if a seed were only joined to positions.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from edgenet.errors import ConfigError

_ALL = 0xFFFFFFFF
_STEP = 0x9E3779B97F4A7C15 - 2**64  # as int64
_MIXERS = ((30, 0xBF58476D1CE4E5B9 - 2**64), (27, 0x94D049BB133111EB - 2**64))
_torch_draws = bool(os.environ.get("EDGENET_TORCH_DROPOUT"))

Number = TypeVar("Number", int, Tensor)


def factors(shape: Sequence[int], p: float, seed: Tensor | int, like: Tensor) -> Tensor:
    """What numbers of a shape are multiplied by, in the dtype of sums of ``like``: 1 / (1 - p) where one is kept, else
    0. A number's position is its place in row-major order."""
    count = math.prod(shape)
    position = torch.arange(count, device=like.device).view(tuple(shape))
    seed = seed.to(like.device) if isinstance(seed, Tensor) else seed
    kept = (hashed(position, seed) if count > 2**32 else _hashed(position, *keys(seed, 0))) >= threshold(p)
    return kept.to(torch.promote_types(like.dtype, torch.float32)) * scale(p)


def applied(alpha: Tensor, p: float, seed: Tensor | int | None) -> Tensor:
    """What is left of the numbers of alpha. Without a seed torch draws."""
    if seed is None:
        return F.dropout(alpha, p)
    return alpha if p == 0 else (alpha * factors(alpha.shape, p, seed, alpha)).to(alpha.dtype)


def threshold(p: float) -> int:
    """The smallest hash, of 32 bits, that is kept."""
    return math.floor(p * 2**32)


def scale(p: float) -> float:
    """What numbers that are kept are multiplied by."""
    return 0.0 if p == 1 else 1 / (1 - p)


def draw(p: float) -> Tensor | None:
    """() a seed of 64 bits, from torch's default generator if it will be used; None where torch is to draw itself.

    Raises:
        ConfigError: if p is no probability.
    """
    check_probability(p)
    if p == 0:
        return torch.zeros((), dtype=torch.long, device="cpu")
    if _torch_draws:
        return None
    return torch.randint(-(2**63), 2**63 - 1, (), device="cpu")


def signed(seed: int) -> int:
    """A seed of 64 bits as an int64."""
    return (seed + 2**63) % 2**64 - 2**63


def check_probability(p: float) -> None:
    if not 0 <= p <= 1:
        raise ConfigError(f"dropout is a probability in [0, 1], got {p}.")


@contextmanager
def torch_dropout() -> Iterator[None]:
    """In this block dropout takes torch's own random numbers, so that results are those of ``F.dropout`` with the same
    seed of torch. It is slower, and attention keeps a mask of its weights. ``EDGENET_TORCH_DROPOUT=1`` in the
    environment asks for it everywhere. For all threads.

    Example:
        >>> drop = edgenet.nn.Dropout(0.5)
        >>> with edgenet.ops.torch_dropout():
        ...     _ = torch.manual_seed(0)
        ...     y = drop(x)
        >>> _ = torch.manual_seed(0)
        >>> torch.equal(y, torch.nn.functional.dropout(x, 0.5))
        True
    """
    global _torch_draws
    before, _torch_draws = _torch_draws, True
    try:
        yield
    finally:
        _torch_draws = before


def hashed(position: Tensor, seed: Tensor | int) -> Tensor:
    """Numbers in [0, 2^32) for int64 positions."""
    seed = torch.as_tensor(signed(seed)) if isinstance(seed, int) else seed
    return _hashed(position & _ALL, *keys(seed.to(position.device), position >> 32))


def keys(seed: Number, high: Number) -> tuple[Number, Number]:
    """The two keys, each in [0, 2^32), of a seed for the positions whose upper half is ``high``."""
    mixed = _mixed(_mixed(seed) + (high + 1) * _STEP)
    return mixed & _ALL, (mixed >> 32) & _ALL


def _mixed(x: Number) -> Number:
    x = _wrapped(x)
    for shift, factor in _MIXERS:
        x = _wrapped((x ^ ((x >> shift) & (2 ** (64 - shift) - 1))) * factor)
    return x ^ ((x >> 31) & (2**33 - 1))


def _wrapped(x: Number) -> Number:
    return x if isinstance(x, Tensor) else x & (2**64 - 1)  # int64 of torch wraps by itself


def _hashed(x: Tensor, first: Tensor | int, second: Tensor | int) -> Tensor:
    """Of the low halves of positions, in int64; overflow leaves the low 32 bits right."""
    x = x ^ first
    x = ((x ^ (x >> 17)) * 0xED5AD4BB) & _ALL
    x = x ^ (x >> 11) ^ second
    x = (x * 0xAC4C1B51) & _ALL
    x = ((x ^ (x >> 15)) * 0x31848BAB) & _ALL
    return x ^ (x >> 14)
