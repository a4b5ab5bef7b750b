"""The contract of graph layers."""

from edgenet.testing.layer.case import LayerCase
from edgenet.testing.layer.checks import CHECKS, check_layer

__all__ = ["CHECKS", "LayerCase", "check_layer"]
