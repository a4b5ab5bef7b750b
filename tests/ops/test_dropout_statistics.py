"""The masks of dropout are what independent draws would be: in their rates, and between positions, rows and seeds."""

import math

import pytest
import torch

from edgenet import ops
from edgenet.graph import Graph
from edgenet.ops import mask

COUNT = 2**18
RATES = [0.1, 0.5, 0.6, 0.9]
#: standard deviations that the largest of some hundred normal numbers does not reach, but once in ten thousand times
FAR = 5.5


def dropped(p, seed, count=COUNT):
    return ops.dropout(torch.ones(count), p, seed=seed) == 0


def deviation(both, p, count):
    """Standard deviations from what as many independent events of probability p give."""
    return (int(both.sum()) - count * p) / math.sqrt(count * p * (1 - p))


@pytest.mark.parametrize("p", RATES)
def test_rates_are_right_in_all_and_in_every_stretch(p):
    for seed in range(20):
        gone = dropped(p, seed)
        assert abs(deviation(gone, p, COUNT)) < FAR
        stretches = gone.view(512, -1).sum(1).double()
        wanted = COUNT / 512 * p
        chi_square = ((stretches - wanted).square() / (wanted * (1 - p))).sum()
        assert abs(chi_square - 512) / math.sqrt(2 * 512) < FAR


@pytest.mark.parametrize("p", RATES)
def test_neighbours_rows_and_far_positions_are_independent(p):
    position = torch.arange(COUNT)
    for seed in (0, 1, 2**40 + 7):
        gone = dropped(p, seed)
        for step in (1, 2, 3, 7, 8, 16, 64, 1433, 2**12, 2**16):
            ahead = gone[:-step] & gone[step:]
            # a pair shares a number with two others: its events are not independent, and their sum varies more
            wider = math.sqrt(1 + 2 * p / (1 + p))
            assert abs(deviation(ahead, p * p, COUNT - step)) / wider < FAR, step
        for bit in range(18):
            pairs = (gone & gone[position ^ 2**bit])[position < position ^ 2**bit]
            assert abs(deviation(pairs, p * p, COUNT // 2)) < FAR, bit


@pytest.mark.parametrize("p", RATES)
def test_seeds_that_differ_by_one_or_by_a_bit_have_independent_masks(p):
    for seed in (0, 12345):
        gone = dropped(p, seed)
        others = [seed + 1, *(seed ^ 2**bit for bit in range(0, 63, 3)), ~seed]
        for other in others:
            assert abs(deviation(gone & dropped(p, other), p * p, COUNT)) < FAR, other


def test_masks_of_two_seeds_are_not_rearrangements_of_each_other():
    # a hash of position XOR seed keeps as many in every aligned block, for seeds that differ in low bits
    blocks = [dropped(0.5, seed).view(-1, 64).sum(1) for seed in (4, 5, 6)]
    for i, one in enumerate(blocks):
        for other in blocks[:i]:
            assert (one != other).double().mean() > 0.8
            assert abs(torch.corrcoef(torch.stack([one, other]).double())[0, 1]) < 0.1


def test_blocks_of_2_to_the_32_positions_have_masks_of_their_own():
    low = torch.arange(2**16)
    first, second = (mask.hashed(low + block * 2**32, 3) < 2**31 for block in (0, 1))
    assert abs(deviation(first & second, 0.25, 2**16)) < FAR


def test_layers_heads_and_edges_draw_independently():
    graph = Graph(torch.arange(3000).expand(2, -1), 3000)  # loops: the weight before dropout is 1
    torch.manual_seed(0)
    score, x = torch.zeros(3000, 8), torch.ones(3000, 8, 1)
    layers = [ops.attention(graph, score, score, x, dropout=0.6)[..., 0] == 0 for _ in range(2)]
    for gone in layers:
        assert abs(deviation(gone, 0.6, 24000)) < FAR
        for head in range(1, 8):
            assert abs(deviation(gone[:, 0] & gone[:, head], 0.36, 3000)) < FAR
    assert abs(deviation(layers[0] & layers[1], 0.36, 24000)) < FAR
