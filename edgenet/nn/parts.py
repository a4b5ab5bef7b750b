"""The parts of a layer: phi, lift and taps by name with options, and the hops that are combined."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from edgenet.errors import ConfigError, ShapeError
from edgenet.nn.options import check_kinds, check_names, phi_options
from edgenet.nn.taps import TAPS, Taps
from edgenet.nn.taps.base import walker
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
    _check_homes(name, options, parameters)
    check_names(f"phi {name!r}", options, parameters)
    check_kinds(kind.__name__, options, parameters)
    try:
        return kind.for_layer(spec, **options)
    except TypeError as error:  # of a phi that hands its options on
        _check_homes(name, options, _known_to(kind))
        raise ConfigError(f"phi {name!r} cannot be made with the options {options}: {error}.") from error


def _known_to(kind: Any) -> dict[str, Any]:
    """Options of a phi by name, without those that it hands on unseen."""
    return {key: p for key, p in phi_options(kind).items() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}


def _check_homes(name: str, options: Mapping[str, Any], parameters: Mapping[str, Any]) -> None:
    """Refuse an option that is of another phi, or of taps: the text says which.

    Raises:
        ConfigError: with the remedy.
    """
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    for option in options:
        if option in parameters:
            continue
        phis = [other for other, kind in PHIS.items() if option in _known_to(kind)]
        taps = [other for other, kind in TAPS.items() if option in phi_options(kind)]
        if phis:
            homes = " or ".join(f"phi={other!r}" for other in phis)
            raise ConfigError(
                f"{option} belongs to {homes}, and this layer has phi={name!r}: choose that phi, or leave {option} out."
            )
        if taps:
            homes = " or ".join(repr(other) for other in taps)
            made = TAPS[taps[0]].__name__
            raise ConfigError(
                f"{option} belongs to the taps {homes}, and options of a layer are for its phi {name!r}: hand the taps "
                f"in, taps=edgenet.nn.taps.{made}(...)."
            )


def part_made(table: dict[str, Any], part: nn.Module | str | Choice, spec: LayerSpec, kind: str) -> nn.Module:
    """A lift or taps, by name with options, or as they were handed in."""
    if isinstance(part, nn.Module):
        return part
    name, options = (part, {}) if isinstance(part, str) else part
    return _named(table, name, kind).for_layer(spec, **options)


def hops_combined(
    order: int, self_tap: bool | None, hops: Sequence[int] | None, taps_itself: bool, taps: nn.Module | str | None
) -> tuple[int, ...]:
    """Which z^(k) are combined.

    Args:
        taps_itself: whether z^(0) is, by default.
        taps: those that were asked for; None where the phi names them.

    Raises:
        ShapeError: if there are none, or they do not rise and end at the order, or taps with a walk of their own settle
            it otherwise.
    """
    kind = TAPS.get(taps) if isinstance(taps, str) else None if taps is None else walker(taps)
    settled = getattr(kind, "takes_first", None)
    if settled is not None:
        own = tuple(range(0 if settled or order == 0 else 1, order + 1))
        if (hops is not None and tuple(hops) != own) or self_tap not in (None, own[0] == 0):
            name = kind.__name__ if isinstance(kind, type) else type(kind).__name__
            raise ShapeError(
                f"{name} taps take a walk of their own, of all hops, which has hops={list(own)}; got "
                f"hops={None if hops is None else list(hops)} and self_tap={self_tap}. Leave both out."
            )
        return own
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


def check_width(spec: LayerSpec, lift: nn.Module, taps: nn.Module, mixes_channels: bool) -> None:
    """Refuse taps that keep the width of their signal, where nothing brings it to that of the output.

    Raises:
        ShapeError: if the input, which walks as it is, has another width than the output.
    """
    if spec.out_channels == -1:
        if spec.bias:
            raise ShapeError("out_channels=-1 keeps the width of the input, which no bias can have: set bias=False.")
        return
    as_it_is = getattr(lift, "copies_input", False) and not mixes_channels
    if as_it_is and isinstance(taps, Taps) and taps.keeps_width and spec.in_channels not in (-1, spec.out_channels):
        raise ShapeError(
            f"{type(taps).__name__} taps keep the width of what walks, here the {spec.in_channels} channels of the "
            f"input, and out_channels are {spec.out_channels}: set lift='linear', or out_channels={spec.in_channels}."
        )
