"""Phi: the edge weights of every hop, given, learned, or computed from the signal."""

from edgenet.phi.additive import Additive
from edgenet.phi.attention import Attention
from edgenet.phi.attention_v2 import AttentionV2
from edgenet.phi.base import Phi
from edgenet.phi.dot_product import DotProduct
from edgenet.phi.edge_added import EdgeAdded
from edgenet.phi.edge_matrix import EdgeMatrix
from edgenet.phi.edge_network import EdgeNetwork
from edgenet.phi.edge_typed import EdgeTyped
from edgenet.phi.edge_varying import EdgeVarying
from edgenet.phi.explaining import Contributions
from edgenet.phi.factored import EdgeFactored
from edgenet.phi.shift import ShiftOperator, ShiftProduct

#: The phis, by the name that ``EdgeNetConv(phi=...)`` takes.
PHIS: dict[str, type[Phi]] = {
    "shift": ShiftOperator,
    "shift_product": ShiftProduct,
    "edge_varying": EdgeVarying,
    "attention": Attention,
    "attention_v2": AttentionV2,
    "dot_product": DotProduct,
    "additive": Additive,
    "edge_matrix": EdgeMatrix,
    "edge_factored": EdgeFactored,
    "edge_network": EdgeNetwork,
    "edge_typed": EdgeTyped,
    "edge_added": EdgeAdded,
}

__all__ = [
    "PHIS",
    "Additive",
    "Attention",
    "AttentionV2",
    "Contributions",
    "DotProduct",
    "EdgeAdded",
    "EdgeFactored",
    "EdgeMatrix",
    "EdgeNetwork",
    "EdgeTyped",
    "EdgeVarying",
    "Phi",
    "ShiftOperator",
    "ShiftProduct",
]
