"""Which shortcut a layer may take past its parts: weighing on the way, and walking before the lift."""

from __future__ import annotations

from typing import Any, NamedTuple

from edgenet.nn.inputs import Inputs
from edgenet.shortcuts import plain
from edgenet.structured import SparseSignal


class Route(NamedTuple):
    """How a pass goes. All false: lift, weigh, walk, combine, each part called as a module.

    Attributes:
        fuse: weights may be made on the way, without the (E, H) numbers in memory.
        lift_last: the input is walked, and lifted afterwards.
        mix_first: taps may mix channels before the walk.
        propagate: PyG looks at the messages.
    """

    fuse: bool = False
    lift_last: bool = False
    mix_first: bool = False
    propagate: bool = False


def route(layer: Any, given: Inputs, *, asked: bool) -> Route:
    """The shortcuts that nobody would notice.

    Args:
        layer: an ``EdgeNetConv``.
        asked: whether somebody wants the edge weights.
    """
    if layer.is_looked_at():
        return Route(propagate=True)
    phi, lift, taps = layer.phi, layer.lift, layer.taps
    if not plain(phi, lift, taps):
        return Route(mix_first=plain(taps))
    fuse = not (asked or taps.reads_weights or given.edge_weight is not None or given.edge_attr is not None)
    lift_last = not given.is_pair and taps.commutes_with_lift and lift.is_linear and lift.is_wider_than(given.source)
    lift_last = lift_last and not isinstance(given.source, SparseSignal)
    if lift_last and not (phi.commutes_with_lift and lift.heads == 1):  # every head walks the input by its own weights
        once = layer.order == 1 and not layer.self_tap and not given.is_batch
        lift_last = fuse and once and phi.walks_input and lift.is_sized
    return Route(fuse, lift_last, True)
