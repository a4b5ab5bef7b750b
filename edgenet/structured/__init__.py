"""Structured matrices: families of matrices stored in fewer numbers than their entries."""

from edgenet.structured.base import STRUCTURES, Structure, StructuredMatrix, family, name_of, project, structure
from edgenet.structured.dense import Dense
from edgenet.structured.linear import StructuredLinear
from edgenet.structured.sparse_signal import SparseSignal, sparse_features

STRUCTURES.update(
    {
        "dense": Dense,
    }
)

__all__ = [
    "STRUCTURES", "Dense", "SparseSignal", "Structure", "StructuredLinear", "StructuredMatrix", "family", "name_of",
    "project", "sparse_features", "structure",
]  # fmt: skip
