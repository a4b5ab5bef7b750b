"""Recurrent networks over any maps: linear ones with a structured matrix in every slot, or EdgeNet convolutions."""

from edgenet.nn.recurrent.cells import Cell, ElmanCell, GRUCell, LSTMCell, State
from edgenet.nn.recurrent.columns import Columns
from edgenet.nn.recurrent.layers import GRU, LSTM, RNN, Recurrent
from edgenet.nn.recurrent.torch_layers import from_lstm, from_torch

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Cell",
    "Columns",
    "ElmanCell",
    "GRUCell",
    "LSTMCell",
    "Recurrent",
    "State",
    "from_lstm",
    "from_torch",
]
