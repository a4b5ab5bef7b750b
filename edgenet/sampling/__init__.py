"""Sampling: pieces of graphs that are too large for one step."""

from edgenet.sampling.loaders import LinkNeighborLoader, NeighborLoader
from edgenet.sampling.neighbors import NeighborSampler

__all__ = ["LinkNeighborLoader", "NeighborLoader", "NeighborSampler"]
