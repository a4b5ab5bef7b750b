"""Recurrent networks over any maps: linear ones with a structured matrix in every slot, or EdgeNet convolutions."""

from edgenet.nn.recurrent.cells import Cell, ElmanCell, GRUCell, LSTMCell, State
from edgenet.nn.recurrent.layers import GRU, LSTM, RNN, Recurrent

__all__ = ["GRU", "LSTM", "RNN", "Cell", "ElmanCell", "GRUCell", "LSTMCell", "Recurrent", "State"]
