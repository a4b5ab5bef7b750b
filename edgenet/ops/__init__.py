"""Ops on graphs. Each has a definition in plain torch (``reference``) and faster ways to the same numbers."""

from edgenet.ops.attention import attention, edge_scores
from edgenet.ops.attention_v2 import attention_v2
from edgenet.ops.backend import available, explain, use
from edgenet.ops.product import linear
from edgenet.ops.sddmm import sddmm
from edgenet.ops.segment_softmax import segment_softmax
from edgenet.ops.spmm import spmm

__all__ = [
    "attention",
    "attention_v2",
    "available",
    "edge_scores",
    "explain",
    "linear",
    "sddmm",
    "segment_softmax",
    "spmm",
    "use",
]
