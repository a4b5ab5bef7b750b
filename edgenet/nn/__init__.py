"""Layers: EdgeNetConv, its parts, and the published networks that are choices of them."""

from edgenet.nn import lift, specializations, taps
from edgenet.nn.conv import EdgeNetConv
from edgenet.nn.parallel import Parallel
from edgenet.nn.specializations import SPECIALIZATIONS
from edgenet.nn.spectral import SpectralConv

__all__ = ["SPECIALIZATIONS", "EdgeNetConv", "Parallel", "SpectralConv", "lift", "specializations", "taps"]
