"""Dropout inside Triton kernels: the hash that decides, and its constants."""

from __future__ import annotations

from typing import Any

from edgenet.ops.triton_launch import jit, tl


@jit
def dropout_factor(edge, head, seed, H: tl.constexpr, THRESHOLD: tl.constexpr, SCALE: tl.constexpr, ACC: tl.constexpr):
    """SCALE where dropout keeps (edge, head), else 0: by a hash of its number and the seed, alike in every backend."""
    key = (edge * H + head).to(tl.uint32) ^ seed.to(tl.uint32)
    key ^= key >> 16
    key *= 0x7FEB352D
    key ^= key >> 15
    key *= 0x846CA68B
    key ^= key >> 16
    return (key.to(tl.int64) >= THRESHOLD).to(ACC) * SCALE


def dropout_constants(dropout: float) -> dict[str, Any]:
    """The constants of a kernel with dropout of probability ``dropout``: DROPOUT, THRESHOLD and SCALE."""
    return {
        "DROPOUT": dropout > 0,
        "THRESHOLD": int(dropout * 2**32),
        "SCALE": 1 / (1 - dropout) if dropout < 1 else 0.0,
    }
