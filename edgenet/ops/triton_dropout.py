"""Dropout inside Triton kernels: the hash that decides, and its constants. ``mask.py`` defines it."""

from __future__ import annotations

from typing import Any

from edgenet.ops import mask
from edgenet.ops.triton_launch import jit, tl


@jit
def dropout_factor(
    position, seed, WIDE: tl.constexpr, THRESHOLD: tl.constexpr, SCALE: tl.constexpr, ACC: tl.constexpr
):
    """SCALE where dropout keeps the number at an int64 position, else 0, alike in every backend."""
    high = tl.full((), 1, tl.uint64)
    if WIDE:
        high += (position >> 32).to(tl.uint64)
    mixed = _mixed(_mixed(seed.to(tl.uint64)) + high * 0x9E3779B97F4A7C15)
    key = position.to(tl.uint32) ^ mixed.to(tl.uint32)
    key ^= key >> 17
    key *= 0xED5AD4BB
    key ^= key >> 11
    key ^= (mixed >> 32).to(tl.uint32)
    key *= 0xAC4C1B51
    key ^= key >> 15
    key *= 0x31848BAB
    key ^= key >> 14
    return (key.to(tl.int64) >= THRESHOLD).to(ACC) * SCALE


@jit
def _mixed(x):
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB
    return x ^ (x >> 31)


def dropout_constants(dropout: float, numbers: int) -> dict[str, Any]:
    """The constants of a kernel that drops so many numbers with probability ``dropout``: DROPOUT, WIDE, THRESHOLD and
    SCALE."""
    return {
        "DROPOUT": dropout > 0,
        "WIDE": numbers > 2**32,
        "THRESHOLD": mask.threshold(dropout),
        "SCALE": mask.scale(dropout),
    }
