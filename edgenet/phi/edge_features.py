"""checked_features: features of edges, a row for each."""

from __future__ import annotations

from torch import Tensor

from edgenet.errors import ShapeError
from edgenet.graph import Graph


def checked_features(edge_attr: Tensor, graph: Graph, width: int = -1) -> Tensor:
    """(E, D) features of the edges; (E,) are one for each.

    Args:
        width: D; -1 where it is not known.

    Raises:
        ShapeError: if there is not a row for every edge, or D is another.
    """
    features = edge_attr.unsqueeze(-1) if edge_attr.dim() == 1 else edge_attr
    # compared one by one, for in a trace `in` is untrue of sizes
    if features.dim() != 2 or features.shape[0] != graph.num_edges or (width != -1 and features.shape[1] != width):
        raise ShapeError(
            f"edge_attr wants one row for each of {graph.num_edges} edges, of edge_dim={width} features, got "
            f"{tuple(edge_attr.shape)}."
        )
    return features
