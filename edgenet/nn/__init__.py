"""Layers: EdgeNetConv, its parts, and the published networks that are choices of them."""

from edgenet.nn import graph_signal, lift, specializations, taps
from edgenet.nn.conv import EdgeNetConv
from edgenet.nn.dropout import Dropout
from edgenet.nn.fixed_point_activation import FixedPointActivation
from edgenet.nn.mod_relu import ModReLU
from edgenet.nn.packed_signs import (
    FlipSigns,
    PackedConv,
    PackedLinear,
    PackedMaxPool,
    PackSigns,
    Rescaled,
    Thresholds,
)
from edgenet.nn.parallel import Parallel
from edgenet.nn.recurrent import GRU, LSTM, RNN, Cell, ElmanCell, GRUCell, LSTMCell, Recurrent
from edgenet.nn.shift_norm import ShiftBatchNorm1d, ShiftBatchNorm2d
from edgenet.nn.sign import Sign
from edgenet.nn.specializations import SPECIALIZATIONS
from edgenet.nn.spectral import SpectralConv
from edgenet.nn.unitary_rnn import UnitaryCell, UnitaryRNN

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "SPECIALIZATIONS",
    "Cell",
    "Dropout",
    "EdgeNetConv",
    "ElmanCell",
    "FixedPointActivation",
    "FlipSigns",
    "GRUCell",
    "LSTMCell",
    "ModReLU",
    "PackSigns",
    "PackedConv",
    "PackedLinear",
    "PackedMaxPool",
    "Parallel",
    "Recurrent",
    "Rescaled",
    "ShiftBatchNorm1d",
    "ShiftBatchNorm2d",
    "Sign",
    "SpectralConv",
    "Thresholds",
    "UnitaryCell",
    "UnitaryRNN",
    "graph_signal",
    "lift",
    "specializations",
    "taps",
]
