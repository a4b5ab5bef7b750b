"""Layers and activations by their names, and how wide what they give is."""

from __future__ import annotations

import inspect
from typing import Any

from torch import nn

from edgenet.errors import ConfigError
from edgenet.nn import SPECIALIZATIONS
from edgenet.nn.graph_signal import LocalActivation, MaxLocalActivation, MedianLocalActivation
from edgenet.text import did_you_mean

ACTIVATIONS = {"relu": nn.ReLU, "elu": nn.ELU, "tanh": nn.Tanh, "none": nn.Identity}
#: those that look at a node's neighbourhood, and learn how
LOCAL_ACTIVATIONS: dict[str, type[LocalActivation]] = {
    "max_local": MaxLocalActivation,
    "median_local": MedianLocalActivation,
}


def make_layer(layer: str, in_channels: int | tuple[int, int], out_channels: int, options: dict[str, Any]) -> nn.Module:
    """The layer of that name in ``SPECIALIZATIONS``.

    Raises:
        ConfigError: if there is no such layer, or it has no such option; the text has the near ones.
    """
    known = layer_options(layer)
    for name in options:
        if name not in known:
            raise ConfigError(
                f"layer {layer!r} has no option {name!r}; it takes {', '.join(known)}.{did_you_mean(name, known)}"
            )
    return SPECIALIZATIONS[layer](in_channels, out_channels, **options)


def layer_options(layer: str) -> list[str]:
    """Names of the options that a layer takes.

    Raises:
        ConfigError: if there is no such layer.
    """
    if layer not in SPECIALIZATIONS:
        raise ConfigError(
            f"no layer is called {layer!r}; there are {', '.join(SPECIALIZATIONS)}."
            f"{did_you_mean(layer, SPECIALIZATIONS)}"
        )
    names = list(inspect.signature(SPECIALIZATIONS[layer]).parameters)
    return [name for name in names if name not in ("in_channels", "out_channels")]


def out_width(layer: nn.Module, channels: int) -> int:
    """Features of what a layer gives, that was made for so many ``channels``; -1 if its first input decides.

    A layer says so by ``out_width``. Those of PyG have ``out_channels``, of each head where they put ``heads`` side by
    side (``concat``).
    """
    own: int | None = getattr(layer, "out_width", None)
    if own is not None:
        return own
    heads: int = getattr(layer, "heads", 1) if getattr(layer, "concat", False) else 1
    each: int = getattr(layer, "out_channels", channels)
    return each * heads


def activation(name: str, hops: int = 1, layers: int = 1) -> nn.Module:
    """The activation of that name: one module for all layers, or a list of one a layer where it learns.

    Args:
        hops: of a local activation; others have none.
        layers: how many are followed by it.

    Raises:
        ConfigError: if there is none, or hops came for one that has none.
    """
    if name in LOCAL_ACTIVATIONS:
        return nn.ModuleList(LOCAL_ACTIVATIONS[name](hops) for _ in range(layers))
    if name not in ACTIVATIONS:
        known = [*ACTIVATIONS, *LOCAL_ACTIVATIONS]
        raise ConfigError(f"no activation is called {name!r}; there are {', '.join(known)}.{did_you_mean(name, known)}")
    if hops != 1:
        raise ConfigError(
            f"activation_hops={hops} is for {' and '.join(LOCAL_ACTIVATIONS)}; {name!r} looks at no neighbours."
        )
    return ACTIVATIONS[name]()
