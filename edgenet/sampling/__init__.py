"""Sampling: pieces of graphs that are too large for one step."""

from edgenet.sampling.loaders import LinkNeighborLoader, NeighborLoader
from edgenet.sampling.neighbors import NeighborSampler
from edgenet.sampling.partitioning import partition
from edgenet.sampling.saint import SaintLoader
from edgenet.sampling.subgraphs import ClusterLoader

__all__ = ["ClusterLoader", "LinkNeighborLoader", "NeighborLoader", "NeighborSampler", "SaintLoader", "partition"]
