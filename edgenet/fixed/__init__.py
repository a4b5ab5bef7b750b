"""Fixed-point LSTMs in circulant blocks: a module of 16-bit numbers."""

from edgenet.fixed.activation import PiecewiseLinear
from edgenet.fixed.cell import FixedPointCell
from edgenet.fixed.circulant import FixedCirculant
from edgenet.fixed.lstm import FixedPointLSTM

__all__ = ["FixedCirculant", "FixedPointCell", "FixedPointLSTM", "PiecewiseLinear"]
