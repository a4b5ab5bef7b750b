"""Which rows a table has, by the word for what shares one."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from edgenet.errors import ShapeError
from edgenet.phi.rows.base import RowFinder
from edgenet.phi.rows.by_edge import ByEdge
from edgenet.phi.rows.by_edge_id import ByEdgeId
from edgenet.phi.rows.by_hash import ByHash
from edgenet.phi.rows.by_node import ByNode
from edgenet.phi.rows.by_type import ByType


def finder(
    share: str,
    self_loops: bool,
    nodes: Tensor | int | float | None,
    num_types: int | None,
    buckets: int | None,
    by_community: bool,
    unseen: str | None = None,
) -> RowFinder:
    """Finds the row of every edge, with the options of ``EdgeVarying``.

    Raises:
        ShapeError: if the options do not go together, or nothing is called so.
    """
    if by_community and share != "edge":
        raise ShapeError(f"communities order the rows of one graph's edges: share must be 'edge', got {share!r}.")
    if nodes is not None and share != "edge":
        raise ShapeError(f"important nodes choose among edges of one graph: share must be 'edge', got {share!r}.")
    if unseen not in (None, "shared"):
        raise ShapeError(f"unseen is None, which refuses edges without a weight, or 'shared', got {unseen!r}.")
    if unseen is not None and share != "edge":
        raise ShapeError(f"unseen edges are those without a row of their own: share must be 'edge', got {share!r}.")
    if share == "type" and not num_types:
        raise ShapeError("share='type' needs num_types, the number of edge types.")
    if share == "hash" and not buckets:
        raise ShapeError("share='hash' needs buckets, the number of weights to share.")
    finders: dict[str, Callable[[], RowFinder]] = {
        "edge": lambda: ByEdge(self_loops, nodes, by_community, unseen is not None),
        "edge_id": lambda: ByEdgeId(self_loops),
        "node": ByNode,
        "type": lambda: ByType(num_types),
        "hash": lambda: ByHash(buckets),
    }
    if share not in finders:
        raise ShapeError(f"share is one of {', '.join(map(repr, finders))}, got {share!r}.")
    return finders[share]()
