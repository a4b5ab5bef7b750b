"""The published parameters and ratios, and the same counted on networks that are made."""

import pytest
import torch
from torch import nn

from edgenet.clstm import LstmShape
from edgenet.clstm.google import LAYERS, OUTPUTS, PUBLISHED, in_blocks, parameters, weights
from edgenet.nn.recurrent import LSTM
from edgenet.structured import structure

FIRST = {1: 3_248_128, 2: 1_626_112, 4: 815_104, 8: 409_600, 16: 204_800}


@pytest.mark.parametrize("block", PUBLISHED)
def test_parameters_are_those_published(block):
    count = parameters(in_blocks(LAYERS, block), OUTPUTS)
    assert abs(count / 1e6 - PUBLISHED[block].parameters) <= 0.0051  # of two decimals, one of them rounded up
    assert weights(in_blocks(LAYERS, block)[0]) == FIRST[block]


def test_parameters_at_two_more_decimals():
    counts = [parameters(in_blocks(LAYERS, block), OUTPUTS) / 1e6 for block in PUBLISHED]
    assert [f"{count:.3f}" for count in counts] == ["8.012", "4.031", "2.040", "1.045", "0.545"]


def test_ratios_of_the_first_layer_are_those_published():
    assert round(FIRST[1] / FIRST[8], 2) == 7.93 and round(FIRST[1] / FIRST[16], 2) == 15.86


@pytest.mark.parametrize("block", [1, 4, 8])
@pytest.mark.parametrize("google", [True, False])
def test_networks_that_are_made_have_so_many(google, block):
    layers = (LstmShape(7, 16, 8, peepholes=True), LstmShape(8, 16, 8, peepholes=True))
    layers = layers if google else (LstmShape(7, 16), LstmShape(16, 16))
    options = {"proj_size": 8, "peepholes": True} if google else {}
    make = None if block == 1 else structure("block_circulant", block=block)
    lstm = LSTM(7, 16, 2, structure=make, **options)
    head = nn.Linear(lstm.out_size, 5)
    count = sum(p.numel() for part in (lstm, head) for p in part.parameters())
    second_biases = 2 * 64
    assert count - second_biases == parameters(in_blocks(layers, block), 5)
    assert all(p.dtype == torch.float64 for p in lstm.parameters())
