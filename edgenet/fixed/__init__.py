"""LSTMs in circulant blocks and 16-bit fixed point: a module, and C++ that computes the same, bit for bit."""

from edgenet.fixed.activation import PiecewiseLinear
from edgenet.fixed.cell import FixedPointCell
from edgenet.fixed.circulant import FixedCirculant
from edgenet.fixed.code import generate
from edgenet.fixed.compiled import Compiled, compile_
from edgenet.fixed.lstm import FixedPointLSTM

__all__ = [
    "Compiled",
    "FixedCirculant",
    "FixedPointCell",
    "FixedPointLSTM",
    "PiecewiseLinear",
    "compile_",
    "generate",
]
