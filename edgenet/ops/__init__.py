"""Ops on graphs. Each has a definition in plain torch (``reference``) and faster ways to the same numbers."""

from edgenet.ops.backend import available, use
from edgenet.ops.sddmm import sddmm
from edgenet.ops.segment_softmax import segment_softmax
from edgenet.ops.spmm import spmm

__all__ = ["available", "sddmm", "segment_softmax", "spmm", "use"]
