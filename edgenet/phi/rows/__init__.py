"""Which row of a table holds the weight of an edge: one an edge, or shared by node, by type or by hash."""

from edgenet.phi.rows.base import OfGraph, RowFinder, need_node_id
from edgenet.phi.rows.by_edge import ByEdge
from edgenet.phi.rows.by_edge_id import ByEdgeId
from edgenet.phi.rows.by_hash import ByHash
from edgenet.phi.rows.by_node import ByNode
from edgenet.phi.rows.by_type import ByType
from edgenet.phi.rows.node_order import community_rank, important_nodes

__all__ = [
    "ByEdge",
    "ByEdgeId",
    "ByHash",
    "ByNode",
    "ByType",
    "OfGraph",
    "RowFinder",
    "community_rank",
    "important_nodes",
    "need_node_id",
]
