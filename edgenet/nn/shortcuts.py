"""Which shortcut a layer may take past its parts: weighing on the way, and walking before the lift."""

from __future__ import annotations

from typing import Any, NamedTuple

from edgenet.shortcuts import plain
from edgenet.structured import SparseSignal


class Route(NamedTuple):
    """How a pass goes. All false: lift, weigh, walk, combine, each part called as a module.

    Attributes:
        fuse: weights may be made on the way, without the (E, H) numbers in memory.
        lift_last: the input is walked, and lifted afterwards.
        mix_first: taps may mix channels before the walk.
    """

    fuse: bool = False
    lift_last: bool = False
    mix_first: bool = False


def route(
    phi: Any, lift: Any, taps: Any, given: Any, *, looked_at: bool, asked: bool, order: int, self_tap: bool
) -> Route:
    """The shortcuts that nobody would notice in a layer of these parts.

    Args:
        given: the ``Inputs``.
        looked_at: whether PyG looks at the messages.
        asked: whether somebody wants the edge weights.
    """
    if looked_at:
        return Route()
    if not plain(phi, lift, taps):
        return Route(mix_first=plain(taps))
    fuse = not (asked or taps.reads_weights or given.edge_weight is not None or given.edge_attr is not None)
    lift_last = not given.is_pair and lift.is_linear and taps.commutes_with_lift
    lift_last = lift_last and not isinstance(given.source, SparseSignal) and lift.is_wider_than(given.source)
    if lift_last and not (phi.commutes_with_lift and lift.heads == 1):  # every head walks the input by its own weights
        lift_last = fuse and phi.walks_input and lift.is_sized and not given.is_batch and order == 1 and not self_tap
    return Route(fuse, lift_last, True)
