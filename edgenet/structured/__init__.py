"""Structured matrices: families of matrices stored in fewer numbers than their entries."""

from edgenet.structured.base import Structure, StructuredMatrix, project
from edgenet.structured.dense import Dense
from edgenet.structured.linear import StructuredLinear
from edgenet.structured.sparse_signal import SparseSignal, sparse_features

#: The families, by the name that plans and the command line use.
STRUCTURES: dict[str, type[StructuredMatrix]] = {"dense": Dense}

__all__ = [
    "STRUCTURES", "Dense", "SparseSignal", "Structure", "StructuredLinear", "StructuredMatrix", "project",
    "sparse_features",
]  # fmt: skip
