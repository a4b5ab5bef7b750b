"""Structured matrices: families of matrices stored in fewer numbers than their entries."""

from edgenet.structured.base import STRUCTURES, Structure, StructuredMatrix, family, name_of, project, structure
from edgenet.structured.block_term import BlockTerm
from edgenet.structured.dense import Dense
from edgenet.structured.kronecker import Kronecker
from edgenet.structured.linear import StructuredLinear
from edgenet.structured.sparse_signal import SparseSignal, sparse_features
from edgenet.structured.tensor_train import TensorTrain

STRUCTURES.update(
    {
        "dense": Dense,
        "kronecker": Kronecker,
        "tensor_train": TensorTrain,
        "block_term": BlockTerm,
    }
)

__all__ = [
    "STRUCTURES",
    "BlockTerm",
    "Dense",
    "Kronecker",
    "SparseSignal",
    "Structure",
    "StructuredLinear",
    "StructuredMatrix",
    "TensorTrain",
    "family",
    "name_of",
    "project",
    "sparse_features",
    "structure",
]
