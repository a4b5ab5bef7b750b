"""Ops on graphs. Each has a definition in plain torch (``reference``) and faster ways to the same numbers."""

from edgenet.ops.backend import available, explain, use
from edgenet.ops.kernels.attention import attention, edge_scores
from edgenet.ops.kernels.attention_v2 import attention_v2
from edgenet.ops.kernels.codes_linear import codes_linear
from edgenet.ops.kernels.codes_linear.int8 import int8_linear, int8_weight
from edgenet.ops.kernels.dropout import dropout
from edgenet.ops.kernels.sddmm import sddmm
from edgenet.ops.kernels.segment_softmax import segment_softmax
from edgenet.ops.kernels.shift_linear import shift_linear
from edgenet.ops.kernels.spmm import spmm
from edgenet.ops.kernels.unified_linear import unified_linear
from edgenet.ops.kernels.xnor import pack_above, pack_signs, unpack_signs, xnor
from edgenet.ops.mask import torch_dropout
from edgenet.ops.product import linear

__all__ = [
    "attention",
    "attention_v2",
    "available",
    "codes_linear",
    "dropout",
    "edge_scores",
    "explain",
    "int8_linear",
    "int8_weight",
    "linear",
    "pack_above",
    "pack_signs",
    "sddmm",
    "segment_softmax",
    "shift_linear",
    "spmm",
    "torch_dropout",
    "unified_linear",
    "unpack_signs",
    "use",
    "xnor",
]
