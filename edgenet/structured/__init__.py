"""Structured matrices: families of matrices stored in fewer numbers than their entries."""

from edgenet.structured.base import StructuredMatrix
from edgenet.structured.block_circulant import BlockCirculant
from edgenet.structured.block_term import BlockTerm
from edgenet.structured.conv import StructuredConv, StructuredConv1d, StructuredConv2d, structured_conv
from edgenet.structured.csr import Csr
from edgenet.structured.dense import Dense
from edgenet.structured.doped import Doped
from edgenet.structured.embedding import StructuredEmbedding
from edgenet.structured.families import STRUCTURES, Structure, family, name_of, project, structure
from edgenet.structured.given import checked
from edgenet.structured.hash_pool import HashPool
from edgenet.structured.hashed import Hashed, shared_pools
from edgenet.structured.kronecker import Kronecker
from edgenet.structured.linear import StructuredLinear
from edgenet.structured.low_rank import LowRank
from edgenet.structured.row_split import RowSplit
from edgenet.structured.sparse import Sparse
from edgenet.structured.sparse_signal import SparseSignal, sparse_features
from edgenet.structured.stacked import Stacked, in_parts
from edgenet.structured.tensor_train import TensorTrain
from edgenet.structured.unitary import Unitary

STRUCTURES.update(
    {
        "dense": Dense,
        "low_rank": LowRank,
        "kronecker": Kronecker,
        "row_split": RowSplit,
        "tensor_train": TensorTrain,
        "block_term": BlockTerm,
        "block_circulant": BlockCirculant,
        "unitary": Unitary,
        "hashed": Hashed,
        "sparse": Sparse,
        "csr": Csr,
        "doped": Doped,
        "stacked": Stacked,
    }
)

__all__ = [
    "STRUCTURES",
    "BlockCirculant",
    "BlockTerm",
    "Csr",
    "Dense",
    "Doped",
    "HashPool",
    "Hashed",
    "Kronecker",
    "LowRank",
    "RowSplit",
    "Sparse",
    "SparseSignal",
    "Stacked",
    "Structure",
    "StructuredConv",
    "StructuredConv1d",
    "StructuredConv2d",
    "StructuredEmbedding",
    "StructuredLinear",
    "StructuredMatrix",
    "TensorTrain",
    "Unitary",
    "checked",
    "family",
    "in_parts",
    "name_of",
    "project",
    "shared_pools",
    "sparse_features",
    "structure",
    "structured_conv",
]
