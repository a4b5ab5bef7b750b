"""LSTMs to be made 16-bit, with weights large enough that gates saturate now and then."""

from functools import partial

import torch

from edgenet.fixed import FixedPointLSTM
from edgenet.nn.recurrent import LSTM
from edgenet.structured import BlockCirculant, Dense

GOOGLE = {"proj_size": 11, "peepholes": True}


def lstm(block: int, inputs: int = 13, hidden: int = 16, layers: int = 2, scale: float = 1.0, **options) -> LSTM:
    """In blocks of one size; 13 inputs and 11 outputs are no whole number of blocks."""
    made = LSTM(inputs, hidden, layers, structure=partial(BlockCirculant.from_dense, block=block), **options)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(0, scale * parameter[0].numel() ** -0.5 if parameter.dim() == 3 else 0.3)
    return made


def fixed(block: int, **options) -> FixedPointLSTM:
    made = lstm(block, **options)
    return FixedPointLSTM.from_lstm(made, [torch.randn(20, 30, made.input_size)])


def mixed(**options) -> FixedPointLSTM:
    """Blocks that differ from matrix to matrix, and a dense one."""
    made = lstm(1, **options)
    with torch.no_grad():
        for cell, (one, other, last) in zip(made.cells, ((4, 8, 2), (16, 1, 4)), strict=True):
            for linear, block in ((cell.input_map, one), (cell.state_map, other), (cell.projection, last)):
                dense = linear.weight.to_dense()
                linear.weight = Dense(dense) if block == 1 else BlockCirculant.from_dense(dense, block)
    return FixedPointLSTM.from_lstm(made, [torch.randn(20, 30, made.input_size)])
