"""Structured matrices: families of matrices stored in fewer numbers than their entries."""

from edgenet.structured.base import StructuredMatrix
from edgenet.structured.binary import Binary
from edgenet.structured.block_circulant import BlockCirculant
from edgenet.structured.block_term import BlockTerm
from edgenet.structured.codes import Coded
from edgenet.structured.conv import StructuredConv, StructuredConv1d, StructuredConv2d, structured_conv
from edgenet.structured.csr import Csr
from edgenet.structured.dense import Dense
from edgenet.structured.doped import Doped
from edgenet.structured.embedding import StructuredEmbedding
from edgenet.structured.families import Structure, family, project, structure
from edgenet.structured.fixed_point import FixedPoint
from edgenet.structured.given import checked
from edgenet.structured.hash_pool import HashPool
from edgenet.structured.hashed import Hashed, shared_pools
from edgenet.structured.kernel import of_kernel
from edgenet.structured.kronecker import Kronecker
from edgenet.structured.linear import StructuredLinear
from edgenet.structured.low_rank import LowRank
from edgenet.structured.names import STRUCTURES, name_of
from edgenet.structured.power_of_two import PowerOfTwo
from edgenet.structured.quantised import Quantised
from edgenet.structured.row_split import RowSplit
from edgenet.structured.sparse import Sparse
from edgenet.structured.sparse_signal import SparseSignal, drop_rows, sparse_features
from edgenet.structured.stacked import Stacked, in_parts
from edgenet.structured.tensor_train import TensorTrain
from edgenet.structured.unified import Unified
from edgenet.structured.uniform import Uniform
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
        "uniform": Uniform,
        "fixed_point": FixedPoint,
        "power_of_two": PowerOfTwo,
        "binary": Binary,
        "coded": Coded,
        "stacked": Stacked,
        "unified": Unified,
    }
)

__all__ = [
    "STRUCTURES",
    "Binary",
    "BlockCirculant",
    "BlockTerm",
    "Coded",
    "Csr",
    "Dense",
    "Doped",
    "FixedPoint",
    "HashPool",
    "Hashed",
    "Kronecker",
    "LowRank",
    "PowerOfTwo",
    "Quantised",
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
    "Unified",
    "Uniform",
    "Unitary",
    "checked",
    "drop_rows",
    "family",
    "in_parts",
    "name_of",
    "of_kernel",
    "project",
    "shared_pools",
    "sparse_features",
    "structure",
    "structured_conv",
]
