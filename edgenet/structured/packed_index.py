"""Packed indices: the places of entries, in little more than the least bits that tell them."""

from __future__ import annotations

import torch
from torch import Tensor

from edgenet.errors import ShapeError
from edgenet.ops import backend
from edgenet.structured.codes import from_bytes, to_bytes

_LOW = 30  # the most low bits, which are codes of 32


def packed(places: Tensor, bound: int) -> Tensor:
    """Numbers 0 <= p_0 < p_1 < ... < bound in few bytes.

    Of every number the lowest l bits are stored as they are, and the rest in one bitmap, in which bit (p_i >> l) + i is
    1: every 0 between two 1s is a gap of 2^l. That is l + 1 bits a number and bound / 2^l bits in all, with the best l
    at most 0.6 bits a number above the entropy of places drawn at random. Where they are dense, one bit for each place
    is less, and is taken. Elias 1974, Fano 1971.

    How many bytes it is depends on how many numbers there are and on their bound, and on nothing else. So a file is
    checked before it is read, and other places fit into the same buffer.

    Args:
        places: (number,) integers.

    Returns:
        (``size(number, bound)``,) uint8: the bitmap, then the low bits, each filled up to bytes with zeros.

    Raises:
        ShapeError: if they do not ascend, or one is not below the bound.
    """
    places, low = places.long(), _low_bits(len(places), bound)
    _check(places, bound)
    at = places if low == 0 else (places >> low) + torch.arange(len(places), device=places.device)
    bits = torch.zeros(_bits(len(places), bound, low), dtype=torch.uint8, device=places.device)
    bitmap = to_bytes(bits.index_fill(0, at, 1), 1)
    return bitmap if low == 0 else torch.cat([bitmap, to_bytes(places & ((1 << low) - 1), low)])


def unpacked(stored: Tensor, number: int, bound: int) -> Tensor:
    """The (number,) places that ``packed`` has stored, int64.

    Raises:
        ShapeError: if they are no such places: other bytes than those, too many or too few 1s in the bitmap, or numbers
            that do not ascend to below the bound. (Where torch compiles or traces, nothing is looked at.)
    """
    low, size = _low_bits(number, bound), packed_size(number, bound)
    if stored.dtype != torch.uint8 or stored.shape != (size,):
        raise ShapeError(
            f"the index of {number} places of {bound} is {size} bytes, torch.uint8, got {tuple(stored.shape)} of "
            f"{stored.dtype}."
        )
    long = _bits(number, bound, low)
    bits = from_bytes(stored[: -(-long // 8)], 1, -(-long // 8) * 8)
    rank = bits.cumsum(0)
    if backend.eager() and not stored.is_meta and (len(bits) and int(rank[-1])) != number:
        raise ShapeError(f"the index of {number} places has {int(rank[-1])} of them: its bytes are not those written.")
    # scattered, not ``nonzero``: the size is known, whatever the bits are
    to = torch.where(bits.bool(), rank - 1, number).clamp_(max=number)
    at = bits.new_zeros(number + 1).scatter_(0, to, torch.arange(len(bits), device=bits.device))[:number]
    if low:
        high = at - torch.arange(number, device=at.device)
        at = (high << low) | from_bytes(stored[-(-long // 8) :], low, number)
    _check(at, bound)
    return at


def packed_size(number: int, bound: int) -> int:
    """Bytes of so many places below a bound."""
    return _bytes(number, bound, _low_bits(number, bound))


def _low_bits(number: int, bound: int) -> int:
    """The l of the fewest bytes; 0 for a bitmap of all places."""
    return min(range(_LOW + 1), key=lambda low: _bytes(number, bound, low))


def _bytes(number: int, bound: int, low: int) -> int:
    return -(-_bits(number, bound, low) // 8) + -(-number * low // 8)


def _bits(number: int, bound: int, low: int) -> int:
    """Of the bitmap."""
    if number == 0:
        return 0
    return bound if low == 0 else ((bound - 1) >> low) + number


def _check(places: Tensor, bound: int) -> None:
    """
    Raises:
        ShapeError: if the places do not ascend, or leave [0, bound).
    """
    if places.is_meta or not backend.eager() or not len(places):
        return
    if int(places[0]) < 0 or int(places[-1]) >= bound or bool((places[1:] <= places[:-1]).any()):
        raise ShapeError(
            f"places of entries ascend from 0 to {bound - 1}, got {int(places.min())} to {int(places.max())}, "
            f"{int((places[1:] <= places[:-1]).sum())} of them not above the one before."
        )
