"""Taps: what combines the signals z^(0), ..., z^(K) of a walk into the layer's output."""

from edgenet.nn.taps.adaptive import Adaptive
from edgenet.nn.taps.base import Taps, Walk
from edgenet.nn.taps.chebyshev import Chebyshev
from edgenet.nn.taps.graph_isomorphism import GraphIsomorphism
from edgenet.nn.taps.horner import Horner
from edgenet.nn.taps.initial_residual import InitialResidual
from edgenet.nn.taps.jacobi import Jacobi
from edgenet.nn.taps.linear import Linear
from edgenet.nn.taps.mean import Mean
from edgenet.nn.taps.node_varying import NodeVarying
from edgenet.nn.taps.scaled import Scaled
from edgenet.nn.taps.stacks import Stacks
from edgenet.nn.taps.sum import Sum
from edgenet.nn.taps.sum_inputs import SumInputs
from edgenet.nn.taps.teleport import Teleport, pagerank_weights

#: The taps, by the name that phis and ``EdgeNetConv(taps=...)`` use.
TAPS: dict[str, type[Taps]] = {
    "sum": Sum,
    "mean": Mean,
    "scaled": Scaled,
    "adaptive": Adaptive,
    "teleport": Teleport,
    "initial_residual": InitialResidual,
    "linear": Linear,
    "horner": Horner,
    "chebyshev": Chebyshev,
    "graph_isomorphism": GraphIsomorphism,
    "node_varying": NodeVarying,
    "sum_inputs": SumInputs,
    "jacobi": Jacobi,
    "stacks": Stacks,
}

__all__ = [
    "TAPS",
    "Adaptive",
    "Chebyshev",
    "GraphIsomorphism",
    "Horner",
    "InitialResidual",
    "Jacobi",
    "Linear",
    "Mean",
    "NodeVarying",
    "Scaled",
    "Stacks",
    "Sum",
    "SumInputs",
    "Taps",
    "Teleport",
    "Walk",
    "pagerank_weights",
]
