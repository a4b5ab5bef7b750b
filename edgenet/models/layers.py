"""Stacks of EdgeNet layers, which the models share."""

from __future__ import annotations

import inspect
from typing import Any

from torch import nn

from edgenet.errors import ConfigError
from edgenet.nn import SPECIALIZATIONS
from edgenet.text import did_you_mean

ACTIVATIONS = {"relu": nn.ReLU, "elu": nn.ELU, "tanh": nn.Tanh, "none": nn.Identity}


def make_layer(layer: str, in_channels: int, out_channels: int, options: dict[str, Any]) -> nn.Module:
    """The layer of that name in ``SPECIALIZATIONS``.

    Raises:
        ConfigError: if there is no such layer, or it has no such option; the text has the near ones.
    """
    if layer not in SPECIALIZATIONS:
        raise ConfigError(
            f"no layer is called {layer!r}; there are {', '.join(SPECIALIZATIONS)}."
            f"{did_you_mean(layer, SPECIALIZATIONS)}"
        )
    known = layer_options(layer)
    for name in options:
        if name not in known:
            raise ConfigError(
                f"layer {layer!r} has no option {name!r}; it takes {', '.join(known)}.{did_you_mean(name, known)}"
            )
    return SPECIALIZATIONS[layer](in_channels, out_channels, **options)


def layer_options(layer: str) -> list[str]:
    """Names of the options that a layer takes."""
    names = list(inspect.signature(SPECIALIZATIONS[layer]).parameters)
    return [name for name in names if name not in ("in_channels", "out_channels")]


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
