"""Layers and activations by their names, and how wide what they give is."""

from __future__ import annotations

import inspect
from typing import Any

from torch import nn

from edgenet.errors import ConfigError
from edgenet.nn import SPECIALIZATIONS
from edgenet.text import did_you_mean

ACTIVATIONS = {"relu": nn.ReLU, "elu": nn.ELU, "tanh": nn.Tanh, "none": nn.Identity}


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


def activation(name: str) -> nn.Module:
    """The activation of that name.

    Raises:
        ConfigError: if there is none.
    """
    if name not in ACTIVATIONS:
        raise ConfigError(
            f"no activation is called {name!r}; there are {', '.join(ACTIVATIONS)}.{did_you_mean(name, ACTIVATIONS)}"
        )
    return ACTIVATIONS[name]()
