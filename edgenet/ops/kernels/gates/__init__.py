"""gates: what recurrent cells do at one step beside their two products, with numbers written where they are to stay.

Buffers are filled in place, so that a walk along a sequence makes no tensors; gradients are the walk's own
(``nn.recurrent.built``). There is no registered op: under compilers and transforms cells run as they are defined.
"""

from __future__ import annotations

from types import ModuleType

import torch
from torch import Tensor

from edgenet.ops import backend
from edgenet.ops.kernels.gates import reference


def forms(*tensors: Tensor) -> ModuleType:
    """The module whose ``lstm``, ``lstm_backward``, ``gru`` and ``gru_backward`` run on tensors like these: compiled
    ones for float32 on the CPU. All arguments of theirs are contiguous."""
    like = tensors[0]
    if not (like.is_cpu and like.dtype == torch.float32 and all(t.is_contiguous() for t in tensors)):
        return reference
    found = backend.kernels("gates", *tensors)
    return reference if found is None else found
