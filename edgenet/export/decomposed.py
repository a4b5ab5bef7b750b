"""edgenet's registered ops in plain aten, for files that run where edgenet is not installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from edgenet.ops.kernels.attention import reference as attention
from edgenet.ops.kernels.attention_v2 import reference as attention_v2
from edgenet.ops.kernels.sddmm import reference as sddmm
from edgenet.ops.kernels.segment_softmax import reference as segment_softmax
from edgenet.ops.kernels.spmm import reference as spmm
from edgenet.ops.kernels.xnor import reference as xnor


def decompositions(onnx: bool) -> dict[Any, Callable[..., Any]]:
    """What ``ExportedProgram.run_decompositions`` takes, beside what torch decomposes itself: each op as its reference
    defines it.

    Args:
        onnx: leave out what has a translation of its own in ONNX.
    """
    ops = torch.ops.edgenet
    table: dict[Any, Callable[..., Any]] = {
        ops.pack_signs.default: lambda x: xnor.packed(x >= 0),
        ops.pack_above.default: xnor.pack_above,
        ops.xnor.default: xnor.xnor,
    }
    if onnx:
        return table
    return table | {
        ops.spmm.default: spmm.spmm,
        ops.sddmm.default: sddmm.sddmm,
        ops.segment_softmax.default: segment_softmax.segment_softmax,
        ops.attention.default: attention.forward,
        ops.attention_v2.default: attention_v2.forward,
        ops.dequantized.default: dequantized,
    }


def dequantized(codes: Tensor, scale: Tensor) -> Tensor:
    """int8 codes times scales, one or one for every index of the first axis."""
    return codes.to(scale.dtype) * scale.view(-1, *[1] * (codes.dim() - 1))


_DEQUANTIZED = torch.library.custom_op("edgenet::dequantized", dequantized, mutates_args=())
_DEQUANTIZED.register_fake(dequantized)
