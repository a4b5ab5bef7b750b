"""Ways to convolve: the cheapest is found, remembered by sizes, and holds the numbers of its own matrix."""

import copy

import pytest
import torch
import torch.nn.functional as F
from kernels import KERNELS, near

from edgenet.structured import LowRank, StructuredConv2d, structure
from edgenet.structured.ways import cheapest, ways

SITES = [(1, 1, 1, True), (1, 49, 49, True), (4, 196, 49, False), (1, 32 * 196, 196, True), (2, 10**6, 10**6, True)]


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("name", KERNELS)
def test_the_way_that_is_remembered_is_the_one_of_fewest_seconds(name, site):
    for _ in range(2):  # the second is remembered
        matrix = KERNELS[name](torch.randn(6, 36))
        want = min(ways(matrix, 9, *site), key=lambda way: way.seconds)
        got = cheapest(matrix, 9, *site)
        assert (got.seconds, got.windows, got.places_first, got.multiply_adds) == (
            want.seconds, want.windows, want.places_first, want.multiply_adds,
        )  # fmt: skip
        assert (got.convs is None) == (want.convs is None)
        if want.convs is not None:
            assert (got.convs.sizes, got.convs.key) == (want.convs.sizes, want.convs.key)


def test_ways_of_one_size_hold_the_numbers_of_their_own_matrix():
    first = StructuredConv2d(LowRank(torch.randn(64, 4), torch.randn(4, 576)), 3).eval()
    x = torch.randn(2, 64, 14, 14)
    with torch.no_grad():
        first(x)
        second = copy.deepcopy(first)
        second.weight.right.mul_(2)
        assert cheapest(second.weight, 9, 1, 288, 144, True).convs is not None
        near(second(x), 2 * first(x))
        near(second(x), F.conv2d(x, second.weight.to_dense().view(64, 64, 3, 3)))


def test_another_rank_is_another_size():
    """Of few terms two convolutions are the cheapest, and of many the dense kernel."""
    for rank, steps in ((4, True), (64, False)):
        matrix = structure("low_rank", rank=rank)(torch.randn(64, 576))
        assert (cheapest(matrix, 9, 1, 10_000, 100, True).convs is not None) == steps


def test_kernels_of_one_channel_each_are_priced_higher():
    """Measured on 128 channels, 32 images of 14 x 14: 10 ms, beside 8 ms of the dense kernel."""
    matrix = structure("tensor_train", rank=2, dims=2, places=9)(torch.randn(64, 576))
    (alone,) = matrix.as_convs(9)
    assert alone.inner == (1, 9)
    runs = structure("kronecker", factor=(32, 32), terms=2, places=9)(torch.randn(64, 576)).as_convs(9)[0]
    share = [steps.seconds(True, 9, 1, 10**5, 1, False) / steps.multiply_adds(True, 9, 1) for steps in (alone, runs)]
    assert share[0] > 1.5 * share[1]
