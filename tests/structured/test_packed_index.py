"""Places in few bits: they come back, in the bytes that were said, and what is no index of theirs is refused."""

import math
import time

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgenet.errors import ShapeError
from edgenet.structured.packed_index import packed, packed_size, unpacked


@st.composite
def places(draw):
    bound = draw(st.sampled_from([1, 2, 7, 8, 9, 63, 64, 1000, 4097, 10**6, 2**34, 2**45]))
    number = draw(st.integers(0, min(bound, 50)))
    found = draw(st.sets(st.integers(0, bound - 1), min_size=number, max_size=number))
    return torch.tensor(sorted(found), dtype=torch.long), bound


def by_definition(places, bound):
    """Bit by bit, with every number of low bits; the shortest."""
    parts = [("".join("1" if p in places else "0" for p in range(bound)), "")]
    for low in range(1, 31):
        ones = {(p >> low) + i for i, p in enumerate(places)}
        high = "".join("1" if k in ones else "0" for k in range(((bound - 1) >> low) + len(places)))
        parts.append((high, "".join(f"{p & ((1 << low) - 1):0{low}b}"[::-1] for p in places)))
    best = min(parts, key=lambda two: -(-len(two[0]) // 8) - (-len(two[1]) // 8)) if places else ("", "")
    bits = "".join(part + "0" * (-len(part) % 8) for part in best)
    return [int(bits[k : k + 8][::-1], 2) for k in range(0, len(bits), 8)]


@given(places())
def test_places_come_back_from_the_bytes_that_were_said(given):
    numbers, bound = given
    stored = packed(numbers, bound)
    assert stored.dtype == torch.uint8 and len(stored) == packed_size(len(numbers), bound)
    assert torch.equal(unpacked(stored, len(numbers), bound), numbers)


@pytest.mark.parametrize("bound", [1, 9, 500, 4000])
def test_the_bytes_are_those_of_the_definition(bound):
    for number in {0, 1, 3, min(20, bound), bound // 3, bound}:
        numbers = torch.randperm(bound)[: min(number, bound)].sort().values
        assert packed(numbers, bound).tolist() == by_definition(numbers.tolist(), bound)


@pytest.mark.parametrize("share", [0.5, 0.1, 0.0175, 1e-3, 1e-5])
def test_they_are_near_the_entropy(share):
    bound = 10**7
    number = int(share * bound)
    entropy = bound * -(share * math.log2(share) + (1 - share) * math.log2(1 - share))
    assert entropy <= 8 * packed_size(number, bound) <= entropy + 0.65 * number


def test_a_million_places_take_less_than_a_second():
    numbers = torch.randperm(30_000_000)[:1_000_000].sort().values
    start = time.process_time()
    again = unpacked(packed(numbers, 30_000_000), 1_000_000, 30_000_000)
    assert time.process_time() - start < 1 and torch.equal(again, numbers)


@given(places(), st.data())
def test_other_bytes_are_places_below_the_bound_or_refused(given, data):
    numbers, bound = given
    stored = packed(numbers, bound)
    if len(stored):
        spoiled = stored.clone()
        for _ in range(data.draw(st.integers(1, 3))):
            spoiled[data.draw(st.integers(0, len(stored) - 1))] ^= data.draw(st.integers(1, 255))
        try:
            found = unpacked(spoiled, len(numbers), bound)
        except ShapeError as error:
            assert "places" in str(error)
        else:
            assert found.min() >= 0 and found.max() < bound and (found.diff() > 0).all()
    with pytest.raises(ShapeError, match=r"bytes, torch\.uint8"):
        unpacked(torch.cat([stored, stored.new_zeros(1)]), len(numbers), bound)
    with pytest.raises(ShapeError, match=r"bytes, torch\.uint8"):
        unpacked(stored.long(), len(numbers), bound)


@pytest.mark.parametrize("bits", [1, 128])
def test_more_places_than_there_are_numbers_are_refused(bits):
    stored = packed(torch.tensor([1, 4]), 15)  # a bitmap of 15 places; the last bit of its bytes is of none
    stored[bits // 128] |= bits
    with pytest.raises(ShapeError, match="the index of 2 places has 3 of them"):
        unpacked(stored, 2, 15)


@pytest.mark.parametrize("numbers", [[3, 3], [3, 2], [-1, 4], [0, 9]])
def test_what_does_not_ascend_below_the_bound_is_no_index(numbers):
    with pytest.raises(ShapeError, match="ascend from 0 to 8"):
        packed(torch.tensor(numbers), 9)
