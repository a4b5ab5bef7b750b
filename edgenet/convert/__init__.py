"""Conversion: PyG models as EdgeNets that compute the same, attention as tables of edge weights, few bits."""

from edgenet.convert import published
from edgenet.convert.converted import Converted
from edgenet.convert.freeze import freeze_attention
from edgenet.convert.model import to_edgenet
from edgenet.convert.packed_binary import pack_binary
from edgenet.convert.pyg import CONVERTERS
from edgenet.convert.quantising import FORMS, kept, quantise
from edgenet.convert.source import Source

__all__ = [
    "CONVERTERS", "FORMS", "Converted", "Source", "freeze_attention", "kept", "pack_binary", "published",
    "quantise", "to_edgenet",
]  # fmt: skip
