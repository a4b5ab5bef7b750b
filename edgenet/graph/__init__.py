"""Graph: a directed edge list with both sort orders, checked and sorted at most once."""

from edgenet.graph.graph import Graph

__all__ = ["Graph"]
