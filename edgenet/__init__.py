"""edgenet: graph neural networks whose every edge may carry its own weight (EdgeNets).

The pieces, from the ground up: ``Graph`` and ``gso`` (graphs and shift operators), ``ops`` (what walks them),
``structured`` (matrices in slots), ``phi`` (edge weights), ``nn`` (layers), ``models``, ``data``, ``train``.
"""

from edgenet import gso, nn, ops, phi, structured
from edgenet._version import __version__
from edgenet.graph import Graph
from edgenet.models import GraphClassifier, NodeClassifier
from edgenet.nn import EdgeNetConv

__all__ = [
    "EdgeNetConv",
    "Graph",
    "GraphClassifier",
    "NodeClassifier",
    "__version__",
    "gso",
    "nn",
    "ops",
    "phi",
    "structured",
]
