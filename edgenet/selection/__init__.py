"""Selection: which hops, heads and blocks of edges matter, by the estimators, and EdgeNets without the rest."""

from edgenet.selection.blocks import edge_blocks
from edgenet.selection.features import Tap, TapFeatures, tap_features
from edgenet.selection.fill import fill_
from edgenet.selection.plan import Kept, RemovalPlan
from edgenet.selection.remove import Removed, remove_, zeros_of

__all__ = [
    "Kept",
    "RemovalPlan",
    "Removed",
    "Tap",
    "TapFeatures",
    "edge_blocks",
    "fill_",
    "remove_",
    "tap_features",
    "zeros_of",
]
