"""The parts of a layer: phi, lift and taps by name with options, and the hops that are combined."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from torch import nn

from edgenet.errors import ConfigError, ShapeError
from edgenet.nn.options import check_kinds, check_names, phi_options
from edgenet.phi import PHIS, Phi
from edgenet.phi.base import Choice, LayerSpec
from edgenet.text import did_you_mean


def _named(table: dict[str, Any], name: str, kind: str) -> Any:
    if name not in table:
        raise ShapeError(f"no {kind} is called {name!r}; there are {', '.join(table)}.{did_you_mean(name, table)}")
    return table[name]


def phi_named(name: str, spec: LayerSpec, options: dict[str, Any]) -> Phi:
    """The phi of that name, with options that it has, of the kinds that it says."""
    kind = _named(PHIS, name, "phi")
    parameters = phi_options(kind)
    check_names(f"phi {name!r}", options, parameters)
    check_kinds(kind.__name__, options, parameters)
    try:
        return kind.for_layer(spec, **options)
    except TypeError as error:  # of a phi that hands its options on
        raise ConfigError(f"phi {name!r} cannot be made with the options {options}: {error}.") from error


def part_made(table: dict[str, Any], part: nn.Module | str | Choice, spec: LayerSpec, kind: str) -> nn.Module:
    """A lift or taps, by name with options, or as they were handed in."""
    if isinstance(part, nn.Module):
        return part
    name, options = (part, {}) if isinstance(part, str) else part
    return _named(table, name, kind).for_layer(spec, **options)


def hops_combined(order: int, self_tap: bool | None, hops: Sequence[int] | None, taps_itself: bool) -> tuple[int, ...]:
    """Which z^(k) are combined.

    Raises:
        ShapeError: if there are none, or they do not rise and end at the order.
    """
    if hops is None:
        hops = range(0 if (taps_itself if self_tap is None else self_tap) else 1, order + 1)
    hops = tuple(operator.index(k) for k in hops)
    if not hops:
        raise ShapeError("a layer of order 0 without a self tap has no signal to combine.")
    if list(hops) != sorted(set(hops)) or hops[0] < 0 or hops[-1] != order:
        raise ShapeError(f"hops rise from 0 or more and end at the order {order}, got {list(hops)}.")
    if self_tap is not None and self_tap != (hops[0] == 0):
        raise ShapeError(f"self_tap={self_tap} contradicts hops={list(hops)}; leave it out.")
    return hops
