"""Codes of a few bits, one after the other in bytes."""

from __future__ import annotations

import torch
from torch import Tensor


def to_bytes(codes: Tensor, width: int) -> Tensor:
    """Codes of so many bits, one after the other, the lowest bit first: uint8, 8 bits a byte; the last is filled up
    with zeros."""
    codes = codes.reshape(-1).to(torch.uint8 if width <= 8 else torch.int32)  # a bit takes a byte on the way
    if width == 8:
        return codes
    bits = torch.stack([((codes >> place) & 1).to(torch.uint8) for place in range(width)], 1).reshape(-1)
    bits = torch.nn.functional.pad(bits, (0, -len(bits) % 8)).view(-1, 8)
    stored = bits[:, 0]
    for place in range(1, 8):
        stored = stored | (bits[:, place] << place)
    return stored.contiguous()


def from_bytes(stored: Tensor, width: int, count: int) -> Tensor:
    """The (count,) codes that ``to_bytes`` has stored, int64."""
    if width == 8:
        return stored.long()
    bits = torch.stack([(stored >> place) & 1 for place in range(8)], 1).reshape(-1)
    bits = bits[: count * width].view(count, width)
    codes = bits[:, 0].to(torch.uint8 if width <= 8 else torch.int32)
    for place in range(1, width):
        codes = codes | (bits[:, place].to(codes.dtype) << place)
    return codes.long()
