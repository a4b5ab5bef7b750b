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
    taps = layer.taps
    if layer.is_plain():
        fuse = not (asked or taps.reads_weights)
        return Route(fuse, _lifts_last(layer, given, fuse), True)
    return Route(propagate=True) if layer.is_looked_at() else Route(mix_first=plain(taps))


def _lifts_last(layer: Any, given: Inputs, fuse: bool) -> bool:
    """Whether to walk the input and lift afterwards: the two commute, and the input is narrower than its lift."""
    phi, lift = layer.phi, layer.lift
    if given.is_pair or isinstance(given.source, SparseSignal) or not lift.is_wider_than(given.source):
        return False
    if not (layer.taps.commutes_with_lift and lift.is_linear):
        return False
    if given.edge_weight is not None and given.edge_weight.dtype != given.source.dtype:
        return False  # the walk gives numbers of the wider type, which the lift would not take
    if phi.commutes_with_lift and lift.heads == 1:
        return True
    # every head walks the input by its own weights, once
    once = layer.order == 1 and not layer.self_tap and not given.is_batch
    return fuse and once and phi.walks_input and lift.is_sized
