"""grouped: the parameters of a model in groups, by their weight decay and their learning rate."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

from edgenet.config import OptimizerTable
from edgenet.errors import ConfigError
from edgenet.reading.patterns import matches
from edgenet.text import near_names

Names = Mapping[nn.Parameter, list[str]]  # a tied parameter has several


def grouped(model: nn.Module, table: OptimizerTable) -> list[dict[str, Any]]:
    """Groups of an optimizer, one for every weight decay and rate that ``decay_on`` and ``rate_on`` ask for.

    Raises:
        ConfigError: if there is no first layer although ``decay_on`` names it; or a pattern is no regular expression,
            or fits no parameter.
    """
    names: dict[nn.Parameter, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(parameter, []).append(name)
    decays = _decays(model, names, table)
    rates = _by_pattern("rate_on", names, table.rate_on, 1.0)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter, decay in decays.items():
        groups.setdefault((decay, table.lr * rates[parameter]), []).append(parameter)
    return [{"params": own, "weight_decay": decay, "lr": rate} for (decay, rate), own in groups.items()]


def _decays(model: nn.Module, names: Names, table: OptimizerTable) -> dict[nn.Parameter, float]:
    if not isinstance(table.decay_on, str):
        return _by_pattern("decay_on", names, table.decay_on, table.weight_decay)
    first = {id(p) for p in (model if table.decay_on == "all" else _first(model)).parameters()}
    return {p: table.weight_decay if id(p) in first else 0.0 for p in names}


def _first(model: nn.Module) -> nn.Module:
    convs: Any = getattr(model, "convs", None)
    if convs is None:
        raise ConfigError(
            f"optimizer.decay_on = 'first' decays model.convs[0], and a {type(model).__name__} has no convs. Name the "
            f"part instead: decay_on = {{pattern: decay}}."
        )
    return convs[0]


def _by_pattern(option: str, names: Names, values: Mapping[str, float], rest: float) -> dict[nn.Parameter, float]:
    """The value of the first pattern that begins a name of each parameter; ``rest`` where none does."""
    known = [name for own in names.values() for name in own]
    for pattern in values:
        try:
            fits = _fits(pattern, known)
        except re.error as error:
            raise ConfigError(f"optimizer.{option}: {pattern!r} is no regular expression: {error}.") from error
        if not fits:
            near = ", ".join(near_names(pattern.replace("\\", ""), known, cutoff=0.3) or known[:8])
            raise ConfigError(f"optimizer.{option}: {pattern!r} begins the name of no parameter; there are {near}.")
    return {
        parameter: next((float(value) for pattern, value in values.items() if _fits(pattern, own)), rest)
        for parameter, own in names.items()
    }


def _fits(pattern: str, names: Iterable[str]) -> bool:
    return any(matches(pattern, name) for name in names)
