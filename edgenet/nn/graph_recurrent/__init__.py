"""Recurrent networks whose maps are graph convolutions, with gates of time, of nodes and of edges."""

from edgenet.nn.graph_recurrent.edges import Edges
from edgenet.nn.graph_recurrent.gates import EdgeRead, Gate, NodeRead, TimeRead
from edgenet.nn.graph_recurrent.layer import GraphRecurrentLayer
from edgenet.nn.graph_recurrent.maps import GraphMap, gate_edges_

__all__ = [
    "EdgeRead",
    "Edges",
    "Gate",
    "GraphMap",
    "GraphRecurrentLayer",
    "NodeRead",
    "TimeRead",
    "gate_edges_",
]
