"""Conversion: PyG models as EdgeNets that compute the same, and attention as tables of edge weights."""

from edgenet.convert import published
from edgenet.convert.converted import Converted
from edgenet.convert.freeze import freeze_attention
from edgenet.convert.model import to_edgenet
from edgenet.convert.packed_binary import pack_binary
from edgenet.convert.pyg import CONVERTERS
from edgenet.convert.source import Source

__all__ = ["CONVERTERS", "Converted", "Source", "freeze_attention", "pack_binary", "published", "to_edgenet"]
