"""Pictures: learning curves, edge weights on a small graph, what compression saves and what it costs.

matplotlib is imported when the first picture is drawn, and draws into files only.
"""

from edgenet.plots.bytes import byte_curves
from edgenet.plots.compression import compression_picture
from edgenet.plots.graph import draw_edge_weights, edge_weight_picture
from edgenet.plots.layout import neighbourhood, node_layout
from edgenet.plots.learning import draw_curves, learning_curve
from edgenet.plots.sizes import size_curves
from edgenet.plots.weights import EdgeWeights, edge_weights

__all__ = [
    "EdgeWeights",
    "byte_curves",
    "compression_picture",
    "draw_curves",
    "draw_edge_weights",
    "edge_weight_picture",
    "edge_weights",
    "learning_curve",
    "neighbourhood",
    "node_layout",
    "size_curves",
]
